"""OpenAI chat completions, and every host that imitates them. https://platform.openai.com/docs/api-reference/chat

The request passes through but for the host's edits (hosts.py). The answer is not trusted to be in shape: what hosts do
differently is made canonical here, so that a client sees one behaviour. Unknown fields survive both ways.

- role comes once and first; tool calls are numbered 0, 1, 2 as they appear, id and name on the first fragment only
- usage travels as a chunk of its own, after the finish; the first finish_reason of a choice counts and comes last
- an error in any shape is a Failure; an end without finish_reason or [DONE] is Truncated
"""

from typing import Any

from . import wire
from .answers import KNOWN_CHUNK, ToolCalls, finish_reason, reasoning, tidy, usage_of, whole_message
from .chat import tool_call, usage_chunk
from .contract import Call, Json, Translator, Upstream, no_continuation, prime
from .errors import BadOutput, Failure, Truncated, UpstreamFailed, from_upstream
from .host_edits import edit
from .hosts import endpoint, key_header
from .sse import DONE

# In-band errors have no HTTP status: the type or code they carry stands for one.
_STATUS = {
    "invalid_request_error": 400,
    "invalid_prompt": 400,
    "content_filter": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "tokens": 429,
    "requests": 429,
    "insufficient_quota": 429,
    "slow_down": 503,
    "server_is_overloaded": 503,
    "overloaded_error": 503,
    "service_unavailable_error": 503,
    "service_unavailable": 503,
    "timeout": 504,
    "server_error": 500,
    "api_error": 500,
}


def request(body: Json, to: Upstream) -> Call:
    """The chat request as this host and this model take it (host_edits.py).

    Raises Unsupported, BadRequest.
    """
    edited, dropped = edit(body, to)
    url = endpoint(to.host, to.base_url, to.model)
    return Call(url, key_header(to.host, to.api_key), edited, body.get("stream") is True, dropped)


continuation = no_continuation


def fetches(url: str, to: Upstream) -> bool:
    """Whether the host leaves fetching to us."""
    return to.host.inline_images


def stream(call: Call, to: Upstream) -> Translator:
    """Translator of a streamed answer, or of a whole one (one event: the body)."""
    return prime(_chunks(to) if call.stream else _whole(to))


def _whole(to: Upstream) -> Translator:
    event = yield []
    if event is None:
        raise Truncated
    body = event.data
    if not isinstance(body, dict):
        raise BadOutput("The upstream's answer is not a JSON object.", code="upstream_bad_json")
    _refuse_errors(event.name, body)
    choices = body.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise BadOutput("The upstream's answer holds no choices.", code="upstream_bad_json")
    tidy(body)
    for index, choice in enumerate(choices):
        choice.setdefault("index", index)
        choice.setdefault("logprobs", None)
        choice.pop("native_finish_reason", None)
        _refuse_errors("", choice)
        choice["message"] = whole_message(choice.get("message") or {}, to.reasoning)
        choice["finish_reason"] = finish_reason(choice.get("finish_reason"), bool(choice["message"].get("tool_calls")))
    body["usage"] = usage_of(body.get("usage"))
    return [body]


class _Choice:
    """What one choice of a stream has said so far."""

    __slots__ = ("end", "tools")

    def __init__(self) -> None:
        self.end: Json | None = None  # the choice that carried the first finish_reason, held back until the end
        self.tools = ToolCalls()


def _chunks(to: Upstream) -> Translator:
    seen: dict[int, _Choice] = {}
    usage: Any = None
    extras: Json = {}  # fields of chunks without choices: they ride on the next chunk, or end the stream
    chunks: list[Json] = []
    while (event := (yield chunks)) is not None:
        data = event.data
        chunks = []
        if type(data) is not dict:
            if data == DONE:
                return _end(seen, usage, extras, said_done=True)
            continue
        data.pop("obfuscation", None)
        if "usage" in data:
            usage = data.pop("usage") or usage
        choices = data.get("choices")
        if event.name or not data.keys() <= KNOWN_CHUNK:
            _refuse_errors(event.name, data)
            usage = tidy(data) or usage
        if not choices or type(choices) is not list:
            extras |= {name: value for name, value in data.items() if name not in KNOWN_CHUNK}
            continue
        if len(choices) == 1 and _is_plain(choices[0], seen):
            chunks.append(data)
        else:
            kept = [choice for i, each in enumerate(choices) if (choice := _choice(each, i, seen, to.reasoning))]
            if kept:
                data["choices"] = kept
                chunks.append(data)
        if extras and chunks:
            chunks[0] |= extras
            extras = {}
    return _end(seen, usage, extras, said_done=False)


def _is_plain(choice: Json, seen: dict[int, _Choice]) -> bool:
    """Whether this is `{"content": "…"}` in the middle of a stream: nine chunks of ten, and nothing to do."""
    try:
        delta = choice["delta"]
        return (
            len(delta) == 1
            and type(delta.get("content")) is str
            and choice["finish_reason"] is None
            and choice["index"] in seen
            and len(choice) <= 4
            and "error" not in choice
        )
    except (KeyError, TypeError):
        return False


def _choice(choice: Json, position: int, seen: dict[int, _Choice], expose: bool) -> Json | None:
    """One choice of a chunk in canonical form, or None where nothing is left to say; its finish is held back."""
    index = choice.setdefault("index", position)
    _refuse_errors("", choice)
    choice.pop("native_finish_reason", None)
    message = choice.pop("message", None)  # Perplexity sends the text so far again; hosts that cannot stream, all of it
    delta: Json = choice.get("delta") or (message if "delta" not in choice and message else {})
    delta = reasoning(delta if isinstance(delta, dict) else {}, expose)
    first = index not in seen
    state = seen.setdefault(index, _Choice())
    if first:
        delta = {"role": "assistant", **delta}
    else:
        delta.pop("role", None)
    if "tool_calls" in delta:
        fragments = state.tools.fragments(delta.pop("tool_calls") or ())
        if fragments:
            delta["tool_calls"] = fragments
    choice["delta"] = delta
    finish = choice.get("finish_reason")
    choice["finish_reason"] = None
    if finish is not None and state.end is None:
        reason = finish_reason(finish, state.tools.any)
        state.end = {**choice, "index": index, "delta": {}, "logprobs": None, "finish_reason": reason}
    choice.setdefault("logprobs", None)
    return choice if any(value is not None for value in delta.values()) or choice["logprobs"] else None


def _end(seen: dict[int, _Choice], usage: Any, extras: Json, said_done: bool) -> list[Json]:
    """The last chunks: arguments for calls that had none, one finish for each choice, usage, and what is left.

    A host that says [DONE] without a finish_reason has finished; one that just stops has not.
    """
    if not seen and said_done:
        raise BadOutput("The upstream ended its stream without an answer.")
    if not said_done and (not seen or any(choice.end is None for choice in seen.values())):
        raise Truncated
    last: list[Json] = []
    for index, choice in sorted(seen.items()):
        last += [_for(index, tool_call(k, {"arguments": "{}"})) for k in choice.tools.without_arguments()]
    for index, choice in sorted(seen.items()):
        end = choice.end or _for(index, {}, finish_reason("stop", choice.tools.any))["choices"][0]
        last.append({"choices": [end]})
    if usage is not None:
        last.append(usage_chunk(usage_of(usage)))
    if extras:
        last.append({"choices": [], **extras})
    return last


def _for(index: int, delta: Json, finish: str | None = None) -> Json:
    return {"choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}]}


def _refuse_errors(name: str, data: Json) -> None:
    """Raise what the upstream says went wrong, in whatever shape: {"error": …}, event: error, x_groq, object: error."""
    wrong = data.get("error")
    if not wrong and isinstance(groq := data.get("x_groq"), dict):
        wrong = groq.get("error")
    if not wrong and (name == "error" or data.get("object") == "error"):
        wrong = data
    if wrong:
        raise in_band(wrong)


def in_band(wrong: Any) -> Failure:
    """An error found inside a 200 answer (an object, or a text) → Failure."""
    if not isinstance(wrong, dict):
        return UpstreamFailed(str(wrong)[:300] or "The upstream failed while answering.")
    code, kind = wrong.get("code"), wrong.get("type")
    status = next(
        (
            value
            for value in (
                wrong.get("status_code"),
                wrong.get("status"),
                code,
                _STATUS.get(str(code)),
                _STATUS.get(str(kind)),
            )
            if isinstance(value, int) and 400 <= value < 600
        ),
        500,
    )
    return _named(status, wrong)


def error(status: int, body: bytes) -> Failure:
    """An HTTP error answer → Failure. Its body may be an object, a one-element array, text or HTML."""
    try:
        wrong = wire.decode(body)
    except ValueError:
        text = body[:300].decode("utf-8", errors="replace").strip()
        wrong = "" if text.startswith("<") else text
    if isinstance(wrong, list) and wrong:
        wrong = wrong[0]
    if isinstance(wrong, dict):
        wrong = wrong.get("error") or wrong.get("detail") or wrong
    if isinstance(wrong, dict):
        return _named(status, wrong)
    return from_upstream(status, str(wrong)[:300] if wrong else f"The upstream answered with HTTP status {status}.")


def _named(status: int, wrong: Json) -> Failure:
    code, param = wrong.get("code"), wrong.get("param")
    message = wrong.get("message") or wrong.get("msg") or f"The upstream answered with HTTP status {status}."
    return from_upstream(
        status,
        message if isinstance(message, str) else wire.text(message)[:300],
        code=code if isinstance(code, str) else None,
        param=param if isinstance(param, str) else None,
    )
