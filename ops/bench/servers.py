"""Servers under measurement: each a process, all on one core, which is not that of the bench."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from string import Template
from typing import Final
from urllib.parse import urlsplit

from recipes import Recipe, program

CPUS: Final = sorted(os.sched_getaffinity(0))
SERVER_CPU: Final = {CPUS[0]}
BENCH_CPU: Final = {CPUS[1]} if len(CPUS) > 1 else SERVER_CPU
_CPU_CLOCK: Final = 2  # of clock ids that name a process: the CPU time of all its threads, the ended ones too


def core_time() -> float:
    """Seconds for which the servers' core has been busy so far, whoever kept it so."""
    row = next(
        line for line in Path("/proc/stat").read_text().splitlines() if line.startswith(f"cpu{min(SERVER_CPU)} ")
    )
    user, nice, system, _, _, *others = (int(each) for each in row.split()[1:9])
    return (user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environment() -> dict[str, str]:
    """This process's variables without those that would configure a server or its interpreter."""
    mine = ("PYTHON", "MODELSERVER_")
    return {
        name: value for name, value in os.environ.items() if not name.startswith(mine) and not name.endswith("_API_KEY")
    }


class Server:
    """A running server. folder: where its files are."""

    def __init__(self, recipe: Recipe, upstream: int, home: Path, folder: Path, keys: Sequence[str] = ()) -> None:
        self.recipe, self.name, self.models = recipe, recipe.name, recipe.models
        self.key, self.prefix = next(iter(keys), recipe.key), recipe.prefix
        self._how = (upstream, home, folder)
        self._process: subprocess.Popen[bytes] | None = None
        if not recipe.command:
            self.port = upstream
            return
        self.port = _free_port()
        self.folder = folder / f"{Path(recipe.name).name}-{self.port}"
        self.folder.mkdir(parents=True)
        values = {
            "port": self.port,
            "upstream": f"127.0.0.1:{upstream}",
            "folder": self.folder,
            "home": home / recipe.name,
            "binary": program(recipe),
            "keys": "\n".join(_key(n, key) for n, key in enumerate(keys or [recipe.key])),
        }
        # Not all that begins with a $ is meant for us
        (self.folder / "config").write_text(Template(recipe.config).safe_substitute(values))
        with (self.folder / "log").open("wb") as log, (self.folder / "faults").open("wb") as faults:
            self._process = subprocess.Popen(
                [Template(each).safe_substitute(values) for each in recipe.command],
                cwd=recipe.folder,
                env={**_environment(), **recipe.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=faults,
                start_new_session=True,
            )
        os.sched_setaffinity(self._process.pid, SERVER_CPU)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def again(self, keys: Sequence[str] = ()) -> "Server":
        """Start another process of the same, with these keys instead of the one."""
        return Server(self.recipe, *self._how, keys)

    async def ready(self, ask: Callable[["Server"], Awaitable[str]]) -> None:
        """Wait until `ask` finds no fault with its answer; raises RuntimeError with what it said when that takes too long."""
        until = time.monotonic() + 120
        while fault := await ask(self):
            if (told := self.folder / "url").exists():  # it chose its address itself
                address = urlsplit(told.read_text())
                self.port, self.prefix = address.port or self.port, address.path or self.prefix
            if self._process is None or self._process.poll() is not None or time.monotonic() > until:
                said = (self.folder / "faults").read_text() + (self.folder / "log").read_text()
                raise RuntimeError(f"{self.name} does not start: {fault}\n{said[-2000:]}")
            await asyncio.sleep(0.01)

    def _pids(self) -> list[int]:
        """The process and all that it started."""
        if self._process is None:
            return []
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(") ")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self._process.pid:
                found.append(int(path.parent.name))
        return found

    def cpu(self) -> float:
        """Seconds of CPU of all its processes and threads so far, exact to the nanosecond."""
        return sum(time.clock_gettime((~pid << 3) | _CPU_CLOCK) for pid in self._pids())

    def memory(self) -> float:
        """MB that are resident."""
        page = os.sysconf("SC_PAGE_SIZE")
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in self._pids())
        return round(pages * page / 1e6, 1)

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        assert self._process is not None
        return self._process.pid

    async def stop(self) -> None:
        """End it, with SIGTERM and then SIGKILL."""
        if self._process is None:
            return
        for how in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, how)
            except ProcessLookupError:
                break
            for _ in range(100):
                if self._process.poll() is not None:
                    break
                await asyncio.sleep(0.05)
        shutil.rmtree(self.folder, ignore_errors=True)


def _key(n: int, key: str) -> str:
    limits = "rpm: 1000000000, tpm: 1000000000, concurrency: 100000, budget_usd: 100000, budget_period: total"
    return f"  - {{name: bench-{n}, key: {key}, {limits}}}"
