"""`python modelserver.py models update`: take prices and windows from a public catalogue. Only when somebody asks for it."""

import asyncio
import time
from pathlib import Path
from typing import Final

from aiohttp import ClientSession, ClientTimeout, TCPConnector

from providers import catalogue
from providers.catalogue import Change
from providers.model_table import ModelTable

from ..config_file import LOCAL, models_text
from ..outbound.dial import system_trust

SOURCE: Final = "https://models.dev/api.json"
_MOST: Final = 64 * 2**20  # bytes of a catalogue
_PATIENCE: Final = 60.0  # seconds for all of it


def update(config: Path, file: str, dry_run: bool) -> int:
    """Print how a catalogue differs from the tables in use, and write models.local.yaml beside the configuration.

    file: to read instead of models.dev. Returns the exit code. Raises OSError; then nothing is written.
    """
    data = _read(Path(file)) if file else asyncio.run(_fetch())
    text, local = models_text(config)
    try:
        entries, wrong = catalogue.read(data)
        whole = catalogue.settled(text, entries)
        shown = catalogue.compare(ModelTable.parse(text, local=local), entries) if local else whole
    except ValueError as error:
        raise OSError(f"{file or SOURCE}: {error}") from None
    for change in (*shown, *wrong):
        print(_line(change))
    taken = sum(change.row is not None for change in shown)
    path = config.resolve().parent / LOCAL
    if dry_run:
        print(f"{taken} to take; nothing is written (--dry-run)")
        return 0
    if not taken:
        print("nothing to take")
        return 0
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(catalogue.rendered(whole, time.strftime("%Y-%m-%d"), file or SOURCE), encoding="utf-8")
    fresh.replace(path)
    print(f"{taken} taken, in {path}; a running server reads it with `python modelserver.py reload`")
    return 0


def _line(change: Change) -> str:
    return f"{change.kind:14}  {change.provider}/{change.model}  {change.words}".rstrip()


def _read(file: Path) -> bytes:
    with file.open("rb") as opened:
        data = opened.read(_MOST + 1)
    if len(data) > _MOST:
        raise OSError(f"{file} has more than {_MOST >> 20} MiB: it is no catalogue")
    return data


async def _fetch() -> bytes:
    trusting = TCPConnector(ssl=await system_trust())
    async with (
        ClientSession(connector=trusting, timeout=ClientTimeout(total=_PATIENCE), trust_env=True) as session,
        session.get(SOURCE) as answer,
    ):
        if answer.status != 200:
            raise OSError(f"{SOURCE} answered {answer.status}")
        data = bytearray()
        async for piece in answer.content.iter_any():
            data += piece
            if len(data) > _MOST:
                raise OSError(f"{SOURCE} has more than {_MOST >> 20} MiB: it is no catalogue")
        return bytes(data)
