"""Echo's answers to the older API of completions: the prompt, word by word. The names that misbehave do so here as well.

https://platform.openai.com/docs/api-reference/completions
"""

from collections.abc import Iterator
from typing import Any, Final

from .. import codec
from ..contract import Call, Json, Passed, ReplyStep, Upstream, not_passed, passed_call
from ..errors import BadRequest
from .chat import build_request

_TOKENS: Final = 16  # of an answer, where the request does not say: OpenAI's default
_CHOICES: Final = 128


def pass_on(asked: Passed, upstream: Upstream) -> Call:
    """Return a call that is answered here. Raises Unsupported for another API's, ModelNotFound, BadRequest."""
    if asked.operation != "completions":
        return not_passed(asked, upstream)
    body = codec.decode(asked.body)
    chat = _as_chat(body)
    played = build_request(chat, upstream).reply
    assert played is not None
    if played.status == 200:
        played = played._replace(steps=_renamed(played.steps, body["model"], chat["stream"]))
    return passed_call("echo:", {}, asked.body, reply=played)


def _as_chat(body: Json) -> Json:
    """Return the chat request whose answer has the same words."""
    prompt = body.get("prompt")
    given = prompt[0] if isinstance(prompt, list) and len(prompt) == 1 else prompt
    if not isinstance(given, str):
        raise BadRequest("echo completes one prompt: a string.", param="prompt", code="invalid_type")
    chat: Json = {"messages": [{"role": "user", "content": given}], "stream": body.get("stream") is True}
    for name, least, most, default in (("max_tokens", 1, 10**6, _TOKENS), ("n", 1, _CHOICES, 1)):
        value = default if body.get(name) is None else body[name]
        if type(value) is not int or not least <= value <= most:
            raise BadRequest(f"echo takes a {name} from {least} to {most}.", param=name, code="invalid_value")
        chat[name] = value
    stop = body.get("stop")
    if isinstance(stop, str) or (isinstance(stop, list) and all(isinstance(each, str) for each in stop)):
        chat["stop"] = stop
    return chat


def _renamed(steps: Any, model: str, streamed: bool) -> Iterator[ReplyStep]:
    """Play the steps of a chat completion as those of a completion."""
    for step in steps:
        if streamed:
            lines = [_event(line, model) for line in step.data.split(b"\n\n") if line]
            yield step._replace(data=b"".join(lines))
        else:
            yield step._replace(data=_whole(step.data, model))


def _event(line: bytes, model: str) -> bytes:
    data = line.removeprefix(b"data: ")
    if data == b"[DONE]":
        return line + b"\n\n"
    return b"data: " + _whole(data, model) + b"\n\n"


def _whole(data: bytes, model: str) -> bytes:
    """Return an object of a chat completion as one of a completion; what is none (half a body, an error) as it is."""
    try:
        value = codec.decode(data)
        choices = value["choices"]
    except (ValueError, LookupError, TypeError):
        return data
    texts = [
        {
            "text": (each.get("delta") or each.get("message") or {}).get("content") or "",
            "index": each["index"],
            "logprobs": None,
            "finish_reason": each["finish_reason"],
        }
        for each in choices
    ]
    head = {"id": "cmpl-echo", "object": "text_completion", "created": 0, "model": model, "choices": texts}
    return codec.encode(head | ({"usage": value["usage"]} if "usage" in value else {}))
