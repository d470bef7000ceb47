"""systemd's side of a service, as sd_notify(3) and sd_listen_fds(3) describe it; nothing happens where there is none."""

import os
import socket
from contextlib import suppress
from typing import Final

_FIRST: Final = 3  # SD_LISTEN_FDS_START


def notify(*lines: str) -> None:
    """Tell the service manager something: READY=1, STOPPING=1 …"""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    address = "\0" + address[1:] if address.startswith("@") else address
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        out.sendto("\n".join(lines).encode(), address)


def listener() -> socket.socket | None:
    """The listening socket of a .socket unit, if this process was given one.

    It stays open in the service manager: while the service restarts, connections wait in it instead of being refused.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not int(os.environ.get("LISTEN_FDS") or 0):
        return None
    given = socket.socket(fileno=_FIRST)
    given.set_inheritable(False)
    return given


def watchdog() -> float | None:
    """Seconds between signs of life, half of what the unit's WatchdogSec asks for; None: not asked for."""
    asked = os.environ.get("WATCHDOG_USEC", "")
    if not asked.isdigit() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(asked) / 2e6
