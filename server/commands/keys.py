"""`modelserver.py keys …`: make, list, disable, enable, rotate and remove client keys, without editing a file.

The keys are in keys.yaml beside the configuration, by their digests. A change is written in one step and the running server
reads it at once. What a key has used is read from the usage file.
"""

import asyncio
import contextlib
import sqlite3
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from aiohttp import ClientError, ClientSession, ClientTimeout

from gateway.config_schema import KeyConfig
from gateway.key_file import KEY_FILE
from gateway.words import counted

from .. import key_file
from ..config_file import Source, keys_in, words_of_error
from ..managed_keys import GIVEN, change
from ..usage.key_usage import Used, used_by_keys
from .ask import address
from .reload import reload

_PATIENCE: Final = 5.0  # seconds for the running server


def keys(arguments: Namespace, source: Source) -> int:
    """Do what `keys ACTION` says; returns the exit code. Raises Refused, ConfigError and OSError, having changed nothing."""
    if arguments.action == "list":
        print(listed(source))
        return 0
    given = {field: value for field in GIVEN if (value := getattr(arguments, field, None)) is not None}
    key, is_first = change(source, arguments.action, arguments.name, given)
    if key:
        print(f"{key}\n\nShown once: keep it. {KEY_FILE} holds its digest only.", flush=True)
    else:
        print(f"{arguments.name}: {arguments.action}d", flush=True)  # disabled, enabled, removed
    if is_first:
        print("This is the first key: from now on every request needs one.", flush=True)
    return asyncio.run(_tell(source, key))


async def _tell(source: Source, key: str) -> int:
    """Reload the running server and say on standard error what came of it; returns the exit code. key: the new one, or ""."""
    try:
        server = source.server()
        place = address(server)
        code = await reload(server, out=sys.stderr)
    except (OSError, ClientError) as error:
        why = "nothing answers there" if isinstance(error, ClientError) else words_of_error(error)
        print(f"not reloaded, the server reads {KEY_FILE} at its next start or reload: {why}", file=sys.stderr)
        return 0 if isinstance(error, ClientError) else 1
    if code == 0 and key and not await _is_known(place, key):
        print(
            f"the server at {place} does not know the new key: it runs with another configuration (--config, --host, --port)",
            file=sys.stderr,
        )
        return 1
    return code


async def _is_known(place: str, key: str) -> bool:
    """Whether the server knows a key: it refuses one that it does not know by a code of its own."""
    headers = {"Authorization": f"Bearer {key}"}
    try:
        said = await _get(f"{place}/v1/models", headers)
        return "error" not in said or said["error"]["code"] != "authentication_error"
    except (ClientError, OSError, ValueError, LookupError, TypeError):
        return False


async def _get(url: str, headers: Mapping[str, str]) -> Any:
    session = ClientSession(timeout=ClientTimeout(total=_PATIENCE))
    async with session, session.get(url, headers=headers) as answer:
        return await answer.json()


def listed(source: Source) -> str:
    """Return a table of all keys with what they have used of their limits."""
    managed = key_file.rows(key_file.read(source.key_file))
    rows = [(key, source.path.name) for key in keys_in(source.path)] + [(key, KEY_FILE) for key in managed]
    if not rows:
        return "no keys: this machine only. `keys add NAME` makes one"
    used, note = _used(source)
    table: list[tuple[str, ...]] = [
        ("NAME", "STATE", "MODELS", "RPM", "TPM", "AT ONCE", "BUDGET", "TODAY", "LAST DAY", "FILE")
    ]
    table += [(*_row(key, used), file) for key, file in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
    return "\n".join([*lines, *([note] if note else [])])


def _row(key: KeyConfig, used: dict[str, Used] | None) -> tuple[str, ...]:
    own = used.get(key.name, Used()) if used is not None else None
    budget = f"{key.budget_usd:g} a {key.budget_period}".replace(" a total", " in total") if key.budget_usd else ""
    if own is None:
        limits = [str(limit or "-") for limit in (key.rpm, key.tpm, key.concurrency)]
        return key.name, _state(key), " ".join(key.models), *limits, f"${budget}" if budget else "-", "?", "?"
    pairs = ((own.minute[0], key.rpm), (own.minute[1], key.tpm), (own.running, key.concurrency))
    spent = own.spent.get(key.budget_period, 0) / 1e6
    return (
        key.name,
        _state(key),
        " ".join(key.models),
        *(f"{now}/{limit}" if limit else str(now) for now, limit in pairs),
        f"${spent:.4f} of ${budget}" if budget else f"${own.spent.get('total', 0) / 1e6:.4f} in total",
        f"{counted(own.today, 'request')}, ${own.spent.get('day', 0) / 1e6:.4f}",
        own.last or "never",
    )


def _state(key: KeyConfig) -> str:
    if key.disabled:
        return "disabled"
    return "admin" if key.admin else "on"


def _used(source: Source) -> tuple[dict[str, Used] | None, str]:
    """Return what each key has used, None where that is not known, and a sentence about it."""
    path = _usage_path(source)
    if not path:
        return None, "What keys have used is not kept: give usage.path a file."
    if not Path(path).exists():
        return {}, ""
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=_PATIENCE)
        ) as connection:
            return used_by_keys(connection, time.time()), ""
    except sqlite3.Error as error:
        return None, f"What keys have used is not known: {path}: {error}."


def _usage_path(source: Source) -> str:
    """Return where usage is kept, "" for nowhere. A service keeps it in a folder that only the running server knows."""
    path = source.kept_at()
    if not path or Path(path).exists():
        return path
    with contextlib.suppress(OSError, ClientError, ValueError, LookupError, TypeError):
        return str(asyncio.run(_get(f"{address(source.server())}/healthz", {}))["usage"])
    return path
