"""How hosts say that something went wrong, and what a client hears: status, type, code, param, Retry-After."""

import json
from collections.abc import Callable
from typing import Any

import httpx2 as httpx
import pytest
import replay
from cuts import FEW
from process import Process
from scripted import Upstream as Scripted
from scripted import answer, chunked, sse, stream
from translators import made_call, translator_of

from providers import anthropic, gemini, openai
from providers.contract import Json, Upstream
from providers.errors import Failure, ModelNotFound
from providers.hosts import HOSTS
from providers.sse import Event

KEY = "The upstream refused this server's credentials. Tell the operator of this server."
QUOTA = "The upstream account of this server has no quota left. Tell the operator of this server."
LONG = "This model's maximum context length is 9 tokens."


def wrapped(message: str = "No.", **more: Any) -> Json:
    return {"error": {"message": message, **more}}


# Host, status and body as they come → status, type, code, param, message.
BODIES: list[tuple[str, int, Any, tuple[int, str, str | None, str | None, str]]] = [
    ("openai", 400, wrapped(type="invalid_request_error", param="tools[0]", code="invalid_value"),
     (400, "invalid_request_error", "invalid_value", "tools[0]", "No.")),
    ("openai", 401, wrapped("Incorrect API key provided: sk-abc123.", code="invalid_api_key"),
     (502, "server_error", "upstream_auth_error", None, KEY)),
    ("openai", 403, wrapped("You are not allowed to sample from this model", code=None),
     (403, "invalid_request_error", "permission_denied", None, "You are not allowed to sample from this model")),
    ("openai", 404, wrapped(code="model_not_found"), (404, "invalid_request_error", "model_not_found", "model", "No.")),
    ("openai", 429, wrapped("Limit for m in organization org-AbC123xyz reached.", code="rate_limit_exceeded", type="tokens"),
     (429, "rate_limit_error", "rate_limit_exceeded", None, "Limit for m in organization … reached.")),
    ("xai", 400, wrapped("No. Team: 12345678-90ab-cdef-1234-567890abcdef, API key ID: 12345678-90ab-cdef-1234-567890abcdef"),
     (400, "invalid_request_error", None, None, "No. Team: …, API key ID: …")),
    ("openai", 429, wrapped(code="insufficient_quota", type="insufficient_quota"),
     (503, "server_error", "upstream_quota_exhausted", None, QUOTA)),
    ("openai", 500, wrapped(type="server_error"), (502, "server_error", "upstream_error", None, "No.")),
    ("openai", 503, "upstream connect error or disconnect/reset before headers",
     (503, "server_error", "overloaded", None, "upstream connect error or disconnect/reset before headers")),
    ("openai", 400, wrapped("Your input exceeds the context window of this model.", param="input",
                            code="context_length_exceeded"),
     (400, "invalid_request_error", "context_length_exceeded", "messages",
      "Your input exceeds the context window of this model.")),
    ("openai", 400, wrapped("The requested model 'x' does not exist.", param="model", code="model_not_found"),
     (404, "invalid_request_error", "model_not_found", "model", "The requested model 'x' does not exist.")),
    ("azure", 404, wrapped(code="DeploymentNotFound"), (404, "invalid_request_error", "model_not_found", "model", "No.")),
    ("azure", 404, wrapped("Resource not found", code="404"),
     (404, "invalid_request_error", "model_not_found", "model", "Resource not found")),
    ("azure", 401, wrapped("Access denied due to invalid subscription key.", code="401"),
     (502, "server_error", "upstream_auth_error", None, KEY)),
    ("deepseek", 400, wrapped(LONG, type="invalid_request_error", param=None, code="invalid_request_error"),
     (400, "invalid_request_error", "context_length_exceeded", "messages", LONG)),
    ("deepseek", 402, wrapped("Insufficient Balance"), (503, "server_error", "upstream_quota_exhausted", None, QUOTA)),
    ("deepseek", 422, wrapped(param="temperature"), (400, "invalid_request_error", None, "temperature", "No.")),
    ("groq", 400, wrapped(code="model_decommissioned", type="invalid_request_error"),
     (404, "invalid_request_error", "model_not_found", "model", "No.")),
    ("groq", 400, wrapped(code="tool_use_failed", failed_generation="{"),
     (400, "invalid_request_error", "tool_use_failed", None, "No.")),
    ("mistral", 400, {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "code": "1500"},
     (404, "invalid_request_error", "model_not_found", "model", "Invalid model: x")),
    ("mistral", 422, {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]},
     (400, "invalid_request_error", None, "seed", "Extra inputs are not permitted")),
    ("mistral", 401, {"detail": "Unauthorized"}, (502, "server_error", "upstream_auth_error", None, KEY)),
    ("openrouter", 402, wrapped("Insufficient credits", code=402),
     (503, "server_error", "upstream_quota_exhausted", None, QUOTA)),
    ("openrouter", 400, wrapped("Provider returned error", code=400, metadata={
        "provider_name": "OpenAI", "raw": '{"error": {"message": "Expected >= 16 tokens."}}'}),
     (400, "invalid_request_error", None, None, "Expected >= 16 tokens.")),
    ("openrouter", 400, wrapped("Provider returned error", code=400, metadata={"raw": "not JSON"}),
     (400, "invalid_request_error", None, None, "not JSON")),
    ("openrouter", 403, wrapped("Provider returned error", code=403, metadata={"raw": '{"error": "Moderated."}'}),
     (403, "invalid_request_error", "permission_denied", None, "Moderated.")),
    ("openrouter", 408, wrapped(code=408), (408, "invalid_request_error", "request_timeout", None, "No.")),
    ("xai", 404, {"code": "Some requested entity was not found", "error": "The model grok-beta was deprecated."},
     (404, "invalid_request_error", "model_not_found", "model", "The model grok-beta was deprecated.")),
    ("zhipu", 429, {"error": {"code": "1305", "message": "Overloaded."}},
     (429, "rate_limit_error", "rate_limit_exceeded", None, "Overloaded.")),
    ("huggingface", 401, {"error": "Invalid username or password."},
     (502, "server_error", "upstream_auth_error", None, KEY)),
    ("cerebras", 429, {"code": "request_quota_exceeded", "message": "Too many.", "param": "quota",
                       "type": "too_many_requests_error"},
     (429, "rate_limit_error", "rate_limit_exceeded", None, "Too many.")),
    ("perplexity", 401, wrapped("Invalid API key provided.", type="invalid_api_key", code=401),
     (502, "server_error", "upstream_auth_error", None, KEY)),
    ("ollama", 404, wrapped("model 'x' not found", type="not_found_error", param=None, code=None),
     (404, "invalid_request_error", "model_not_found", "model", "model 'x' not found")),
    ("ollama", 400, wrapped("prompt too long; exceeded max context length by 9 tokens", type="invalid_request_error"),
     (400, "invalid_request_error", "context_length_exceeded", "messages",
      "prompt too long; exceeded max context length by 9 tokens")),
    ("vllm", 400, {"object": "error", "message": "No.", "type": "BadRequestError", "param": None, "code": 400},
     (400, "invalid_request_error", None, None, "No.")),
    ("together", 500, {"id": "x", "error": {"message": "Internal server error", "type": "server_error"}},
     (502, "server_error", "upstream_error", None, "Internal server error")),
    ("openai", 502, "<html><body>Bad gateway of example.internal</body></html>",
     (502, "server_error", "upstream_error", None, "The upstream answered with HTTP status 502.")),
    ("openai", 413, "", (413, "invalid_request_error", "request_too_large", None,
                         "The upstream answered with HTTP status 413.")),
    ("openai", 529, [wrapped()], (503, "server_error", "overloaded", None, "No.")),
    # A number of the host's own is not the HTTP status: no fallback would follow
    ("siliconflow", 400, {"code": 20012, "message": "Model does not exist. Please check it carefully.", "data": None},
     (404, "invalid_request_error", "model_not_found", "model", "Model does not exist. Please check it carefully.")),
    ("siliconflow", 403, {"code": 30003, "message": "Model disabled.", "data": None},
     (404, "invalid_request_error", "model_not_found", "model", "Model disabled.")),
    ("siliconflow", 403, {"code": 30001, "message": "Sorry.", "data": None},
     (503, "server_error", "upstream_quota_exhausted", None, QUOTA)),
    ("zhipu", 400, wrapped("No such model.", code="1211"),
     (404, "invalid_request_error", "model_not_found", "model", "No such model.")),
    ("zhipu", 429, wrapped("Not in the plan.", code="1311"), (429, "rate_limit_error", "rate_limit_exceeded", None,
                                                              "Not in the plan.")),
    ("zhipu", 429, wrapped(code="1309"), (503, "server_error", "upstream_quota_exhausted", None, QUOTA)),
    ("zhipu", 400, wrapped("系统检测到输入或生成内容可能包含不安全或敏感内容", code="1301"),
     (400, "invalid_request_error", "content_filter", None, "系统检测到输入或生成内容可能包含不安全或敏感内容")),
    ("moonshot", 400, wrapped("Rejected.", type="content_filter"),
     (400, "invalid_request_error", "content_filter", None, "Rejected.")),
    ("zhipu", 434, wrapped(), (403, "invalid_request_error", "permission_denied", None, "No.")),
    ("zhipu", 435, wrapped(), (413, "invalid_request_error", "request_too_large", None, "No.")),
    ("ark", 404, wrapped("No endpoint.", code="InvalidEndpointOrModel.NotFound", type="NotFound"),
     (404, "invalid_request_error", "model_not_found", "model", "No endpoint.")),
    ("ark", 404, wrapped(code="ModelNotOpen", type="NotFound"),
     (404, "invalid_request_error", "model_not_found", "model", "No.")),
    ("ark", 400, wrapped(code="InvalidEndpoint.ClosedEndpoint", type="BadRequest"),
     (404, "invalid_request_error", "model_not_found", "model", "No.")),
    ("ark", 403, wrapped(code="AccountOverdueError", type="Forbidden"),
     (503, "server_error", "upstream_quota_exhausted", None, QUOTA)),
    ("ark", 429, wrapped(code="SetLimitExceeded", type="TooManyRequests"),
     (503, "server_error", "upstream_quota_exhausted", None, QUOTA)),
    ("ark", 429, wrapped(code="RateLimitExceeded.EndpointRPMExceeded", type="TooManyRequests"),
     (429, "rate_limit_error", "rate_limit_exceeded", None, "No.")),
    ("qianfan", 400, wrapped("the max input characters is 9", code="characters_too_long", type="invalid_request_error"),
     (400, "invalid_request_error", "context_length_exceeded", "messages", "the max input characters is 9")),
    ("qianfan", 400, wrapped("Prompt tokens too long", code="tokens_too_long", type="invalid_request_error"),
     (400, "invalid_request_error", "context_length_exceeded", "messages", "Prompt tokens too long")),
    ("stepfun", 451, wrapped("Content.", type="censored"),
     (400, "invalid_request_error", "content_filter", None, "Content.")),
    ("together", 403, wrapped("Input token count + max_tokens parameter must be less than the context length"),
     (400, "invalid_request_error", "context_length_exceeded", "messages",
      "Input token count + max_tokens parameter must be less than the context length")),
]  # fmt: skip


@pytest.mark.parametrize(("host", "status", "body", "expected"), BODIES)
def test_an_error_body(
    host: str, status: int, body: Any, expected: tuple[int, str, str | None, str | None, str]
) -> None:
    raw = body if isinstance(body, str) else json.dumps(body)
    failure = openai.parse_error(status, raw.encode())
    found = failure.body()["error"]
    assert (failure.status, found["type"], found["code"], found["param"], found["message"]) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [({"Retry-After": "7"}, "7"), ({"Retry-After": "0.2"}, "1"), ({"Retry-After": "soon"}, None), ({}, None)],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_retry_after(
    server: Process,
    http: httpx.Client,
    scripted: Callable[..., str],
    header: dict[str, str],
    expected: str | None,
    streamed: bool,
) -> None:
    name = scripted(answer(wrapped(code="rate_limit_exceeded"), 429, headers=header))
    ask = {"model": f"up/{name}", "messages": [{"role": "user", "content": "hi"}], "stream": streamed}
    found = http.post(f"{server.url}/chat/completions", json=ask)
    assert found.status_code == 429
    assert found.headers.get("Retry-After") == expected


def test_a_model_that_is_gone_falls_through_to_the_next(upstream: Scripted, scripted: Callable[..., str]) -> None:
    """What lets retired names live on: OpenAI's, Groq's and Azure's ways of saying so."""
    for body, status in ((wrapped(code="model_not_found"), 404), (wrapped(code="model_decommissioned"), 400),
                         (wrapped(code="DeploymentNotFound"), 404), (wrapped(code="model_not_found"), 400)):  # fmt: skip
        failure = openai.parse_error(status, json.dumps(body).encode())
        assert isinstance(failure, ModelNotFound)
        assert failure.try_next


# How each host says that a prompt is too long: the words, and more of the error where that is all there is.
TOO_LONG: list[tuple[str, int, Any]] = [
    ("openai", 400, wrapped("Input tokens exceed the configured limit of 9 tokens. Your messages resulted in 10 tokens.")),
    ("openai", 400, wrapped("Your input exceeds the context window of this model.")),
    ("azure", 400, wrapped("This model's maximum context length is 9 tokens, however you requested 10 tokens.")),
    ("deepseek", 400, wrapped("This model's maximum context length is 9 tokens. However, you requested 10 tokens.")),
    ("groq", 400, wrapped("Please reduce the length of the messages or completion.", code="context_length_exceeded")),
    ("mistral", 400, {"object": "error", "code": "3051", "type": "invalid_request_prompt", "message":
                      "Prompt contains 10 tokens and 0 draft tokens, too large for model with 9 maximum context length"}),
    ("openrouter", 400, wrapped("This endpoint's maximum context length is 9 tokens. However, you requested 10.", code=400)),
    ("openrouter", 400, wrapped("Input length 10 exceeds the maximum allowed input length of 9 tokens.", code=400)),
    ("openrouter", 400, wrapped("Provider returned error", code=400, metadata={
        "raw": '{"error":{"message":"Your request exceeded model token limit: 9 (requested: 10)"}}'})),
    ("openrouter", 400, wrapped("No.", code=400, metadata={"error_type": "context_length_exceeded"})),
    ("together", 422, wrapped("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 9. Given: 10")),
    ("together", 400, wrapped("The input (10 tokens) is longer than the model's context length (9 tokens).")),
    ("xai", 400, {"code": "Client specified an invalid argument",
                  "error": "This model's maximum prompt length is 9 but the request contains 10 tokens."}),
    ("moonshot", 400, wrapped("Invalid request: Your request exceeded model token limit: 9 (requested: 10)")),
    ("zhipu", 400, {"error": {"code": "1261", "message": "Prompt 超长"}}),
    ("zhipu", 400, {"error": {"code": "1261", "message": "No."}}),
    ("zhipu", 400, {"error": {"code": "1210", "message": "Prompt exceeds max length"}}),
    ("dashscope", 400, wrapped("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 9]")),
    ("siliconflow", 400, {"code": 20015, "message": "length of prompt_tokens (10) must be less than max_seq_len."}),
    ("siliconflow", 400, wrapped("number of input tokens (10) have exceeded max_prompt_tokens (9) limit.")),
    ("fireworks", 400, wrapped("The prompt is too long: 10, model maximum context length: 9", type="invalid_request_error")),
    ("deepinfra", 400, wrapped("This model's maximum context length is 9 tokens. However, you requested 10 tokens.")),
    ("cerebras", 400, {"message": "Please reduce the length of the messages or completion. Current length is 10 while limit is 9",
                       "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}),
    ("cerebras", 400, {"message": "Current length is 10 while limit is 9"}),
    ("huggingface", 422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 9. Given: 10"}),
    ("cohere", 400, {"message": "too many tokens: total number of tokens in the prompt cannot exceed 9 - received 10."}),
    ("minimax", 400, wrapped("invalid params, context window exceeds limit (2013)", type="bad_request_error", http_code="400")),
    ("qianfan", 400, wrapped("Prompt tokens too long", type="invalid_request_error", code="tokens_too_long")),
    ("volcengine", 400, wrapped("Total tokens of image and text exceed max message tokens. Request id: 0",
                                code="InvalidParameter", param="", type="BadRequest")),
    ("stepfun", 400, wrapped("This model's maximum context length is 9 tokens. However, you requested 10 tokens.")),
    ("spark", 400, {"code": 10907, "message": "token总数超过上限", "sid": "x"}),
    ("github", 413, wrapped("Request body too large for gpt-4o model. Max size: 9 tokens.", code="tokens_limit_reached")),
    ("cloudflare", 400, {"errors": [{"message": "AiError: The estimated number of input tokens exceeded this model context "
                                     "window limit (9)", "code": 5021}], "success": False, "result": {}}),
    ("ollama", 400, wrapped("prompt too long; exceeded max context length by 9 tokens")),
    ("ollama", 400, wrapped("the input length exceeds the context length")),
    ("vllm", 400, {"object": "error", "message": "The decoder prompt (length 10) is longer than the maximum model length of 9.",
                   "type": "BadRequestError", "param": None, "code": 400}),
    ("vllm", 400, wrapped("You passed 10 input tokens. However, the model's context length is only 9 tokens.", code=400)),
    ("llamacpp", 400, wrapped("No.", code=400, type="exceed_context_size_error", n_prompt_tokens=10, n_ctx=9)),
    ("llamacpp", 400, wrapped("the request exceeds the available context size, try increasing it")),
    ("llamacpp", 500, wrapped("Context size has been exceeded.", code=500, type="server_error")),
    ("lmstudio", 400, {"error": "The number of tokens to keep from the initial prompt is greater than the context length."}),
    ("lmstudio", 400, wrapped("The model is loaded with context length of only 9 tokens, which is not enough.")),
]  # fmt: skip


@pytest.mark.parametrize(("host", "status", "body"), TOO_LONG)
def test_a_prompt_that_is_too_long(host: str, status: int, body: Any) -> None:
    failure = openai.parse_error(status, json.dumps(body).encode())
    assert (failure.status, failure.code, failure.param) == (400, "context_length_exceeded", "messages")
    if "error" in body and isinstance(body["error"], dict):  # the same in a stream
        with pytest.raises(Failure) as failed:
            translator_of("openai", made_call({}, True), Upstream(host, "m", host=HOSTS[host])).send(Event("", body))
        assert (failed.value.code, failed.value.message) == ("context_length_exceeded", failure.message)


def test_every_row_says_too_long_in_words_of_its_own() -> None:
    like_openai = {"azure_v1": "azure", "perplexity": "not known"}
    like_openai |= dict.fromkeys(("hunyuan", "tokenhub", "baichuan", "vercel", "databricks"), "not known")
    like_openai |= dict.fromkeys(
        ("modelscope", "nebius", "novita", "sambanova", "hyperbolic", "nvidia", "scaleway"), "vllm"
    )
    assert {host for host, *_ in TOO_LONG} == {n for n in HOSTS if HOSTS[n].protocol == "openai"} - like_openai.keys()


@pytest.mark.parametrize(
    ("status", "wrong", "code"),
    [
        (413, wrapped("Request too large for model `x` on tokens per minute (TPM): Limit 9.", code="rate_limit_exceeded"),
         "request_too_large"),
        (429, wrapped("Reduce the length of the messages.", code="rate_limit_exceeded"), "rate_limit_exceeded"),
        (400, wrapped("Invalid 'user': string too long.", code="string_above_max_length"), "string_above_max_length"),
        (400, wrapped("max_tokens is too large: 9. This model supports at most 8 completion tokens."), None),
    ],
)  # fmt: skip
def test_what_only_sounds_like_it(status: int, wrong: Json, code: str | None) -> None:
    assert openai.parse_error(status, json.dumps(wrong).encode()).code == code


CLAUDES: list[tuple[int, Any]] = [
    (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 10 tokens > 9 maximum"}}),
    (400, {"type": "error", "error": {"type": "invalid_request_error",
                                      "message": "input length and `max_tokens` exceed context limit: 9 + 1 > 9"}}),
    (400, {"message": "Input is too long for requested model."}),  # Bedrock
    (400, [{"error": {"code": 400, "message": "Prompt is too long", "status": "INVALID_ARGUMENT"}}]),  # Vertex AI
]  # fmt: skip
GEMINIS: list[tuple[int, Any]] = [
    (
        400,
        wrapped(
            "The input token count (10) exceeds the maximum number of tokens allowed (9).", status="INVALID_ARGUMENT"
        ),
    ),
    (400, [wrapped("Unable to submit request because the input token count is 10 but model only supports up to 9.")]),
]


def test_a_prompt_that_is_too_long_for_claude_or_gemini() -> None:
    for module, bodies in (anthropic, CLAUDES), (gemini, GEMINIS):
        for status, body in bodies:
            failure = module.parse_error(status, json.dumps(body).encode())
            assert (failure.status, failure.code, failure.param) == (400, "context_length_exceeded", "messages"), body


# Inside a 200

CHUNK = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hi"}, "finish_reason": None}]}
FAILED = b'{"error": {"message": "Failed.", "type": "server_error", "code": null}}'
IN_BAND: list[tuple[str, bytes, tuple[int, str | None, str]]] = [
    ("openrouter", b'data: {"id": "x", "error": {"code": 400, "message": "Token limit reached"}, "choices": '
     b'[{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]}\n\n', (400, None, "Token limit reached")),
    ("openrouter", b'data: {"choices": [{"index": 0, "delta": {}, "error": {"code": 502, "message": "Gone."}}]}\n\n',
     (502, "upstream_error", "Gone.")),
    ("groq", b'event: error\ndata: {"error": {"message": "Bad call.", "type": "invalid_request_error", "code": '
     b'"tool_use_failed", "failed_generation": "{", "status_code": 400}}\n\n', (400, "tool_use_failed", "Bad call.")),
    ("groq", b'data: {"choices": [], "x_groq": {"error": "over capacity"}}\n\n', (502, "upstream_error", "over capacity")),
    ("vllm", b'data: {"object": "error", "message": "Died.", "type": "InternalServerError", "code": 500}\n\n',
     (502, "upstream_error", "Died.")),
    ("vllm", b"data: " + FAILED + b"\n\n", (502, "upstream_error", "Failed.")),
    ("llamacpp", b"error: " + FAILED + b"\n\n", (502, "upstream_error", "Failed.")),
    ("llamacpp", b"error: out of memory\n\n", (502, "upstream_error", "out of memory")),
    ("deepseek", b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "insufficient_system_resource"}]}\n\n',
     (503, "overloaded", "The upstream ran out of resources while answering. Try again later.")),
    ("mistral", b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]}\n\n',
     (502, "upstream_error", "The upstream failed while answering.")),
    ("ollama", b'data: {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": null}]}\n\n',
     (502, "upstream_truncated", "The upstream closed the stream before completion.")),
    ("ollama", b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "load"}]}\n\n',
     (502, "upstream_truncated", "The upstream closed the stream before completion.")),
    ("azure", b'data: {"error": {"message": "Filtered.", "code": "content_filter", "status": 400}}\n\n',
     (400, "content_filter", "Filtered.")),
]  # fmt: skip


@pytest.mark.parametrize(("host", "wrong", "expected"), IN_BAND)
@pytest.mark.parametrize("done", [b"", b"data: [DONE]\n\n"])
@pytest.mark.parametrize("size", FEW)
def test_an_error_inside_a_stream(
    host: str, wrong: bytes, expected: tuple[int, str | None, str], done: bytes, size: int | None
) -> None:
    """86, 88, 92 and the like: after a first word, before [DONE] or the end."""
    if done and expected[1] == "upstream_truncated" and b"load" not in wrong:
        return  # [DONE] after an empty delta is an end
    raw = b"data: " + json.dumps(CHUNK).encode() + b"\n\n" + wrong + done
    to = Upstream(host, "m", host=HOSTS[host])
    chunks: list[Json] = []
    with pytest.raises(Failure) as failed:
        chunks.extend(replay.chunks(openai, raw, size, call=made_call({}, True), to=to))
    assert (failed.value.status, failed.value.code, failed.value.message) == expected
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "Hi"}
    assert not any(choice["finish_reason"] for chunk in chunks for choice in chunk["choices"])


def test_the_client_of_a_broken_stream_hears_of_it_and_of_no_end(
    server: Process, http: httpx.Client, scripted: Callable[..., str]
) -> None:
    for host, wrong, (_, code, message) in IN_BAND:
        # The pause lets the first word out: what comes with it in one read would only be an HTTP error.
        name = scripted([*stream(sse(CHUNK, done=False), end=False), 0.05, *chunked(wrong)])
        ask = {"model": f"up/{name}", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        events = http.post(f"{server.url}/chat/completions", json=ask).text.strip().split("\n\n")
        assert json.loads(events[0].removeprefix("data: "))["choices"][0]["delta"]["content"] == "Hi", host
        last = json.loads(events[-1].removeprefix("data: "))["error"]
        assert (last["code"], last["message"]) == (code, message), host
        assert "[DONE]" not in "".join(events)
