"""Application state shared by all requests: configuration, admission, usage ledger, heartbeat, metrics."""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from aiohttp import web

from gateway.config_schema import CapacityConfig
from gateway.metrics import Metrics
from gateway.record import RequestRecord
from gateway.settings import Settings

from . import logs
from .admission import Admission
from .discovery import Discovery
from .event_stream import Heartbeat
from .generations import Generation, Generations, build
from .outbound.detached import DetachedReads
from .process import memory
from .process.listener import ProtocolFactory
from .throttle import Throttle
from .usage import ledger
from .usage.meter import UsageMeter
from .worker import Worker

_RELEASE: Final = 5.0  # seconds between two attempts to give memory back
_MUCH, _LITTLE = 64 * 2**20, 8 * 2**20  # bytes that were taken since then: while requests run, while none does
_QUIET: Final = 60.0  # seconds between two warnings about the same thing
# What will not mend itself: the operator is told in the log, beside the lines of the requests it cost.
_MATTERS: Final = {
    "upstream_auth_error": "refuses this server's key",
    "upstream_quota_exhausted": "says that the account's quota or credit is used up",
    "upstream_tls": "has no certificate that is trusted here",
    "upstream_dns": "has a host name that cannot be resolved",
}


class AppState:
    """Built inside the running loop, with the first configuration. version: of this server.

    Raises OSError for a certificate file of the configuration that cannot be used.
    """

    def __init__(self, settings: Settings, log: logs.Log, version: str, ledger: ledger.Ledger) -> None:
        server = settings.config.server
        self.log, self.version = log, version
        self._agent = f"modelserver/{version}"  # the User-Agent for upstreams
        self.generations = Generations(build(settings, self._agent))
        log.scrub = self.generations.now.scrub
        self.admission = Admission(server.capacity, _memory(server.capacity))
        self.ledger, self.detached = ledger, DetachedReads()
        self.metrics = Metrics()
        self.worker = Worker()
        self.discovery = Discovery(self.generations, self.worker)
        self.spooled = 0  # bytes of uploads that wait on disk for the name of their model
        self.heartbeat = Heartbeat(server)
        self.heartbeat.callbacks.append(self._beat)
        self._release_at = 0.0
        self._taken = 0  # admission.taken, when memory was last given back
        self._throttle = Throttle(1, _QUIET)
        self.listener: ProtocolFactory | None = None
        self.reload: Callable[[], Awaitable[str]] | None = None  # reads the configuration again: Reloader.done
        self.now = time.monotonic

    def _beat(self, now: float) -> None:
        """now: loop time."""
        admission = self.admission
        admission.cancel_overdue(now)
        resident = memory.resident() if admission.memory else 0
        pressed = "memory" if admission.pressed else ""
        if now >= self._release_at:
            self._release_at = now + _RELEASE
            self._release(admission, resident)
            resident = resident and memory.resident()
        admission.observe(self.heartbeat.lag, resident)
        if (much := admission.overload or pressed) and self._may_say("", much):
            logs.LOGGER.warning(
                "too much %s: no new request is let in beside those being answered (%d MiB resident, %.1f s late)",
                much, memory.resident() >> 20, self.heartbeat.lag,
            )  # fmt: skip

    def _release(self, admission: Admission, resident: int) -> None:
        """Give memory back to the system: where there is too little, and once much was taken and is no longer held."""
        if resident > admission.memory or admission.pressed:
            admission.pressed = False
            memory.trim()
        elif admission.taken - self._taken > (_MUCH if admission.runs else _LITTLE) and admission.bytes < _LITTLE:
            memory.give_back()
        else:
            return
        self._taken = admission.taken

    def _may_say(self, *what: str) -> bool:
        """Whether a warning about this is due: once a minute."""
        return self._throttle.allows(what, self.now())

    async def use(self, settings: Settings) -> None:
        """Read what the budgets of these settings have cost, then go by them. Raises OSError; then nothing has changed."""
        bounds = settings.config.server.capacity
        most = _memory(bounds)
        await self.ledger.learn(settings)
        live = build(settings, self._agent)
        self.ledger.apply(settings)
        self.generations.swap(live)
        self.discovery.refresh()
        self.log.scrub = live.scrub
        self.admission.bounds, self.admission.memory = bounds, most
        self.heartbeat.apply(settings.config.server)

    def finish_request(self, live: Generation, record: RequestRecord, meter: UsageMeter | None, status: int) -> None:
        """Settle a request that has ended: now, or when its answer has been read on to its end. meter: None, not admitted."""
        self.detached.after(meter, partial(self._settle, live, record, meter, status))

    def _settle(self, live: Generation, record: RequestRecord, meter: UsageMeter | None, status: int) -> None:
        try:
            if meter is not None:
                self.ledger.settle(meter, status)
            if record.model:
                self.metrics.seen(record, live.settings.routes.metric_label(record.model), status)
        except Exception:
            logs.LOGGER.exception("request %s could not be settled, by a fault of this server", record.id)
        finally:
            self.generations.release(live)
        if record.tried:
            self._warn(record.tried)
        if record.doubted is not None and self._may_say(record.doubted[0], "usage"):
            logs.LOGGER.warning(
                "provider %s counts %d and %d tokens for a request that cannot have used so many: it is booked by an "
                "estimate",
                *record.doubted,
            )

    def _warn(self, tried: list[tuple[str, str]]) -> None:
        """Tell the operator what only the operator can mend. tried: attempts that failed (target, code)."""
        for target, code in tried:
            provider = target.partition("/")[0]
            if code in _MATTERS and self._may_say(provider, code):
                logs.LOGGER.warning("provider %s %s (%s)", provider, _MATTERS[code], code)

    async def aclose(self) -> None:
        await self.detached.aclose()
        await self.discovery.aclose()
        await self.heartbeat.aclose()
        await self.generations.aclose()
        await self.ledger.aclose()
        self.worker.close()


def _memory(bounds: CapacityConfig) -> int:
    """Bytes of memory from which on requests are refused; 0: no bound. Raises OSError where it could not be kept."""
    if bounds.memory and not memory.resident():
        raise OSError("server.capacity.memory cannot be kept here: this system does not say how much memory is in use")
    return bounds.memory or memory.allowed()


STATE: Final = web.AppKey("STATE", AppState)  # of the application


async def open_state(settings: Settings, log: logs.Log, version: str) -> AppState:
    """Open the usage ledger and return the state. Raises OSError when the ledger cannot be opened, and as AppState does."""
    opened_ledger = await ledger.begin(settings)
    try:
        return AppState(settings, log, version, opened_ledger)
    except BaseException:
        await opened_ledger.aclose()
        raise
