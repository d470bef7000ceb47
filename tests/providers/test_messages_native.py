"""Messages requests as they go to Claude: what is changed of them, and nothing else; and what is seen of its answers."""

import json
from typing import Any

import pytest
from cuts import CUTS, pieces

from dialects import messages, seal
from providers import raw_json
from providers.anthropic.foreign import MARK
from providers.anthropic.native import build, build_count
from providers.anthropic.watch import watch
from providers.contract import Call, Json, Upstream
from providers.errors import Failure, Overloaded, UpstreamBadOutput, UpstreamTruncated
from providers.frames import Frames
from providers.hosts import PLAIN
from providers.models import ModelFacts
from providers.sse import Event

HI = [{"role": "user", "content": "hi"}]
OURS = "bW9kZWxzZXJ2ZXIvMSB7ImJ5IjoiZGVlcHNlZWsifQ=="
SIGNED = {"type": "thinking", "thinking": "", "signature": "EqQBCkYIA"}
FOREIGN = {"type": "thinking", "thinking": "hm", "signature": OURS}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {}}
RESULT = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "x"}]}
# What some Claude takes, in the words of models.yaml.
ADAPTIVE = ModelFacts(
    thinking=("adaptive", "between_tools"),
    efforts=("low", "medium", "high", "max"),
    sampling="no",
    forced_tools=False,
    max_output=64000,
)
BY_BUDGET = ModelFacts(thinking=("enabled", "disabled"), max_output=64000)


def to(model: str = "claude-x-5", facts: ModelFacts = ADAPTIVE, **options: Any) -> Upstream:
    return Upstream(
        "claude", model, "https://api.example", "sk-ant-k", host=PLAIN["anthropic"], facts=facts, options=options
    )


def call(body: Json | bytes, upstream: Upstream | None = None, **headers: str) -> Call:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return build(raw_json.members(data), sent, upstream or to())


def sent(body: Json, upstream: Upstream | None = None) -> Json:
    got: Json = json.loads(call(body, upstream).body)
    return got


@pytest.mark.parametrize(
    "members",
    [
        rb'"temperature": 1.0, "x": [1e2, {"b":1,"a" : 2}]',
        rb'"x":"\u00e9 \ud83d"',
        rb'"x":"\ud83d\ude00\ud83d", "y\ud83d":"\\ud83d\\\ud83d"',
        b'"x":"\x7f \xc3\xa9","z":"\\ud83d"',
        rb'"new_beta":{"type":"later","n":18446744073709551616}',
    ],
)
@pytest.mark.case(messages=12)
def test_nothing_but_the_model_changes(members: bytes) -> None:
    tail = b',"messages":[{"role":"user",  "content":"hi\\/"}]'
    got = call(b'{"model":"claude-x-5-20260101", ' + members + tail + b"}").body
    wanted = members.replace(b'"temperature": 1.0, "x": [', b'"temperature":1.0,"x":[').replace(b'", "y', b'","y')
    assert got == b'{"model":"claude-x-5",' + wanted + tail + b"}"


def test_lone_surrogates_that_cannot_be_hidden_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        raw_json.members(b'{"a": "\x7f\xc2\x80\xc2\x81\xc2\x82\xc2\x83\\ud83d"}')
    with pytest.raises(ValueError, match="expected"):
        raw_json.members(b"[1]")


@pytest.mark.case(messages=8)
@pytest.mark.case(messages=13)
def test_headers() -> None:
    got = call(
        {"model": "claude-x-5", "messages": HI},
        to(headers={"Anthropic-Beta": "b,c", "x-team": "blue"}),
        anthropic_beta="a,b,a, b",
        anthropic_version="2026-10-21",
        anthropic_new_thing="1",
        anthropic_workspace_id="w",
        anthropic_organization_id="o",
        anthropic_user_profile_id="u",
        anthropic_dangerous_direct_browser_access="true",
        x_claude_code_session_id="s",
    )
    assert got.headers == {
        "anthropic-version": "2026-10-21",
        "anthropic-new-thing": "1",
        "anthropic-beta": "a,b,c",
        "accept-encoding": "identity",
        "x-api-key": "sk-ant-k",
        "x-team": "blue",
    }
    for version in ({}, {"anthropic_version": "soon"}, {"anthropic_version": "2026-10-21\n"}):
        plain = call({"model": "claude-x-5", "messages": HI}, **version)
        assert plain.headers["anthropic-version"] == "2023-06-01"


def test_betas_that_a_host_is_not_to_have() -> None:
    got = call({"model": "claude-x-5"}, to(betas=["files-*", "b"]), anthropic_beta="files-1,new-2,b")
    assert got.headers["anthropic-beta"] == "files-1,b"
    assert got.dropped == ("anthropic-beta:new-2",)


@pytest.mark.parametrize(
    ("base", "query", "url"),
    [
        ("https://h", {}, "https://h/v1/messages"),
        ("https://h/v1/", {"?beta": "true"}, "https://h/v1/messages?beta=true"),
        ("https://h/anthropic", {"?beta": "1"}, "https://h/anthropic/v1/messages"),
    ],
)
def test_urls(base: str, query: dict[str, str], url: str) -> None:
    raw = raw_json.members(b'{"model":"m"}')
    upstream = Upstream("c", "m", base, host=PLAIN["anthropic"])
    assert build(raw, query, upstream).url == url
    assert build_count(raw, query, upstream).url == url.replace("/messages", "/messages/count_tokens")
    assert "x-api-key" not in build(raw, query, upstream).headers


def test_the_mark_is_that_of_our_seals() -> None:
    assert MARK.decode() == seal.SIGNATURE
    assert OURS.startswith(seal.SIGNATURE)
    assert seal.signature({"by": "x"}).startswith(MARK.decode())


@pytest.mark.case(messages=19)
def test_thinking_of_others_is_taken_out() -> None:
    before = b'{"role":"user" ,"content":"1.0\\u00e9"}'
    body = (
        b'{"model":"claude-x-5","messages":['
        + before
        + b","
        + json.dumps(
            {
                "role": "assistant",
                "content": [FOREIGN, SIGNED, {"type": "thinking", "thinking": "", "signature": ""}, CALL],
            }
        ).encode()
        + b","
        + json.dumps(RESULT).encode()
        + b"]}"
    )
    got = call(body).body
    assert before in got
    assert json.loads(got)["messages"][1:] == [{"role": "assistant", "content": [SIGNED, CALL]}, RESULT]
    kept = (
        b'{"model":"claude-x-5","messages":[' + json.dumps({"role": "assistant", "content": [SIGNED]}).encode() + b"]}"
    )
    assert call(kept).body == kept


def test_words_that_look_like_it_stay() -> None:
    said = [
        {"type": "text", "text": f'"signature": "" {OURS}'},
        {"type": "tool_result", "signature": "", "content": []},
    ]
    history = [{"role": "user", "content": said}, {"role": "assistant", "content": f'{OURS} "signature":""'}]
    assert sent({"model": "claude-x-5", "messages": history})["messages"] == history
    assert sent({"model": "claude-x-5", "messages": [OURS, 5]})["messages"] == [OURS, 5]


@pytest.mark.parametrize("kind", ["enabled", "adaptive"])
@pytest.mark.parametrize("edits", [[{"type": "clear_thinking_20251015"}], [{"type": "clear_tool_uses_20250919"}]])
@pytest.mark.case(messages=20)
def test_a_turn_that_lost_its_thinking(kind: str, edits: list[Json]) -> None:
    thinking = {"type": kind} | ({"budget_tokens": 4000} if kind == "enabled" else {})
    history = [*HI, {"role": "assistant", "content": [FOREIGN, CALL]}, RESULT]
    body = {"model": "m", "thinking": thinking, "context_management": {"edits": edits}, "messages": history}
    got = call(body, to("m", BY_BUDGET if kind == "enabled" else ADAPTIVE))
    made = json.loads(got.body)
    if kind == "adaptive":
        assert (made["thinking"], made["context_management"], got.dropped) == (thinking, {"edits": edits}, ())
        return
    assert "thinking" not in made
    assert got.dropped == ("thinking",)
    left = [edit for edit in edits if "thinking" not in edit["type"]]
    assert made.get("context_management") == ({"edits": left} if left else None)


def test_an_earlier_turn_without_its_thinking_needs_none() -> None:
    history = [*HI, {"role": "assistant", "content": [FOREIGN, {"type": "text", "text": "a"}]}, *HI]
    thinking = {"type": "enabled", "budget_tokens": 4000}
    got = call({"model": "m", "thinking": thinking, "messages": history}, to("m", BY_BUDGET))
    assert (json.loads(got.body)["thinking"], got.dropped) == (thinking, ())


@pytest.mark.case(messages=21)
def test_a_message_of_nothing_else_is_left_out() -> None:
    history = [*HI, {"role": "assistant", "content": [FOREIGN]}, *HI]
    assert sent({"model": "m", "messages": history}, to("m"))["messages"] == [*HI, *HI]


TUNED = {
    "model": "claude-old-4",
    "max_tokens": 32000,
    "temperature": 0.3,
    "thinking": {"type": "enabled", "budget_tokens": 8192, "display": "summarized"},
    "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    "messages": HI,
}


@pytest.mark.case(messages=22)
def test_a_request_for_another_claude_is_fitted() -> None:
    got = call(TUNED)
    assert json.loads(got.body) == {
        "model": "claude-x-5",
        "max_tokens": 32000,
        "thinking": {"type": "adaptive", "display": "summarized"},
        "output_config": {"effort": "medium"},
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "messages": HI,
    }
    assert set(got.dropped) == {"temperature", "thinking", "output_config.effort", "tool_choice"}


@pytest.mark.parametrize("name", ["claude-x-5", "claude-x-5-20260101", "claude/claude-x-5", "Claude-X-5[1m][1M]"])
@pytest.mark.case(messages=22)
def test_the_model_that_was_asked_for_is_not_fitted(name: str) -> None:
    assert sent({**TUNED, "model": name}) == {**TUNED, "model": "claude-x-5"}
    assert call({**TUNED, "model": name}).dropped == ()


@pytest.mark.parametrize(
    ("facts", "body", "made", "named"),
    [
        (BY_BUDGET, {"thinking": {"type": "adaptive"}, "max_tokens": 40000},
         {"thinking": {"type": "enabled", "budget_tokens": 16384}, "max_tokens": 40000}, {"thinking"}),
        (BY_BUDGET, {"thinking": {"type": "adaptive"}, "max_tokens": 2000},
         {"thinking": {"type": "enabled", "budget_tokens": 1999}, "max_tokens": 2000}, {"thinking"}),
        (BY_BUDGET, {"thinking": {"type": "adaptive"}, "max_tokens": 1000}, {"max_tokens": 1000}, {"thinking"}),
        (ADAPTIVE, {"thinking": {"type": "disabled"}}, {}, {"thinking"}),
        (ADAPTIVE, {"thinking": {"type": "between_tools"}}, {"thinking": {"type": "between_tools"}}, set()),
        (ADAPTIVE, {"output_config": {"effort": "xhigh", "format": None}},
         {"output_config": {"effort": "max", "format": None}}, {"output_config.effort"}),
        (BY_BUDGET, {"output_config": {"effort": "low"}}, {}, {"output_config.effort"}),
        (ADAPTIVE, {"thinking": {"type": "enabled", "budget_tokens": 40000}, "output_config": {"effort": "low"}},
         {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, {"thinking"}),
        (ADAPTIVE, {"max_tokens": 10**6, "top_k": 5, "top_p": 0.5}, {"max_tokens": 64000}, {"max_tokens", "top_k", "top_p"}),
        (ADAPTIVE, {"tool_choice": {"type": "none"}}, {"tool_choice": {"type": "none"}}, set()),
        (ModelFacts(), {"thinking": {"type": "later"}, "output_config": {"effort": "x"}, "temperature": 3},
         {"thinking": {"type": "later"}, "output_config": {"effort": "x"}, "temperature": 3}, set()),
        (ADAPTIVE, {"thinking": 5, "output_config": [], "tool_choice": "any", "max_tokens": "many"},
         {"thinking": 5, "output_config": [], "tool_choice": "any", "max_tokens": "many"}, set()),
    ],
)  # fmt: skip
def test_what_another_claude_does_not_take(facts: ModelFacts, body: Json, made: Json, named: set[str]) -> None:
    got = call({"model": "smart", **body, "messages": HI}, to("claude-x-5", facts))
    assert json.loads(got.body) == {"model": "claude-x-5", **made, "messages": HI}
    assert set(got.dropped) == named


def events(*told: tuple[str, Json]) -> bytes:
    return b"".join(f"event: {name}\ndata: {json.dumps({'type': name, **value})}\n\n".encode() for name, value in told)


START = ("message_start", {"message": {"usage": {"input_tokens": 10, "cache_creation_input_tokens": 5,
         "cache_creation": {"ephemeral_1h_input_tokens": 5}, "cache_read_input_tokens": 85, "output_tokens": 1}}})  # fmt: skip
DELTA = ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "Hello"}})
END = (
    "message_delta",
    {
        "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": 7, "output_tokens_details": {"thinking_tokens": 4}},
    },
)
STOP: tuple[str, Json] = ("message_stop", {})


def watched(data: bytes) -> tuple[list[Json], list[Json] | None]:
    """The chunks of a stream's events, and those of its end."""
    watcher, frames, chunks = watch(True), Frames(), list[Json]()
    try:
        for event in frames.feed(data):
            made = watcher.send(event)
            assert isinstance(made, list)
            chunks += made
    except StopIteration as end:
        return chunks, end.value
    return chunks, None


@pytest.mark.case(messages=25)
def test_what_was_used() -> None:
    chunks, last = watched(events(START, DELTA, END, STOP))
    assert last is not None
    assert last[0]["usage"] == {
        "prompt_tokens": 100,
        "completion_tokens": 7,
        "total_tokens": 107,
        "prompt_tokens_details": {"cached_tokens": 85, "cache_write_tokens": 5, "cache_write_1h_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 4},
    }
    assert last[0]["usage_early"] is False
    assert chunks[0]["usage"]["prompt_tokens"] == 100
    assert chunks[0]["usage_early"] is True


@pytest.mark.parametrize(
    "told",
    [
        (DELTA, END, STOP),
        (STOP,),
        (("ping", {}), ("content_block_start", {"index": 0}), STOP),
        (START, ("content_block_start", {"index": 0}), START),
        (START, DELTA, START),
        (("message_start", {}), DELTA),
    ],
)
def test_a_stream_that_sdks_fail_at(told: tuple[tuple[str, Json], ...]) -> None:
    with pytest.raises(UpstreamBadOutput):
        watched(events(*told))


def test_a_stream_of_another_protocol_is_none() -> None:
    for data, failure in (
        (b'data: {"choices":[]}\n\n', UpstreamBadOutput),
        (b'data: {"error":{"code":529}}\n\n', Failure),
    ):
        with pytest.raises(failure):
            watched(data)


def test_what_is_not_known_may_come_before_the_beginning() -> None:
    _, last = watched(events(("ping", {}), ("later", {}), START, DELTA, END, STOP))
    assert last is not None


def test_usage_before_the_last_words_is_early() -> None:
    _, last = watched(events(START, END, DELTA, STOP))
    assert last is not None
    assert last[0]["usage_early"] is True


def test_a_failure_knows_what_was_used() -> None:
    for data in (events(START, DELTA, ("error", {"error": {"type": "overloaded_error", "message": "Overloaded"}})),):
        with pytest.raises(Overloaded) as caught:
            watched(data)
        assert caught.value.usage is not None and caught.value.usage["prompt_tokens"] == 100
    watcher = watch(True)
    for event in Frames().feed(events(START, DELTA, END)):
        watcher.send(event)
    with pytest.raises(UpstreamTruncated) as cut:
        watcher.send(None)
    assert cut.value.usage is not None and cut.value.usage["completion_tokens"] == 7


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "error", "error": {"type": "overloaded_error", "message": "x"}},
        {"error": {"message": "x"}},
        {"object": "list"},
        "words",
        [],
    ],
)
def test_a_whole_answer_that_is_none(wrong: Any) -> None:
    with pytest.raises(Failure):
        watch(False).send(Event("", wrong))


def test_a_whole_answer_of_the_future_is_one() -> None:
    with pytest.raises(StopIteration) as end:
        watch(False).send(
            Event("", {"content": [{"type": "later"}, 5], "usage": {"input_tokens": 3, "output_tokens": 2}})
        )
    assert end.value.value[0]["usage"]["prompt_tokens"] == 3


LF = b'event: a\ndata: {"type":"a"}\n\n: comment\n\nevent: b\ndata: {"n":\ndata: 1}\n\n'


@pytest.mark.parametrize(
    "data", [LF, LF.replace(b"\n", b"\r\n"), LF.replace(b"\n", b"\r") + b": x\r\r", b"\xef\xbb\xbf" + LF]
)
@pytest.mark.parametrize("cut", CUTS)
def test_frames_are_bytes_as_they_came(data: bytes, cut: int) -> None:
    frames, raw, seen = Frames(), b"", list[Event]()
    for piece in pieces(data, cut):
        seen += frames.feed(piece)
        assert not raw.endswith(b"data") and data.startswith(raw := raw + frames.raw)
    seen += frames.flush()
    assert (raw + frames.raw, seen) == (data, [Event("a", b'{"type":"a"}'), Event("b", b'{"n":\n1}')])


@pytest.mark.case(messages=15)
def test_half_a_frame_is_held_back() -> None:
    frames = Frames()
    assert frames.feed(b'event: a\ndata: {"x":1}\n\nevent: b\ndata: {"x":') == [Event("a", b'{"x":1}')]
    assert frames.raw == b'event: a\ndata: {"x":1}\n\n'
    assert (frames.flush(), frames.raw, frames.cut) == ([], b"", True)


def test_the_last_frame_may_lack_its_blank_line() -> None:
    frames = Frames()
    assert frames.feed(b"event: message_stop\ndata: {}") == []
    assert (frames.flush(), frames.raw, frames.cut) == (
        [Event("message_stop", b"{}")],
        b"event: message_stop\ndata: {}",
        False,
    )


def test_the_bytes_before_an_event() -> None:
    frames = Frames()
    frames.feed(LF)
    assert [frames.before(count) for count in (0, 1, 2)] == [b"", LF[: LF.index(b"event: b")], LF]


@pytest.mark.case(messages=26)
def test_events_without_names_get_their_types() -> None:
    frames = Frames()
    assert frames.feed(b'data: {"n":{"type":"x"},"type":"ping"}\n\n: c\n\ndata: [DONE]\n\n') == [
        Event("ping", b'{"n":{"type":"x"},"type":"ping"}'),
        Event("", b"[DONE]"),
    ]
    assert frames.raw == b'event: ping\ndata: {"n":{"type":"x"},"type":"ping"}\n\ndata: [DONE]\n\n'
    assert frames.before(1) == b'event: ping\ndata: {"n":{"type":"x"},"type":"ping"}\n\n'


@pytest.mark.parametrize("data", [b"event: a\ndata: " + b"x" * 200, b"event: a\ndata: " + b"x" * 200 + b"\n\n"])
def test_an_event_that_is_too_large(data: bytes) -> None:
    frames = Frames(100)
    before = b"event: b\ndata: {}\n\n"
    with pytest.raises(UpstreamBadOutput):
        frames.feed(before + data)
        frames.feed(b"more")
    if data.endswith(b"\n\n"):
        assert (frames.flush(), frames.raw) == ([Event("b", b"{}")], before)


def test_which_conversation_it_is() -> None:
    plain = {"model": "m", "max_tokens": 5, "messages": HI}

    def session(body: Json, **headers: str) -> str:
        return messages.parse(json.dumps(body).encode(), headers).session

    assert session(plain, **{"x-claude-code-session-id": "abc"}) == "abc"
    assert session({**plain, "metadata": {"user_id": "u"}}) == "u"
    first = session(plain)
    assert first == session({**plain, "temperature": 1}) == session({**plain, "messages": [*HI, *HI]})
    assert first != session({**plain, "system": "Be brief."})


def test_half_a_pair_in_a_users_name_can_be_hashed() -> None:
    """A provider of several keys chooses one by the bytes of this text."""
    data = b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}],"metadata":{"user_id":"a\\ud83d"}}'
    assert messages.parse(data).session.encode() == "a\ufffd".encode()
