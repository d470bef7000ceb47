"""An answer without a length on a connection that nobody closes: it is complete when its JSON is."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from http_client import ask, whole
from process import Process
from scripted import FOREVER, head

from providers.density import Whole

BODY = json.dumps({"a": ['{"', "]}\\", '"', 1, {}], "b": '\\\\"'}).encode()
CASES = [BODY, b"[]", b'[{"a": 1}, {}]', b'{"a": "\\\\"}', b'{"\\\\\\"}": []}']


@pytest.mark.parametrize("body", CASES)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
def test_json_is_whole_with_its_last_byte(body: bytes, size: int):
    json.loads(body)
    seen = Whole()
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    assert [seen.add(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert seen.add(b" \r\n") and seen.add(b"\n" * 100)


@pytest.mark.parametrize("body", [b"", b" ", b"{", b'{"a": "}', b'{"a": "\\"}', b'{"a": {}', b"}", b"no JSON", b"x]"])
def test_what_is_not_whole(body: bytes):
    assert not Whole().add(body)


def test_such_answers_do_not_wait_for_the_silence_to_end(server: Process, scripted: Callable[..., str]):
    good = scripted([head(headers={}), json.dumps(whole("Hi")).encode(), FOREVER])
    bad = scripted([head(400), b'{"error": {"message": "no such thing"}}', FOREVER])
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(ask, server, f"up/{name}", streamed) for name in (good, bad) for streamed in (False, True)]
        got = [each.result() for each in asked]
    assert [(each.status, each.text or each.code) for each in got] == [
        (200, "Hi"),
        (200, "Hi"),
        (400, None),
        (400, None),
    ]
    assert json.loads(got[0].body)["choices"][0]["message"]["content"] == "Hi"
    assert "no such thing" in got[2].body
