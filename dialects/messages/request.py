"""A client's Messages request → the hub's form."""

from collections.abc import Mapping

from ..contract import NO_HEADERS, ClientRequest


def parse(data: bytes, headers: Mapping[str, str] = NO_HEADERS) -> ClientRequest:
    """Return the request that these bytes hold."""
    raise NotImplementedError
