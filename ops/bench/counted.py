"""This project's server, whose event loop counts its bytecodes while budget.py wants it to. The file for them: $BUDGET_FILE.

SIGUSR1 begins. SIGUSR2 ends, and writes all functions: file, line, name, bytecodes, calls (each time a coroutine goes on
is one too). Only the main thread is counted, and of it only Python: what functions of C do is not.
"""

import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
sys.argv[0] = str(ROOT / "modelserver.py")

import modelserver  # noqa: E402
from server.commands.cli import main  # noqa: E402

OPS: Final[Counter[CodeType]] = Counter()
CALLS: Final[Counter[CodeType]] = Counter()


def _call(frame: FrameType, _event: str, _arg: Any) -> Any:
    CALLS[frame.f_code] += 1
    frame.f_trace_opcodes, frame.f_trace_lines = True, False
    return _opcode


def _opcode(frame: FrameType, event: str, _arg: Any) -> Any:
    if event == "opcode":
        OPS[frame.f_code] += 1
    return _opcode


def _begin(*_: object) -> None:
    OPS.clear()
    CALLS.clear()
    sys.settrace(_call)


def _end(*_: object) -> None:
    sys.settrace(None)
    rows = [
        (code.co_filename, code.co_firstlineno, getattr(code, "co_qualname", code.co_name), OPS[code], calls)
        for code, calls in CALLS.items()
        if code.co_filename != __file__
    ]
    there = Path(os.environ["BUDGET_FILE"])
    part = there.with_suffix(".part")
    part.write_text(json.dumps(rows))
    part.rename(there)


signal.signal(signal.SIGUSR1, _begin)
signal.signal(signal.SIGUSR2, _end)
sys.exit(main(modelserver.create_app, modelserver.VERSION))
