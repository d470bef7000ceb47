"""What the tests of limits and usage share: keys and prices for a server, calls that come at once, and rows of ledgers."""

import asyncio
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import httpx2 as httpx
from process import Process, config
from scripted import Script, Upstream, answer, sse, stream

from server.usage.rows import UsageRow
from server.usage.store import UsageStore

PRICES = "model_facts:\n  priced-*: {price: {input: 1000, output: 2000, cache_read: 100}}\n"  # USD per million: mills a token


def settings(upstream: Upstream | None, folder: Path, keys: Iterable[str], more: str = "", **sections: str) -> str:
    """A configuration that keeps its ledger in `folder`. keys: mappings without name and key, for k0, k1 …"""
    lines = [f"  - {{name: k{i}, key: sk-canary-{i}, {key}}}" for i, key in enumerate(keys)]
    usage = sections.pop("usage", "")
    rows = "".join(f"  {line}\n" for line in usage.splitlines())
    ledger = f"usage:\n  path: {folder / 'usage.db'}\n{rows}"
    return config(upstream, "\n".join(["keys:", *lines, PRICES + ledger + more]), **sections)


def counted(prompt: int, completion: int, **details: int) -> Script:
    """A whole answer that reports this usage."""
    told = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    if details:
        told["prompt_tokens_details"] = details
    message = {"role": "assistant", "content": "Yes."}
    return answer({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": told})


def piece(text: str | None = None, finish: str | None = None) -> dict[str, Any]:
    delta = {} if text is None else {"content": text}
    return {"id": "u", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def words(count: int, pause: float = 0.0) -> Script:
    """A stream of words that never ends."""
    script = stream(sse(piece(""), done=False), end=False)
    for i in range(count):
        script += [*stream(sse(piece(f"word{i % 10} "), done=False), end=False)[1:], *([pause] if pause else [])]
    return [*script, float("inf")]


async def post(
    session: aiohttp.ClientSession, server: Process, model: str, key: str = "sk-canary-0", **body: Any
) -> Any:
    """One request; its status, headers and body."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hello!"}], **body}
    headers = {"Authorization": f"Bearer {key}"}
    async with session.post(f"{server.url}/chat/completions", json=body, headers=headers) as response:
        text = await response.text()
        return response.status, response.headers, json.loads(text) if text.startswith("{") else text


def at_once(count: int, servers: list[Process], model: str, **body: Any) -> list[Any]:
    """`count` clients, each on a connection of its own, all at once, spread over the servers."""

    async def run() -> list[Any]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            return await asyncio.gather(
                *[post(session, servers[i % len(servers)], model, **body) for i in range(count)]
            )

    return asyncio.run(run())


def statuses(answers: list[Any]) -> Counter[int]:
    return Counter(status for status, *_ in answers)


def rows(folder: Path, where: str = "true") -> list[dict[str, Any]]:
    """Rows of the ledger, oldest first."""
    with closing(sqlite3.connect(folder / "usage.db")) as connection:
        connection.row_factory = sqlite3.Row
        found = connection.execute(f"SELECT * FROM requests WHERE {where} ORDER BY id").fetchall()
        return [dict(row) for row in found]


def usage(server: Process, caller: str = "sk-canary-0", **query: Any) -> Any:
    """GET /v1/usage, which waits for what is being written."""
    response = httpx.get(f"{server.url}/usage", params=query, headers={"Authorization": f"Bearer {caller}"}, timeout=20)
    assert response.status_code == 200, response.text
    return response.json() if "json" in response.headers["Content-Type"] else response.text


def day(ago: int) -> str:
    """The day, in UTC, so many days ago."""
    return (datetime.now(UTC).date() - timedelta(days=ago)).isoformat()


def past(path: Path, *requests: dict[str, Any]) -> Path:
    """Write a ledger of requests that have ended, oldest first, and return its path.

    Each: fields of UsageRow, `ago`: days, at noon, or `hours`: how many ago, and `times`: how many requests.
    """
    store = UsageStore(str(path), 36_500)
    usual = {
        "key": "k0",
        "model": "m",
        "upstream": "up/m",
        "stream": True,
        "status": 200,
        "code": "",
        "estimated": False,
    }
    usual |= {
        "prompt": 100,
        "completion": 10,
        "cached": 0,
        "reasoning": 0,
        "cost": 1000,
        "first_ms": 100,
        "total_ms": 400,
    }
    for number, request in enumerate(requests):
        fields = {**usual, **request}
        at = datetime.fromisoformat(f"{day(fields.pop('ago', 0))}T12:00:00+00:00").timestamp()
        if (hours := fields.pop("hours", None)) is not None:
            at = time.time() - hours * 3600
        for _ in range(fields.pop("times", 1)):
            store.enqueue(UsageRow(id=store.next_id(), at=int(at * 1000), request=f"req_{number}", **fields))
    store.close()
    return path
