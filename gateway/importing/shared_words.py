"""What is the same for every program whose configuration is read: (why something is not carried over, what to do)."""

from typing import Final

Why = tuple[str, str]


class Unserved(Exception):
    """What no provider here can serve. args: as of Why."""


# Rows whose API is used for any other address too → the host that is its own.
HOMES: Final = {"openai": "api.openai.com"}
# Rows with a version of their API in the query → the row of its newer form, how that one's addresses end, the field, and where
# they are by default.
VERSIONED: Final = {"azure": ("azure_v1", "/openai/v1", "api-version", "${AZURE_API_BASE}")}
STAR: Final = (
    "a public name has one * here, and the target one only where the name has",
    "Write the names out under models",
)
VERTEX: Final = (
    "Vertex AI signs calls with a Google service account, which this server does not do",
    "Ask Gemini's own API: gemini: {api_key: ${GEMINI_API_KEY}}; for Claude the provider anthropic",
)


def is_starred_wrongly(public: str, model: str) -> bool:
    """Whether a public name and the model behind it have a * where none can be. See STAR."""
    return public.count("*") > 1 or ("*" in model and "*" not in public)
