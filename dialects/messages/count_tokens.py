"""POST /v1/messages/count_tokens: a Messages request without a limit. https://platform.claude.com/docs/en/api/messages-count-tokens"""

from collections.abc import Mapping
from typing import Final

from providers.contract import Json
from providers.errors import BadRequest, Failure, ModelNotFound, NotFound, RequestTooLarge, Unsupported

from ..contract import NO_HEADERS, ClientRequest
from . import headers as _headers
from .estimate import estimate
from .request import parse_count

operation: Final = "messages/count_tokens"
headers: Final = _headers
ESTIMATED: Final = {"x-modelserver-estimated": "input_tokens"}


def parse(data: bytes, headers: Mapping[str, str] = NO_HEADERS) -> ClientRequest:
    """Return the request that these bytes hold. Raises BadRequest, ModelNotFound."""
    return parse_count(data, headers)._replace(stream=False)


def may_estimate(failure: Failure) -> bool:
    """Whether an estimate serves in place of a count that has failed so: not where the request is at fault, or its model."""
    if isinstance(failure, Unsupported):
        return True
    if isinstance(failure, ModelNotFound):
        return not failure.certain  # a host that has no such path
    return failure.upstream_status == 405 or not isinstance(failure, BadRequest | NotFound | RequestTooLarge)


def counted(tokens: int) -> Json:
    """Return the answer to a count."""
    return {"input_tokens": tokens}


def estimated(asked: ClientRequest) -> Json:
    """Return the answer where nobody can count."""
    return {"input_tokens": estimate(asked), "estimated": True}
