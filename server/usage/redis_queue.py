"""Scripts on their way to Redis: sent in order, all that are waiting in one pipeline, and once more when Redis is back."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from gateway.spending import Period

from .. import logs
from ..throttle import Throttle

TIMEOUT: Final = 1.0  # seconds for Redis to answer
_PAUSE: Final = 0.5  # seconds until it is tried again
_TOGETHER: Final = 200  # commands in one pipeline
_WAITING: Final = 20_000  # settlements that wait while Redis is unreachable


class ScriptCall(NamedTuple):
    """A script with its keys and arguments.

    answer: the future of its result, None where no caller waits. spent: key, kind of period and day of a result that is a
    period's sum.
    """

    script: str
    keys: tuple[str, ...]
    arguments: tuple[str | int, ...]
    answer: "asyncio.Future[Any] | None" = None
    spent: tuple[str, Period, str] | None = None


class Unreachable(Exception):
    """Redis does not answer."""


class ScriptQueue:
    """The scripts that wait for Redis, and the connection. `run` sends them, in a task.

    effect: what follows while Redis is unreachable, in words; learn: called with key, kind of period, day and the period's sum.
    """

    def __init__(self, url: str, effect: str, learn: Callable[[str, Period, str, int], None]) -> None:
        self._effect, self._learn = effect, learn
        self._queue: deque[ScriptCall] = deque()
        self._wake = asyncio.Event()
        self._throttle = Throttle(1, 60.0)
        self.redis = _client(url)
        self.unreachable = ""  # why Redis does not answer; "": it does

    def problem(self) -> str:
        """Return what does not work, "" for nothing."""
        return f"Redis is gone: {self._effect}" if self.unreachable else ""

    def put(self, command: ScriptCall) -> None:
        """Send a command after all that wait. Where too many do, the oldest is dropped, and its answer is Unreachable."""
        self._queue.append(command)
        if len(self._queue) > _WAITING:
            _fail(self._queue.popleft())
        self._wake.set()

    async def run(self) -> None:
        """Send the commands that wait, for ever."""
        while True:
            if self.unreachable:
                await self._wait_for_redis()
            await self._wake.wait()
            self._wake.clear()
            while self._queue and not self.unreachable:
                sending = [self._queue.popleft() for _ in range(min(_TOGETHER, len(self._queue)))]
                try:
                    answers = await self._send(sending)
                except errors() as error:
                    self.mark_unreachable(error)
                    self._requeue([*sending, *self._queue])
                else:
                    for command, answer in zip(sending, answers, strict=True):
                        if command.answer is not None and not command.answer.done():
                            command.answer.set_result(answer)
                        if command.spent and answer >= 0:
                            self._learn(*command.spent, answer)

    def _requeue(self, commands: list[ScriptCall]) -> None:
        """Redis is unreachable: fail the waiting reservations, requeue the settlements.

        A settlement that had already been applied is not counted twice: it has a number.
        """
        self._queue.clear()
        for command in commands:
            if command.answer is None:
                self._queue.append(command)
            else:
                _fail(command)
        self._wake.set()

    async def _send(self, commands: list[ScriptCall]) -> list[Any]:
        async with self.redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.eval(command.script, len(command.keys), *command.keys, *command.arguments)
            return list(await pipe.execute())

    async def _wait_for_redis(self) -> None:
        """Wait until Redis answers again."""
        while True:
            await asyncio.sleep(_PAUSE)
            try:
                await self.redis.ping()
            except errors() as error:
                self.mark_unreachable(error)
            else:
                self.unreachable = ""
                logs.LOGGER.info("Redis answers again")
                return

    def mark_unreachable(self, error: Exception) -> None:
        """Note that Redis does not answer, and log it once a minute."""
        self.unreachable = type(error).__name__
        if self._throttle.allows("", time.monotonic()):
            logs.LOGGER.warning("%s (%s)", self.problem(), self.unreachable)


def _fail(command: ScriptCall) -> None:
    """Fail the future of a command with Unreachable."""
    if command.answer is not None and not command.answer.done():
        command.answer.set_exception(Unreachable())


def _client(url: str) -> Any:
    """Return a client of Redis. Raises OSError when redis-py, an optional package, is not installed."""
    try:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError:
        raise OSError("shared_state needs redis-py: pip install 'redis>=5'") from None
    return Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=TIMEOUT,
        socket_connect_timeout=TIMEOUT,
        retry=Retry(NoBackoff(), 0),
    )


def errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that mean that Redis does not answer."""
    from redis.exceptions import RedisError

    return RedisError, OSError, TimeoutError
