"""How many tokens a prompt has, as Gemini counts them. https://ai.google.dev/api/tokens"""

from ..chunks import usage_chunk
from ..common.usage import count
from ..contract import Call, Json, Translator, Upstream, prime
from ..endpoints import endpoint
from ..errors import UpstreamBadOutput
from .request import build_request


def build_count(body: Json, upstream: Upstream) -> Call:
    """Return the countTokens call for an OpenAI chat request. Raises what build_request does."""
    call = build_request(body, upstream)
    asked = {name: value for name, value in call.body.items() if name != "generationConfig"}
    counted = {"generateContentRequest": {"model": f"models/{upstream.model}", **asked}}
    url = endpoint(upstream.host, upstream.base_url, upstream.model, "countTokens")
    return Call(url, call.headers, counted, False, lambda call, streamed: prime(_read()))


def _read() -> Translator:
    event = yield []
    match event and event.data:
        case {"totalTokens": total} if count(total):
            return [usage_chunk({"prompt_tokens": count(total)})]
    raise UpstreamBadOutput("The upstream's count has no number.")
