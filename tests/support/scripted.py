"""A scripted upstream: a real socket that answers as it is told, and remembers who asked what and when they left.

It speaks just enough HTTP/1.1 to be a provider, and every way of being a bad one. A test gives each model id its scripts:
one for each request, the last for all that follow.

    upstream.script("slow", [*answer(b'{"choices": []}', cut=7), CLOSE])
    upstream.script("flaky", [ABORT], answer(body))                     # the first request is reset, the second answered

A script is a list of steps, played one after the other:

    bytes        written to the socket as they are, at once and on their own (TCP_NODELAY)
    float, int   that many seconds of silence; FOREVER lasts until the peer leaves
    Event        silence until the test sets it
    CLOSE        an orderly end (FIN); ABORT: a reset (RST)

After the last step the connection waits for its next request. `head`, `body`, `answer` and `sse` make the usual steps;
what HTTP does not allow (a broken status line, a wrong Content-Length) is written by hand, it is only bytes.

The model id is the request's `model`, else what the path has after /models/ (Gemini), else the path itself. The server
has a thread and an event loop of its own, so that tests may be synchronous or not.
"""

import asyncio
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ssl import SSLContext
from typing import Any, Final, Self

from cuts import pieces

CLOSE: Final = "close"
ABORT: Final = "abort"
JSON: Final = "application/json"
FOREVER: Final = float("inf")
Step = bytes | float | str | threading.Event
Script = list[Step]
Headers = Mapping[str, str]
NONE: Final[Headers] = {}
PATIENCE: Final = 10.0  # seconds a test waits for something that is sure to happen


def head(status: int = 200, headers: Headers = NONE, kind: str = JSON) -> bytes:
    """A status line and headers, and the blank line."""
    lines = [f"HTTP/1.1 {status} Scripted", f"Content-Type: {kind}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def chunked(data: bytes, cut: int | None = None, end: bool = True) -> list[Step]:
    """`data` in HTTP chunks of `cut` bytes. end: with the last chunk; without it the body is unfinished."""
    steps: list[Step] = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces(data, cut)]
    return [*steps, b"0\r\n\r\n"] if end else steps


def answer(data: Any, status: int = 200, headers: Headers = NONE, kind: str = JSON, cut: int | None = None) -> Script:
    """A whole answer with Content-Length, in pieces of `cut` bytes. data: bytes, a text, or a value to send as JSON."""
    if not isinstance(data, bytes):
        data = (data if isinstance(data, str) else json.dumps(data)).encode()
    return [head(status, {"Content-Length": str(len(data)), **headers}, kind), *pieces(data, cut)]


def stream(data: bytes, cut: int | None = None, end: bool = True, headers: Headers = NONE) -> Script:
    """An event stream in HTTP chunks of `cut` bytes. end: False leaves it unfinished, for more steps to follow."""
    headers = {"Transfer-Encoding": "chunked", **headers}
    return [head(200, headers, "text/event-stream"), *chunked(data, cut, end)]


def until_close(data: bytes, cut: int | None = None, kind: str = "text/event-stream") -> Script:
    """A body without length or chunks: it ends where the connection does, cut off or not."""
    return [head(200, {"Connection": "close"}, kind), *pieces(data, cut), CLOSE]


def sse(*events: Any, done: bool = True) -> bytes:
    """Events of an OpenAI-like stream: a value is sent as JSON, a text or bytes as they are."""
    texts = [event if isinstance(event, str | bytes) else json.dumps(event, ensure_ascii=False) for event in events]
    lines = [text.encode() if isinstance(text, str) else text for text in [*texts, *(["[DONE]"] if done else [])]]
    return b"".join(b"data: " + line + b"\n\n" for line in lines)


@dataclass(eq=False)
class Request:
    """One request as it arrived. at, left: seconds (time.monotonic()); left: when its connection closed, if it has."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    connection: int  # the how-manyth connection this is
    at: float
    peer_left: bool = False  # the peer closed it, rather than the script
    left: float | None = None
    _left: threading.Event = field(default_factory=threading.Event, repr=False)

    @cached_property
    def json(self) -> Any:
        return json.loads(self.body)

    @cached_property
    def model(self) -> str:
        try:
            return str(self.json["model"])
        except (ValueError, KeyError, TypeError):
            found = re.search(r"/models/([^:?]+)", self.path)
            return found[1] if found else self.path

    def wait_left(self, patience: float = PATIENCE) -> float:
        """When the connection closed; waits for it."""
        if not self._left.wait(patience):
            raise AssertionError(f"the connection of {self.model} is still open")
        assert self.left is not None
        return self.left


class _Connection(asyncio.Protocol):
    """Reads requests, one at a time, and plays their scripts; hears at once when the peer leaves."""

    def __init__(self, upstream: "Upstream") -> None:
        self._upstream = upstream
        upstream.connections += 1
        self._number = upstream.connections
        self._data = bytearray()
        self._mine: list[Request] = []
        self._task: asyncio.Task[None] | None = None
        self._flowing = asyncio.Event()  # whether the peer takes what is written
        self._flowing.set()
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._upstream.open.add(self)

    def data_received(self, data: bytes) -> None:
        self._data += data
        top, blank, rest = self._data.partition(b"\r\n\r\n")
        if not blank:
            if not self._data[:1].isalpha():  # TLS, for example
                self._transport.write(head(400))
                self.stop(CLOSE)
            return
        first, *lines = top.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", 0))
        if len(rest) < size:
            return
        self._data = bytearray(rest[size:])
        method, path, _ = first.split(" ", 2)
        request = Request(method, path, headers, bytes(rest[:size]), self._number, time.monotonic())
        self._mine.append(request)
        self._task = asyncio.get_running_loop().create_task(self._play(self._upstream.heard(request)))

    async def _play(self, steps: Iterable[Step]) -> None:
        for step in steps:
            if isinstance(step, bytes):
                self._transport.write(step)
                await self._flowing.wait()
                await asyncio.sleep(0)
            elif isinstance(step, str):
                self._ended = True
                self.stop(step)
            elif isinstance(step, threading.Event):
                while not step.is_set():
                    await asyncio.sleep(0.01)
            elif step == FOREVER:
                await asyncio.Event().wait()
            else:
                await asyncio.sleep(step)

    def stop(self, how: str) -> None:
        if how is ABORT:  # linger for no time: the kernel sends a reset
            linger = struct.pack("ii", 1, 0)
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._transport.abort()
        else:
            self._transport.close()

    def pause_writing(self) -> None:
        self._flowing.clear()

    def resume_writing(self) -> None:
        self._flowing.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._upstream.open.discard(self)
        if self._task is not None:
            self._task.cancel()
        for request in self._mine:
            request.left, request.peer_left = time.monotonic(), not self._ended
            request._left.set()


class Upstream:
    """The server; a context manager. url: its address, without a path; requests: all there were, in order."""

    def __init__(self, ssl: SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.open: set[_Connection] = set()
        self._ssl = ssl
        self._scripts: dict[str, list[Script]] = {}
        self._news = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="upstream", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        listen = self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, ssl=self._ssl)
        self._server = asyncio.run_coroutine_threadsafe(listen, self._loop).result()
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._ssl else 'http'}://127.0.0.1:{self.port}"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        for connection in list(self.open):
            connection.stop(CLOSE)
        await asyncio.sleep(0.01)  # for the transports to say goodbye

    def script(self, name: str, *scripts: Script) -> str:
        """What requests for model `name` get: the first, the second, …, the last from then on. Returns the name."""
        with self._news:
            self._scripts[name] = list(scripts)
        return name

    def heard(self, request: Request) -> Script:
        """Note a request; what is to be played for it."""
        with self._news:
            self.requests.append(request)
            scripts = self._scripts.get(request.model)
            self._news.notify_all()
            if not scripts:
                return answer({"error": {"message": f"no script for {request.model}", "code": "no_script"}}, 500)
            return scripts.pop(0) if len(scripts) > 1 else scripts[0]

    def of(self, name: str) -> list[Request]:
        """The requests for model `name` so far."""
        with self._news:
            return [request for request in self.requests if request.model == name]

    def wait(self, name: str, count: int = 1, patience: float = PATIENCE) -> Request:
        """The `count`-th request for model `name`; waits for it."""
        with self._news:
            if not self._news.wait_for(lambda: sum(r.model == name for r in self.requests) >= count, patience):
                raise AssertionError(f"no request {count} for {name}")
        return self.of(name)[count - 1]
