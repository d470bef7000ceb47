"""What the official openai SDK reads from a host's bytes, after the normalisation that is documented, and from ours.

The normalisation, written down a second time and not shared with the code under test:

- reasoning comes as reasoning_content, reasoning, thinking parts of a content list, or think tags; it is one text
- a tool call is known by its id, else by its index, else it goes on with the last one; arguments may be an object;
  none at all are `{}`
- the first finish_reason counts; eos, stop_sequence, model_length have OpenAI's names; stop after tool calls is tool_calls
- usage is the last one given, in whatever chunk, x_groq included
"""

import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import httpx2 as httpx
from openai import APIError, OpenAI

Json = dict[str, Any]
_FINISH = {"eos": "stop", "stop_sequence": "stop", "model_length": "length"}
_TAGS = re.compile(r"\s*<think>\s*(.*?)(?:</think>\s*(.*))?", re.S)


class Choice(NamedTuple):
    content: str
    reasoning: str
    refusal: str
    calls: tuple[tuple[str, str, str], ...]  # id, name, arguments
    finish: str | None
    logprobs: int  # tokens that have them
    audio: str
    more: int  # annotations, images, reasoning details


class Said(NamedTuple):
    """An answer as a client understands it. usage: prompt, completion, cached, reasoning tokens; None: not told."""

    choices: dict[int, Choice]
    usage: tuple[int, int, int, int] | None


def read(body: bytes, kind: str, streamed: bool) -> tuple[list[Json], str]:
    """The SDK's objects for a 200 answer with this body, and the error it raised, if it did ("" if not)."""
    response = httpx.Response(200, content=body, headers={"content-type": kind})
    transport = httpx.MockTransport(lambda request: response)
    found: list[Json] = []
    with OpenAI(
        base_url="http://x/v1", api_key="-", max_retries=0, http_client=httpx.Client(transport=transport)
    ) as sdk:
        ask: Any = {"model": "m", "messages": []}
        try:
            if not streamed:
                return [sdk.chat.completions.create(**ask).model_dump(exclude_unset=True)], ""
            for chunk in sdk.chat.completions.create(**ask, stream=True):
                found += [chunk.model_dump(exclude_unset=True)]
        except APIError as error:
            return found, error.message or "error"
    return found, ""


class _Building:
    def __init__(self) -> None:
        self.content = self.reasoning = self.refusal = ""
        self.calls: list[list[Any]] = []  # id, index, name, arguments
        self.finish: str | None = None
        self.logprobs = self.more = 0
        self.audio = self.transcript = ""

    def add(self, delta: Json) -> None:
        content, thought = delta.get("content"), delta.get("reasoning_content") or delta.get("reasoning") or ""
        for part in content if isinstance(content, list) else ():
            if part["type"] == "thinking":
                thought += "".join(inner["text"] for inner in part["thinking"])
            else:
                self.content += part.get("text", "")
        if isinstance(content, dict):
            content = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
        if isinstance(content, str):
            self.content += content
        audio = delta.get("audio") or {}
        self.audio += audio.get("data") or ""
        self.transcript += audio.get("transcript") or ""
        self.more += sum(len(delta.get(name) or ()) for name in ("annotations", "images", "reasoning_details"))
        self.reasoning += thought if isinstance(thought, str) else ""
        self.refusal += delta.get("refusal") or ""
        for call in delta.get("tool_calls") or ():
            self._call(call)

    def _call(self, call: Json) -> None:
        ident, index = call.get("id"), call.get("index")
        function = call.get("function") or {}
        known = [each for each in self.calls if (each[0] == ident if ident else index is None or each[1] == index)]
        if known:
            have = known[-1]
        else:
            self.calls.append(have := [ident, index, function.get("name") or "", ""])
        arguments = function.get("arguments")
        have[3] += json.dumps(arguments) if isinstance(arguments, dict) else arguments or ""


def said(objects: Iterable[Json], think_tags: bool = False) -> Said:
    """What chunks, or the one whole answer, add up to."""
    choices: dict[int, _Building] = {}
    usage: Any = None
    objects = list(objects)
    first, second = ("message", "delta") if len(objects) == 1 else ("delta", "message")  # Perplexity's have both
    for each in objects:
        usage = each.get("usage") or (each.get("x_groq") or {}).get("usage") or usage
        for position, choice in enumerate(each.get("choices") or ()):
            have = choices.setdefault(choice.get("index", position), _Building())
            have.add(choice.get(first) or choice.get(second) or {})
            have.finish = have.finish or choice.get("finish_reason")
            if isinstance(logprobs := choice.get("logprobs"), dict):  # one host tells a number
                have.logprobs += len(logprobs.get("content") or ())
    return Said({index: _done(have, think_tags) for index, have in choices.items()}, usage and _spent(usage))


def _done(have: _Building, think_tags: bool) -> Choice:
    calls = tuple((ident or "", name, _same(arguments)) for ident, _, name, arguments in have.calls)
    finish = _FINISH.get(have.finish or "", have.finish)
    if calls and finish == "stop":
        finish = "tool_calls"
    content, reasoning = have.content, have.reasoning
    if think_tags and (tags := _TAGS.fullmatch(content)):
        reasoning, content = reasoning + tags[1], tags[2] or ""
    return Choice(
        content, reasoning, have.refusal, calls, finish, have.logprobs, have.transcript + have.audio, have.more
    )


def _same(arguments: str) -> str:
    """Arguments that are an object were written anew: compare what they say."""
    try:
        return json.dumps(json.loads(arguments or "{}"), sort_keys=True)
    except ValueError:
        return arguments


def _spent(usage: Json) -> tuple[int, int, int, int]:
    read, written = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    cached = read.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or usage.get("cached_tokens") or 0
    prompt, completion = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    thought, heard = written.get("reasoning_tokens") or 0, read.get("audio_tokens") or 0
    match (usage.get("total_tokens") or 0) - prompt - completion:
        case rest if rest > 0 and rest == thought:  # xAI: in the total only
            completion += rest
        case rest if rest > 0 and rest == heard:  # Mistral
            prompt += rest
    return prompt, completion, min(cached, prompt), min(thought, completion)  # a part is no more than the whole


def same_ids(ours: Said, theirs: Said) -> Said:
    """Ours without the ids that only we gave: the host had none."""
    choices = dict(ours.choices)
    for index, choice in theirs.choices.items():
        if index in choices and len(choice.calls) == len(choices[index].calls):
            pairs = zip(choices[index].calls, choice.calls, strict=True)
            calls = tuple((mine[0] if their[0] else "", *mine[1:]) for mine, their in pairs)
            choices[index] = choices[index]._replace(calls=calls)
    return Said(choices, ours.usage)


def alike(said: Said) -> Said:
    """The same with arguments in the form in which they are compared."""
    choices = {
        index: choice._replace(calls=tuple((ident, name, _same(text)) for ident, name, text in choice.calls))
        for index, choice in said.choices.items()
    }
    return said._replace(choices=choices)


def check(chunks: list[Json]) -> None:
    """The invariants of every successful stream of chunks, as the server gets them."""
    usages = [at for at, chunk in enumerate(chunks) if "usage" in chunk]
    assert usages in ([], [len(chunks) - 1]), "usage comes last"
    for chunk in chunks:
        assert "usage" not in chunk or chunk["choices"] == [], "and alone"
    if usages:
        usage = chunks[-1]["usage"]
        assert {"prompt_tokens", "completion_tokens", "total_tokens"} <= usage.keys()
    indexes = {choice["index"] for chunk in chunks for choice in chunk["choices"]}
    for index in indexes:
        choices = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
        roles = [at for at, choice in enumerate(choices) if "role" in choice["delta"]]
        assert roles == [0], "the role comes once and first"
        finishes = [at for at, choice in enumerate(choices) if choice["finish_reason"] is not None]
        assert finishes == [len(choices) - 1], "one finish_reason, in the last chunk"
        seen: set[int] = set()
        for choice in choices:
            assert isinstance(choice["delta"].get("content", ""), str | None)
            assert not {"reasoning", "thinking"} & choice["delta"].keys()
            for call in choice["delta"].get("tool_calls", ()):
                first = call["index"] not in seen
                assert first == ("id" in call) == ("type" in call), "id and type only on the first fragment"
                assert not first or call["index"] == len(seen), "indexes are dense"
                seen.add(call["index"])
