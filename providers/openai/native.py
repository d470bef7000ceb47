"""Requests of clients that speak OpenAI's Responses API, passed on as they are to a host that speaks it too.

Nothing is validated: the host does so itself, and its error is handed on. What a row of hosts.py says the host does not take
is not sent to it natively: then there is no call, and the request is translated.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

from ..contract import Call, Json, Native, Upstream
from ..endpoints import endpoint, key_header, with_query
from ..errors import Failure
from .responses import stream
from .responses.watch import watch

# Of the client's headers, those that go on. Never cookies, nor what names an organisation or the client.
HEADERS: Final = frozenset({"openai-beta", "session_id", "session-id", "thread-id", "x-client-request-id"})
_LONGEST: Final = 512  # characters of such a header
# Items that every host takes which has the API.
_ITEMS: Final = frozenset({"message", "reasoning", "function_call", "function_call_output"})
# What only a host that keeps something can do.
_STATE: Final = ("previous_response_id", "conversation", "prompt", "background")
_ANY: Final = "*"
_REASONING: Final = "input.reasoning"
# What hosts say of reasoning that another account, or another model, made.
_NOT_ITS_OWN: Final = ("could not be verified", "could not be decrypted", "not issued to this caller")


def build_responses(raw: Json, headers: Mapping[str, str], upstream: Upstream) -> Call | None:
    """Return the call that passes on a Responses request; None where this host is not to be sent it natively."""
    return _build(raw, headers, upstream, "responses") if takes(raw, upstream) else None


def build_compact(raw: Json, headers: Mapping[str, str], upstream: Upstream) -> Call | None:
    """Return the call that has a conversation made shorter by its host; None where the host cannot."""
    return (
        _build(raw, headers, upstream, "responses/compact")
        if upstream.host.responses_state and takes(raw, upstream)
        else None
    )


def build_input_tokens(raw: Json, headers: Mapping[str, str], upstream: Upstream) -> Call | None:
    """Return the call that counts the tokens of a request; None where the host cannot."""
    return (
        _build(raw, headers, upstream, "responses/input_tokens")
        if upstream.host.responses_state and takes(raw, upstream)
        else None
    )


NATIVE: Final[Native] = {
    "responses": build_responses,
    "responses/compact": build_compact,
    "responses/input_tokens": build_input_tokens,
}


def takes(raw: Json, upstream: Upstream) -> bool:
    """Whether this target is sent a Responses request natively: its host has the API, and all that the request uses of it."""
    host = upstream.host
    if (
        not host.responses_native or not upstream.reasoning
    ):  # reasoning that is hidden would have to be taken out of the answer
        return False
    if not host.responses_state and any(raw.get(name) for name in _STATE):
        return False
    return _knows(_tools(raw), host.responses_tools) and _knows(_items(raw), (*_ITEMS, *host.responses_items))


def _build(raw: Json, headers: Mapping[str, str], upstream: Upstream, operation: str) -> Call:
    body = {**raw, "model": upstream.model}
    dropped = [name for name in upstream.host.responses_drop if body.pop(name, None)]
    if not upstream.host.responses_reasoning and (rest := _without(body, _told)) is not body:
        body = rest
        dropped.append(_REASONING)
    url = endpoint(upstream.host, upstream.base_url, upstream.model, operation)
    sent = key_header(upstream.host, upstream.api_key) | {
        name: value for name, value in headers.items() if name in HEADERS and _is_safe(value)
    }
    watching = partial(watch, done=True) if upstream.host.responses_done else watch
    call = Call(url, sent, body, body.get("stream") is True, stream.translate, tuple(dropped), watching)
    return call._replace(repair=lambda failure: _repaired(call, failure))


def _repaired(call: Call, failure: Failure) -> Call | None:
    """Return a call without reasoning, where the host refuses that of the request: the conversation would never go on."""
    words = failure.message.lower()
    if failure.upstream_status != 400 or not (
        failure.code == "invalid_encrypted_content" or any(each in words for each in _NOT_ITS_OWN)
    ):
        return None
    body = _without(call.body, lambda item: True)
    if body is call.body:
        return None
    return call._replace(body=body, dropped=tuple(dict.fromkeys((*call.dropped, _REASONING))))


def _without(body: Json, what: Any) -> Json:
    """Return the request without the reasoning items for which `what` is true: a new one, or the same."""
    given = body.get("input")
    if not isinstance(given, list):
        return body
    left = [item for item in given if not (_type(item) == "reasoning" and what(item))]
    return body if len(left) == len(given) else {**body, "input": left}


def _told(item: Json) -> bool:
    """Whether a reasoning item holds its text: OpenAI refuses that of other hosts."""
    return bool(item.get("content"))


def _is_safe(value: str) -> bool:
    return len(value) <= _LONGEST and value.isascii() and value.isprintable()


def _type(item: Any) -> Any:
    """Return an input item's type; a message may leave it out. None where it has none."""
    if not isinstance(item, dict):
        return None
    return item.get("type") or ("message" if "role" in item else None)


def _knows(types: Iterator[Any], known: tuple[str, ...]) -> bool:
    return _ANY in known or all(each in known for each in types)


def _items(raw: Json) -> Iterator[Any]:
    given = raw.get("input")
    if isinstance(given, list):
        yield from map(_type, given)


def _tools(raw: Json) -> Iterator[Any]:
    """The type of each tool, those inside others and those that items of the input bring included."""
    lists = [raw.get("tools")]
    if isinstance(given := raw.get("input"), list):
        lists += [item.get("tools") for item in given if isinstance(item, dict)]
    while lists:
        for tool in lists.pop() or ():
            if not isinstance(tool, dict):
                yield None
                continue
            yield tool.get("type")
            if isinstance(inside := tool.get("tools"), list):
                lists.append(inside)


def state_call(upstream: Upstream, method: str, path: str, query: str) -> Call:
    """Return the call about something that this host keeps. path: under /responses; query: of the client, as it came."""
    url = with_query(endpoint(upstream.host, upstream.base_url, upstream.model, f"responses/{path}"), query)
    return Call(url, key_header(upstream.host, upstream.api_key), {}, False, stream.translate, method=method)
