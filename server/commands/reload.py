"""`modelserver.py reload`: make the running server read its configuration again, and say what came of it.

The server tells programs on its own machine which process it is (GET /healthz), so there is no file that could be stale;
whether this user may signal that process is for the system to say.
"""

import asyncio
import os
import signal
import sys
from typing import Any, Final, TextIO

from aiohttp import ClientSession, ClientTimeout, ContentTypeError

from gateway.config_schema import ServerConfig

from .ask import STRANGER, address

_PATIENCE: Final = 10.0  # seconds
_LOOK: Final = 0.05  # seconds between two looks
_NO_SIGNAL: Final = "this system has no signal for it: set server.reload_on_change: true, or start the server again"


async def reload(server: ServerConfig, out: TextIO = sys.stdout) -> int:
    """Reload the running server at this address and say so on `out`; returns the exit code.

    Raises OSError or ClientError when none is there, PermissionError when it belongs to someone else.
    """
    if (signal_number := getattr(signal, "SIGHUP", None)) is None:  # Windows, where os.kill() would end the process
        raise OSError(_NO_SIGNAL)
    url = f"{address(server)}/healthz"
    async with ClientSession(timeout=ClientTimeout(total=_PATIENCE)) as session:
        before = await _health(session, url)
        if "pid" not in before:
            raise OSError(f"{url} does not tell its process: run this on the server's own machine, as its user")
        os.kill(before["pid"], signal_number)
        for _ in range(int(_PATIENCE / _LOOK)):
            now = await _health(session, url)
            if now["ended"] > before["begun"]:  # one that began after `before`: it has read what was written until then
                if now["reload"]:
                    print(f"not reloaded, the old configuration stays:\n{now['reload']}", file=sys.stderr)
                    return 2
                print(f"reloaded: generation {now['generation']}", file=out)
                return 0
            await asyncio.sleep(_LOOK)
    print("no answer from the server: its log says more", file=sys.stderr)
    return 1


async def _health(session: ClientSession, url: str) -> Any:
    async with session.get(url) as answer:
        try:
            said = await answer.json()
        except (ContentTypeError, ValueError):
            said = None
        if not isinstance(said, dict) or "version" not in said:
            raise OSError(STRANGER.format(answer.url.origin()))
        return said
