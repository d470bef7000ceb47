"""Request bodies that pass while they arrive: forms, in which the model's name is found, and any other.

A form that names its model behind a file is kept on disk until the name has come; what follows it is passed on as it arrives.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from typing import IO, Final

from aiohttp import web

from dialects.passing.form import FormScanner
from providers.errors import BadRequest, Overloaded, RequestTimeout, RequestTooLarge

from ..ingress import send_continue
from ..request import Request
from ..state import AppState
from ..traces import HEAD

_IN_MEMORY: Final = 256 * 1024  # bytes of a form that are kept before a file is made
_PIECE: Final = 64 * 1024  # bytes that are read from the file at once


async def arriving(request: Request) -> AsyncIterator[bytes]:
    """Yield a request's body as it comes. Raises RequestTooLarge, RequestTimeout, BadRequest."""
    server = request.generation.settings.config.server
    limit, silence = server.max_upload, server.timeouts.request_body
    size = request.content_length or 0
    if size <= limit:
        await send_continue(request)
        size = 0
    try:
        while size <= limit:
            async with asyncio.timeout(silence):
                piece = await request.content.readany()
            if not piece:
                return
            size += len(piece)
            if size <= limit:
                yield piece
    except TimeoutError:
        raise RequestTimeout(
            f"The request body stopped: nothing came of it for {silence:g} s.", code="request_timeout"
        ) from None
    except (web.RequestPayloadError, ConnectionError):
        raise BadRequest("The request body could not be read: it broke off, or its framing is broken.") from None
    raise RequestTooLarge(f"The request body is larger than {limit} bytes (server.max_upload).")


class Spool:
    """The beginning of a body: in memory, and on disk where it is long. size: its bytes. Close it in the end."""

    def __init__(self, state: AppState, most: int) -> None:
        """most: bytes that all spools of this process may have on disk."""
        self._state, self._most = state, most
        self._pieces: list[bytes] = []
        self._file: IO[bytes] | None = None
        self.size = self._on_disk = 0

    async def add(self, piece: bytes) -> None:
        """Keep the next bytes. Raises Overloaded where there is no room."""
        self._pieces.append(piece)
        self.size += len(piece)
        if self.size - self._on_disk < _IN_MEMORY:
            return
        data, self._pieces = b"".join(self._pieces), []
        if self._state.spooled + len(data) > self._most:
            raise self._full()
        self._state.spooled += len(data)
        self._on_disk += len(data)
        try:
            self._file = self._file or tempfile.TemporaryFile()  # noqa: SIM115  it is closed by close()
            await asyncio.to_thread(self._file.write, data)
        except OSError:
            raise self._full() from None

    def _full(self) -> Overloaded:
        return Overloaded(
            "This server has no room to keep the form until the name of its model comes. Send the field 'model' before the "
            "files: then nothing has to be kept.",
            retry_after=1,
        )

    async def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from start to end."""
        while self._file is not None and start < min(end, self._on_disk):
            piece = await asyncio.to_thread(self._read, start, min(_PIECE, end - start, self._on_disk - start))
            start += len(piece)
            yield piece
        if start < end:
            rest = b"".join(self._pieces)
            yield rest[start - self._on_disk : end - self._on_disk]

    def _read(self, at: int, size: int) -> bytes:
        assert self._file is not None
        self._file.seek(at)
        data = self._file.read(size)
        self._file.seek(0, 2)
        return data

    def close(self) -> None:
        """Give the room to others."""
        self._state.spooled -= self._on_disk
        self._on_disk = 0
        if self._file is not None:
            self._file.close()


class Form:
    """A form of a client, up to and with the name of its model, and the rest on its way. model: None: it names none."""

    def __init__(self, request: Request, boundary: bytes, check: Callable[[str], None]) -> None:
        server = request.generation.settings.config.server
        self._request, self._rest = request, arriving(request)
        self._scanner = FormScanner(boundary, check)
        self._spool = Spool(request.app_state, server.max_upload)
        self.head = b""  # what is shown of it
        self.begun = self.ended = False  # whether what follows the name has been sent on; whether all has come

    async def find_model(self) -> str | None:
        """Read up to the name of the model and return it; None where there is none. Raises BadRequest and as arriving does."""
        async for piece in self._rest:
            self._scanner.feed(piece)
            self.head += piece[: max(0, HEAD - len(self.head))]
            await self._spool.add(piece)
            if self._scanner.model is not None:
                self.ended = self._request.content.at_eof()
                break
        else:
            self.ended = True
        if self.ended:
            self._scanner.close()
        return self._scanner.model

    def with_model(self, model: str) -> "FormUpload":
        """Return the form with another model."""
        return FormUpload(self, model.encode())

    def size(self, model: bytes) -> int | None:
        """Return its bytes with this model; None where the client does not tell."""
        size = self._spool.size if self.ended else self._request.content_length
        return None if size is None else size - (self._scanner.end - self._scanner.start) + len(model)

    async def pieces(self, model: bytes) -> AsyncIterator[bytes]:
        """Yield it with this model: once, unless `begun` is still false at the end."""
        async for piece in self._spool.read(0, self._scanner.start):
            yield piece
        yield model
        async for piece in self._spool.read(self._scanner.end, self._spool.size):
            yield piece
        if self.ended:
            return
        self.begun = True
        async for piece in self._rest:
            self._scanner.feed(piece)
            yield piece
        self._scanner.close()

    def close(self) -> None:
        """Forget it."""
        self._spool.close()


class FormUpload:
    """A form for one target. See outbound.upload.Upload."""

    def __init__(self, form: Form, model: bytes) -> None:
        self._form, self._model = form, model
        self.size, self.head = form.size(model), form.head

    @property
    def repeatable(self) -> bool:
        return not self._form.begun

    def pieces(self) -> AsyncIterator[bytes]:
        return self._form.pieces(self._model)


class WholeUpload:
    """A body that passes as it is. See outbound.upload.Upload."""

    def __init__(self, request: Request) -> None:
        self._rest = arriving(request)
        self.size, self.head = request.content_length, b""
        self.repeatable = True

    async def pieces(self) -> AsyncIterator[bytes]:
        self.repeatable = False
        async for piece in self._rest:
            self.head += piece[: max(0, HEAD - len(self.head))]
            yield piece
