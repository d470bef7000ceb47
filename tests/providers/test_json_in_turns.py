"""JSON of many objects is decoded by the standard library, so that other threads run in between: the same values."""

import json
import threading
from typing import Any

import pytest

from providers import codec

LOGPROB = {
    "token": "é\u2028",
    "logprob": -1.5,
    "bytes": [195, 169],
    "x": None,
    "y": [True, 1e-7, 2**63, "\U0001f600"],
}
SAME: dict[str, bytes] = {
    "log probabilities": json.dumps({"a": [LOGPROB] * 3}).encode(),
    "not escaped": json.dumps({"a": [LOGPROB] * 3}, ensure_ascii=False).encode(),
    "half a pair": b'{"a": "\\ud83d", "b": [{"c": "\\ude00"}]}',
    "no UTF-8": b'{"a": "\xff\xfe"}',
    "minus infinity": b'{"a": {"logprob": -Infinity}}',
    "a name twice": b'{"a": 1, "a": 2}',
    "a BOM": b'\xef\xbb\xbf{"a": 1}',
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_values(name: str) -> None:
    assert codec.decode_in_turns(SAME[name]) == codec.decode(SAME[name])


@pytest.mark.parametrize("data", [b"", b"{", b'{"a": 1}}', b"[" * 100_000, b'{"a": "\n"}', b"{'a': 1}"])
def test_what_is_no_json(data: bytes) -> None:
    for read in codec.decode, codec.decode_in_turns:
        with pytest.raises(ValueError):
            read(data)


def test_other_threads_run_in_between() -> None:
    data = b'{"a": [' + b'{"logprob": -1.5},' * 200_000 + b"{}]}"
    turns: list[Any] = []
    begun, done = threading.Event(), threading.Event()

    def count() -> None:
        begun.set()
        while not done.is_set():
            turns.append(None)
            done.wait(0.001)

    other = threading.Thread(target=count)
    other.start()
    begun.wait()
    before = len(turns)
    assert len(codec.decode_in_turns(data)["a"]) == 200_001
    while_decoding = len(turns) - before
    done.set()
    other.join()
    assert while_decoding >= 3
