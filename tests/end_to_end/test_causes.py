"""Another target is asked where one cannot take a prompt, refuses it by a filter, or costs more than a key may spend (`on`)."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest
from anthropic import Anthropic
from claude_cache import message
from openai import BadRequestError, OpenAI, RateLimitError
from process import Process
from scripted import Script, Upstream, answer, sse, stream

from gateway.config import load
from gateway.problems import ConfigError

ALL = "context, content_filter, budget"
KEY, POOR = "sk-canary-of-a-client-0123", "sk-canary-of-a-poor-client"
HI: list[Any] = [{"role": "user", "content": "Hello!"}]
USAGE = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
TOO_LONG = answer(
    {"error": {"message": "Your input exceeds the context window of this model.", "code": "context_length_exceeded"}},
    400,
)
CLAUDE_TOO_LONG = answer(
    {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}}, 400
)
POLICY = answer({"error": {"message": "The prompt triggered Azure OpenAI's content management policy.",
                           "code": "content_filter", "param": "prompt"}}, 400)  # fmt: skip


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"id": "u", "object": "chat.completion.chunk", "created": 1, "model": "u",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}  # fmt: skip


def whole(text: str | None, finish: str = "stop") -> Script:
    said = {"role": "assistant", "content": text}
    return answer({"id": "u", "choices": [{"index": 0, "message": said, "finish_reason": finish}], "usage": USAGE})


def streamed(*texts: str, finish: str = "stop") -> Script:
    usage = {"id": "u", "choices": [], "usage": USAGE}
    return stream(
        sse(chunk(role="assistant", content=""), *(chunk(content=text) for text in texts), chunk(finish), usage)
    )


def refusal(*texts: str) -> Script:
    return message(
        [{"type": "text", "text": text} for text in texts], "refusal", {"input_tokens": 9, "output_tokens": 1}
    )


def claude_whole(text: str, stop: str) -> Script:
    blocks = [{"type": "text", "text": text}] if text else []
    return answer({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": blocks,
                   "stop_reason": stop, "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 1}})  # fmt: skip


def response(status: str, reason: str | None = None, text: str = "") -> dict[str, Any]:
    output = [{"type": "message", "id": "msg_1", "role": "assistant", "status": status,
               "content": [{"type": "output_text", "text": text, "annotations": []}]}] if text else []  # fmt: skip
    return {"id": "resp_1", "object": "response", "created_at": 1, "model": "u", "status": status, "output": output,
            "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None,
            "incomplete_details": {"reason": reason} if reason else None,
            "usage": {"input_tokens": 9, "output_tokens": 1, "total_tokens": 10}}  # fmt: skip


def events(*told: tuple[str, dict[str, Any]]) -> Script:
    lines = (
        f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': n, **more})}\n\n"
        for n, (kind, more) in enumerate(told)
    )
    return stream("".join(lines).encode())


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as scripted:
        yield scripted


@pytest.fixture(scope="module")
def server(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    text = f"""
server: {{port: 0}}
keys:
  - {{name: rich, key: {KEY}}}
  - {{name: poor, key: {POOR}, budget_usd: 0.05}}
providers:
  up: {{protocol: openai, base_url: "{upstream.url}/v1", api_key: sk-upstream-canary}}
  oai: {{host: openai, base_url: "{upstream.url}/v1", api_key: sk-upstream-canary}}
  claude: {{host: anthropic, base_url: "{upstream.url}", api_key: sk-upstream-canary}}
models:
  chat: [{{target: up/first, on: [{ALL}]}}, up/second]
  plain: [up/first, up/second]
  claude: [{{target: claude/first, on: [{ALL}]}}, up/second]
  native: [{{target: oai/first, on: [{ALL}]}}, up/second]
  weighted: [{{target: up/tiny, weight: 1000000, on: [context]}}, {{target: up/second, weight: 0.0001}}]
  tiny: [{{target: up/tiny, on: [context]}}, {{target: up/small, on: [context]}}, up/second]
  alone: up/tiny
  dear: [{{target: up/dear, on: [budget]}}, up/cheap]
  only-dear: [up/dear, up/cheap]
model_facts:
  tiny: {{context: 1000}}
  small: {{context: 2000}}
  dear: {{price: {{input: 1000, output: 100000}}, max_output: 1000}}
  cheap: {{price: {{input: 1, output: 1}}, max_output: 1000}}
usage: {{path: "{tmp_path_factory.mktemp("usage")}/usage.db"}}
"""
    with Process(text) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(upstream: Upstream) -> None:
    upstream.requests.clear()


@pytest.fixture
def client(server: Process) -> OpenAI:
    return OpenAI(base_url=server.url, api_key=KEY, max_retries=0)


@pytest.fixture
def anthropic(server: Process) -> Anthropic:
    return Anthropic(base_url=server.root, api_key=KEY, max_retries=0)


def asked(
    client: OpenAI, anthropic: Anthropic, dialect: str, model: str, streaming: bool, prompt: str = "Hello!"
) -> tuple[str, str]:
    """The text of an answer, and who was tried before, by an official SDK."""
    mine: list[Any] = [{"role": "user", "content": prompt}]
    match dialect:
        case "chat" if streaming:
            raw: Any = client.chat.completions.with_raw_response.create(model=model, messages=mine, stream=True)
            text = "".join(each.choices[0].delta.content or "" for each in raw.parse() if each.choices)
        case "chat":
            raw = client.chat.completions.with_raw_response.create(model=model, messages=mine)
            text = raw.parse().choices[0].message.content or ""
        case "responses" if streaming:
            raw = client.responses.with_raw_response.create(model=model, input=prompt, stream=True)
            text = "".join(each.delta for each in raw.parse() if each.type == "response.output_text.delta")
        case "responses":
            raw = client.responses.with_raw_response.create(model=model, input=prompt)
            text = raw.parse().output_text
        case _ if streaming:
            raw = anthropic.messages.with_raw_response.create(model=model, max_tokens=99, messages=mine, stream=True)
            text = "".join(each.delta.text for each in raw.parse() if each.type == "content_block_delta")
        case _:
            raw = anthropic.messages.with_raw_response.create(model=model, max_tokens=99, messages=mine)
            text = "".join(block.text for block in raw.parse().content)
    return text, raw.headers.get("x-modelserver-tried", "")


FIRST = {  # model and streamed → (how its first target says that a prompt is too long, how it refuses by its filter)
    ("chat", True): (TOO_LONG, [POLICY, streamed(finish="content_filter")]),
    ("chat", False): (TOO_LONG, [POLICY, whole(None, "content_filter")]),
    ("claude", True): (CLAUDE_TOO_LONG, [refusal()]),
    ("claude", False): (CLAUDE_TOO_LONG, [refusal(), claude_whole("", "refusal")]),
    ("native", True): (TOO_LONG, [POLICY, events(
        ("response.created", {"response": response("in_progress")}),
        ("response.incomplete", {"response": response("incomplete", "content_filter")}))]),
    ("native", False): (TOO_LONG, [POLICY, answer(response("incomplete", "content_filter"))]),
}  # fmt: skip
CASES = [
    (dialect, model, streaming)
    for dialect in ("chat", "messages", "responses")
    for streaming in (True, False)
    for model in (
        "chat",
        *(("claude",) if dialect != "responses" else ()),
        *(("native",) if dialect == "responses" else ()),
    )
]


@pytest.mark.parametrize(("dialect", "model", "streaming"), CASES)
def test_every_dialect_goes_on_to_the_next_target(
    client: OpenAI, anthropic: Anthropic, server: Process, upstream: Upstream, dialect: str, model: str, streaming: bool
) -> None:
    too_long, filtered = FIRST[model, streaming]
    if model == "claude" and not streaming:  # for clients of other APIs Claude is always streamed
        filtered = filtered[dialect == "messages" :][:1]
    upstream.script("second", streamed("Yes.") if streaming else whole("Yes."))
    name = {"native": "oai", "chat": "up"}.get(model, model)
    for script, code in [(too_long, "context_length_exceeded"), *((each, "content_filter") for each in filtered)]:
        upstream.script("first", script)
        assert asked(client, anthropic, dialect, model, streaming) == ("Yes.", f"{name}/first={code}")
        assert server.logged(upstream="up/second", tried=f"{name}/first: {code}")["status"] == 200


def test_without_a_cause_the_client_gets_the_failure(client: OpenAI, upstream: Upstream) -> None:
    upstream.script("second", whole("Yes."))
    for script, code in ((TOO_LONG, "context_length_exceeded"), (POLICY, "content_filter")):
        upstream.script("first", script)
        with pytest.raises(BadRequestError) as caught:
            client.chat.completions.create(model="plain", messages=HI)
        assert caught.value.code == code and caught.value.response.headers["x-modelserver-tried"] == f"up/first={code}"
    upstream.script("first", whole(None, "content_filter"))
    assert client.chat.completions.create(model="plain", messages=HI).choices[0].finish_reason == "content_filter"
    assert upstream.of("second") == []


def test_the_last_target_is_not_asked_for_more_than_it_gives(client: OpenAI, upstream: Upstream) -> None:
    upstream.script("first", TOO_LONG)
    upstream.script("second", whole(None, "content_filter"))
    raw = client.chat.completions.with_raw_response.create(model="chat", messages=HI)
    assert raw.parse().choices[0].finish_reason == "content_filter"
    assert raw.headers["x-modelserver-tried"] == "up/first=context_length_exceeded"
    upstream.script("second", TOO_LONG)
    with pytest.raises(BadRequestError) as caught:
        client.chat.completions.create(model="chat", messages=HI)
    assert caught.value.code == "context_length_exceeded"


def test_what_was_said_is_not_taken_back(client: OpenAI, upstream: Upstream) -> None:
    upstream.script("first", streamed("Well", ", no.", finish="content_filter"))
    got = list(client.chat.completions.create(model="chat", messages=HI, stream=True))
    assert "".join(each.choices[0].delta.content or "" for each in got if each.choices) == "Well, no."
    assert got[-1].choices[0].finish_reason == "content_filter" and upstream.of("second") == []


def test_an_answer_that_was_refused_is_paid(client: OpenAI, upstream: Upstream, server: Process) -> None:
    upstream.script("first", whole(None, "content_filter"))
    upstream.script("second", whole("Yes."))
    client.chat.completions.create(model="chat", messages=HI)
    usage = httpx.get(f"{server.url}/usage?limit=1", headers={"Authorization": f"Bearer {KEY}"}).json()["requests"][0]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["upstream"]) == (18, 2, "up/second")


LONG = "word " * 5000  # 20,000 letters: 2,500 tokens at least


@pytest.mark.parametrize("dialect", ["chat", "messages", "responses"])
@pytest.mark.parametrize("streaming", [True, False])
def test_a_prompt_that_surely_does_not_fit_is_not_sent(
    client: OpenAI, anthropic: Anthropic, upstream: Upstream, dialect: str, streaming: bool
) -> None:
    upstream.script("second", streamed("Yes.") if streaming else whole("Yes."))
    tried = "up/tiny=context_length_exceeded, up/small=context_length_exceeded"
    assert asked(client, anthropic, dialect, "tiny", streaming, LONG) == ("Yes.", tried)
    assert [request.model for request in upstream.requests] == ["second"]


def test_a_window_that_may_be_enough_is_tried(client: OpenAI, anthropic: Anthropic, upstream: Upstream) -> None:
    upstream.script("tiny", whole("Tiny."))
    assert asked(client, anthropic, "chat", "tiny", False, "word " * 1500) == ("Tiny.", "")
    upstream.script("second", whole("Yes."))
    assert asked(client, anthropic, "chat", "weighted", False, LONG) == ("Yes.", "up/tiny=context_length_exceeded")
    with pytest.raises(BadRequestError) as caught:
        asked(client, anthropic, "chat", "alone", False, LONG)
    assert caught.value.code == "context_length_exceeded" and "2500" in caught.value.message
    raw = client.chat.completions.create(
        model="alone", messages=[{"role": "user", "content": LONG}], extra_body={"truncate_prompt_tokens": 900}
    )
    assert raw.choices[0].message.content == "Tiny."  # its host shortens what is too long


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("dialect", ["chat", "messages", "responses"])
def test_what_a_budget_does_not_cover_goes_to_a_cheaper_target(
    server: Process, upstream: Upstream, dialect: str, streaming: bool
) -> None:
    poor = OpenAI(base_url=server.url, api_key=POOR, max_retries=0)
    poor_too = Anthropic(base_url=server.root, api_key=POOR, max_retries=0)
    upstream.script("cheap", streamed("Yes.") if streaming else whole("Yes."))
    prompt = "word " * 100  # 125 tokens, for twelve cents
    assert asked(poor, poor_too, dialect, "dear", streaming, prompt) == ("Yes.", "up/dear=budget_exceeded")
    assert upstream.of("dear") == []
    with pytest.raises(RateLimitError):
        asked(poor, poor_too, "chat", "only-dear", streaming, prompt)


def test_the_configuration_says_what_is_wrong() -> None:
    wrong = (
        "m: [{target: echo/a, on: [contxt]}, {on: [budget]}, nobody/x]\n  n: [{target: echo/a, weight: 2}, echo/b]\n"
    )
    facts = "families: {}\nmodels: {}\n"
    begin = "providers: {echo: {}}\nmodels:\n"
    settings = load(f"{begin}  m: [{{target: echo/a, on: [context]}}, {{target: echo/b, on: [budget]}}]\n", {}, facts)
    assert [(each.upstream.model, each.on) for each in settings.routes.resolve("m", ("*",))] == [
        ("a", ("context",)),
        ("b", ("budget",)),
    ]
    assert settings.warnings == (
        "config.yaml:3: models.m: warning: 'on' of the last target, echo/b, has no effect: there is no next one",
    )
    with pytest.raises(ConfigError) as caught:
        load(f"{begin}  {wrong}", {}, facts)
    for line in ("models.m[0].on[0]: expected context or content_filter or budget; did you mean 'context'?",
                 "models.m[1]: the key 'target' is missing", "models.n: give each target a 'weight', or none"):  # fmt: skip
        assert line in str(caught.value)
