"""What goes wrong upstream, as clients of the real process see it: spec/EDGE_CASES.md E."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx2 as httpx
import openai
import pytest
from openai import OpenAI
from process import Process
from scripted import ABORT, CLOSE, FOREVER, Script, Upstream, answer, chunked, head, sse, stream, until_close

HELLO: Any = [{"role": "user", "content": "Hello"}]
Scripted = Callable[..., str]


def delta(text: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk as OpenAI sends it."""
    body = {**({} if text is None else {"content": text}), **more}
    return {"id": "chatcmpl-up", "choices": [{"index": 0, "delta": body, "logprobs": None, "finish_reason": finish}]}


START = sse(delta("", role="assistant"), delta("Once "), done=False)


@pytest.fixture
def quick(hasty: Process) -> Any:
    """The SDK at the hasty server."""
    with OpenAI(base_url=hasty.url, api_key="-", max_retries=0) as client:
        yield client


def read(client: OpenAI, name: str) -> tuple[str, openai.APIError | None]:
    """The text of a stream, and the error it ended with."""
    text = ""
    try:
        for chunk in client.chat.completions.create(model=f"up/{name}", messages=HELLO, stream=True):
            text += chunk.choices[0].delta.content or ""
    except openai.APIError as error:
        return text, error
    return text, None


def said(*events: Any) -> Script:
    """More events, and the end of the body."""
    return chunked(sse(*events))


GROQ = {"error": {"message": "Failed to call a function.", "code": "tool_use_failed", "status_code": 400}}


@pytest.mark.parametrize(
    ("after", "type_", "code"),
    [
        ([CLOSE], "server_error", "upstream_truncated"),
        ([ABORT], "server_error", "upstream_truncated"),
        ([b"0\r\n\r\n"], "server_error", "upstream_truncated"),
        ([*chunked(b"data: {", end=False), CLOSE], "server_error", "upstream_truncated"),
        ([b"nonsense\r\n", FOREVER], "server_error", "upstream_protocol"),
        ([FOREVER], "server_error", "upstream_idle_timeout"),
        (said(delta("x", "insufficient_system_resource")), "server_error", "overloaded"),
        (said(delta("", "error")), "server_error", "upstream_error"),
        (said(delta("", "load")), "server_error", "upstream_truncated"),
        (chunked(b"event: error\n" + sse(GROQ, done=False)), "invalid_request_error", "tool_use_failed"),
        (said({"error": {"message": "x", "code": 429}}), "rate_limit_error", "rate_limit_exceeded"),
        (said({"error": {"message": "x", "type": "overloaded_error"}}), "server_error", "overloaded"),
        (said({"error": "boom"}), "server_error", "upstream_error"),
        (said({"error": {"message": "x"}, "choices": [{"index": 0, "delta": {}}]}), "server_error", "upstream_error"),
        (said({"object": "error", "message": "x", "code": 400}), "invalid_request_error", None),
        (said({"choices": [], "x_groq": {"error": "x"}}), "server_error", "upstream_error"),
        (chunked(b'error: {"message":"x"}\n\n'), "server_error", "upstream_error"),
        (said("x" * 70_000), "server_error", "upstream_event_too_large"),
        ([*chunked(b"data: " + b"x" * 200_000, end=False), FOREVER], "server_error", "upstream_event_too_large"),
        ([*chunked(b"data: {oops\n\n" * 3, end=False), FOREVER], "server_error", "upstream_bad_output"),
    ],
)
def test_failures_in_mid_stream(
    hasty: Process, quick: OpenAI, http: httpx.Client, upstream: Upstream, scripted: Scripted,
    after: Script, type_: str, code: str | None,
) -> None:  # fmt: skip
    """An error event, in whatever shape the failure came; never a finish, usage or [DONE]."""
    name = scripted([*stream(START, end=False), 0.05, *after])
    text, error = read(quick, name)
    assert text in ("Once ", "Once x")
    assert error is not None and (error.type, error.code) == (type_, code) and error.message
    hasty.logged(model=f"up/{name}", status=200, code=code or type_)
    ask = {"model": f"up/{name}", "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
    got = http.post(f"{hasty.url}/chat/completions", json=ask)
    events = [event for event in got.text.split("\n\n") if event and not event.startswith(":")]
    wrong = json.loads(events[-1].removeprefix("data: "))
    assert wrong.keys() == {"error"} and wrong["error"].keys() == {"message", "type", "param", "code"}
    assert "[DONE]" not in got.text and '"finish_reason":"' not in got.text and '"usage":{' not in got.text
    if FOREVER in after:
        assert upstream.of(name)[0].wait_left()
    assert len(upstream.of(name)) == 2


def test_a_failure_that_comes_with_the_first_words_has_a_status(quick: OpenAI, scripted: Scripted) -> None:
    """Nothing was shown yet, so the client hears of it as of any other failure, and another target could take over."""
    name = scripted(stream(START + sse({"error": {"message": "x", "type": "overloaded_error"}})))
    with pytest.raises(openai.InternalServerError) as caught:
        quick.chat.completions.create(model=f"up/{name}", messages=HELLO, stream=True)
    assert (caught.value.status_code, caught.value.code) == (503, "overloaded")


BROKEN = [
    ([CLOSE], 502, "upstream_error"),
    ([ABORT], 502, "upstream_error"),
    ([FOREVER], 504, "upstream_first_byte_timeout"),
    ([head(200, {"Transfer-Encoding": "chunked"}, "text/event-stream"), FOREVER], 504, "upstream_first_byte_timeout"),
    ([b"HTTP/1.1 OK 200\r\n\r\n"], 502, "upstream_protocol"),
    ([b"<html>hello</html>\r\n\r\n"], 502, "upstream_protocol"),
    ([head(200, {"X": "a\rb"}), CLOSE], 502, "upstream_protocol"),
    ([head(200, {"X": "a" * 20_000}), CLOSE], 502, "upstream_protocol"),
    ([b"HTTP/1.1 200 OK\r\nContent-Le", CLOSE], 502, "upstream_error"),
    (answer("<html>Bad gateway</html>", 502, kind="text/html"), 502, "upstream_error"),
    (answer("<html>hello</html>", kind="text/html"), 502, ("upstream_protocol", "upstream_bad_json")),
    (answer("", 204), 502, "upstream_protocol"),
    (answer("", 302, {"Location": "http://127.0.0.1:9/"}), 502, "upstream_protocol"),
    (answer("", 999), 502, "upstream_error"),
    (answer("", 200), 502, "upstream_bad_json"),
    (answer("{", 200), 502, "upstream_bad_json"),
    (answer("[]", 200), 502, ("upstream_bad_output", "upstream_bad_json")),
    (answer({}, 200), 502, ("upstream_bad_output", "upstream_bad_json")),
    (answer({"choices": "none"}, 200), 502, ("upstream_bad_output", "upstream_bad_json")),
    (answer({"error": {"message": "x", "code": "rate_limit_exceeded"}}, 200), 429, "rate_limit_exceeded"),
    (answer(b"[" * 200_000, 200), 502, "upstream_too_large"),
    (answer({"choices": [{"message": {}, "finish_reason": "insufficient_system_resource"}]}), 503, "overloaded"),
    (answer({"choices": [{"message": {}, "finish_reason": "error"}]}), 502, "upstream_error"),
    ([*answer("short", headers={"Content-Length": "100"}), CLOSE], 502, "upstream_truncated"),
    (answer(b" " * 2**21), 502, "upstream_too_large"),
    (stream(b""), 502, ("upstream_truncated", "upstream_bad_json")),
    (stream(sse()), 502, ("upstream_bad_output", "upstream_bad_json")),
    (stream(sse({"error": {"message": "x", "code": 429}})), 429, None),
    (stream(sse(delta(role="assistant"), {"error": {"message": "x", "type": "overloaded_error"}})), 503, None),
]


@pytest.mark.parametrize(("script", "status", "code"), BROKEN)
@pytest.mark.parametrize("streamed", [False, True])
def test_failures_before_the_first_word(
    quick: OpenAI, upstream: Upstream, scripted: Scripted, script: Script, status: int, code: Any, streamed: bool
) -> None:
    """A streaming client hears of them with the true status, unless the line had to be opened before."""
    if script[-1] == FOREVER and not streamed:
        pytest.skip("a whole answer may take as long as a request may: test_fault_matrix.py")
    name = scripted(script)
    with pytest.raises(openai.APIError) as caught:
        got = quick.chat.completions.create(model=f"up/{name}", messages=HELLO, stream=streamed)
        list(got)  # what was opened with a comment fails here
    wrong = caught.value
    if code == "upstream_first_byte_timeout" and streamed:
        assert not isinstance(wrong, openai.APIStatusError)
    else:
        assert isinstance(wrong, openai.APIStatusError) and wrong.status_code == status
    assert wrong.code == code or wrong.code in (code or (wrong.code,))
    assert "<html" not in wrong.message and "127.0.0.1" not in wrong.message
    assert wrong.type == ("rate_limit_error" if status == 429 else "server_error")
    if isinstance(script[0], bytes) and b" 502 " in script[0]:
        assert len(upstream.of(name)) == 2  # what stands before the model says so: it did no work, and is asked again
        return
    assert len(upstream.of(name)) == 1 or script in ([CLOSE], [ABORT], [b"HTTP/1.1 200 OK\r\nContent-Le", CLOSE])


def test_a_web_page_keeps_its_words_to_itself(quick: OpenAI, scripted: Scripted) -> None:
    page = answer("\n<!DOCTYPE html><h1>secret.internal</h1>", 503, kind="text/html")
    with pytest.raises(openai.InternalServerError) as caught:
        quick.chat.completions.create(model=f"up/{scripted(page)}", messages=HELLO)
    assert "secret.internal" not in str(caught.value.body) and caught.value.code == "overloaded"


@pytest.mark.fault("F1")
def test_nobody_listens(upstream: Upstream, http: httpx.Client) -> None:
    down = "providers:\n  echo: {}\n  down: {protocol: openai, base_url: 'http://127.0.0.1:9/v1'}\n"
    down += f"  mute: {{protocol: openai, base_url: 'https://127.0.0.1:{upstream.port}/v1'}}\n"
    down += "  lost: {protocol: openai, base_url: 'http://nowhere.invalid/v1'}\n"
    with Process(f"server: {{port: 0}}\n{down}") as server:
        for name, code in (("down", "upstream_connect"), ("mute", "upstream_tls"), ("lost", "upstream_dns")):
            for streamed in (False, True):
                ask = {"model": f"{name}/m", "messages": HELLO, "stream": streamed}
                got = http.post(f"{server.url}/chat/completions", json=ask)
                assert (got.status_code, got.json()["error"]["code"]) == (502, code)
                assert "127.0.0.1" not in got.text and "nowhere" not in got.text


def test_tool_calls_without_indexes(sdk: OpenAI, scripted: Scripted) -> None:
    """Case 94: the SDK's helper crashes on them, so they are numbered."""
    calls = [{"id": f"c{k}", "type": "function", "function": {"name": f"f{k}", "arguments": "{}"}} for k in (1, 2)]
    name = scripted(stream(sse(delta(tool_calls=[calls[0]]), delta(tool_calls=[calls[1]]), delta(finish="stop"))))
    with sdk.chat.completions.stream(model=f"up/{name}", messages=HELLO) as helper:
        [choice] = helper.get_final_completion().choices
    assert [(call.id, call.function.name) for call in choice.message.tool_calls or []] == [("c1", "f1"), ("c2", "f2")]
    assert choice.finish_reason == "tool_calls"


@pytest.mark.parametrize("make", [stream, until_close])
def test_a_finish_without_done_is_an_end(sdk: OpenAI, scripted: Scripted, make: Callable[[bytes], Script]) -> None:
    """Case 95."""
    assert read(sdk, scripted(make(START + sse(delta("upon", "stop"), done=False)))) == ("Once upon", None)


def test_done_ends_the_stream_at_once(
    http: httpx.Client, server: Process, upstream: Upstream, scripted: Scripted
) -> None:
    name = scripted([*stream(START + sse(delta("", "stop")), end=False), FOREVER])
    got = http.post(f"{server.url}/chat/completions", json={"model": f"up/{name}", "messages": HELLO, "stream": True})
    assert got.text.endswith("data: [DONE]\n\n")
    upstream.of(name)[0].wait_left()


@pytest.mark.fault("F22")
def test_characters_cut_in_two(server: Process, http: httpx.Client, scripted: Scripted) -> None:
    """Case 100, with real pauses in the middle of a character and of a line end."""
    text = "你好 😀"
    data = b"".join(b"data:" + json.dumps(delta(t, f), ensure_ascii=False).encode() + b"\r\n\r\n"
                    for t, f in ((text, None), (text, "stop")))  # fmt: skip
    cuts = [
        data.index("好".encode()) + 1,
        data.index("😀".encode()) + 2,
        data.index(b"\r\n") + 1,
        data.index(b"\r\n") + 3,
    ]
    script: Script = [head(200, {"Transfer-Encoding": "chunked"}, "text/event-stream")]
    for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True):
        script += [*chunked(data[a:b], end=False), 0.02]
    name = scripted([*script, b"0\r\n\r\n"])
    got = http.post(f"{server.url}/chat/completions", json={"model": f"up/{name}", "messages": HELLO, "stream": True})
    events = [json.loads(event[6:]) for event in got.text.split("\n\n")[:-2]]
    assert [event["choices"][0]["delta"].get("content") for event in events] == [text, text, None]


def test_half_an_emoji_and_bad_utf8(server: Process, http: httpx.Client, scripted: Scripted) -> None:
    halves = [b'{"choices":[{"index":0,"delta":{"content":"\\ud83d"},"finish_reason":null}]}',
              b'{"choices":[{"index":0,"delta":{"content":"\\ude00"},"finish_reason":null}]}',
              b'{"choices":[{"index":0,"delta":{"content":"\xff\\u0000"},"finish_reason":"stop"}]}']  # fmt: skip
    name = scripted(stream(sse(*halves)))
    got = http.post(f"{server.url}/chat/completions", json={"model": f"up/{name}", "messages": HELLO, "stream": True})
    events = got.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    said = "".join(json.loads(event[6:])["choices"][0]["delta"].get("content", "") for event in events[:-2])
    assert said.encode("utf-16", "surrogatepass").decode("utf-16") == "😀\ufffd\x00"
    body = b'{"choices":[{"message":{"content":"\\ud83d \xff"},"finish_reason":"stop"}]}'
    whole = http.post(
        f"{server.url}/chat/completions", json={"model": f"up/{scripted(answer(body))}", "messages": HELLO}
    )
    assert json.loads(whole.content)["choices"][0]["message"]["content"] == "\ud83d \ufffd"


# Case 102: keep-alive comments


async def lines_of(server: Process, name: str) -> list[str]:
    """The lines of a stream."""
    async with (
        httpx.AsyncClient(trust_env=False, timeout=20) as client,
        client.stream(
            "POST", f"{server.url}/chat/completions", json={"model": f"up/{name}", "messages": HELLO, "stream": True}
        ) as response,
    ):
        assert response.status_code == 200
        return [line async for line in response.aiter_lines() if line]


async def test_a_long_wait_is_filled_with_comments(hasty: Process, scripted: Scripted) -> None:
    late = [0.7, *stream(START + sse(delta("upon", "stop")))]
    failed = [0.7, *answer({"error": {"message": "slow down"}}, 429, {"Retry-After": "3"})]
    mute: Script = [FOREVER]
    paused = [*stream(START, end=False), 0.4, *chunked(sse(delta("upon", "stop")))]
    good, bad, never, pause = await asyncio.gather(
        *(lines_of(hasty, scripted(s)) for s in (late, failed, mute, paused))
    )
    for got in (good, bad, never):
        assert got[:2] == [": keep-alive"] * 2
    assert good[-1] == "data: [DONE]" and "Once" in "".join(good)
    wrong = json.loads(bad[-1].removeprefix("data: "))["error"]
    assert (wrong["message"], wrong["type"], wrong["code"]) == ("slow down", "rate_limit_error", "rate_limit_exceeded")
    assert json.loads(never[-1].removeprefix("data: "))["error"]["code"] == "upstream_first_byte_timeout"
    kinds = [line[:12] for line in pause]
    assert ": keep-alive" in kinds[2:-3] and kinds[-1] == "data: [DONE]" and kinds[0] != ": keep-alive"


def test_comments_do_not_disturb_the_sdk(quick: OpenAI, scripted: Scripted) -> None:
    late = [0.5, *stream(START + sse(delta("upon", "stop")))]
    assert read(quick, scripted(late)) == ("Once upon", None)
    text, error = read(quick, scripted([0.5, *answer({"error": {"message": "slow down"}}, 429)]))
    assert text == "" and error is not None and not isinstance(error, openai.APIStatusError)
    assert (error.message, error.type, error.code) == ("slow down", "rate_limit_error", "rate_limit_exceeded")


def test_upstream_comments_are_not_passed_on(server: Process, http: httpx.Client, scripted: Scripted) -> None:
    noise = b": OPENROUTER PROCESSING\n\n" * 50
    name = scripted(stream(noise + START + noise + sse(delta("upon", "stop"))))
    got = http.post(f"{server.url}/chat/completions", json={"model": f"up/{name}", "messages": HELLO, "stream": True})
    assert ":" not in {line[:1] for line in got.text.splitlines()} and got.text.endswith("data: [DONE]\n\n")
    blank = scripted(answer(b"\n\n\n" + b'{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}'))
    whole = http.post(f"{server.url}/chat/completions", json={"model": f"up/{blank}", "messages": HELLO})
    assert whole.json()["choices"][0]["message"]["content"] == "x"


def test_a_client_that_does_not_read_is_cut_off(hasty: Process, upstream: Upstream, scripted: Scripted) -> None:
    flood = chunked(b"".join(sse(delta("x" * 50_000), done=False) for _ in range(20)), end=False)
    name = scripted([head(200, {"Transfer-Encoding": "chunked"}, "text/event-stream"), *flood * 40, FOREVER])
    with (
        httpx.Client(trust_env=False) as client,
        client.stream(
            "POST", f"{hasty.url}/chat/completions", json={"model": f"up/{name}", "messages": HELLO, "stream": True}
        ),
    ):
        assert upstream.wait(name).wait_left()
    hasty.logged(model=f"up/{name}", status=499)


# Another target


def test_another_target_takes_over(upstream: Upstream, http: httpx.Client, scripted: Scripted) -> None:
    good = scripted(answer({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}), prefix="good")
    streamed = scripted(stream(START + sse(delta("upon", "stop"))), prefix="good")
    opened = stream(sse(delta("", role="assistant"), {"error": {"message": "x", "type": "overloaded_error"}}))
    bad = {name: scripted(script) for name, script in (
        ("throttled", answer({}, 429)), ("reset", [ABORT]), ("opened", opened), ("missing", answer({}, 404)),
    )}  # fmt: skip
    refused = scripted(answer({"error": {"message": "no"}}, 400))
    models = "".join(f"\n  {name}: [up/{script}, up/{good}]" for name, script in bad.items())
    models += "".join(f"\n  {name}-s: [up/{script}, up/{streamed}]" for name, script in bad.items())
    models += f"\n  refused: [up/{refused}, up/{good}]\n  all: [up/{bad['throttled']}, up/{bad['missing']}]"
    up = f'up: {{protocol: openai, base_url: "{upstream.url}/v1"}}'
    with Process(f"server: {{port: 0}}\nproviders:\n  {up}\nmodels:{models}\n") as server:
        for name in bad:
            if name != "opened":
                got = http.post(f"{server.url}/chat/completions", json={"model": name, "messages": HELLO})
                assert got.json()["choices"][0]["message"]["content"] == "Hi"
                assert got.headers["x-modelserver-upstream"] == f"up/{good}" and got.json()["model"] == name
            ask = {"model": f"{name}-s", "messages": HELLO, "stream": True}
            got = http.post(f"{server.url}/chat/completions", json=ask)
            assert got.headers["x-modelserver-upstream"] == f"up/{streamed}" and got.text.count('"role"') == 1
            assert got.text.endswith("data: [DONE]\n\n") and "error" not in got.text
        assert (
            http.post(f"{server.url}/chat/completions", json={"model": "refused", "messages": HELLO}).status_code == 400
        )
        assert http.post(f"{server.url}/chat/completions", json={"model": "all", "messages": HELLO}).status_code == 404
