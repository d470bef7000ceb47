"""Prompts for Claude are marked for its cache where their client marks none and that pays (providers/anthropic/caching.py)."""

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest
from claude_cache import Claude
from process import Process

MODEL = "claude-sonnet-4-5"  # 3 dollars a million tokens, 15 of the answer, 0.3 from the cache, 3.75 and 6 into it
SYSTEM = "You are a careful programmer. Read before you write, and say what you did. " * 60
FILE = "def twice(number):\n    return number * 2\n\n" * 60
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": name, "description": f"{name} a file. " * 20, "parameters": {
        "type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}}}
    for name in ("read", "write", "list")
]  # fmt: skip
MARK = {"type": "ephemeral"}


@pytest.fixture(scope="module")
def claude() -> Iterator[Claude]:
    with Claude() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def server(claude: Claude, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    text = f"""
server: {{port: 0}}
providers:
  claude: {{host: anthropic, base_url: "{claude.url}", api_key: sk-upstream-canary}}
  plain: {{host: anthropic, base_url: "{claude.url}", api_key: sk-upstream-canary, cache: off}}
usage: {{path: "{tmp_path_factory.mktemp("usage")}/usage.db"}}
"""
    with Process(text) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(claude: Claude) -> None:
    claude.counted, claude.calls = [], True
    claude.requests.clear()
    claude._written.clear()


@pytest.fixture
def client(server: Process) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url, api_key="-", max_retries=0)


def converse(client: openai.OpenAI, model: str, turns: int = 10, **more: Any) -> None:
    """A conversation of an agent: in each turn the model calls a tool, and the next brings what it gave."""
    messages: list[Any] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Double it."}]
    for turn in range(turns):
        answered = client.chat.completions.create(model=model, messages=messages, tools=TOOLS, **more)
        said = answered.choices[0].message
        assert said.tool_calls
        messages += [
            said.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": said.tool_calls[0].id, "content": f"# {turn}\n{FILE}"},
        ]


def billed(usage: dict[str, Any]) -> float:
    """What a request costs, in tokens of a fresh prompt."""
    hour = usage["cache_creation"]["ephemeral_1h_input_tokens"]
    five = usage["cache_creation_input_tokens"] - hour
    return usage["input_tokens"] + 0.1 * usage["cache_read_input_tokens"] + 1.25 * five + 2 * hour


def marks(value: Any) -> list[Any]:
    """The marks of a request, in order."""
    match value:
        case {"cache_control": mark, **rest}:
            return [mark, *marks(rest)]
        case dict():
            return [mark for each in value.values() for mark in marks(each)]
        case list():
            return [mark for each in value for mark in marks(each)]
    return []


def sums(counted: list[dict[str, Any]]) -> dict[str, int]:
    names = "input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"
    return {name: sum(each[name] for each in counted) for name in names}


def test_ten_turns_of_an_agent_are_billed_a_fraction(
    client: openai.OpenAI, claude: Claude, server: Process, capsys: pytest.CaptureFixture[str]
) -> None:
    converse(client, f"plain/{MODEL}")
    without, claude.counted = claude.counted, []
    claude.requests.clear()
    converse(client, f"claude/{MODEL}")
    assert [len(marks(request.json)) for request in claude.requests] == [2] + [3] * 9
    assert sums(without)["cache_read_input_tokens"] == 0
    assert sum(sums(without).values()) == sum(sums(claude.counted).values())
    for before, after in zip(claude.counted, claude.counted[1:], strict=False):  # all that was there is read
        assert after["cache_read_input_tokens"] == sum(sums([before]).values())
        assert after["input_tokens"] == 0
    with capsys.disabled():
        print(f"\nbilled without marks {sum(map(billed, without)):.0f}, with {sum(map(billed, claude.counted)):.0f}")
    assert sum(map(billed, claude.counted)) < 0.3 * sum(map(billed, without))
    usage = httpx.get(f"{server.url}/usage?limit=20").json()
    names = ("prompt_tokens", "cached_tokens", "cost_usd", "saved_usd")
    for row, told, plain in zip(usage["requests"][:10][::-1], claude.counted, without, strict=True):
        assert row["upstream"] == f"claude/{MODEL}"
        answer = 20 * 15
        cost, dear = (billed(each) * 3 + answer for each in (told, plain))
        prompt = sum(sums([told]).values())
        want = (prompt, told["cache_read_input_tokens"], cost / 1e6, (dear - cost) / 1e6)
        assert tuple(row[name] for name in names) == pytest.approx(want, abs=2e-6)
    day = sum(row["saved_usd"] for row in usage["by_day"])
    assert day == pytest.approx(sum(row["saved_usd"] for row in usage["requests"])) and day > 0.05


def test_a_responses_client_streams_and_is_told(client: openai.OpenAI, claude: Claude) -> None:
    claude.calls = False
    tools: list[Any] = [{"type": "function", **tool["function"]} for tool in TOOLS]
    ask = client.responses.with_streaming_response.create
    with ask(model=f"claude/{MODEL}", instructions=SYSTEM, input="Hello!", tools=tools, stream=True) as got:
        assert got.headers["x-modelserver-added"] == "cache_control"
        events = list(got.parse())
    last: Any = events[-1]
    assert last.response.usage.input_tokens_details.cached_tokens == 0
    sent = claude.requests[0].json
    assert sent["system"] == [{"type": "text", "text": SYSTEM, "cache_control": MARK}]
    assert sent["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Hello!", "cache_control": MARK}]}
    ]
    assert marks(sent["tools"]) == []


@pytest.mark.parametrize(
    ("more", "added"),
    [
        ({}, True),
        ({"model": f"plain/{MODEL}"}, False),
        ({"tools": openai.NOT_GIVEN}, False),  # one question
        ({"messages": [{"role": "user", "content": "Hello!"}]}, False),  # short
        ({"model": "claude/claude-opus-4-5"}, False),  # short for this model: 4096 tokens
        ({"model": "claude/some-other"}, False),  # of which nothing is known
    ],
)
def test_marks_are_added_where_they_pay(
    client: openai.OpenAI, claude: Claude, more: dict[str, Any], added: bool
) -> None:
    asked: dict[str, Any] = {
        "model": f"claude/{MODEL}",
        "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Hello!"}],
        "tools": TOOLS,
    }
    got = client.chat.completions.with_raw_response.create(**(asked | more))
    assert got.headers.get("x-modelserver-added") == ("cache_control" if added else None)
    assert bool(marks(claude.requests[0].json)) is added


@pytest.mark.parametrize(
    ("count", "sent", "dropped"), [(1, [0], None), (4, [0, 1, 2, 3], None), (6, [0, 3, 4, 5], "cache_control")]
)
def test_the_clients_marks_are_its_own_and_never_more_than_four(
    client: openai.OpenAI, claude: Claude, count: int, sent: list[int], dropped: str | None
) -> None:
    texts = [{"type": "text", "text": f"{n} {SYSTEM}", "cache_control": MARK} for n in range(count)]
    got = client.chat.completions.with_raw_response.create(
        model=f"claude/{MODEL}",
        messages=[{"role": "user", "content": texts}],
        tools=TOOLS,  # type: ignore[typeddict-item]
    )
    assert got.headers.get("x-modelserver-added") is None and got.headers.get("x-modelserver-dropped") == dropped
    blocks = claude.requests[0].json["messages"][0]["content"]
    assert [n for n, block in enumerate(blocks) if "cache_control" in block] == sent
    assert len(marks(claude.requests[0].json)) == len(sent)


@pytest.mark.parametrize(
    ("retention", "mark", "dropped"),
    [
        ("24h", {**MARK, "ttl": "1h"}, "prompt_cache_retention"),
        ("1h", {**MARK, "ttl": "1h"}, None),
        ("in_memory", MARK, None),
        ("for ever", MARK, "prompt_cache_retention"),
    ],
)
def test_a_retention_is_the_marks_ttl(
    client: openai.OpenAI, claude: Claude, server: Process, retention: Any, mark: Any, dropped: str | None
) -> None:
    got = client.chat.completions.with_raw_response.create(
        model=f"claude/{MODEL}",
        messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Hello!"}],
        tools=TOOLS,
        prompt_cache_retention=retention,
    )
    assert got.headers.get("x-modelserver-dropped") == dropped
    assert marks(claude.requests[0].json) == [mark, mark]
    row = httpx.get(f"{server.url}/usage?limit=1").json()["requests"][0]
    assert row["cost_usd"] == pytest.approx((billed(claude.counted[0]) * 3 + 20 * 15) / 1e6, abs=2e-6)
    assert row["saved_usd"] < 0  # writing costs more than a fresh prompt


def test_a_mark_of_the_whole_request_is_passed_on(client: openai.OpenAI, claude: Claude) -> None:
    got = client.chat.completions.with_raw_response.create(
        model=f"claude/{MODEL}",
        messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": "Hello!"}],
        tools=TOOLS,
        extra_body={"cache_control": MARK},
    )
    assert claude.requests[0].json["cache_control"] == MARK and len(marks(claude.requests[0].json)) == 1
    assert got.headers.get("x-modelserver-added") is None and got.headers.get("x-modelserver-dropped") is None


def test_a_messages_client_marks_its_own(server: Process, claude: Claude) -> None:
    with anthropic.Anthropic(base_url=server.root, api_key="-", max_retries=0) as mine:
        tools: list[Any] = [{"name": "read", "input_schema": {"type": "object", "properties": {}}}]
        turns: list[Any] = [{"role": "user", "content": "Hello!"}]
        with mine.messages.stream(
            model=f"claude/{MODEL}", max_tokens=99, system=SYSTEM, tools=tools, messages=turns
        ) as got:
            assert got.response.headers.get("x-modelserver-added") is None
            got.get_final_message()
    assert marks(claude.requests[0].json) == [] and claude.requests[0].json["system"] == SYSTEM


def test_the_row_of_a_conversation_that_is_not_priced(client: openai.OpenAI, claude: Claude, server: Process) -> None:
    converse(client, "claude/claude-mythos-5-2", 2)
    usage = httpx.get(f"{server.url}/usage?limit=1").json()["requests"][0]
    assert usage["cached_tokens"] and usage["cost_usd"] is None and usage["saved_usd"] is None
