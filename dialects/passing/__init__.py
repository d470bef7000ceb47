"""Requests that pass as bytes: what is not chat and not embeddings, and is served by a provider as the client sent it.

Only the name of the model is read, and replaced by the target's. `OPERATIONS` is the whole list of OpenAI's routes and those
that are like them; Gemini's own API names the model in its path.

https://platform.openai.com/docs/api-reference; https://docs.cohere.com/reference/rerank, https://api.jina.ai/redoc#tag/rerank
"""

from typing import Final, NamedTuple


class Operation(NamedTuple):
    """A route that passes as bytes. Its requests are POSTs.

    name: its path under a provider's base_url; paths: the client's, where they differ from /v1/name; form: whether the
    request may be multipart/form-data, with the model in a field of that name; default: the model where none is named;
    text: whether answers are tokens of text, as many as `max_tokens` says at most.
    """

    name: str
    paths: tuple[str, ...] = ()
    form: bool = False
    default: str = ""
    text: bool = False


OPERATIONS: Final = (
    Operation("completions", text=True),
    Operation("images/generations"),
    Operation("images/edits", form=True),
    Operation("images/variations", form=True),
    Operation("audio/speech"),
    Operation("audio/transcriptions", form=True),
    Operation("audio/translations", form=True),
    Operation("moderations", default="omni-moderation-latest"),
    Operation("rerank", paths=("/v1/rerank", "/rerank", "/v2/rerank")),
)
# Gemini's own API: POST /{version}/models/{model}:{method}
GEMINI_VERSIONS: Final = ("v1beta", "v1", "v1alpha")
COUNT: Final = "countTokens"
GEMINI_METHODS: Final = ("generateContent", "streamGenerateContent", COUNT)
