"""Who is inside: a bound on requests and on their bytes, a queue with a deadline, and the way out for all at once.

What does not fit is refused at once, with 503 and Retry-After: a server that takes everything answers nothing in time.
The same holds while the process is under strain: its memory nears the limit, or its loop keeps coming late. One request at
a time is let in even then: memory that the system is never given back must not close the server for good.
A request that must end (its total time is over, the server stops) is cancelled with a failure for its client, so that its
upstream call is closed by the same path as when a client leaves.
"""

import asyncio
from collections import deque
from types import TracebackType

from gateway.config_schema import CapacityConfig
from providers.errors import Failure, Overloaded, RequestTooLarge, UpstreamTimeout

from .process import memory
from .worker import Worker

_BUSY = "This server has as much to do as it may have at once. Try again in a moment."
_TIMES = 3  # bytes of memory for each byte of a body that arrives: its pieces, then all of them, its text, what goes upstream
_LATE = 2  # beats in a row: one alone may be a large request, or a machine that slept


class InFlightRequest:
    """One request under way; a context manager, which raises `why` where this server has cancelled the request.

    why: the failure it is being ended with. worker: what works on its body, where that is large. detached: the task that reads
    its answer on when its client has left; until that is done it keeps its turn and its bytes.
    """

    __slots__ = ("_admission", "_bytes", "_task", "_turn", "deadline", "detached", "why", "worker")

    def __init__(self, admission: "Admission", task: "asyncio.Task[object]", deadline: float) -> None:
        self._admission, self._task = admission, task
        self.deadline = deadline  # loop time
        self.why: Failure | None = None
        self.worker: Worker | None = None
        self.detached: asyncio.Task[None] | None = None
        self._bytes = 0
        self._turn = False

    def __enter__(self) -> "InFlightRequest":
        self._admission.runs.add(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        admission = self._admission
        admission.runs.discard(self)
        if admission.empty is not None and not admission.runs:
            admission.empty.set()
        if self.detached is None:
            self._give_back()
        else:
            self.detached.add_done_callback(lambda _: self._give_back())
        if self.why is not None and isinstance(error, asyncio.CancelledError):
            raise self.to_failure(error) from None

    def _give_back(self) -> None:
        """Give the turn and the bytes to others."""
        self._admission.count(-self._bytes)
        if self._turn:
            self._admission.release()

    @property
    def held(self) -> int:
        """The bytes that are counted for this request."""
        return self._bytes

    def hold_bytes(self, size: int) -> None:
        """Count `size` bytes, or what is already counted if that is more, until the request ends.

        Raises Overloaded when that is too much beside what others hold: one alone may hold what its body unfolds to.
        """
        more = size - self._bytes
        if more <= 0:
            return
        admission = self._admission
        if admission.bytes > self._bytes:
            if admission.bytes + more > admission.bounds.bytes:
                raise admission.rejection("bytes")
            if admission.has_no_room(more):
                admission.pressed = True
                raise admission.rejection("memory")
        admission.count(more)
        self._bytes = size

    def keep(self, size: int) -> None:
        """Count `size` bytes from now on, whatever there is."""
        self._admission.count(size - self._bytes)
        self._bytes = size

    async def acquire(self) -> None:
        """Wait until this request may be answered. Raises Overloaded when too many wait, or it waited too long."""
        admission = self._admission
        if admission.busy < admission.bounds.requests:
            admission.busy += 1
            self._turn = True
            return
        if len(admission.waiting) >= admission.bounds.waiting:
            raise admission.rejection("requests")
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        admission.waiting.append((self, ready))
        try:
            async with asyncio.timeout(admission.bounds.wait):
                await ready
        except TimeoutError:
            raise admission.rejection("requests") from None
        finally:
            if not self._turn:
                admission.waiting.remove((self, ready))

    def grant(self) -> None:
        self._turn = True

    def cancel(self, why: Failure) -> None:
        """End the request with this failure."""
        if self.why is None:
            self.why = why
            self._task.cancel()

    def to_failure(self, error: BaseException) -> Failure:
        """What to tell the client: `error` itself, or the reason for which this server cancelled the request.

        Raises what else it is: a CancelledError means the client left.
        """
        if isinstance(error, Failure):
            return error
        if self.why is None or not isinstance(error, asyncio.CancelledError):
            raise error
        self._task.uncancel()
        return self.why


class Admission:
    """runs: all requests inside; busy: those being answered, or drained; bytes: of memory for their bodies, and for answers
    that clients have yet to take; taken: all bytes that were ever counted.

    refused: so far, by what there was too much of; memory: bytes from which on it is too much, 0: no bound;
    overload: what there is too much of now, "memory", "lag" or ""; pressed: a body was refused for want of memory since this
    was last set to False.
    """

    def __init__(self, bounds: CapacityConfig, memory: int = 0) -> None:
        self.bounds, self.memory = bounds, memory
        self.overload = ""
        self._late = 0  # beats in a row
        self.runs: set[InFlightRequest] = set()
        self.busy = 0
        self.bytes = self.taken = 0
        self._resident = self._bytes_then = 0  # what the last beat showed, and bytes then
        self.pressed = False
        self.refused = dict.fromkeys(("requests", "bytes", "memory", "lag"), 0)
        self.waiting: deque[tuple[InFlightRequest, asyncio.Future[None]]] = deque()
        self.empty: asyncio.Event | None = None  # set once the last has left, where somebody waits for that
        self.draining = False

    def enter(self, total: float) -> InFlightRequest:
        """A request has come in and may take `total` seconds. Raises Overloaded while the process is under strain."""
        if self.overload and self.busy:
            raise self.rejection(self.overload)
        task = asyncio.current_task()
        assert task is not None
        return InFlightRequest(self, task, task.get_loop().time() + total)

    @property
    def ready(self) -> bool:
        """Whether a new request would be answered without a wait."""
        return not self.draining and self.busy < (1 if self.overload else self.bounds.requests)

    def observe(self, late: float, resident: int) -> None:
        """What the last beat showed. late: seconds by which the loop came too late; resident: bytes of memory in use."""
        self._late = self._late + 1 if late > self.bounds.lag else 0
        self._resident, self._bytes_then = resident, self.bytes
        if self.memory and resident > self.memory:
            self.overload = "memory"
        else:
            self.overload = "lag" if self._late >= _LATE else ""

    def count(self, more: int) -> None:
        """Count bytes of memory; less than 0: they are no longer held."""
        self.bytes += more
        self.taken += max(0, more)

    def has_no_room(self, more: int) -> bool:
        """Whether so many bytes more, beside those that came since the last beat, could be more than the system allows."""
        came = max(0, self.bytes - self._bytes_then) + more
        return self.memory > 0 and (self._resident + _TIMES * came) * memory.SHARE > self.memory

    def rejection(self, what: str) -> Overloaded:
        self.refused[what] += 1
        return Overloaded(_BUSY, retry_after=1)

    def release(self) -> None:
        """A turn is over: it goes to the one that waits longest."""
        if self.busy <= self.bounds.requests:  # a reload may have lowered the bound
            for run, ready in self.waiting:
                if not ready.done():
                    self.waiting.remove((run, ready))
                    run.grant()
                    ready.set_result(None)
                    return
        self.busy -= 1

    def cancel_overdue(self, now: float) -> None:
        """End the requests whose total time is over. now: loop time."""
        for run in [run for run in self.runs if run.deadline <= now]:
            failure = UpstreamTimeout("The request took longer than this server allows in all.", code="total_timeout")
            failure.should_retry = False
            run.cancel(failure)

    async def wait_empty(self, within: float) -> bool:
        """Wait until no request is left, at most `within` seconds; returns whether that came true."""
        if not self.runs:
            return True
        self.empty = asyncio.Event()
        try:
            async with asyncio.timeout(within):
                await self.empty.wait()
        except TimeoutError:
            return False
        finally:
            self.empty = None
        return True

    def stop(self, why: Failure) -> int:
        """End all requests with this failure; returns how many that were."""
        count = len(self.runs)
        for run in list(self.runs):
            run.cancel(why)
        return count


def too_large(limit: int) -> RequestTooLarge:
    return RequestTooLarge(f"The request body is larger than {limit} bytes (server.max_body).")
