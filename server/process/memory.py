"""The memory of this process: how much it takes and may take, and how the C library and the collector treat it."""

import ctypes
import gc
import sys
from pathlib import Path
from typing import Final

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_KEPT: Final = 64 * 2**20  # bytes
SHARE: Final = 0.8  # of the system's limit, from which on this process takes on no more
_UNLIMITED: Final = 2**60  # version 1 of cgroups says "no limit" with a huge number


def resident() -> int:
    """Bytes in use; 0 where the system does not say (only Linux has this file)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except (OSError, IndexError, ValueError):
        return 0


def allowed(groups: str = "", root: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes this process should stay below: four fifths of the least limit of its control groups; 0 where none is set.

    That is systemd's MemoryMax= or a container's limit; above it the kernel kills. groups: the text of
    /proc/self/cgroup, read if not given; root: where the groups are (https://docs.kernel.org/admin-guide/cgroup-v2.html).
    """
    try:
        groups = groups or Path("/proc/self/cgroup").read_text()
    except OSError:
        return 0
    limits = []
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        top, name = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        group = top / path.strip("/")
        limits += [_number(each / name) for each in (group, *group.parents) if each.is_relative_to(top)]
    least = min([limit for limit in limits if limit], default=0)
    return int(least * SHARE)


def _number(file: Path) -> int:
    """The limit in this file; 0: none ("max"), or no such file: inside a container only the last group is seen."""
    try:
        value = int(file.read_text())
    except (OSError, ValueError):
        return 0
    return value if value < _UNLIMITED else 0


def tune_gc() -> None:
    """Keep the cycle collector from walking what start-up made, again and again: a tenth of the time of a small request.

    Requests leave almost no cycles; what they leave is still collected, less often. What the imports left, 0.4 MB, stays:
    to look for it would take a fortieth of the start.
    """
    gc.freeze()
    gc.set_threshold(5_000, 20, 20)


def take_short_turns() -> None:
    """Let threads take turns every half a millisecond instead of every five.

    The event loop needs several turns to pass on one chunk, while another thread works on a large body.
    """
    sys.setswitchinterval(0.0005)


def tune_malloc() -> None:
    """Let the C library keep up to 64 MiB that was freed, instead of giving it back and faulting it in again.

    A request with a 5 MB image then costs a third less. All threads use one heap: the end of another would not be given back,
    and Python lets one thread at a time run. Only glibc has these settings (mallopt(3)); elsewhere nothing happens.
    """
    if mallopt := _libc("mallopt"):
        mallopt(_M_MMAP_THRESHOLD, _KEPT)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
        mallopt(_M_ARENA_MAX, 1)


def trim() -> None:
    """Give back what is not in use: cycles to the C library, its free pages to the system."""
    gc.collect()
    give_back()


def give_back() -> None:
    """Give the C library's free pages to the system (malloc_trim(3), glibc only): some ms for each 50 MB."""
    if trim := _libc("malloc_trim"):
        trim(0)


def _libc(name: str) -> "ctypes._NamedFuncPointer | None":
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):
        return None
