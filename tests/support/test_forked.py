"""The mark `anew` decides how the processes of a test come to be."""

from pathlib import Path

import pytest
from process import Process, config

needs_proc = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="there is no /proc here")


def started_as(server: Process) -> bytes:
    return Path(f"/proc/{server.pid}/cmdline").read_bytes()


@needs_proc
@pytest.mark.anew
def test_python_is_started_where_a_test_says_so() -> None:
    with Process(config()) as server:
        assert b"modelserver.py" in started_as(server)


@needs_proc
def test_processes_are_forked_elsewhere() -> None:
    with Process(config()) as server:
        assert b"forkserver" in started_as(server)
