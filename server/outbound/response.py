"""An upstream's answer: what it is to those who read it, what its failures mean, and answers that need no upstream."""

import asyncio
from collections.abc import Mapping
from itertools import chain
from typing import Protocol

from gateway.config_schema import Timeouts
from providers import density
from providers.contract import CannedReply
from providers.errors import Failure, UpstreamBadOutput, UpstreamError, UpstreamTimeout, UpstreamTruncated

from .wire import BodyCut, InvalidHttp, Take


class UpstreamResponse(Protocol):
    """What came back: status, headers, and the body as it arrives."""

    status: int
    headers: Mapping[str, str]

    @property
    def is_read(self) -> bool:
        """Whether the end of the body has been read. False: it may have been."""

    async def read(self, patience: float = 0.0) -> bytes:
        """Return the next piece of the body, b"" at its end. The loop gets its turn before the next where more is waiting.

        patience: seconds of silence allowed after the first piece; 0: timeouts.between_bytes. The first piece must come
        in what the head has left of its time. Raises Failure when the connection fails or falls silent.
        """

    async def pour(self, take: Take, patience: float) -> None:
        """Give pieces of the body to `take` as they arrive, until it returns False or `read` knows more. It may give none.

        patience: seconds of silence allowed. Raises what `take` raises.
        """

    def close(self) -> None:
        """Give the connection back when the body was read to its end, else close it at once."""

    def finish(self) -> None:
        """Give the connection back after a complete answer. What ends the body may still be on its way."""


def failure_of(error: Exception, patience: float, begun: bool) -> Failure:
    """Return what an exception of a connection means. The work may be under way, and paid.

    patience: seconds of silence that were allowed; begun: whether the first byte of a body has come; a head is not yet an answer.
    """
    failure: Failure
    match error:
        case TimeoutError() if begun:
            failure = UpstreamTimeout(f"The upstream fell silent for {patience:g} s.", code="upstream_idle_timeout")
        case TimeoutError():
            failure = UpstreamTimeout(
                f"The upstream did not answer within {patience:g} s.", code="upstream_first_byte_timeout"
            )
        case InvalidHttp():
            failure = UpstreamError("The upstream's answer is not valid HTTP.", code="upstream_protocol")
        case _ if begun or isinstance(error, BodyCut):
            failure = UpstreamTruncated()
        case _:
            failure = UpstreamError("The upstream closed the connection without an answer.")
    failure.should_retry = False
    return failure


def too_much(limit: int, when: str = "") -> UpstreamBadOutput:
    """Return the failure of an answer that has more bytes than it may."""
    return UpstreamBadOutput(f"The upstream's answer is larger than {limit} bytes{when}.", code="upstream_too_large")


async def read_all(
    answer: UpstreamResponse, limit: int, start: bytes = b"", tail: float = 0.0
) -> tuple[bytes, Failure | None]:
    """Read the rest of a body. Returns `start`, which was read before, with what came, and what kept the rest from coming.

    More than `limit` bytes are not read. tail: seconds that the end of the body may take once the JSON in it is whole; 0: as
    long as any silence.
    """
    if answer.is_read and len(start) <= limit:  # a small answer came in one piece
        return start, None
    pieces, size, whole = [start], len(start), density.Whole()
    try:
        patience = tail if tail and whole.add(start) else 0.0
        while size <= limit and (piece := await answer.read(patience)):
            size += len(piece)
            pieces.append(piece)
            patience = tail if tail and not answer.is_read and whole.add(piece) else 0.0
    except Failure as failure:
        return b"".join(pieces), failure
    if size <= limit:
        return b"".join(pieces), None
    return b"".join(pieces)[:limit], too_much(limit)


class SimulatedResponse:
    """An answer that is made here (contract.CannedReply), played with its delays as if it came over a socket."""

    def __init__(self, reply: CannedReply, timeouts: Timeouts, first_byte: float) -> None:
        self.status, self.headers = reply.status, reply.headers
        self._steps, self._cut, self._timeouts = iter(reply.steps), reply.cut, timeouts
        self._patience, self._begun = first_byte, False

    @property
    def is_read(self) -> bool:
        return False

    async def read(self, patience: float = 0.0) -> bytes:
        pieces: list[bytes] = []
        if self._begun:
            self._patience = patience or self._timeouts.between_bytes
        for step in self._steps:
            if step.delay and pieces:
                self._steps = chain((step,), self._steps)
                break
            if step.delay:
                await asyncio.sleep(min(step.delay, self._patience))
                if step.delay > self._patience:
                    raise failure_of(TimeoutError(), self._patience, self._begun)
            if step.data:
                pieces.append(step.data)
                self._begun = True
        if not pieces and self._cut:
            raise UpstreamTruncated
        return b"".join(pieces)

    async def pour(self, take: Take, patience: float) -> None:
        """All is left to read."""

    def finish(self) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is open."""
