"""The life of the server: start, reload, drain, end.

SIGTERM, SIGINT: not ready any more, nothing new is accepted, running answers may finish for server.drain seconds; what is
left then ends with an error its client can tell from an answer. A second signal ends the wait.
SIGHUP, or with server.reload_on_change a file that has changed: the configuration is read again; a broken one changes nothing.
"""

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from aiohttp import web

from gateway.problems import ConfigError
from gateway.settings import Settings
from gateway.words import counted
from providers.errors import Overloaded

from .. import logs
from ..aiohttp_internals import by_path_first, connections
from ..event_stream import Heartbeat
from ..request import request_factory
from ..state import STATE, AppState
from . import listener, systemd

LOGGER: Final = logging.getLogger("modelserver")
_GRACE: Final = 0.25  # seconds for requests on connections that were accepted just before the end
_GOODBYE: Final = 2.0  # seconds for error events to be sent


class ShutdownSignals:
    """Hears SIGTERM and SIGINT: `asked` at the first, `now` at the second."""

    def __init__(self) -> None:
        self.asked, self.now = asyncio.Event(), asyncio.Event()

    def __call__(self) -> None:
        (self.now if self.asked.is_set() else self.asked).set()


async def serve(
    app: web.Application,
    sock: socket.socket,
    load: Callable[[], Settings],
    paths: tuple[Path, ...],
    ready: Callable[[int], None],
) -> None:
    """Serve until a signal ends it.

    load: reads the configuration again (ConfigError, OSError);
    paths: of the files it is read from; ready: told the port when requests are answered.
    """
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(listener.throttled_exception_handler())
    runner = web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,  # server/content_encoding.py does it, with a bound and with words for what it does not know
        handler_cancellation=True,  # off by default: a client that leaves would not be noticed, and still be paid for
        keepalive_timeout=75.0,
        read_bufsize=2**18,
        shutdown_timeout=1.0,
    )
    await runner.setup()
    try:
        assert runner.server is not None
        state = app[STATE]
        runner.server.request_handler = by_path_first(app)  # type: ignore[assignment]
        runner.server.request_factory = request_factory(state, loop)
        most = listener.most_connections(state.generations.now.settings.config.server.capacity.connections)
        state.listener = listener.ProtocolFactory(runner.server, most)
        site = await loop.create_server(state.listener, sock=sock, backlog=listener.BACKLOG)
        stop, reload = ShutdownSignals(), Reloader(state, load)
        state.reload = reload.done
        _on_signals(loop, stop, reload)
        _keep_watchdog(state.heartbeat)
        state.heartbeat.callbacks.append(FileWatcher(paths, state, reload))
        state.heartbeat.callbacks.append(listener.Unread(runner.server, lambda: state.heartbeat.write))
        ready(sock.getsockname()[1])
        systemd.notify("READY=1")
        await stop.asked.wait()
        await drain(state, runner.server, site, stop.now)
    finally:
        await runner.cleanup()


def _on_signals(loop: asyncio.AbstractEventLoop, stop: ShutdownSignals, reload: "Reloader") -> None:
    try:
        loop.add_signal_handler(signal.SIGTERM, stop)
        loop.add_signal_handler(signal.SIGINT, stop)
        loop.add_signal_handler(signal.SIGHUP, reload)
    except (NotImplementedError, AttributeError):  # Windows: Ctrl-C ends the loop, there is no reload
        return


def _keep_watchdog(heartbeat: Heartbeat) -> None:
    """Tell systemd that the loop turns, as often as it asked for."""
    period = systemd.watchdog()
    if period is None:
        return
    told = 0.0

    def tell(now: float) -> None:
        nonlocal told
        if now - told >= period / 2:
            told = now
            systemd.notify("WATCHDOG=1")

    heartbeat.callbacks.append(tell)


async def drain(state: AppState, server: web.Server, site: asyncio.Server, now: asyncio.Event) -> None:
    """Let running answers finish, then end the rest. now: do not wait."""
    admission, patience = state.admission, state.generations.now.settings.config.server.drain
    admission.draining = True
    systemd.notify("STOPPING=1")
    started = len(admission.runs)
    words = "stopping: %s may finish, for at most %g s; a second signal (Ctrl-C) does not wait"
    LOGGER.info(words, counted(started, "request"), patience)
    site.close()
    await _first(asyncio.sleep(_GRACE), now.wait())
    _close_idle(server)
    await _first(admission.wait_empty(patience), now.wait())
    failure = Overloaded("This server is shutting down. Try again.", code="server_shutting_down")
    failure.should_retry = False  # the work was begun, and may have been paid for
    ended = admission.stop(failure)
    await admission.wait_empty(_GOODBYE)
    LOGGER.info("stopped: %s finished, %d ended early", counted(max(0, started - ended), "request"), ended)


def _close_idle(server: web.Server) -> None:
    """Close the connections that no request is on; the others when theirs has ended.

    aiohttp's own way stops to read idle connections but leaves them open: a client that sends its next request on one
    would wait for an answer until the end of the drain.
    """
    server.pre_shutdown()
    for handler, transport in list(connections(server)):
        if handler.is_idle:
            transport.close()


async def _first(*waits: Awaitable[object]) -> None:
    """Wait for whichever comes first."""
    tasks = [asyncio.ensure_future(each) for each in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Reloader:
    """Reads the configuration again when called: once more afterwards, if called in the meantime."""

    def __init__(self, state: AppState, load: Callable[[], Settings]) -> None:
        self._state, self._load = state, load
        self._again = False
        self._task: asyncio.Task[None] | None = None

    def __call__(self) -> None:
        self._again = True
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def done(self) -> str:
        """Read the configuration, what was written until now included; return why nothing has changed, "" where it has."""
        self()
        assert self._task is not None
        await asyncio.shield(self._task)
        return self._state.generations.error

    async def _run(self) -> None:
        try:
            while self._again:
                self._again = False
                systemd.notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
                generations = self._state.generations
                generations.begun += 1
                await self._once()
                generations.ended = generations.begun
                systemd.notify("READY=1")
        finally:
            self._task = None

    async def _once(self) -> None:
        generations = self._state.generations
        old = generations.now.settings.config
        try:
            settings = await asyncio.to_thread(self._load)
            await self._state.use(settings)
        except (ConfigError, OSError) as error:
            generations.failed += 1
            generations.error = str(error)
            LOGGER.error("the configuration was not reloaded, the old one stays:\n%s", error)
            return
        except Exception:
            generations.failed += 1
            generations.error = "a fault of this server; its log says more"
            LOGGER.exception("the configuration was not reloaded, the old one stays")
            return
        new = settings.config
        LOGGER.info("the configuration was reloaded (generation %d)", generations.generation)
        for name in ("host", "port", "log"):
            if getattr(new.server, name) != getattr(old.server, name):
                LOGGER.warning("server.%s has changed: that needs a restart", name)
        for name in ("path", "retention_days"):
            if getattr(new.usage, name) != getattr(old.usage, name):
                LOGGER.warning("usage.%s has changed: that needs a restart", name)
        for name in ("shared_state", "inspector"):
            if getattr(new, name) != getattr(old, name):
                LOGGER.warning("%s has changed: that needs a restart", name)
        if new.server.capacity.connections != old.server.capacity.connections:
            LOGGER.warning("server.capacity.connections has changed: that needs a restart")


class FileWatcher:
    """Called a few times a second; calls `reload` once one of the files has changed, and has stopped changing."""

    def __init__(self, paths: tuple[Path, ...], state: AppState, reload: Callable[[], None]) -> None:
        self._paths, self._state, self._reload = paths, state, reload
        self._loaded = self._last = self._look()

    def __call__(self, now: float) -> None:
        if not self._state.generations.now.settings.config.server.reload_on_change:
            return
        seen, before = self._look(), self._last
        self._last = seen
        if seen == before and seen not in (self._loaded, None):
            self._loaded = seen
            self._reload()

    def _look(self) -> tuple[tuple[int, ...], ...] | None:
        """What tells one state of the files from another; None while the first is missing: an editor may be replacing it."""
        first, *others = map(_version, self._paths)
        return (first, *others) if first else None


def _version(path: Path) -> tuple[int, ...]:
    """Return what tells one state of a file from another, () where there is no such file."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size


def run(main: Awaitable[None], loop: asyncio.AbstractEventLoop, log: logs.Log) -> None:
    """Run the server's life on this loop and close it."""
    try:
        loop.run_until_complete(main)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        log.close()
