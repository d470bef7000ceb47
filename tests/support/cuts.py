"""The network cuts a stream anywhere: the same bytes in pieces of every size."""

CUTS = (1, 2, 3, 7, 64, None)  # bytes of a piece; None: whole
FEW = (1, 7, 64, None)  # where there are many streams, or long ones


def pieces(data: bytes, size: int | None) -> list[bytes]:
    """data in pieces of `size` bytes; None: whole."""
    step = size or max(len(data), 1)
    return [data[start : start + step] for start in range(0, len(data), step)]
