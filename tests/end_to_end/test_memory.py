"""Memory: what a request held is let go with it, without waiting for the cycle collector."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import httpx2 as httpx
import pytest
from process import Process, config
from scripted import Upstream, answer, sse, stream

pytestmark = pytest.mark.anew

FINE = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}]}
CHUNKS = sse({"choices": [{"index": 0, "delta": {"content": "ok"}, "finish_reason": "stop"}]})
SIZE = 4 * 2**20
REQUESTS = 40
MOST = 150 * 2**10  # kB more than before: a few bodies in flight and what the C library keeps; 40 bodies are 160 MiB


def resident(pid: int) -> int:
    """kB of memory the process has now."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    ("kind", "usage"),
    [("whole", ""), ("streamed", "usage: {path: usage.db}"), ("failing", "usage: {path: usage.db}")],
    ids=["whole", "streamed, with a ledger", "failing, with a ledger"],
)
def test_bodies_are_let_go(
    upstream: Upstream, scripted: Callable[..., str], http: httpx.Client, kind: str, usage: str
) -> None:
    scripts = {"whole": answer(FINE), "streamed": stream(CHUNKS), "failing": answer({"error": {"message": "no"}}, 500)}
    name = scripted(scripts[kind])
    text = json.dumps({"role": "user", "content": "x" * SIZE})
    body = f'{{"model": "up/{name}", "stream": {"true" if kind == "streamed" else "false"}, "messages": [{text}]}}'
    with Process(config(upstream, usage)) as server:
        http.post(f"{server.url}/chat/completions", content=body)
        before = resident(server.pid)
        for _ in range(REQUESTS):
            http.post(f"{server.url}/chat/completions", content=body)
        assert resident(server.pid) - before < MOST
    upstream.requests.clear()
