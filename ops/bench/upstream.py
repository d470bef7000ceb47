"""A scripted upstream on bare protocols, from prepared bytes: chat completions, Messages, Responses and generateContent.

Each piece of streamed text is a stamp, its number and the time it was sent at, by which the client checks that none is
missing and how long it took.
"""

import asyncio
import re
import socket
import time
from collections import deque
from functools import cache
from typing import Any, Final, NamedTuple

STAMP: Final = b"@%(seq)05d:%(ns)019d@"
_STREAMED: Final = re.compile(rb'"stream"\s*:\s*true')
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Form(NamedTuple):
    """How an API writes an answer: whole (of a text), and a stream's begin, piece and end (of the text of all pieces)."""

    whole: bytes
    begin: bytes
    piece: bytes
    end: bytes


def _event(data: bytes, name: bytes = b"") -> bytes:
    return (b"event: " + name + b"\n" if name else b"") + b"data: " + data + b"\n\n"


def _events(*datas: bytes) -> bytes:
    """Events that are named as their type is."""
    return b"".join(_event(data, data.split(b'"', 4)[3]) for data in datas)


_CHUNK: Final = (
    b'{"id":"chatcmpl-bench0123456789","object":"chat.completion.chunk","created":1764000000,"model":"gpt-4o-2024-08-06",'
    b'"service_tier":"default","system_fingerprint":"fp_0123456789","choices":[{"index":0,"delta":%b,"logprobs":null,'
    b'"finish_reason":%b}]}'
)
_COUNTED: Final = b'"usage":{"prompt_tokens":20,"completion_tokens":200,"total_tokens":220}'
_CLAUDE: Final = (
    b'"id":"msg_bench0123456789","type":"message","role":"assistant","model":"claude-haiku-4-5","content":[%b],'
    b'"stop_reason":%b,"stop_sequence":null,"usage":{"input_tokens":20,"output_tokens":%b}}'
)
_PART: Final = b'{"type":"output_text","text":"%b","annotations":[],"logprobs":[]}'
_ITEM: Final = b'{"id":"msg_bench","type":"message","status":"%b","role":"assistant","content":[%b]}'
_RESPONSE: Final = (
    b'{"id":"resp_bench0123456789","object":"response","created_at":1764000000,"status":"%b","error":null,'
    b'"incomplete_details":null,"instructions":null,"model":"gpt-4o-2024-08-06","output":[%b],"parallel_tool_calls":true,'
    b'"tool_choice":"auto","tools":[],"temperature":1.0,"top_p":1.0,"store":false,"metadata":{},"usage":%b}'
)
_DONE: Final = _RESPONSE % (
    b"completed", _ITEM % (b"completed", _PART % b"%(text)b"),
    b'{"input_tokens":20,"input_tokens_details":{"cached_tokens":0},"output_tokens":200,'
    b'"output_tokens_details":{"reasoning_tokens":0},"total_tokens":220}',
)  # fmt: skip
_BEGUN: Final = _RESPONSE % (b"in_progress", b"", b"null")
_WHERE: Final = b'"item_id":"msg_bench","output_index":0,"content_index":0,'
_GEMINI: Final = (
    b'{"candidates":[{"content":{"parts":[{"text":"%b"}],"role":"model"},%b"index":0}],"usageMetadata":{"promptTokenCount":20,'
    b'"candidatesTokenCount":200,"totalTokenCount":220},"modelVersion":"gemini-2.5-flash","responseId":"bench0123456789"}'
)
_GENERATED: Final = Form(
    _GEMINI % (b"%(text)b", b'"finishReason":"STOP",'),
    _event(_GEMINI % (b"", b"")),
    _event(_GEMINI % (STAMP, b"")),
    _event(_GEMINI % (b"", b'"finishReason":"STOP",')),
)

# By the end of the path. Gemini's says whether the answer is to be streamed; otherwise the body does.
FORMS: Final = {
    b":generateContent": _GENERATED,
    b":streamGenerateContent": _GENERATED,
    b"/chat/completions": Form(
        b'{"id":"chatcmpl-bench0123456789","object":"chat.completion","created":1764000000,"model":"gpt-4o-2024-08-06",'
        b'"choices":[{"index":0,"message":{"role":"assistant","content":"%(text)b","refusal":null},"logprobs":null,'
        b'"finish_reason":"stop"}],' + _COUNTED + b"}",
        _event(_CHUNK % (b'{"role":"assistant","content":"","refusal":null}', b"null")),
        _event(_CHUNK % (b'{"content":"%b"}' % STAMP, b"null")),
        _event(_CHUNK % (b"{}", b'"stop"'))
        + _event(
            b'{"id":"chatcmpl-bench0123456789","object":"chat.completion.chunk","created":1764000000,'
            b'"model":"gpt-4o-2024-08-06","choices":[],' + _COUNTED + b"}"
        )
        + _event(b"[DONE]"),
    ),
    b"/messages": Form(
        b"{" + _CLAUDE % (b'{"type":"text","text":"%(text)b"}', b'"end_turn"', b"200"),
        _events(
            b'{"type":"message_start","message":{' + _CLAUDE % (b"", b"null", b"1") + b"}",
            b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
            b'{"type":"ping"}',
        ),
        _events(b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%b"}}' % STAMP),
        _events(
            b'{"type":"content_block_stop","index":0}',
            b'{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":200}}',
            b'{"type":"message_stop"}',
        ),
    ),
    b"/responses": Form(
        _DONE,
        _events(
            b'{"type":"response.created","sequence_number":0,"response":%b}' % _BEGUN,
            b'{"type":"response.in_progress","sequence_number":1,"response":%b}' % _BEGUN,
            b'{"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":%b}'
            % (_ITEM % (b"in_progress", b"")),
            b'{"type":"response.content_part.added","sequence_number":3,%b"part":%b}' % (_WHERE, _PART % b""),
        ),
        _events(
            b'{"type":"response.output_text.delta","sequence_number":%(number)d,'
            + _WHERE + b'"delta":"' + STAMP + b'","logprobs":[]}'
        ),
        _events(
            b'{"type":"response.output_text.done","sequence_number":%(number)d,' + _WHERE
            + b'"text":"%(text)b","logprobs":[]}',
            b'{"type":"response.content_part.done","sequence_number":%(number)d,' + _WHERE
            + b'"part":' + _PART % b"%(text)b" + b"}",
            b'{"type":"response.output_item.done","sequence_number":%(number)d,"output_index":0,"item":'
            + _ITEM % (b"completed", _PART % b"%(text)b") + b"}",
            b'{"type":"response.completed","sequence_number":%(number)d,"response":' + _DONE + b"}",
        ),
    ),
}  # fmt: skip
# The events at the end of a Responses stream count on, the last piece being number chunks + 3.
_FIRST: Final = 4
_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\nx-request-id: req_bench\r\n%b\r\n\r\n"
_STREAM: Final = _HEAD % (b"text/event-stream; charset=utf-8", b"transfer-encoding: chunked")
_LAST: Final = b"0\r\n\r\n"


def unpaced(connection: socket.socket) -> None:
    """Choose a congestion control that does not pace: the system's own may be bbr, which does so even to this machine."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _end(form: Form, chunks: int, text: bytes) -> bytes:
    """The end of a stream, its events numbered on."""
    parts = form.end.split(b"%(number)d")
    numbered = b"".join(part + b"%d" % (chunks + _FIRST + n) for n, part in enumerate(parts[:-1])) + parts[-1]
    return _chunked(numbered.replace(b"%(text)b", text)) + _LAST


@cache
def _whole(path: bytes) -> bytes:
    said = FORMS[path].whole % {b"text": STAMP % {b"seq": 0, b"ns": 0} + b" and so they lived" * 12}
    return _HEAD % (b"application/json", b"content-length: %d" % len(said)) + said


@cache
def _prepared(path: bytes, chunks: int) -> list[bytes]:
    """The pieces of a stream without delays, each in an HTTP chunk of its own; the end is in the last."""
    form = FORMS[path]
    values = [{b"seq": n, b"ns": 0, b"number": n + _FIRST} for n in range(chunks)]
    pieces = [_chunked(form.piece % value) for value in values]
    pieces[-1] += _end(form, chunks, b"".join(STAMP % value for value in values))
    return pieces


class Upstream:
    """What answers: chunks and delay (seconds) of streams; seen: requests so far."""

    def __init__(self) -> None:
        self.chunks, self.delay, self.seen = 200, 0.0, 0
        self._due: deque[tuple[float, _Connection]] = deque()  # the delay is the same for all, so they stay in order
        self._timer: asyncio.Handle | None = None

    async def listen(self) -> int:
        """Begin to listen on a free port of this machine; returns it."""
        self._loop = asyncio.get_running_loop()
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        unpaced(listener)
        await self._loop.create_server(lambda: _Connection(self), sock=listener, backlog=4096)
        return int(listener.getsockname()[1])

    def play(self, connection: "_Connection") -> None:
        """Send the connection's next piece after the delay; without one, in the loop's next turn, as all streams do."""
        self._due.append((self._loop.time() + self.delay if self.delay else 0.0, connection))
        if self._timer is None:
            self._arm()

    def _arm(self) -> None:
        loop, self._timer = self._loop, None
        if self._due:
            due = self._due[0][0]
            self._timer = (
                loop.call_at(max(due, loop.time() + 0.001), self._send) if self.delay else loop.call_soon(self._send)
            )

    def _send(self) -> None:
        now = self._loop.time()
        for _ in range(len(self._due)):
            if self._due[0][0] > now:
                break
            self._due.popleft()[1].send_piece()
        self._arm()


class _Connection(asyncio.Protocol):
    """One connection of a gateway: one request after the other."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._got, self._need = bytearray(), 0
        self._form, self._seq, self._chunks, self._text = FORMS[b"/messages"], 0, 0, bytearray()
        self._pieces: list[bytes] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        if not self._need:
            end = self._got.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(self._got, 0, end)
            self._need = end + 4 + (int(length[1]) if length else 0)
        if len(self._got) >= self._need:
            # "stream" stands before or behind what is long
            path = bytes(self._got[:200]).split(b" ", 2)[1].partition(b"?")[0]
            told = _STREAMED.search(self._got[:4000]) or _STREAMED.search(self._got[-2000:])
            self._got.clear()
            self._need = 0
            self._answer(path, told is not None or path.endswith(b":streamGenerateContent"))

    def _answer(self, path: bytes, streamed: bool) -> None:
        self._upstream.seen += 1
        name = next((name for name in FORMS if path.endswith(name)), None)
        if name is None:
            self._transport.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        elif not streamed:
            self._transport.write(_whole(name))
        else:
            self._form, self._seq, self._chunks = FORMS[name], 0, self._upstream.chunks
            self._pieces = _prepared(name, self._chunks) if not self._upstream.delay else None
            self._text.clear()
            self._transport.write(_STREAM + _chunked(self._form.begin))
            self._upstream.play(self)

    def send_piece(self) -> None:
        if self._transport.is_closing():
            return
        seq, self._seq = self._seq, self._seq + 1
        if self._seq < self._chunks:
            self._upstream.play(self)
        self._transport.write(self._pieces[seq] if self._pieces else self._stamped(seq))

    def _stamped(self, seq: int) -> bytes:
        """The piece, with the time."""
        values = {b"seq": seq, b"ns": time.monotonic_ns(), b"number": seq + _FIRST}
        self._text += STAMP % values
        said = _chunked(self._form.piece % values)
        return said if seq + 1 < self._chunks else said + _end(self._form, self._chunks, bytes(self._text))
