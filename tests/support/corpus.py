"""Recorded exchanges with real providers, where they are at hand.

The corpus is other people's data and no part of this repository. MODELSERVER_CORPUS names its folder; the default is
../shared/corpus beside the repository. Tests that read it are skipped without it.
"""

import gzip
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

CORPUS = Path(os.environ.get("MODELSERVER_CORPUS") or Path(__file__).parents[3] / "shared" / "corpus")
needed = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not here")

Exchange = dict[str, Any]


def load(name: str) -> list[Exchange]:
    """The exchanges of one API; none where the file is absent."""
    path = CORPUS / f"{name}.jsonl.gz"
    if not path.exists():
        return []
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def wire(name: str) -> list[Exchange]:
    """Those that were answered, byte for byte as received."""
    return [x for x in load(name) if x["fidelity"] == "wire" and x["response"]["status"] == 200]


def body_of(exchange: Exchange) -> bytes:
    """The answer's body; what was no UTF-8 stays as it was."""
    text: str = exchange["response"]["body"]
    return text.encode("utf-8", "surrogateescape")


def kind_of(exchange: Exchange) -> str:
    """The answer's Content-Type."""
    headers = exchange["response"]["headers"] or {}
    streamed = exchange["response"]["stream"]
    default = "text/event-stream" if streamed else "application/json"
    return str(next((value for name, value in headers.items() if name.lower() == "content-type"), default))


def short(exchange: Exchange) -> str:
    return str(exchange["id"]).partition("/")[2]


def check_all(check: Callable[[Exchange], None], exchanges: Iterable[Exchange]) -> None:
    """Check each of these exchanges, and fail with everything that failed.

    A test of a thousand exchanges takes seconds less than a thousand tests, in each process that collects them.
    """
    wrong: list[Exception] = []
    for exchange in exchanges:
        try:
            check(exchange)
        except (Exception, pytest.fail.Exception) as error:
            each = (
                error
                if isinstance(error, Exception)
                else AssertionError(str(error)).with_traceback(error.__traceback__)
            )
            each.add_note(f"exchange: {exchange['id']}")
            wrong.append(each)
    if wrong:
        raise ExceptionGroup("recorded exchanges", wrong)
