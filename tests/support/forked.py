"""`python modelserver.py` in a process that is forked from one which has imported everything already.

Importing takes most of a second of CPU, and the tests start several hundred servers and commands. What runs is the same file as
`__main__`, in a process of its own with its own arguments, variables and pipes. Tests of the start and the end of a process, its
memory and open files are marked `anew`: they start Python (process.py).
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
_FORKS: Final = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["modelserver"])


def _become(arguments: Sequence[str], variables: Mapping[str, str], pipes: Sequence[Connection]) -> None:
    """Run modelserver.py in this process, which has just been forked. pipes: standard input, output and error."""
    for number, pipe in enumerate(pipes):
        os.dup2(pipe.fileno(), number)
        pipe.close()
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(variables)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["modelserver.py", *arguments]
    runpy.run_path(str(ROOT / "modelserver.py"), run_name="__main__")


class Forked:
    """What subprocess.Popen is, as far as the tests use it, of such a process. Its pipes are text."""

    def __init__(self, arguments: Sequence[str], variables: Mapping[str, str], said: str = "") -> None:
        """said: what it reads from standard input, which is then at its end."""
        stdin, told = _pipe()
        out, stdout = _pipe()
        err, stderr = _pipe()
        ends = (stdin, stdout, stderr)
        self._process = _FORKS.Process(target=_become, args=(arguments, variables, ends))
        self._process.start()
        for end in ends:
            end.close()
        with _file(told, "w") as writer:
            writer.write(said)
        self.stdout, self.stderr = _file(out, "r"), _file(err, "r")
        self.pid = self._process.pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, or minus the number of the signal; None while it runs."""
        self.returncode = self._process.exitcode
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The same, once it has ended. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("modelserver.py", timeout or 0)
        return code

    def send_signal(self, how: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, how)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _pipe() -> tuple[Connection, Connection]:
    """A pipe's end to read from and its end to write to, which multiprocessing knows how to hand over."""
    read, write = os.pipe()
    return Connection(read, writable=False), Connection(write, readable=False)


def _file(end: Connection, mode: str) -> Any:
    """This end of a pipe as a text file, which owns it from now on."""
    number = os.dup(end.fileno())
    end.close()
    return os.fdopen(number, mode, encoding="utf-8")
