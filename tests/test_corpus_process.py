"""Every recorded Claude and Gemini stream through the real process, against the official SDKs on the same bytes.

The scripted upstream sends the recorded bytes at cut sizes 1, 7 and 64 and whole; test_corpus_anthropic.py and
test_corpus_gemini.py do the same without a server. Skipped where the recordings are absent.
"""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gemini_oracle
import httpx2 as httpx
import oracles
import pytest
import test_corpus_anthropic as claude
import test_corpus_gemini as gemini
from process import Process
from scripted import Upstream, until_close

from providers.chat import collect

pytestmark = [
    pytest.mark.skipif(not claude.FILE.exists(), reason=f"no recordings at {claude.CORPUS}"),
    pytest.mark.filterwarnings("ignore:.* is not a valid:UserWarning"),
]
CUTS = (1, 7, 64, None)
ASK = {"messages": [{"role": "user", "content": "x"}], "stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture(scope="module")
def front(upstream: Upstream) -> Iterator[Process]:
    """A server whose providers claude and gemini are the scripted upstream."""
    text = f"""
server: {{port: 0}}
providers:
  claude: {{protocol: anthropic, base_url: "{upstream.url}", api_key: k}}
  gemini: {{protocol: gemini, base_url: "{upstream.url}/v1beta", api_key: k}}
"""
    with Process(text) as process:
        yield process


def chunks(client: httpx.Client, url: str, model: str) -> list[dict[str, Any]] | dict[str, Any]:
    """The chunks of a streamed answer, or its error."""
    answer = client.post(f"{url}/chat/completions", json={**ASK, "model": model})
    if answer.status_code != 200:
        return dict(answer.json()["error"])
    *events, last = answer.text.split("\n\n")
    assert last == ""
    data = [event.removeprefix("data: ") for event in events if not event.startswith(":")]
    if data[-1] != "[DONE]":
        return dict(json.loads(data[-1])["error"])
    found = [json.loads(each) for each in data[:-1]]
    assert len({(each["id"], each["created"], each["model"]) for each in found}) == 1
    # Beside the usage chunk every chunk says "usage": null, as OpenAI's own do.
    assert all(("usage" in each and each["usage"] is None) or not each["choices"] for each in found)
    return [{name: value for name, value in each.items() if (name, value) != ("usage", None)} for each in found]


def replay(front: Process, upstream: Upstream, provider: str, exchanges: list[dict[str, Any]]) -> Iterator[Any]:
    """(exchange, cut, what the client got) for every exchange at every cut."""
    cases = [
        (n, exchange, cut, body)
        for n, exchange in enumerate(exchanges)
        if (body := gemini.framed(exchange)[0] if provider == "gemini" else exchange["response"]["body"].encode())
        for cut in CUTS
    ]

    def one(case: tuple[int, dict[str, Any], int | None, bytes]) -> Any:
        n, exchange, cut, body = case
        name = upstream.script(f"{provider}-{n}-{cut}", until_close(body, cut))
        return exchange, cut, chunks(client, front.url, f"{provider}/{name}")

    with httpx.Client(timeout=120, trust_env=False) as client, ThreadPoolExecutor(6) as pool:
        yield from pool.map(one, cases)


def test_claude(front: Process, upstream: Upstream) -> None:
    counts: Counter[int | None] = Counter()
    expected: dict[str, Any] = {}
    for exchange, cut, got in replay(front, upstream, "claude", claude.WIRE):
        if exchange["id"] not in expected:
            expected[exchange["id"]] = oracles.claude(exchange["response"]["body"].encode())
        assert isinstance(got, list), f"{exchange['id']}: {got}"
        oracles.check_chunks(got)
        assert oracles.completion(collect(got)) == expected[exchange["id"]], (exchange["id"], cut)
        counts[cut] += 1
    print(f"\nClaude streams through the process, by cut: {dict(counts)}")
    assert counts == dict.fromkeys(CUTS, len(claude.WIRE)) and len(claude.WIRE) >= 160


def test_gemini(front: Process, upstream: Upstream) -> None:
    counts: Counter[int | None] = Counter()
    broken = 0
    for exchange, cut, got in replay(front, upstream, "gemini", gemini.WIRE):
        body, _ = gemini.framed(exchange)
        counts[cut] += 1
        if any(f'"finishReason": "{reason}"' in body.decode() for reason in gemini_oracle.BROKEN):
            assert isinstance(got, dict) and got["code"] == "upstream_bad_output"
            broken += cut is None
            continue
        theirs, mended = gemini.expected(body)
        assert isinstance(got, list), f"{exchange['id']}: {got}"
        ours = gemini_oracle.same_ids(gemini_oracle.said(got), theirs)
        if mended:
            ours = ours._replace(choices={i: c._replace(signatures=[]) for i, c in ours.choices.items()})
            theirs = theirs._replace(choices={i: c._replace(signatures=[]) for i, c in theirs.choices.items()})
        assert ours == theirs, (exchange["id"], cut)
    print(f"\nGemini streams through the process, by cut: {dict(counts)}; answers that are errors: {broken}")
    assert counts == dict.fromkeys(CUTS, len(gemini.WIRE)) and len(gemini.WIRE) >= 150
