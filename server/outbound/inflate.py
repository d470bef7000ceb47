"""Bodies that an upstream has compressed, though none was asked for: read in pieces that are bounded when unfolded."""

import asyncio
import zlib
from collections.abc import Mapping
from typing import Final

from .wire import PIECE, InvalidHttp, Wire

_GZIP: Final = 16 + zlib.MAX_WBITS
_CODINGS: Final = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": zlib.MAX_WBITS}
_UNKNOWN: Final = frozenset({"br", "zstd", "compress"})


class Inflater:
    """Reads one body. wbits: how it is compressed (zlib)."""

    def __init__(self, wbits: int) -> None:
        self._wbits = wbits
        self._unfold: zlib._Decompress | None = None
        self._rest = b""  # compressed, and not yet unfolded

    async def read(self, wire: Wire, patience: float) -> bytes:
        """Return the next piece, b"" at the end of the body. Raises what Wire.read raises, and InvalidHttp."""
        while True:
            if self._rest:
                await asyncio.sleep(0)  # a little may unfold into much
            else:
                self._rest = await wire.read(patience)
                if not self._rest:
                    return b""
            if self._unfold is None:
                bare = self._wbits == zlib.MAX_WBITS and self._rest[0] & 0xF != 8  # deflate without zlib's header
                self._unfold = zlib.decompressobj(-zlib.MAX_WBITS if bare else self._wbits)
            try:
                data = self._unfold.decompress(self._rest, PIECE)
            except zlib.error as error:
                raise InvalidHttp(str(error)) from None
            self._rest = self._unfold.unconsumed_tail
            if self._unfold.eof and self._unfold.unused_data:  # what follows is compressed on its own
                self._rest, self._unfold = self._unfold.unused_data, None
            if data:
                return data


def inflater_of(headers: Mapping[str, str]) -> Inflater | None:
    """Return what reads a body with these headers; None where it is not compressed. Raises InvalidHttp for unknown codings."""
    coding = headers.get("Content-Encoding")
    if coding is None:
        return None
    coding = coding.strip().lower()
    if coding in _UNKNOWN:
        raise InvalidHttp(f"the body is compressed with {coding}")
    wbits = _CODINGS.get(coding)
    return None if wbits is None else Inflater(wbits)
