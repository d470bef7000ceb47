"""Errors in other words than OpenAI's: in HTTP answers, in a 200, whole and streamed, of every protocol and host."""

import json
from collections.abc import Callable
from typing import Any

import embedded
import openai as sdk
import pytest
from http_client import ask, delta, whole
from process import Process
from scripted import Script, answer, head, sse, stream
from translators import ON_RESPONSES, made_call, translator_of

from providers import PROVIDERS, anthropic, gemini, openai
from providers.common.error_shapes import wait_of
from providers.contract import Json
from providers.contract import Upstream as Target
from providers.errors import Failure
from providers.hosts import HOSTS
from providers.sse import DONE, Event

Scripted = Callable[..., str]
LIMIT, KEY, MONEY = (429, "rate_limit_exceeded"), (502, "upstream_auth_error"), (503, "upstream_quota_exhausted")
LONG, FAILED, BUSY = (400, "context_length_exceeded"), (502, "upstream_error"), (503, "overloaded")
MODEL, BAD, FILTER = (404, "model_not_found"), (400, None), (400, "content_filter")
WORDS = "maximum context length is 9"

# A body that came with status 200 → status and code for the client, and the upstream's words if they are for it.
BODIES: dict[str, tuple[Any, tuple[int, str | None], str | None]] = {
    "code and msg": ({"code": 429, "msg": "Slow down."}, LIMIT, "Slow down."),
    "code as text": ({"code": "429", "message": "Slow down."}, LIMIT, "Slow down."),
    "code and msg of a key": ({"code": 401, "msg": "No such key.", "success": False}, KEY, None),
    "code that says nothing": ({"code": 7, "msg": "Broken.", "data": None}, FAILED, "Broken."),
    "MiniMax: rate": ({"base_resp": {"status_code": 1002, "status_msg": "rate limit"}}, LIMIT, "rate limit"),
    "MiniMax: key": ({"choices": None, "base_resp": {"status_code": 1004, "status_msg": "login fail"}}, KEY, None),
    "MiniMax: money": ({"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, MONEY, None),
    "MiniMax: long": (
        {"base_resp": {"status_code": 2013, "status_msg": "invalid params, context window exceeds limit"}},
        LONG,
        "invalid params, context window exceeds limit",
    ),
    "MiniMax: another": ({"choices": [], "base_resp": {"status_code": 1000, "status_msg": "no"}}, FAILED, "no"),
    "errors": ({"success": False, "errors": [{"code": 429, "message": "Too many."}]}, LIMIT, "Too many."),
    "errors that are texts": ({"errors": ["Too many requests"]}, LIMIT, "Too many requests"),
    "detail": ({"detail": "Too many requests"}, LIMIT, "Too many requests"),
    "FastAPI": ({"detail": [{"loc": ["body", "x"], "msg": "bad field"}]}, FAILED, "bad field"),
    "message and status": ({"message": "Busy.", "status": 503}, BUSY, "Busy."),
    "message and statusCode": ({"statusCode": 429, "message": "Slow.", "error": "Too Many Requests"}, LIMIT, "Slow."),
    "Baidu: rate": ({"error_code": 18, "error_msg": "Open api qps request limit reached"}, LIMIT,
                    "Open api qps request limit reached"),
    "Baidu: another token": ({"error_code": 100, "error_msg": "Invalid parameter"}, KEY, None),
    "Baidu: the day is used up": ({"error_code": 17, "error_msg": "Open api daily request limit reached"}, MONEY, None),
    "Baidu: once more": ({"error_code": 15, "error_msg": "app not exists or create failed"}, BUSY,
                         "app not exists or create failed"),
    "Baidu: long": ({"error_code": 336103, "error_msg": "Prompt tokens too long"}, LONG, "Prompt tokens too long"),
    "MiniMax: as OpenAI": ({"error": {"message": "insufficient balance (1008)", "http_code": "429"}}, MONEY, None),
    "Ark": ({"error": {"code": "RateLimitExceeded.EndpointTPMExceeded", "message": "Slow."}}, LIMIT, "Slow."),
    "Ark: overloaded": ({"error": {"code": "ServerOverloaded", "type": "TooManyRequests", "message": "Busy."}}, BUSY, "Busy."),
    "Ark: no model": ({"error": {"code": "InvalidEndpointOrModel.NotFound", "message": "None."}}, MODEL, "None."),
    "Tencent: key": ({"Response": {"Error": {"Code": "AuthFailure.SignatureFailure", "Message": "No."}}}, KEY, None),
    "Tencent: rate": ({"Response": {"Error": {"Code": "RequestLimitExceeded", "Message": "Slow."}}}, LIMIT, "Slow."),
    "Z.ai: token": ({"error": {"code": "1002", "message": "Authentication Token 非法"}}, KEY, None),
    "Z.ai: no such model": ({"error": {"code": "1211", "message": "None."}}, MODEL, "None."),
    "Z.ai: busy": ({"error": {"code": "1120", "message": "Later."}}, BUSY, "Later."),
    "SiliconFlow: busy": ({"code": 50603, "message": "System is really busy.", "data": None}, BUSY, "System is really busy."),
    "SiliconFlow: no such model": ({"code": 20012, "message": "None.", "data": None}, MODEL, "None."),
    "Baidu: key": ({"error_code": 110, "error_msg": "Access token invalid"}, KEY, None),
    "Spark: too fast": ({"code": 11202, "message": "Slow.", "sid": "x"}, LIMIT, "Slow."),
    "Spark: not granted": ({"code": 11200, "message": "No.", "sid": "x"}, (403, "permission_denied"), "No."),
    "Spark: filtered": ({"code": 10013, "message": "No.", "sid": "x"}, FILTER, "No."),
    "Spark: long": ({"code": 10907, "message": "No.", "sid": "x"}, LONG, "No."),
    "success false": ({"success": False, "message": "Broken."}, FAILED, "Broken."),
    "status error": ({"status": "error", "message": WORDS}, LONG, WORDS),
    "error is a text": ({"error": "Rate limit reached."}, LIMIT, "Rate limit reached."),
    "error is true": ({"error": True, "message": "Broken."}, FAILED, "Broken."),
    "error in error": ({"error": {"error": {"message": "Slow.", "code": 429}}}, LIMIT, "Slow."),
    "JSON in a text": ({"error": '{"error": {"message": "Slow.", "type": "rate_limit_error"}}'}, LIMIT, "Slow."),
    "JSON in a message": ({"error": {"message": '{"message": "Slow.", "code": 429}', "code": 500}}, LIMIT, "Slow."),
    "DashScope": ({"code": "InvalidApiKey", "message": "Invalid API-key provided.", "request_id": "x"}, KEY, None),
    "DashScope: money": ({"code": "Arrearage", "message": "Access denied.", "request_id": "x"}, MONEY, None),
    "a type of money": ({"error": {"type": "insufficient_quota", "message": "No.", "code": None}}, MONEY, None),
    "Z.ai": ({"error": {"code": "1302", "message": "High concurrency."}}, LIMIT, "High concurrency."),
    "Z.ai: long": ({"error": {"code": "1261", "message": "No."}}, LONG, "No."),
    "Moonshot": ({"error": {"type": "engine_overloaded_error", "message": "Busy."}}, BUSY, "Busy."),
}  # fmt: skip
# What each protocol tells of an error is its own matter: those that name the operator's account are in words of ours.
TO_THE_CLIENT = {"openai": True, "responses": True, "anthropic": False, "gemini": False}


def told(protocol: str, event: Any, streamed: bool = True) -> Failure:
    """The failure that a translator makes of a body that says nothing else."""
    row = "openai" if protocol == "responses" else protocol
    to = Target(row, "m", "https://x/v1", "k", row, HOSTS[row])
    ask: Json = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": streamed}
    call = made_call({}, True, ON_RESPONSES) if protocol == "responses" else PROVIDERS[row].build_request(ask, to)
    translator = translator_of(row, call, to)
    with pytest.raises(Failure) as failed:
        for each in (event, DONE, None):
            translator.send(None if each is None else Event("", each))
    return failed.value


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("protocol", TO_THE_CLIENT)
def test_a_200_that_is_an_error(protocol: str, name: str) -> None:
    body, expected, words = BODIES[name]
    for streamed in (True, False):
        failure = told(protocol, json.loads(json.dumps(body)), streamed)
        assert (failure.status, failure.code) == expected
        if words and TO_THE_CLIENT[protocol]:
            assert failure.message == words


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize(
    "kind", [delta(""), delta(finish="stop"), {"choices": [{"index": 0, "message": {"content": ""}}]}]
)
def test_an_error_beside_an_empty_choice(name: str, kind: Json) -> None:
    body, expected, _ = BODIES[name]
    failure = told(
        "openai", json.loads(json.dumps({**body, "choices": kind["choices"]})), "delta" in kind["choices"][0]
    )
    assert (failure.status, failure.code) == expected


FINE: list[Json] = [
    {"msg": "ok", "code": 0},
    {"message": "success", "code": 200, "success": True},
    {"base_resp": {"status_code": 0, "status_msg": ""}},
    {"base_resp": None, "error": None, "errors": [], "detail": None},
    {"code": 40, "msg": "a code that is this host's own", "status": "completed"},
    {"error": {}, "error_code": 0, "error_msg": ""},
]


@pytest.mark.parametrize("beside", FINE)
def test_an_answer_is_no_error_because_of_what_stands_beside_it(
    server: Process, scripted: Scripted, beside: Json
) -> None:
    got = ask(server, f"up/{scripted(answer(whole('Hi') | beside))}")
    assert (got.status, got.text) == (200, "Hi")
    events = sse(delta("Hi") | beside, delta(finish="stop") | beside)
    got = ask(server, f"up/{scripted(stream(events))}", True)
    assert (got.status, got.text, got.code, got.done) == (200, "Hi", None, True)


@pytest.mark.parametrize("beside", [{"code": 40, "msg": "fine", "status": "error"}, {"detail": "x", "success": False}])
def test_a_stream_that_has_said_something_is_no_error_because_of_its_last_chunk(
    server: Process, scripted: Scripted, beside: Json
) -> None:
    events = sse(delta("Hi") | beside, delta(finish="stop") | beside)
    got = ask(server, f"up/{scripted(stream(events))}", True)
    assert (got.status, got.text, got.code, got.done) == (200, "Hi", None, True)


@pytest.mark.parametrize("done", [True, False])
def test_words_that_are_all_there_is(server: Process, scripted: Scripted, done: bool) -> None:
    for event in ({"message": "Too many requests"}, {"choices": [], "msg": "Too many requests"}):
        got = ask(server, f"up/{scripted(stream(sse(event, done=done)))}", True)
        assert (got.status, got.code) == LIMIT
        assert got.error and got.error["message"] == "Too many requests"


@pytest.mark.parametrize("name", BODIES)
def test_embeddings_that_are_an_error(name: str) -> None:
    body, expected, _ = BODIES[name]
    for row in "openai", "gemini":
        to = Target(row, "m", "https://x/v1", "k", row, HOSTS[row])
        with pytest.raises(Failure) as failed:
            embedded.answer({"model": "m", "input": "a"}, to, [json.loads(json.dumps(body))])
        assert (failed.value.status, failed.value.code) == expected


# HTTP errors: row, status, body → status, code, message, Retry-After.
HTTP: list[tuple[str, int, Any, tuple[int, str | None], str | None, float | None]] = [
    ("openai", 429, {"error": {"message": "Please try again in 20ms.", "code": "rate_limit_exceeded"}}, LIMIT,
     "Please try again in 20ms.", 0.02),
    ("groq", 429, {"error": {"message": "Please try again in 1m2.5s. Visit us."}}, LIMIT, None, 62.5),
    ("azure", 429, {"error": {"message": "Please retry after 26 seconds.", "code": "429"}}, LIMIT, None, 26),
    ("mistral", 429, {"message": "Requests rate limit exceeded", "retry_after": "1.5"}, LIMIT, None, 1.5),
    ("vllm", 429, {"error": {"message": "No.", "retry_after_ms": 1500}}, LIMIT, "No.", 1.5),
    ("vllm", 429, {"error": {"message": "No.", "retry_after": float("inf")}}, LIMIT, "No.", None),
    ("vllm", 429, {"error": {"message": "No.", "retry_after": float("nan")}}, LIMIT, "No.", None),
    ("vllm", 429, {"error": {"message": "No.", "retry_after": -3}}, LIMIT, "No.", None),
    ("vllm", 429, {"error": {"message": "No.", "retry_after": 10**12}}, LIMIT, "No.", None),
    ("zhipu", 429, {"error": {"code": "1113", "message": "余额不足或无可用资源包,请充值。"}}, MONEY, None, None),
    ("zhipu", 429, {"error": {"code": "1308", "message": "Usage limit reached."}}, MONEY, None, None),
    ("moonshot", 429, {"error": {"type": "exceeded_current_quota_error", "message": "No."}}, MONEY, None, None),
    ("moonshot", 429, {"error": {"type": "rate_limit_reached_error", "message": "No."}}, LIMIT, "No.", None),
    ("perplexity", 401, {"error": {"type": "insufficient_quota", "message": "No.", "code": 401}}, MONEY, None, None),
    ("siliconflow", 403, {"code": 30001, "message": "Sorry, your account balance is insufficient"}, MONEY, None, None),
    ("siliconflow", 403, {"code": 1, "message": "Sorry, your account balance is insufficient"}, MONEY, None, None),
    ("siliconflow", 429, "Too many requests", LIMIT, "Too many requests", None),
    ("xai", 403, {"code": "No.", "error": "Your team has used all available credits"}, MONEY, None, None),
    ("huggingface", 400, {"error": "You have exceeded your monthly included credits"}, MONEY, None, None),
    ("dashscope", 400, {"code": "Arrearage", "message": "Access denied.", "request_id": "x"}, MONEY, None, None),
    ("dashscope", 400, {"error": {"code": "invalid_api_key", "message": "No."}}, KEY, None, None),
    ("fireworks", 412, {"error": {"message": "You have reached your monthly spending limit."}}, MONEY, None, None),
    ("together", 400, {"error": {"message": "Slow.", "type": "rate_limit_error"}}, LIMIT, "Slow.", None),
    ("vllm", 400, {"errors": [{"message": "No."}]}, BAD, "No.", None),
    ("vllm", 400, {"error": {"message": {"detail": [{"loc": ["body", "n"], "msg": "No."}]}}}, BAD, "No.", None),
    ("vllm", 400, {"error": '{"error": {"message": "No."}}'}, BAD, "No.", None),
    ("vllm", 400, '"{\\"message\\": \\"No.\\"}"', BAD, "No.", None),
    ("vllm", 400, {"msg": "No.", "code": 40}, BAD, "No.", None),
    ("vllm", 400, {"error_msg": "No."}, BAD, "No.", None),
    ("vllm", 400, {"error": "invalid_request", "error_description": "No."}, BAD, "No.", None),
    ("vllm", 400, "null", BAD, "The upstream answered with HTTP status 400.", None),
    ("vllm", 400, "", BAD, "The upstream answered with HTTP status 400.", None),
    ("vllm", 400, "[]", BAD, "The upstream answered with HTTP status 400.", None),
    ("vllm", 400, "{}", BAD, "The upstream answered with HTTP status 400.", None),
    ("vllm", 400, "<html>x</html>", BAD, "The upstream answered with HTTP status 400.", None),
    ("huggingface", 422, {"error": "`inputs` must have less than 9 tokens. Given: 10"}, LONG, None, None),
    ("qianfan", 401, {"error": {"code": "invalid_model", "type": "invalid_request_error", "message": "No."}}, MODEL, "No.", None),
    ("qianfan", 401, {"error": {"code": "invalid_iam_token", "message": "No."}}, KEY, None, None),
    ("qianfan", 429, {"error": {"code": "BILLING_INSUFFICIENT_BALANCE", "message": "Your account has insufficient balance"}},
     MONEY, None, None),
    ("github", 400, {"error": {"code": "unknown_model", "message": "Unknown model: x"}}, MODEL, None, None),
    ("cloudflare", 400, {"errors": [{"message": "No such model", "code": 5007}], "success": False}, MODEL, "No such model", None),
    ("databricks", 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "None."}, MODEL, "None.", None),
    ("databricks", 429, {"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "Slow."}, LIMIT, "Slow.", None),
    ("nvidia", 404, {"status": 404, "title": "Not Found", "detail": "Not found for account 'aB-3dEfGhIjK'"}, MODEL,
     "Not found for account …", None),
    ("minimax", 429, {"error": {"type": "insufficient_balance_error", "message": "insufficient balance (1008)"}}, MONEY, None,
     None),
    ("minimax", 400, {"base_resp": {"status_code": 1026, "status_msg": "No."}}, FILTER, "No.", None),
    ("volcengine", 400, {"error": {"code": "InputTextSensitiveContentDetected", "message": "No.", "type": "BadRequest"}},
     (400, "InputTextSensitiveContentDetected"), "No.", None),
    ("volcengine", 429, {"error": {"code": "SetLimitExceeded", "message": "No."}}, MONEY, None, None),
    ("stepfun", 451, {"error": {"type": "censorship_blocked", "message": "No."}}, FILTER, "No.", None),
    ("mine", 400, {"error": {"code": "tokens_limit_reached", "message": "No."}}, LONG, "No.", None),
    ("mine", 400, {"error": "exceeded this model context window limit"}, LONG, None, None),
    ("mine", 400, {"message": "输入长度超过限制"}, LONG, None, None),
    ("mine", 400, {"base_resp": {"status_code": 2013, "status_msg": "context window exceeds limit"}}, LONG, None, None),
]  # fmt: skip


@pytest.mark.parametrize(("host", "status", "body", "expected", "words", "wait"), HTTP)
def test_an_http_error(
    host: str, status: int, body: Any, expected: tuple[int, str | None], words: str | None, wait: float | None
) -> None:
    failure = openai.parse_error(status, (body if isinstance(body, str) else json.dumps(body)).encode())
    assert (failure.status, failure.code, failure.retry_after) == (*expected, wait)
    assert words is None or failure.message == words


@pytest.mark.parametrize("module", [anthropic, gemini])
def test_other_protocols_read_the_same_shapes(module: Any) -> None:
    for body in ({"error": "No."}, {"detail": [{"loc": ["x"], "msg": "No."}]}, {"msg": "No.", "code": 1}, {"errors": ["No."]},
                 [{"error": {"message": "No."}}], {"error": '{"error": {"message": "No."}}'}):  # fmt: skip
        failure = module.parse_error(400, json.dumps(body).encode())
        assert (failure.status, failure.message) == (400, "No."), body


@pytest.mark.parametrize(
    ("words", "seconds"),
    [("try again in 7m12.5s", 432.5), ("Retry in 1h", 3600), ("wait 3 seconds", 3), ("try again in 2 minutes", 120),
     ("try again later", None), ("retry after 26", None), ("try again in " + "9" * 5000 + "s", None)],
)  # fmt: skip
def test_a_wait_in_words(words: str, seconds: float | None) -> None:
    assert wait_of({"message": words}) == seconds


# The real process


@pytest.fixture(scope="module")
def server(every_protocol: Process) -> Process:
    return every_protocol


PAGES = (502, "upstream_protocol")  # upstream_bad_json where no stream was asked for
PAGE = "<!DOCTYPE html><title>x</title>"
NOTHING: list[tuple[Script, tuple[int, str]]] = [
    (answer(PAGE, kind="text/html"), PAGES),
    (answer(PAGE, kind="application/json"), PAGES),
    (answer("Too many requests", kind="text/plain"), LIMIT),
    (answer("Too many requests", kind="application/json"), LIMIT),
    (answer("no healthy upstream\n", kind="text/plain"), BUSY),
    (answer({"code": 429, "msg": "Slow."}), LIMIT),
    (answer({"base_resp": {"status_code": 1004, "status_msg": "login fail"}}), KEY),
    (stream(sse({"detail": "Too many requests"})), LIMIT),
]  # fmt: skip
EMPTY: list[Script] = [answer(text) for text in ("", "null", "[]", "{}", '""', "   ")]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("provider", ["up", "claude", "gemini"])
def test_no_answer_is_never_an_empty_answer(server: Process, scripted: Scripted, provider: str, streamed: bool) -> None:
    for script, expected in NOTHING:
        got = ask(server, f"{provider}/{scripted(script)}", streamed)
        asked = streamed or provider == "gemini" or expected is not PAGES  # as a stream
        assert (got.status, got.code) == (expected if asked else (502, "upstream_bad_json")), script
    for script in EMPTY:
        got = ask(server, f"{provider}/{scripted(script)}", streamed)
        assert got.status == 502 and got.error and got.error["message"], script


SLOW = {"error": {"message": "slow"}}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after-ms": "1500"}, "2"),
        ({"retry-after-ms": "1500", "Retry-After": "9"}, "2"),
        ({"retry-after-ms": "nan", "Retry-After": "9"}, "9"),
        ({"retry-after-ms": "-1"}, None),
        ({"retry-after-ms": "1e999"}, None),
    ],
)
def test_retry_after_ms(server: Process, scripted: Scripted, headers: dict[str, str], expected: str | None) -> None:
    for provider in ("up", "claude", "gemini"):
        got = ask(server, f"{provider}/{scripted(answer(SLOW, 429, headers))}")
        assert (got.status, got.headers.get("Retry-After")) == (429, expected)


@pytest.mark.parametrize("charset", ["gbk", "UTF-16", '"gb18030"'])
def test_an_error_in_another_character_set(server: Process, scripted: Scripted, charset: str) -> None:
    body = json.dumps({"error": {"message": "参数错误"}}, ensure_ascii=False).encode(charset.strip('"'))
    script = [head(400, {"Content-Length": str(len(body))}, f"application/json; charset={charset}"), body]
    got = ask(server, f"up/{scripted(script)}")
    assert got.status == 400 and got.error and got.error["message"] == "参数错误"


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (answer({"base_resp": {"status_code": 1002, "status_msg": "rate limit"}}), sdk.RateLimitError),
        (answer({"message": WORDS, "status": 400}), sdk.BadRequestError),
        (answer({"error_code": 110, "error_msg": "x"}), sdk.InternalServerError),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_what_the_sdk_raises(
    server: Process, scripted: Scripted, script: Script, kind: type[sdk.APIStatusError], streamed: bool
) -> None:
    client = sdk.OpenAI(base_url=server.url, api_key="x", max_retries=0)
    with client, pytest.raises(kind):
        client.chat.completions.create(
            model=f"up/{scripted(script)}", messages=[{"role": "user", "content": "x"}], stream=streamed
        )
