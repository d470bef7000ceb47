"""The network cuts a stream anywhere: the same bytes in pieces of every size."""

SIZES = (1, 2, 3, 7, 64, None)


def pieces(data: bytes, size: int | None) -> list[bytes]:
    """data in pieces of `size` bytes; None: whole."""
    step = size or max(len(data), 1)
    return [data[start : start + step] for start in range(0, len(data), step)]
