"""The event-stream decoder: bytes in, events out, wherever the network cuts them."""

import json
import tracemalloc
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest
from cuts import CUTS, pieces
from hypothesis import given
from hypothesis import strategies as st

from providers import codec
from providers.errors import UpstreamBadOutput
from providers.sse import DONE, MAX_EVENT, Decoder, Event, append_event, unframed


def decode(reads: Iterable[bytes], limit: int = MAX_EVENT, flush: bool = False) -> list[Event]:
    decoder = Decoder(limit)
    events = [event for read in reads for event in decoder.feed(read)]
    return events + decoder.flush() if flush else events


def event(data: Any, name: str = "") -> Event:
    return Event(name, data)


ONE, TWO = event({"a": 1}), event({"b": 2})

STREAMS: dict[str, tuple[bytes, list[Event]]] = {
    "LF": (b'data: {"a":1}\n\ndata: {"b":2}\n\n', [ONE, TWO]),
    "CRLF": (b'data: {"a":1}\r\n\r\ndata: {"b":2}\r\n\r\n', [ONE, TWO]),
    "CR": (b'data: {"a":1}\r\rdata: {"b":2}\r\r', [ONE, TWO]),
    "mixed line ends": (b'data: {"a":1}\r\n\ndata: {"b":2}\n\r\n\r\r', [ONE, TWO]),
    "CRLF then LF, the blank line alone": (b'data: {"a":1}\r\n\n', [ONE]),
    "CR then CRLF": (b'data: {"a":1}\r\r\n', [ONE]),
    "a BOM at the start": (b'\xef\xbb\xbfdata: {"a":1}\n\n', [ONE]),
    "a BOM later is part of a field's name": (b'data: {"a":1}\n\n\xef\xbb\xbfdata: {"b":2}\n\n', [ONE]),
    "comments": (b': keep-alive\n\n:\n: x\ndata: {"a":1}\n: y\n\n: z\n', [ONE]),
    "a comment between data lines": (b'data: {"a"\n: PROCESSING\ndata: :1}\n\n', [ONE]),
    "no space after data:": (b'data:{"a":1}\n\n', [ONE]),
    "only one space belongs to the field": (b"data:   1  \n\n", [event(1)]),
    "data in several lines": (b'data: {"a":\ndata: 1\ndata:}\n\n', [ONE]),
    "a name": (b'event: ping\ndata: {"a":1}\n\n', [event({"a": 1}, "ping")]),
    "a name is of one event only": (b'event: ping\ndata: {"a":1}\n\ndata: {"b":2}\n\n', [event({"a": 1}, "ping"), TWO]),
    "a name without data is forgotten": (b'event: ping\n\ndata: {"a":1}\n\n', [ONE]),
    "the name after the data": (b'data: {"a":1}\nevent: ping\n\n', [event({"a": 1}, "ping")]),
    "an error: field": (b'error: {"code":500}\n\n', [event({"code": 500}, "error")]),
    "an error: field needs no blank line": (b'error: {"code":500}\n', [event({"code": 500}, "error")]),
    "an error: field in plain text": (b"error: out of memory\n\n", [event("out of memory", "error")]),
    "an error event in plain text": (b"event: error\ndata: out of memory\n\n", [event("out of memory", "error")]),
    "id and retry": (b'id: 7\nretry: 10\ndata: {"a":1}\n\n', [ONE]),
    "unknown fields, and a field without colon": (b'dat: 5\nfoo\ndata: {"a":1}\n\n', [ONE]),
    "a line that lost its data:": (b'data: {"a":1}\n\n{"b":2}\n\n', [ONE, TWO]),
    "a line that lost its data:, indented": (b' {"a":1}\n\n\t{"b":2}\n\n', [ONE, TWO]),
    "lines that lost their data:, and no blank line": (b'data: {"a":1}\n{"b":2}\n\n', [ONE, TWO]),
    "a list that lost its data:": (b'[{"a":1}]\n\n[INFO] up\n\n[DONE]\n\n', [event([{"a": 1}]), event(DONE)]),
    "a named event that lost its data:": (b'event: ping\n{"a":1}\n\n', [event({"a": 1}, "ping")]),
    "data: is indented": (b' data: {"a":1}\n\n\tdata:{"b":2}\n\n', [ONE, TWO]),
    "data: in capitals": (b'Data: {"a":1}\n\nDATA : {"b":2}\n\n', [ONE, TWO]),
    "event: is indented and in capitals": (b' Event: ping\n data: {"a":1}\n\n', [event({"a": 1}, "ping")]),
    "empty data": (b'data:\n\ndata\n\ndata: \n\ndata: {"a":1}\n\n', [ONE]),
    "DONE": (b'data: {"a":1}\n\ndata: [DONE]\n\n', [ONE, event(DONE)]),
    "DONE without space, with spaces": (b"data:[DONE]\n\ndata:  [DONE] \n\n", [event(DONE), event(DONE)]),
    "the text DONE is no DONE": (b'data: "[DONE"\n\n', [event("[DONE")]),
    "Chinese and an emoji": ('data: {"a":"你好，世界 😀"}\n\n'.encode(), [event({"a": "你好，世界 😀"})]),
    "U+2028, U+2029 and NEL end no line": (
        'data: "a\u2028b\u2029c\u0085d"\n\n'.encode(),
        [event("a\u2028b\u2029c\u0085d")],
    ),
    "form feed and vertical tab end no line": (
        b'event: a\x0cb\x0bc\ndata: {"a":1}\n\n',
        [event({"a": 1}, "a\x0cb\x0bc")],
    ),
    "bad UTF-8": (b'data: "a\xffb"\n\n', [event("a\ufffdb")]),
    "half an emoji": (b'data: "\\ud83d"\n\n', [event("\ud83d")]),
    "half an emoji, raw": (b'data: "\xed\xa0\xbd"\n\n', [event("\ufffd\ufffd\ufffd")]),
    "words and comments that keep the line alive": (
        b"data: ping\n\ndata: <!-- keep-alive -->\n\ndata: PROCESSING [1/3]\n\n" * 3 + b'data: {"a":1}\n\n',
        [ONE],
    ),
    "two lines of markup": (b'data: <p>\n\ndata: </p>\n\ndata: {"a":1}\n\n', [ONE]),
    "a lost blank line": (b'data: {"a":1}\ndata: {"b":2}\n\n', [ONE, TWO]),
    "a lost blank line before DONE": (b'data: {"a":1}\ndata: [DONE]\n\n', [ONE, event(DONE)]),
    "a lost line end": (b'data: {"a":1}{"b":2}\n\ndata: {"a":1}data: {"b":2}\n\n', [ONE, TWO, ONE, TWO]),
    "a lost blank line before a document of several lines": (
        b'data: {"a":1}\ndata: {\ndata: "b":\ndata: 2}\ndata: {"a":1}\n\n',
        [ONE, TWO, ONE],
    ),
    "a lost blank line and a word": (b'data: {"a":1}\ndata: ping\ndata: {"b":2}\n\n', [ONE, TWO]),
    "lost blank lines between named events": (
        b'event: x\ndata: {"a":1}\nevent: error\ndata: {"b":2}\n\ndata: {"a":1}\nevent: y\ndata: {"b":2}\n\n',
        [event({"a": 1}, "x"), event({"b": 2}, "error"), ONE, event({"b": 2}, "y")],
    ),
    "an error: field after a lost blank line": (b'data: {"a":1}\nerror: {"b":2}\n', [ONE, event({"b": 2}, "error")]),
    "an error in words that look like JSON": (
        b"event: error\ndata: [Errno 104] Connection reset\n\n",
        [event("[Errno 104] Connection reset", "error")],
    ),
    "blank lines": (b'\n\n\n\ndata: {"a":1}\n\n\n\n', [ONE]),
    "nothing": (b"", []),
    "an unfinished event": (b'data: {"a":1}\n\ndata: {"b":2}\n', [ONE]),
    "an unfinished line": (b'data: {"a":1}\n\ndata: {"b":2', [ONE]),
}


@pytest.mark.parametrize("size", CUTS)
@pytest.mark.parametrize("stream, expected", STREAMS.values(), ids=STREAMS)
def test_streams(stream: bytes, expected: list[Event], size: int | None):
    assert decode(pieces(stream, size)) == expected


@pytest.mark.parametrize(
    "stream, expected",
    [
        pytest.param(b'data: {"a":1}\n', [ONE], id="without the blank line"),
        pytest.param(b'data: {"a":1}', [ONE], id="in mid-line"),
        pytest.param(b'data: {"a":1}\r', [ONE], id="after a CR"),
        pytest.param(b'data: {"a":1}\r\n', [ONE], id="after a CRLF"),
        pytest.param(b'data: {"a":1}\n\n', [ONE], id="complete"),
        pytest.param(b'data: {"a', [], id="cut JSON"),
        pytest.param(b"dat", [], id="cut field"),
    ],
)
@pytest.mark.parametrize("size", CUTS)
def test_the_unfinished_last_event_at_the_end(stream: bytes, expected: list[Event], size: int | None):
    assert decode(pieces(stream, size), flush=True) == expected


lines = st.one_of(
    st.sampled_from(
        [b"", b"", b"data: 1", b'data: {"a":"\xe4\xbd\xa0"}', b"data:", b"event: x", b": c", b"data: [DONE]"]
    ),
    st.binary(max_size=12),
)
streams = st.lists(st.tuples(lines, st.sampled_from([b"\n", b"\r\n", b"\r"])), max_size=12).map(
    lambda each: b"".join(line + end for line, end in each)
)


def outcome(reads: list[bytes]) -> Any:
    """The events of a stream, or the sentence by which it is refused."""
    try:
        return decode(reads, flush=True)
    except UpstreamBadOutput as failure:
        return failure.message


@given(streams, st.lists(st.integers(0, 200), max_size=20))
@pytest.mark.fault("F22")
def test_where_a_stream_is_cut_carries_no_meaning(stream: bytes, places: list[int]):
    marks = [0, *sorted(min(place, len(stream)) for place in places), len(stream)]
    reads = [stream[start:end] for start, end in pairwise(marks)]
    assert outcome(reads) == outcome([stream]) == outcome(pieces(stream, 1))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.lists(json_values.filter(lambda value: value != DONE), max_size=4), st.sampled_from(CUTS))
def test_what_is_framed_is_read_again(values: list[Any], size: int | None):
    buffer = bytearray()
    for value in values:
        append_event(buffer, value)
    assert b"\r" not in buffer and buffer.count(b"\n") == 2 * len(values)
    assert decode(pieces(bytes(buffer), size)) == [event(value) for value in values]


@pytest.mark.parametrize(
    "value, frame",
    [
        ({"a": "你好\n"}, 'data: {"a":"你好\\n"}\n\n'.encode()),
        ({"a": "\ud83d"}, b'data: {"a":"\\ud83d"}\n\n'),
        ({"a": "x\u2028"}, 'data: {"a":"x\u2028"}\n\n'.encode()),
    ],
    ids=["text", "half an emoji", "U+2028 is the server's to escape"],
)
def test_frames(value: Any, frame: bytes):
    buffer = bytearray(b"before ")
    append_event(buffer, value)
    assert bytes(buffer) == b"before " + frame


LONG = b"x" * 90
TOO_LARGE: dict[str, Callable[[], Iterable[bytes]]] = {
    "one line": lambda: [b'data: "' + LONG + b"x" * 20 + b'"\n\n'],
    "one line without end": lambda: [b'data: "' + LONG + b"x" * 20],
    "a line in many reads": lambda: [b"data: "] + [b"x"] * 120,
    "a comment without end": lambda: [b":"] + [b"x"] * 120,
    "an event of many lines in one read": lambda: [b"data: 12345678901\n" * 20 + b"\n"],
    "an event of many lines in many reads": lambda: [b"data: 12345678901\n"] * 20,
    "many empty data lines": lambda: [b"data:\n"] * 120,
    "many data lines without a value": lambda: [b"data\n"] * 120,
}


@pytest.mark.parametrize("stream", TOO_LARGE.values(), ids=TOO_LARGE)
def test_limits(stream: Callable[[], Iterable[bytes]]):
    with pytest.raises(UpstreamBadOutput) as caught:
        decode(stream(), limit=100)
    assert (caught.value.status, caught.value.code) == (502, "upstream_event_too_large")
    assert caught.value.message == "The upstream sent an event larger than 100 bytes (server.max_event)."


@pytest.mark.parametrize("size", CUTS)
def test_the_limit_is_of_one_event_not_of_the_stream(size: int | None):
    stream = b'data: "' + LONG[:80] + b'"\n\n'
    assert decode(pieces(stream * 50, size), limit=100) == [event("x" * 80)] * 50


def test_a_line_of_8_mib_is_joined_once():
    body = b'data: "' + b"x" * (MAX_EVENT - 100) + b'"\n\n'
    reads = pieces(body, 1024)
    decoder = Decoder()
    for read in reads[:-1]:
        assert decoder.feed(read) == []
    # Nothing has been joined yet: the very reads are waiting, uncopied.
    assert len(decoder._pending) == len(reads) - 1
    assert all(kept is read for kept, read in zip(decoder._pending, reads, strict=False))
    assert decoder.feed(reads[-1]) == [event("x" * (MAX_EVENT - 100))]
    assert (decoder._pending, decoder.size) == ([], 0)


def test_many_data_lines_are_counted_once():
    class Lines(list[bytes]):
        """The decoder's data lines; counts how many it looks at again."""

        looked = 0

        def __getitem__(self, key: Any) -> Any:
            found = super().__getitem__(key)
            if isinstance(key, slice):
                Lines.looked += len(found)
            return found

        def __iter__(self) -> Any:
            Lines.looked += len(self)
            return super().__iter__()

    decoder = Decoder()
    decoder._data = Lines()
    for _ in range(5_000):
        decoder.feed(b"data: 1\n")
    assert Lines.looked == 5_000


def test_the_third_line_of_markup_ends_the_stream():
    decoder = Decoder()
    assert decoder.feed(b"data: <html>\n\ndata: <body>\n\n") == []
    with pytest.raises(UpstreamBadOutput, match="not JSON") as caught:
        decoder.feed(b"data: <p>\n\n")
    assert (caught.value.status, caught.value.code, caught.value.should_retry) == (502, "upstream_bad_output", False)


UNREADABLE = {
    "cut": b'data: {"a\n\n',
    "a list, cut": b"data: [1, 2\n\n",
    "glued, the second cut": b'data: {"a":1}{"b"\n\n',
    "a lost blank line, the second cut": b'data: {"a":1}\ndata: {"b"\n\n',
    "the end of a document whose beginning is lost": b'data: s":"x"}}]}\n\n',
    "without data:, cut": b'{"a\n\n',
    "named": b'event: delta\ndata: {"a\n\n',
    "too deep for any reader": b"data: " + b"[" * 5000 + b"\n\n",
    "too deep behind half an emoji": b'data: ["\\ud83d",' + b"[" * 5000 + b"\n\n",
}


@pytest.mark.parametrize("size", CUTS)
@pytest.mark.parametrize("broken", UNREADABLE.values(), ids=UNREADABLE)
def test_a_document_that_cannot_be_read_ends_the_stream(broken: bytes, size: int | None):
    """At once, and what came before it in the same read is still to be had."""
    decoder, events = Decoder(), []
    with pytest.raises(UpstreamBadOutput) as caught:
        for piece in pieces(b'data: {"b":2}\n\n' + broken + b'data: {"b":2}\n\n', size):
            events += decoder.feed(piece)
    assert (caught.value.message, caught.value.code) == (
        "The upstream sent an event that is not JSON.",
        "upstream_bad_output",
    )
    assert [each for each in events + decoder.flush() if each != ONE] == [TWO]


@pytest.mark.parametrize("size", CUTS)
def test_a_stream_without_any_blank_line(size: int | None):
    raw = b'data: {"a":1}\ndata: {"b":2}\ndata: [DONE]'
    assert decode(pieces(raw, size), flush=True) == [ONE, TWO, event(DONE)]


def test_reading_many_documents_of_one_event_is_linear():
    """What would look through the rest for each one would take minutes."""
    assert decode([b"data: " + b'{"a":"x"}' * 1000 + b"\n\n"]) == [event({"a": "x"})] * 1000
    assert decode([b"data: {}\n" + b"data: x\n" * 100_000 + b"\n"]) == [event({})]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"error": 1}', b'{"error": 1}'),
        (b"", b""),
        (b'data: {"error":1}\n\n', b'{"error":1}'),
        (b'\xef\xbb\xbf: hello\n\nevent: error\ndata: {"error":1}', b'{"error":1}'),
        (b"event: error\ndata: no room\n\n", b"no room"),
        (b'data: {"er', b'data: {"er'),
        (b"database is down", b"database is down"),
    ],
)
def test_an_error_body_that_is_a_stream(body: bytes, found: bytes):
    assert unframed(body) == found


def test_a_bom_before_json():
    assert codec.decode(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


def test_json_values_that_bend_the_rules_are_read_as_the_standard_library_does():
    assert codec.decode(b'{"a": NaN}')["a"] != codec.decode(b'{"a": NaN}')["a"]
    assert codec.decode(b'"\\ud83d\\ude00"') == json.loads('"\\ud83d\\ude00"') == "😀"


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b'["\\ud83d",' + b"[" * 100_000, b"\xff", b"1" * 5_000])
def test_what_is_not_json_is_a_value_error(data: bytes):
    with pytest.raises(ValueError):
        codec.decode(data)


@pytest.mark.parametrize("body", [b'Data: {"a":1}\n\n', b' DATA:{"a":1}\n\n', b'Event: ping\nDATA:{"a":1}\n\n'])
def test_a_body_is_a_stream_however_its_fields_are_written(body: bytes):
    assert unframed(body) == b'{"a":1}'


def test_names_of_events_are_counted_as_data_is() -> None:
    decoder = Decoder(100_000)
    with pytest.raises(UpstreamBadOutput) as caught:
        for _ in range(2000):
            decoder.feed(b"data:\nevent: " + b"e" * 50_000 + b"\n")
    assert caught.value.code == "upstream_event_too_large"


@pytest.mark.parametrize("glue", [b"", b" ", b"\ndata:"])
def test_an_event_has_not_thousands_of_parts(glue: bytes) -> None:
    assert len(Decoder().feed(b"data: " + glue.join([b"{}"] * 1000) + b"\n\n")) == 1000
    with pytest.raises(UpstreamBadOutput):
        Decoder().feed(b"data: " + glue.join([b"{}"] * 1001) + b"\n\n")


def test_blanks_between_documents_take_no_memory() -> None:
    data = b"data: {}" + b" " * 2_000_000 + b"{}\n\n"
    tracemalloc.start()
    events = Decoder().feed(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(events) == 2 and peak < 8 * len(data)
