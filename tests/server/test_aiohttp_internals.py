"""What server/aiohttp_internals.py relies on in aiohttp's server. A failure here means: read aiohttp's change, then ours."""

import hashlib
import inspect
import re

import pytest
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from server import aiohttp_internals

# Methods of aiohttp that are done anew, or called in the middle, and the digest of their source in the version in use.
SOURCES = {
    RequestHandler.start: "db2dc49a7377ea10",
    RequestHandler._handle_request: "957b6c3e26909650",
    RequestHandler.finish_response: "c201274192203c2f",
    RequestHandler.shutdown: "2081df54bcd65d0a",
    RequestHandler.connection_lost: "5e5aca75391deade",
    web.Application._handle: "a6aeb08d0c337d53",
}


@pytest.mark.parametrize("method", SOURCES, ids=lambda method: method.__qualname__)
def test_aiohttp_does_what_it_did(method: object) -> None:
    source = inspect.getsource(method)  # type: ignore[arg-type]
    digest = hashlib.sha256(re.sub(r"\s+", " ", source).encode()).hexdigest()[:16]
    assert digest == SOURCES[method], (
        f"{method} has changed: compare server/aiohttp_internals.py with it, then note {digest}"
    )  # type: ignore[index]


def test_aiohttp_has_the_names_that_are_used() -> None:
    source = inspect.getsource(aiohttp_internals)
    used = set(re.findall(r"self\.(_\w+)", source)) - {"_answer", "_read_rest"}
    assert used == set(aiohttp_internals.NAMES)
    had = {name for kind in RequestHandler.__mro__ for name in (*getattr(kind, "__slots__", ()), *vars(kind))}
    assert used <= had, f"aiohttp's RequestHandler no longer has {used - had}"
    assert inspect.signature(RequestHandler._handle_request).parameters.keys() == {
        "self", "request", "start_time", "request_handler"
    }  # fmt: skip
    assert {"_cache", "_match_info", "_task"} <= web.Request.ATTRS
