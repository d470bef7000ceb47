"""A stand-in for the parser of Responses requests: one text, which becomes one message."""

from collections.abc import Mapping
from typing import Final

from providers import codec
from providers.contract import Json
from providers.errors import BadRequest

from ..contract import ClientRequest
from .wanted import Wanted

headers: Final[frozenset[str]] = frozenset()


def parse(data: bytes, headers: Mapping[str, str]) -> ClientRequest:
    """Return what a client sent. Raises BadRequest for all but a text."""
    try:
        asked: Json = codec.decode(data)
    except ValueError:
        raise BadRequest("The body is not JSON.", code="invalid_json") from None
    match asked:
        case {"model": str() as model, "input": str() as text}:
            stream = asked.get("stream") is True
            body: Json = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}
            return ClientRequest(body, stream=stream, answer=Wanted(asked))
    raise BadRequest("Only a text can be sent as 'input'.", param="input", code="invalid_type")
