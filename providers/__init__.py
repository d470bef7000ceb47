"""Wire formats, pure: one module per protocol. PROVIDERS is the whole list."""

from . import anthropic
from .contract import Call, Json, Provider, Translator, Upstream

PROVIDERS: dict[str, Provider] = {"anthropic": anthropic}

__all__ = ["PROVIDERS", "Call", "Json", "Provider", "Translator", "Upstream"]
