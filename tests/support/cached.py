"""Put a whole assistant message into the reasoning cache, as an answer that is not streamed is put there."""

from typing import Any

from gateway.reasoning_cache import ReasoningCache


def remember(cache: ReasoningCache, message: dict[str, Any], scope: str = "") -> None:
    collector = cache.collector(scope)
    collector.see_message(message)
    collector.commit()
