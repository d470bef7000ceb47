"""Every way a request can fail, in the shape OpenAI clients expect.

Failure                     status  type                   code                        try next
  BadRequest                400   invalid_request_error  (what is wrong)             no
    Unsupported             400   invalid_request_error  unsupported_value           yes
    ContextLengthExceeded   400   invalid_request_error  context_length_exceeded     no
    ContentFiltered         400   invalid_request_error  content_filter              no
  AuthenticationError       401   authentication_error   authentication_error        no
  PermissionDenied          403   invalid_request_error  permission_denied           no
  NotFound                  404   invalid_request_error  not_found                   no
    ModelNotFound           404   invalid_request_error  model_not_found             yes
  MethodNotAllowed          405   invalid_request_error  method_not_allowed          no
  RequestTimeout            408   invalid_request_error  request_timeout             yes
  Conflict                  409   invalid_request_error  conflict                    yes
  RequestTooLarge           413   invalid_request_error  request_too_large           no
  UnsupportedEncoding       415   invalid_request_error  unsupported_encoding        no
  RateLimitExceeded         429   rate_limit_error       rate_limit_exceeded         yes
    BudgetExceeded          429   rate_limit_error       budget_exceeded             no
  UpstreamError             502   server_error           upstream_error              yes
    UpstreamTruncated       502   server_error           upstream_truncated          yes
    UpstreamBadOutput       502   server_error           upstream_bad_output         yes
    UpstreamAuthError       502   server_error           upstream_auth_error         yes
  Overloaded                503   server_error           overloaded                  yes
    QuotaExhausted          503   server_error           upstream_quota_exhausted    yes
  UpstreamTimeout           504   server_error           upstream_timeout            yes

`try next`: whether another target may succeed where this one failed. After the two last named under
BadRequest one is called where the configuration says so (`on`).
`type` follows the service's public page: 401 authentication_error, 429 rate_limit_error, 5xx server_error, else
invalid_request_error. `code` carries the precise reason. A key of ours that an upstream refuses is never a 401: the
client's key is fine.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final


class Failure(Exception):
    """A request that failed, as the client is to hear of it.

    message: what happened and what to do, free of upstream names and secrets. param: the request field at fault.
    code: overrides the class's code. retry_after: seconds until a repeat makes sense.
    again: x-should-retry, what SDKs are told; None leaves it to their own rule. False where work may have been paid for.
    unsent: the upstream surely did not take the request up. upstream: the HTTP status it answered with, if it did.
    headers: of the HTTP answer, beside those that the fields above make.
    verbatim: the upstream's own answer, or event, that a native client gets in its place, with upstream_status.
    usage: what an upstream had counted when it failed in the middle of an answer, as OpenAI's usage object: it is paid.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: str | None = "internal_error"
    try_next: bool = False  # whether another target may succeed where this one failed
    should_retry: bool | None = None
    not_sent: bool = False
    upstream_status: int = 0
    headers: Mapping[str, str] = {}
    verbatim: bytes | None = None
    usage: dict[str, Any] | None = None

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.code
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        """The OpenAI error object, always with its four keys."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class BadRequest(Failure):
    status, type = 400, "invalid_request_error"
    code: str | None = None


class Unsupported(BadRequest):
    code, try_next = "unsupported_value", True


class ContextLengthExceeded(BadRequest):
    code = "context_length_exceeded"


class ContentFiltered(BadRequest):
    code = "content_filter"


class AuthenticationError(Failure):
    status, type, code = 401, "authentication_error", "authentication_error"
    should_retry: bool | None = False  # Claude Code would repeat it for minutes


class PermissionDenied(Failure):
    status, type, code = 403, "invalid_request_error", "permission_denied"


class NotFound(Failure):
    status, type, code = 404, "invalid_request_error", "not_found"


class ModelNotFound(NotFound):
    code, try_next = "model_not_found", True
    certain = False  # the upstream names the model; otherwise its 404 may be about the path


class MethodNotAllowed(Failure):
    status, type, code = 405, "invalid_request_error", "method_not_allowed"


class RequestTimeout(Failure):
    status, type, code, try_next = 408, "invalid_request_error", "request_timeout", True


class Conflict(Failure):
    status, type, code, try_next = 409, "invalid_request_error", "conflict", True


class RequestTooLarge(Failure):
    status, type, code = 413, "invalid_request_error", "request_too_large"


class UnsupportedEncoding(Failure):
    status, type, code = 415, "invalid_request_error", "unsupported_encoding"


class RateLimitExceeded(Failure):
    status, type, code, try_next = 429, "rate_limit_error", "rate_limit_exceeded", True


class BudgetExceeded(RateLimitExceeded):
    """A limit of this server's own that a few seconds will not lift: SDKs are not to try again."""

    code, try_next, should_retry = "budget_exceeded", False, False
    period: str = ""  # of a budget that is spent, and when the next one begins: "monthly; resets 2026-12-01 00:00 UTC"


class UpstreamError(Failure):
    status, code, try_next = 502, "upstream_error", True


class UpstreamTruncated(UpstreamError):
    code, should_retry = "upstream_truncated", False

    def __init__(self, message: str = "The upstream closed the stream before completion.") -> None:
        super().__init__(message)


class UpstreamBadOutput(UpstreamError):
    code, should_retry = "upstream_bad_output", False


class UpstreamAuthError(UpstreamError):
    code, should_retry = "upstream_auth_error", False


class Overloaded(Failure):
    status, code, try_next = 503, "overloaded", True


class QuotaExhausted(Overloaded):
    code, should_retry = "upstream_quota_exhausted", False


class UpstreamTimeout(Failure):
    status, code, try_next = 504, "upstream_timeout", True


# Codes by which providers say "no money left", under whatever status (openai-python 3.54.0, Anthropic errors page).
NO_MONEY = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_error",
        "insufficient_balance",
        "exceeded_current_quota_error",  # Moonshot
        "arrearage",  # DashScope, as the next
        "allocationquota.freetieronly",
        *("1113", "1304", "1308", "1309", "1310"),  # Z.ai
        "30001",  # SiliconFlow
        *(
            "AccountOverdueError",
            "QuotaExceeded",
            "SetLimitExceeded",
            "OperationDenied.ServiceOverdue",
        ),  # Volcengine Ark
    }
)
# … and in words, in lower case. Patterns of errors are texts: what compiles them is the first error, not the start.
_NO_MONEY = (
    r"credit balance is too low|insufficient (?:account )?(?:balance|credits?|funds|quota)"
    r"|balance (?:is )?(?:insufficient|not enough)|used all available credits"
    r"|(?:reached|exceeded) (?:its|your|the) monthly (?:spending limit|included credits)"
    r"|(?:doesn't|does not) have any credits|account .{0,40}in arrears|余额不足|欠费"
)
# Codes and types of "there is no such model here (any more)", under 400, 403 or 404, at Baidu 401: OpenAI, Groq, Azure, Mistral.
NO_MODEL = frozenset(
    {
        *("model_not_found", "model_decommissioned", "DeploymentNotFound", "invalid_model"),
        *("1211", "1311"),  # Z.ai: none of this name; not in the plan
        *("20012", "30003"),  # SiliconFlow: none of this name; disabled
        # Volcengine Ark: a model may be another's endpoint, closed, not ordered, or not in the plan
        *(
            "InvalidEndpointOrModel.NotFound",
            "InvalidEndpointOrModel.ModelIDAccessDisabled",
            "InvalidEndpoint.NotFound",
        ),
        *("InvalidEndpoint.ClosedEndpoint", "ModelNotOpen", "OperationDenied.ServiceNotOpen", "UnsupportedModel"),
        *("unknown_model", "5007"),  # GitHub Models; Cloudflare
        *("RESOURCE_DOES_NOT_EXIST", "ENDPOINT_NOT_FOUND"),  # Databricks
    }
)
_CODE: Final = re.compile(r"[\w.-]{1,64}", re.ASCII)
# Codes and types of "the prompt is too long": OpenAI and its imitators, llama.cpp, Z.ai, Baidu.
TOO_LONG = frozenset(
    {
        "context_length_exceeded",
        "exceed_context_size_error",
        "model_context_window_exceeded",
        "context_window_exceeded",
        "tokens_limit_reached",  # GitHub Models
        "1261",
        *("characters_too_long", "tokens_too_long"),
        "10907",  # Spark
    }
)
# … and its words, in lower case, for those that have no code of their own.
TOO_LONG_WORDS = "|".join(
    (
        r"prompt is too long",  # Claude, Vertex AI, Fireworks
        r"input is too long for requested model",  # Bedrock
        r"exceed context limit",  # Claude: input length and `max_tokens`
        r"maximum context length",  # OpenAI, Azure, DeepSeek, OpenRouter, Mistral, vLLM, SGLang, DeepInfra
        r"context_length_exceeded|context length exceeded",
        r"exceeds? the context (?:window|length)",  # OpenAI on /v1/responses; Ollama's embeddings
        r"input tokens exceed the configured limit",  # OpenAI
        r"exceeds the maximum number of tokens|model only supports up to \d+",  # Gemini; Vertex AI
        r"maximum prompt length is \d+",  # xAI
        r"reduce the length of the (?:messages|prompt)",  # Groq, Cerebras
        r"current length is \d+ while limit is \d+",  # Cerebras
        r"exceeded model token limit",  # Moonshot
        r"prompt exceeds max(?:imum)? length|prompt 超长",  # Z.ai
        r"range of input length should be",  # DashScope
        r"must be less than max_seq_len|exceeded max_prompt_tokens",  # SiliconFlow
        r"longer than the (?:model's context|maximum model) length",  # Together, SGLang; vLLM
        r"`?inputs`? tokens \+ `?max_new_tokens`? must be",  # Together, Hugging Face
        r"exceeds (?:the )?maximum allowed input length",  # OpenRouter
        r"exceeds the available context size|context size has been exceeded",  # llama.cpp
        r"greater than the context length|context length of only \d+",  # LM Studio
        r"context length is only \d+",  # vLLM
        r"exceeded (?:max )?context length",  # Ollama
        r"context window exceeds limit",  # MiniMax
        r"exceeded (?:this|the) model'?s? context window",  # Cloudflare
        r"`?inputs`? must have less than \d+ tokens",  # Hugging Face
        r"prompt length .{0,30}exceeds? (?:the )?max(?:imum)? (?:input|prompt) length",  # TensorRT-LLM
        r"total number of tokens in the prompt cannot exceed",  # Cohere
        r"exceed max message tokens",  # Volcengine Ark
        r"(?:prompt|input) (?:tokens )?too long|the max input characters is",  # Ollama, Baidu
        r"input token count \+ max_tokens",  # Together, under 403
        r"(?:上下文|输入|提示词?)(?:文本|内容)?(?:长度|token)?.{0,6}(?:超过|超出|超长|过长)",
    )
)
# Codes and types of "a filter refused the prompt, or the answer": OpenAI, Azure and Moonshot, DashScope, Z.ai, Bedrock.
FILTERED: Final = frozenset(
    {
        *("content_filter", "content_policy_violation", "moderation_blocked", "ResponsibleAIPolicyViolation"),
        *("data_inspection_failed", "DataInspectionFailed", "1301", "guardrail_intervened"),
        *("1026", "1027"),  # MiniMax: the prompt; the answer
        *("10013", "10014", "10019"),  # Spark: the prompt; the answer; the conversation
        # Volcengine Ark
        *("SensitiveContentDetected", "InputTextSensitiveContentDetected", "OutputTextSensitiveContentDetected"),
        *("InputImageSensitiveContentDetected", "OutputImageSensitiveContentDetected"),
    }
)
# … and its words, in lower case, for those that have no code of their own.
_FILTERED_WORDS: Final = (
    r"content management policy|blocked by content filtering|content violates usage guidelines|content exists risk"
    r"|(?:input|prompt|request) was (?:flagged|blocked) by|flagged by moderation|considered high risk"
    r"|(?:input|output) text may contain sensitive information"
)
# Codes and types of which each has a failure of its own, whatever the status: one that is a number is no HTTP status.
SHARP: Final = NO_MONEY | NO_MODEL | TOO_LONG | FILTERED
_FILTERED_STATUS: Final = frozenset({400, 403, 422, 500})
# 500 is what an error in a stream counts as that names no status; llama.cpp has even sent it as its status.
_TOO_LONG_STATUS = frozenset({400, 403, 413, 422, 500})
_NO_MONEY_STATUS = frozenset({400, 401, 403, 412, 429, 500})
_BAD_STATUS = frozenset({400, 422, 451})  # 451: StepFun, for what its censors refuse
_BY_STATUS: dict[int, type[Failure]] = {
    403: PermissionDenied,
    434: PermissionDenied,  # Z.ai: the API is not open to this account
    435: RequestTooLarge,  # Z.ai: a file
    404: ModelNotFound,
    408: RequestTimeout,
    409: Conflict,
    413: RequestTooLarge,
    429: RateLimitExceeded,
    503: Overloaded,
    504: UpstreamTimeout,
    529: Overloaded,
}


LONGEST_MESSAGE: Final = 4000  # characters of an upstream's message that are searched, and passed on
WORDY: Final = 300  # … of words that stand in the place of a message, or of an answer
_READ: Final = 4 * WORDY  # bytes of such an answer
_LONGEST_PARAM: Final = 200  # … of the name of a field
_SOLID: Final = "".join(map(chr, range(0x21, 0x7F)))  # what keys and addresses are made of
LONGEST_WAIT: Final = 86_400.0  # seconds: a longer one says nothing that a client could use


def sane_wait(seconds: float | None) -> float | None:
    """The seconds that an upstream asks its clients to wait; None for a number that is none, or is beyond a day."""
    return seconds if seconds is not None and 0 <= seconds <= LONGEST_WAIT else None


def shortened(text: str, most: int = LONGEST_MESSAGE) -> str:
    """Return a text, or the beginning of a longer one, up to a blank: half of a secret would not be found any more."""
    if len(text) <= most:
        return text
    start = text[:most].rstrip(_SOLID).rstrip()
    return f"{start}…" if start else ""


def words_of(body: bytes) -> str:
    """Return the words of an answer that should have been JSON and is none, or the first of many."""
    text = " ".join(body[:_READ].decode("utf-8", errors="replace").split())
    return shortened(text if len(body) <= _READ else text.rstrip(_SOLID), WORDY)


def from_upstream(
    status: int,
    message: str,
    *,
    code: str | None = None,
    param: str | None = None,
    retry_after: float | None = None,
    said: str = "",
) -> Failure:
    """Name an upstream's failure from our client's point of view.

    status: the HTTP status, or the one that an in-stream error type stands for. message: the upstream's own words,
    passed on only where they speak about the client's request. code, param: the upstream's, when it names any.
    said: the upstream's own words where others are to stand for them: they say what happened all the same. Both at most
    LONGEST_MESSAGE long (shortened), so that whoever cuts ids and addresses out of them has little to search.
    """
    param = shortened(param, _LONGEST_PARAM) if param else param
    # It goes into the log and the usage rows: a text there might be the prompt's.
    code = code if code and _CODE.fullmatch(code) else None
    low = (said or message).lower()
    if status == 402 or code in NO_MONEY or (status in _NO_MONEY_STATUS and re.search(_NO_MONEY, low)):
        return QuotaExhausted(
            "The upstream account of this server has no quota left. Tell the operator of this server."
        )
    if status in (400, 401, 403, 404) and code in NO_MODEL:
        return ModelNotFound(message, param=param or "model")
    if status in (401, 407) or code in ("invalid_api_key", "authentication_error"):
        return UpstreamAuthError("The upstream refused this server's credentials. Tell the operator of this server.")
    if status in _TOO_LONG_STATUS and (code in TOO_LONG or re.search(TOO_LONG_WORDS, low)):
        told = "The prompt is longer than this model reads." if said and said != message else message
        return ContextLengthExceeded(told, param=param or "messages")
    if status == 451 or (status in _FILTERED_STATUS and (code in FILTERED or re.search(_FILTERED_WORDS, low))):
        if code is not None and code.isdigit():  # a host's number: it says no more than the failure's own code
            code = None
        return ContentFiltered(message, param=param, code=code)
    if status in _BAD_STATUS:
        return BadRequest(message, param=param, code=code)
    if status == 404 and code not in (None, "model_not_found", "not_found_error"):
        return NotFound(message, param=param, code=code)
    kind = _BY_STATUS.get(status, UpstreamError)
    if kind is ModelNotFound:
        return kind(message, param=param or "model")
    if kind is RateLimitExceeded:  # no field of the request is at fault
        param = None
    return kind(message, param=param, retry_after=sane_wait(retry_after))
