"""The network cuts a stream anywhere: the same bytes in pieces of every size."""

from collections.abc import Iterator

SIZES = (1, 2, 3, 7, 64, None)


def pieces(data: bytes, size: int | None) -> Iterator[bytes]:
    """data in pieces of `size` bytes; None: whole."""
    step = size or max(len(data), 1)
    for start in range(0, len(data), step):
        yield data[start : start + step]
