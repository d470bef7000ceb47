"""Messages requests that go to Claude as the client wrote them, and their answers back as Claude did.

Of the body only the value of `model` is replaced. What else is touched, is named: thinking of other models, which Claude
would refuse for ever after (foreign.py), and what another Claude than the one asked for does not take (fitted.py). Headers
go by a closed rule: new betas pass, whose account is used is not the client's to say.
"""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import Final

from .. import codec, raw_json
from ..contract import Call, Translator, Upstream, prime
from ..endpoints import key_header
from ..errors import UpstreamBadOutput
from ..raw_json import Members
from .fitted import fitted
from .foreign import without_foreign
from .message_state import Way
from .request import messages_url
from .stream import translate
from .watch import watch

_VERSION: Final = "2023-06-01"  # of clients that name none
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_BETA: Final = "anthropic-beta"
# These choose an account, or speak about the client alone.
_KEPT_BACK: Final = frozenset(
    {
        "anthropic-workspace-id",
        "anthropic-organization-id",
        "anthropic-user-profile-id",
        "anthropic-dangerous-direct-browser-access",
    }
)


def build(raw: Members, sent: Mapping[str, str], upstream: Upstream) -> Call:
    """Return the call that passes a Messages request on. raw: its members; sent: its headers, and ?beta."""
    dropped: dict[str, None] = {}
    members = fitted(without_foreign(raw, dropped), upstream, dropped)
    read = partial(translate, way=Way(), reasoning=True)
    streamed = codec.decode(bytes(raw["stream"])) is True if "stream" in raw else False
    headers = _headers(sent, upstream, dropped)
    return Call(
        _url(upstream, "messages", sent), headers, _body(members, upstream), streamed, read, tuple(dropped), watch
    )


def build_count(raw: Members, sent: Mapping[str, str], upstream: Upstream) -> Call:
    """Return the call that has the tokens of a Messages request counted."""
    dropped: dict[str, None] = {}
    body = _body(fitted(without_foreign(raw, dropped), upstream, dropped), upstream)
    headers = _headers(sent, upstream, dropped)
    return Call(
        _url(upstream, "messages/count_tokens", sent), headers, body, False, _no_count, tuple(dropped), _counted
    )


def _no_count(call: Call, streamed: bool) -> Translator:
    return _counted(streamed)


def _counted(streamed: bool) -> Translator:
    return prime(_read_count())


def _read_count() -> Translator:
    event = yield []
    match event and event.data:
        case {"input_tokens": int()}:
            return []
    raise UpstreamBadOutput("The upstream's count has no number.")


def _url(upstream: Upstream, operation: str, sent: Mapping[str, str]) -> str:
    return messages_url(upstream, operation, {"beta": "true"} if sent.get("?beta") == "true" else {})


def _body(members: Members, upstream: Upstream) -> bytes:
    return raw_json.joined({**members, "model": codec.encode(upstream.model)})


def _headers(sent: Mapping[str, str], upstream: Upstream, dropped: dict[str, None]) -> dict[str, str]:
    own = {name.lower(): value for name, value in (upstream.options.get("headers") or {}).items()}
    headers = {
        name: value
        for name, value in sent.items()
        if name.startswith("anthropic-") and name not in _KEPT_BACK and value.isascii() and value.isprintable()
    }
    version = headers.get("anthropic-version", "")
    headers["anthropic-version"] = version if _DATE.fullmatch(version) else _VERSION
    headers["accept-encoding"] = "identity"
    headers |= {name.lower(): value for name, value in key_header(upstream.host, upstream.api_key).items()}
    betas = _betas(headers.pop(_BETA, ""), own.pop(_BETA, ""), upstream, dropped)
    headers |= own
    return {**headers, _BETA: betas} if betas else headers


def _betas(theirs: str, ours: str, upstream: Upstream, dropped: dict[str, None]) -> str:
    """Return the client's betas as far as this host is to have them (options.betas), and then the operator's."""
    patterns = upstream.options.get("betas", ("*",))
    betas: dict[str, None] = {}
    for value in filter(None, map(str.strip, theirs.split(","))):
        if any(fnmatchcase(value, pattern) for pattern in patterns):
            betas[value] = None
        else:
            dropped[f"{_BETA}:{value}"] = None
    return ",".join(betas | dict.fromkeys(filter(None, map(str.strip, ours.split(",")))))
