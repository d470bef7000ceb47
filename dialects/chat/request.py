"""A client's chat request: from bytes to a body that every provider can rely on, or to the error OpenAI would give.

`parse` refuses what OpenAI refuses, in its words, and removes what means nothing (null, both token limits, a
tool_choice without tools), so that providers only see one form. Legacy functions become tools here and are turned back
on the way out (dialects/chat/functions.py). Fields it does not know are left alone: the upstream may know them.
"""

from collections.abc import Mapping
from typing import Final

from providers import codec
from providers.contract import Json
from providers.errors import BadRequest

from ..contract import NO_HEADERS, ClientRequest
from ..validation import drop_nulls, read_request
from . import functions
from .messages import check_messages
from .pairing import paired
from .params import CHECKS, HOLDERS, WHOLE, reconcile

_MAX_SCHEMAS: Final = 2**20  # bytes of tools and response_format together


def parse(data: bytes, headers: Mapping[str, str] = NO_HEADERS) -> ClientRequest:
    """Return the request that these bytes hold. Its `answer`: whether it speaks of functions, as in 2023.

    Raises BadRequest with OpenAI's param and code, and ModelNotFound for a name that is too long.
    """
    return checked(read_request(data, CHECKS, "messages", "gpt-4o"), len(data))


_CLIENTS_TOOLS: Final = ("function", "custom")  # types of tools that clients run
_SEARCH: Final = "web_search_options"


def checked(body: Json, size: int) -> ClientRequest:
    """Return the request that a chat body is, checked and normalised; see parse. Changes `body`.

    Parsers of other client APIs end here too. size: bytes of the client's request.
    """
    for name, value in body.items():
        check = CHECKS.get(name)
        if check is not None:
            check(value, name)
            if type(value) is float and name in WHOLE:
                body[name] = int(value)  # 100.0: some clients know no integers, some upstreams nothing else
    calls, images = check_messages(body["messages"])
    if not HOLDERS.isdisjoint(body):
        for name in HOLDERS & body.keys():
            drop_nulls(body[name])
    speaks_legacy = False
    changed: tuple[str, ...] = ()
    if calls or "functions" in body or "function_call" in body:
        body, speaks_legacy = functions.functions_to_tools(body)
        body["messages"], changed = paired(body["messages"])
    reconcile(body)
    if size > _MAX_SCHEMAS:
        _check_schemas(body)
    return ClientRequest(
        body,
        stream=body.get("stream") is True,
        tool_calls=calls,
        images=images,
        answer=speaks_legacy,
        dropped=changed,
        upstream_tools=_upstream_tools(body),
    )


def _upstream_tools(body: Json) -> tuple[str, ...]:
    """Return ClientRequest.upstream_tools of a chat body: hosts have tools of their own, and a parameter for their search."""
    named: dict[str, None] = {}
    for tool in body.get("tools", ()):
        if (kind := tool["type"]) not in _CLIENTS_TOOLS:
            named[f"tools.{kind[:100]}"] = None
    return (*named, _SEARCH) if _SEARCH in body else tuple(named)


def _check_schemas(body: Json) -> None:
    given = [name for name in ("tools", "response_format") if name in body]
    if sum(len(codec.encode(body[name])) for name in given) > _MAX_SCHEMAS:
        raise BadRequest(
            f"'tools' and 'response_format' have more than {_MAX_SCHEMAS} bytes together. Send fewer tools, or shorter "
            "descriptions and lists of values.",
            param=given[0],
            code="invalid_schema",
        )
