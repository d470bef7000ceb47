"""The log: one line per request and a few about the server, written by a thread.

A stuck pipe (journald under load) must not stop the event loop, so lines go through a bounded queue and are dropped, and
counted, when it is full. The thread writes in batches: waking it for each line would cost more than the line.
Names and numbers are logged; prompts, answers and keys never.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from io import FileIO, RawIOBase
from typing import Any, Final, TextIO, cast

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gateway.record import RequestRecord
from gateway.scrub import Scrubber
from providers import codec

from .terminal import text_of
from .throttle import Throttle

LOGGER: Final = logging.getLogger("modelserver")

_LIMIT: Final = 10_000  # lines waiting
_PATH: Final = 500  # characters of a path that a line shows
_FLOOD: Final = 10  # the same line in one second
_PAUSE: Final = 0.05  # seconds in which lines are collected


class RequestLine(msgspec.Struct, omit_defaults=True, gc=False):
    """A line about a request, as it is written; what has its default is left out. time: Unix time, and then its text."""

    time: float | str
    request: str
    method: str
    path: str
    status: int  # 499: the client left
    key: str = ""
    model: str = ""
    upstream: str = ""
    session: str = ""
    code: str = ""
    tried: str = ""
    stream: bool | None = None
    first_ms: float | None = None
    total_ms: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Message(msgspec.Struct, omit_defaults=True, gc=False):
    """Any other line. time: Unix time, and then its text."""

    time: float | str
    level: str
    message: str
    traceback: str = ""


class Log(logging.Handler):
    """Writes lines to `out`, as JSON or, for people, as text. dropped: lines that found the queue full, or were a flood.

    terminal: lines about requests are cut to its width; colour: their status has one.
    out: unbuffered. A buffer has a lock, and Python would wait for the thread that holds it before it ends.
    """

    def __init__(self, out: RawIOBase, as_json: bool, terminal: bool = False, colour: bool = False) -> None:
        super().__init__()
        self._terminal, self._colour = terminal, colour
        self.dropped = 0
        self.scrub: Callable[[str], str] = Scrubber()
        self._throttle = Throttle(_FLOOD, 1.0)
        self._out, self._as_json = out, as_json
        self._lines: deque[RequestLine | Message] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._write_lines, name="log", daemon=True)
        self._thread.start()

    def request(self, record: RequestRecord, method: str, path: str, status: int, now: float) -> None:
        """One line about a finished request. status: 499 when the client left; now: monotonic seconds.

        Of refusals to callers without a key, only so many a second: anyone can cause them.
        """
        at = time.time()
        if status >= 400 and not record.key and not self._throttle.allows(f"{status} {record.code}", at):
            self.dropped += 1
            return
        # The thread gets values: the record may still change, when its answer is read to the end after the client has left.
        started = record.started
        self._put(
            RequestLine(
                at,
                record.id,
                method,
                path[:_PATH],
                status,
                record.key,
                record.model,
                record.upstream,
                record.session,
                record.code,
                ", ".join([f"{target}: {code}" for target, code in record.tried]) if record.tried else "",
                record.stream if record.model else None,
                round((record.first - started) * 10_000) / 10 if record.first else None,
                round((now - started) * 10_000) / 10,
                record.prompt,
                record.completion,
            )
        )

    def emit(self, record: logging.LogRecord) -> None:
        """A line of the standard logging module: start-up, faults, what libraries have to say.

        The same line comes at most ten times a second: whoever can cause a line must not fill the disk with it.
        """
        if not self._throttle.allows(str(record.msg), record.created):
            self.dropped += 1
            return
        line = Message(record.created, record.levelname.lower(), record.getMessage())
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError | web.RequestPayloadError):
            # A client's broken HTTP. aiohttp's words for it quote what was sent, and that may be a key.
            line.level = "info"
            line.message = f"a request was refused: it is not valid HTTP ({type(error).__name__})"
        elif record.exc_info:
            line.traceback = logging.Formatter().formatException(record.exc_info)
        self._put(line)

    def _put(self, line: RequestLine | Message) -> None:
        if len(self._lines) >= _LIMIT:
            self.dropped += 1
            return
        self._lines.append(line)
        if not self._wake.is_set():
            self._wake.set()

    def _write_lines(self) -> None:
        while not (self._stopping and not self._lines):
            self._wake.wait()
            self._wake.clear()
            if not self._stopping:
                time.sleep(_PAUSE)
            batch = [self._lines.popleft() for _ in range(len(self._lines))]
            data = self.scrub(self._text(batch)).encode(errors="backslashreplace")
            try:
                while data:
                    data = data[self._out.write(data) or 0 :]
            except (OSError, ValueError):
                return  # nobody reads any more

    def _text(self, lines: list[RequestLine | Message]) -> str:
        """Return these lines as they are written."""
        for line in lines:
            line.time = _stamp(cast(float, line.time))
        if not self._as_json:
            return "".join([self._for_people(msgspec.to_builtins(line)) + "\n" for line in lines])
        try:
            return codec.encoder.encode_lines(lines).decode()
        except UnicodeEncodeError:  # half an emoji
            return "".join([codec.encode_text(msgspec.to_builtins(line)) + "\n" for line in lines])

    def _for_people(self, line: dict[str, Any]) -> str:
        stamp = line["time"][11:-1]
        if "message" in line:
            traceback = f"\n{line['traceback']}" if "traceback" in line else ""
            return f"{stamp} {line['level']}: {line['message']}{traceback}"
        return text_of(line, stamp, self._terminal, self._colour)

    def close(self) -> None:
        """Write what is waiting, for at most a second, and end the thread."""
        self._stopping = True
        self._wake.set()
        self._thread.join(1.0)
        super().close()


def _stamp(at: float) -> str:
    """Return a Unix time as lines show it."""
    second = int(at)
    return f"{_day_and_time(second)}.{int((at - second) * 1000):03}Z"


@lru_cache(4)
def _day_and_time(second: int) -> str:
    """A Unix time in ISO 8601, UTC; busy servers write many lines in a second."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def start(style: str, out: TextIO) -> Log:
    """Send all logging to `out`. style: auto, json or text."""
    terminal = out.isatty()
    colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    as_json = style == "json" or (style == "auto" and not terminal)
    log = Log(FileIO(out.fileno(), "w", closefd=False), as_json, terminal, colour)
    logging.basicConfig(level=logging.INFO, handlers=[log], force=True)
    return log
