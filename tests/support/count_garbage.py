"""python count_garbage.py python modelserver.py …: the server; on SIGUSR2 it prints how many requests circles of objects hold.

Nothing but the cycle collector would free those. `Process(…, inside=GARBAGE)` starts it so.
"""

import gc
import runpy
import signal
import sys
from pathlib import Path
from typing import Final

from aiohttp import web

GARBAGE: Final = (sys.executable, str(Path(__file__)))


def count(*_: object) -> None:
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    print(f"requests held by circles: {sum(isinstance(each, web.Request) for each in gc.garbage)}", flush=True)
    gc.set_debug(0)
    gc.garbage.clear()
    gc.collect()


if __name__ == "__main__":
    sys.argv = sys.argv[2:]
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    signal.signal(signal.SIGUSR2, count)
    runpy.run_path(sys.argv[0], run_name="__main__")
