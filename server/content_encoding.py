"""Unpack request bodies that have a Content-Encoding, within a bound on the unpacked size.

gzip and deflate are in the standard library; zstd is in Python 3.14's, before that in the package backports.zstd, which
is used where it is installed. A body in any other encoding is refused with the list of those that are taken.
"""

import asyncio
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from providers.errors import BadRequest, UnsupportedEncoding

_STEP: Final = 2**18  # bytes unpacked at a time
_WINDOW: Final = 23  # log2 of the bytes of history a zstd body may ask us to keep: RFC 9659 allows no more


def _zlib(window: int) -> Callable[[bytes], Iterator[bytes]]:
    """window: 31 for gzip, 15 for zlib's own format, -15 for none."""

    def unpack(data: bytes) -> Iterator[bytes]:
        stream = zlib.decompressobj(window)
        end = 0
        while end < len(data) and not stream.eof:
            rest, end = data[end : end + _STEP], end + _STEP  # not all at once: each call copies what it has not used
            while piece := stream.decompress(rest, _STEP):
                yield piece
                rest = stream.unconsumed_tail
        _check_end(stream.eof, stream.unused_data or data[end:])

    return unpack


def _deflate(data: bytes) -> Iterator[bytes]:
    """The zlib format, or bare deflate, which some clients send under the same name."""
    return _zlib(15 if data[:1] and data[0] & 15 == 8 else -15)(data)


def _zstd(module: Any) -> Callable[[bytes], Iterator[bytes]]:
    def unpack(data: bytes) -> Iterator[bytes]:
        stream = module.ZstdDecompressor(options={module.DecompressionParameter.window_log_max: _WINDOW})
        rest = data
        try:
            while not stream.eof:
                piece = stream.decompress(rest, _STEP)
                rest = b""  # the decompressor keeps what it has not used
                if not piece and stream.needs_input:
                    break
                yield piece
        except module.ZstdError as error:
            raise ValueError(str(error)) from None
        _check_end(stream.eof, stream.unused_data)

    return unpack


def _check_end(ended: bool, unused: bytes) -> None:
    if not ended or unused:
        raise ValueError("the compressed data does not end where the body ends")


def _known() -> dict[str, Callable[[bytes], Iterator[bytes]]]:
    known = {"gzip": _zlib(31), "x-gzip": _zlib(31), "deflate": _deflate}
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        try:
            from backports import zstd  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            return known
    return {**known, "zstd": _zstd(zstd)}


_UNPACK: Final = _known()
TAKEN: Final = ", ".join(name for name in _UNPACK if not name.startswith("x-"))


def named(headers: Sequence[str]) -> str:
    """Return the encoding that a request's Content-Encoding headers name, "" for none. Raises UnsupportedEncoding."""
    names = [name.strip().lower() for header in headers for name in header.split(",")]
    names = [name for name in names if name not in ("", "identity")]
    if not names:
        return ""
    if len(names) > 1 or names[0] not in _UNPACK:
        sent = ", ".join(names)[:100]
        failure = UnsupportedEncoding(
            f"This server does not unpack request bodies with the Content-Encoding {sent!r}: send the body as it is, or "
            f"as one of {TAKEN}."
        )
        failure.headers = {"Accept-Encoding": TAKEN}
        raise failure
    return names[0]


async def unpacked(data: bytes, encoding: str, check: Callable[[int], None]) -> bytes:
    """Unpack a body, giving way to other requests in between. Raises BadRequest for one that is broken.

    check: called with the bytes unpacked so far, after each piece; raises when they are too many.
    """
    pieces: list[bytes] = []
    size = 0
    try:
        for piece in _UNPACK[encoding](data):
            size += len(piece)
            check(size)
            pieces.append(piece)
            await asyncio.sleep(0)
    except (zlib.error, ValueError):
        raise BadRequest(f"The request body is not valid {encoding}, or a part of it is missing.") from None
    return b"".join(pieces)
