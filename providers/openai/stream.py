"""OpenAI chat completions, and every host that imitates them. https://platform.openai.com/docs/api-reference/chat

The request passes through but for the host's edits (hosts.py). The answer is not trusted to be in shape: what hosts do
differently is made canonical here, so that a client sees one behaviour. Unknown fields survive both ways.

- role comes once and first; tool calls are numbered 0, 1, 2 as they appear, id and name on the first fragment only
- usage travels as a chunk of its own, after the finish; the first finish_reason of a choice counts and comes last
- an error in any shape is a Failure; an end without finish_reason or [DONE] is UpstreamTruncated
"""

from collections.abc import Mapping
from typing import Any, Final

from ..chunks import tool_call, usage_chunk
from ..common.bounds import Extras
from ..common.error_shapes import SIGNS, told_instead
from ..common.finish_reasons import reason_of
from ..common.think_tags import ThinkTags
from ..common.tool_names import given_back
from ..common.typed import ANSWER, logprobs, typed
from ..common.usage import merged, usage_of
from ..contract import Call, Ended, Json, Repeatable, Translator, Upstream, prime
from ..errors import UpstreamBadOutput, UpstreamTruncated
from ..sse import DONE, refuse_value
from .errors import in_band, refuse_errors
from .normalize import KNOWN_CHUNK, ToolCallNumbering, drop_private_fields, listed, set_text, unify_reasoning
from .prefill import without_echo
from .whole import MISSHAPEN, is_bare, legacy, misshapen, number, says_anything, whole

_NO_NAMES: Final[Mapping[str, str]] = {}
_CHOICE: Final = frozenset({"index", "delta", "logprobs", "finish_reason"})
_TEXTS: Final = ([("content", True)], [("reasoning_content", True)])
_NOTHING: Final[Json] = {}
_DIGITS: Final = 9  # of an index that came as a text
_EVERYWHERE: Final = ("service_tier", "system_fingerprint")  # OpenAI puts them on every chunk, the usage included


def translate(
    call: Call, streamed: bool, upstream: Upstream, names: Mapping[str, str] = _NO_NAMES, echo: str = ""
) -> Translator:
    """Return the primed translator of a streamed answer, or of a whole one. names: of tools that were renamed, the
    name sent → the client's; echo: words of the client's that the answer may begin with, which are left out.
    """
    translator = _in_shape(_chunks(upstream, call.body.get("n") or 1)) if streamed else whole(upstream)
    if echo:
        translator = without_echo(prime(translator), echo)
    return prime(given_back(prime(translator), names) if names else translator)


def _in_shape(translator: Translator) -> Translator:
    """The same translator; what it stumbles over in an answer of the wrong shape is the upstream's failure."""
    try:
        return (yield from translator)
    except MISSHAPEN as error:
        raise misshapen() from error


class ChoiceState:
    """What one choice of a stream has said so far."""

    __slots__ = ("early", "end", "old", "settled", "spoke", "tags", "tools", "usage")

    def __init__(self, think_tags: bool) -> None:
        self.end: Json | None = None  # the choice that carried the first finish_reason, held back until the end
        self.spoke = False  # a delta said anything
        self.tools = ToolCallNumbering()
        self.old = False  # it came with a function_call
        self.tags = ThinkTags() if think_tags else None
        self.settled = not think_tags  # content is content
        self.usage: Any = None  # what the choice itself said of it
        self.early = False  # … before its last text

    def split(self, delta: Json) -> None:
        """Move what is in think tags to reasoning_content."""
        if self.tags is None or type(text := delta.get("content")) is not str or not text:
            return
        set_text(delta, *self.tags.feed(text))
        self.settled = self.tags.settled and self.usage is None

    def rest(self) -> Json:
        """The delta of what was held back as the possible start of a tag."""
        delta: Json = {}
        if self.tags is not None:
            set_text(delta, *self.tags.end())
        return delta


def _repeatable(chunk: Json, padding: Any) -> Repeatable:
    """Return the one chunk of an event. padding: OpenAI's, which hides how long a text is from who sees its encrypted bytes."""
    chunks = Repeatable((chunk,))
    if type(padding) is str and padding.isalnum():
        chunks.padding = padding
    return chunks


def _chunks(upstream: Upstream, n: int) -> Translator:
    """n: how many choices were asked for."""
    think_tags = upstream.host.think_tags
    seen: dict[int, ChoiceState] = {}
    usage: Any = None
    counted: Json = {}  # the chunk in which it came
    early = False  # text came after it
    extras, waiting = (
        Extras(),
        False,
    )  # fields of chunks that are not passed on: they ride on the next, or on the last finish
    odd = False  # the chunks have fields of wrong types beside their choices
    chunks: list[Json] = []
    while (event := (yield chunks)) is not None:
        data = event.data
        chunks = []
        if type(data) is not dict:
            if data == DONE:
                return _end(seen, usage, early, extras, said_done=True)
            if event.name == "error":
                raise in_band(data)
            refuse_value(event)
            chunks = _after_event(chunks, seen, n)
            continue
        padding = data.pop("obfuscation", "")
        if "usage" in data and (told := data.pop("usage")):
            before, usage = usage, told if usage is None else merged(usage, told)
            if usage is not before:
                counted, early = data, False
        choices = data.get("choices")
        if event.name or not data.keys() <= KNOWN_CHUNK:
            if event.name or not SIGNS.isdisjoint(data):
                spoke = any(state.spoke for state in seen.values())
                refuse_errors(event.name, data, bool(choices) and (spoke or not is_bare(choices)))
            if (told := drop_private_fields(data)) and (told := merged(usage, told)) is not usage:
                usage, counted, early = told, data, False
            typed(data, ANSWER)
        elif odd or not seen or not choices:  # hosts say the same of themselves in each chunk
            odd = typed(data, ANSWER) or odd
        if choices is not None and type(choices) is not list:
            raise TypeError("choices that are no list")
        if not choices:
            extras.keep(data)
            waiting = True
            chunks = _after_event(chunks, seen, n)
            continue
        alone = len(choices) == 1 and usage is None and not waiting and not event.name
        if len(choices) == 1 and _is_plain(choices[0], seen):
            if alone:
                chunks = _repeatable(data, padding)
                continue
            chunks.append(data)
        else:
            if 1 < len(choices) <= n:
                number(choices)
            # Whether an event like this one will be read as this one is, whatever it says.
            alike = _settled(seen) or not (choices[0].get("delta") or _NOTHING).get("content")
            kept = [choice for i, each in enumerate(choices) if (choice := _choice(each, i, n, seen, think_tags))]
            for each in seen.values():
                if each.end is None:
                    break
            else:
                chunks = _after_event(chunks, seen, n)
            if not kept:
                extras.keep(data)
                waiting = True
                continue
            data["choices"] = kept
            if alone and alike and _is_text(kept[0], seen):
                chunks = _repeatable(data, padding)
                continue
            chunks.append(data)
        if waiting:
            extras.ride(data)
            waiting = False
        if usage is not None and counted is not data:
            early = early or any(says_anything(choice["delta"]) for choice in data["choices"])
    return _end(seen, usage, early, extras, said_done=False)


def _after_event(chunks: list[Json], seen: dict[int, ChoiceState], n: int) -> list[Json]:
    """Return the chunks of an event, as Ended where all choices that were asked for have told their finish_reason."""
    if len(seen) < n:
        return chunks
    for choice in seen.values():
        if choice.end is None:
            return chunks
    return Ended(chunks)


def _index(choice: Json, position: int, n: int) -> int:
    """The index of a choice, set where the host left it out.

    Raises TypeError for one that is no whole number, UpstreamBadOutput for a choice that was not asked for.
    """
    if choice.get("index") is None:
        choice["index"] = position
    index = choice["index"]
    if type(index) is not int:
        index = choice["index"] = _whole_number(index)
    if not 0 <= index < n:
        raise UpstreamBadOutput("The upstream sent a choice that was not asked for.")
    return index


def _whole_number(value: Any) -> int:
    """An index that came as 0.0 or "0". Raises TypeError for what is no whole number."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case str() if value.isdecimal() and len(value) < _DIGITS:
            return int(value)
    raise TypeError("index of a choice")


def _is_plain(choice: Json, seen: dict[int, ChoiceState]) -> bool:
    """Whether this is `{"content": "…"}` in the middle of a stream: nine chunks of ten, and nothing to do."""
    try:
        delta = choice["delta"]
        return (
            len(delta) == 1
            and type(delta.get("content")) is str
            and choice["finish_reason"] is None
            and (state := seen[choice["index"]]).settled
            and state.spoke
            and (len(choice) == 3 or (len(choice) == 4 and choice["logprobs"] is None))
        )
    except (KeyError, TypeError):
        return False


def _settled(seen: dict[int, ChoiceState]) -> bool:
    """Whether each choice has spoken, and its content is content."""
    return all(state.spoke and state.settled for state in seen.values())


def _is_text(choice: Json, seen: dict[int, ChoiceState]) -> bool:
    """Whether a choice in canonical form is a text in the middle of it, content or thinking, and nothing else."""
    said = [(name, bool(value)) for name, value in choice["delta"].items() if value is not None]
    state = seen[choice["index"]]
    return said in _TEXTS and state.usage is None and state.end is None


def _choice(choice: Json, position: int, n: int, seen: dict[int, ChoiceState], think_tags: bool) -> Json | None:
    """One choice of a chunk in canonical form, or None where nothing is left to say; its finish is held back."""
    index = choice.get("index")
    if type(index) is not int or not 0 <= index < n:
        index = _index(choice, position, n)
    if not SIGNS.isdisjoint(choice):
        refuse_errors("", choice)
    choice.pop("native_finish_reason", None)
    message = choice.pop("message", None)  # Perplexity sends the text so far again; hosts that cannot stream, all of it
    state = seen.get(index)
    first = state is None
    if state is None:
        state = seen[index] = ChoiceState(think_tags)
    finish = choice.get("finish_reason")
    delta: Json = choice.get("delta") or {}
    if "delta" not in choice:
        delta = message or legacy(choice)
    elif message and finish and not state.spoke and not says_anything(delta):
        delta = message
    delta = unify_reasoning(delta)
    speaks = says_anything(delta)
    state.spoke = state.spoke or speaks
    if not state.settled:
        state.split(delta)
    if "usage" in choice or "usage" in delta:  # Moonshot; others
        state.usage = merged(merged(state.usage, choice.pop("usage", None)), delta.pop("usage", None))
        state.early = state.settled = False  # so that the next text of this choice comes by here, too
    elif message and finish and "usage" in message:
        state.usage = merged(state.usage, message["usage"])
    elif state.usage is not None:
        state.early = state.early or speaks
    delta.pop("role", None)
    if first:
        delta = {"role": "assistant", **delta}
    if "tool_calls" in delta:
        fragments = state.tools.fragments(listed(delta.pop("tool_calls")))
        if fragments:
            delta["tool_calls"] = fragments
    choice["delta"] = delta
    state.old = state.old or "function_call" in delta
    choice["finish_reason"] = None
    if finish:
        reason_of(finish)  # a failure counts whenever it comes
        state.end = state.end or {**choice, "index": index, "delta": {}, "logprobs": None, "finish_reason": finish}
    if choice.setdefault("logprobs", None) is not None:
        choice["logprobs"] = logprobs(choice["logprobs"])
    if choice["logprobs"] or any(value is not None for value in delta.values()):
        return choice
    rest = not finish and any(value is not None for name, value in choice.items() if name not in _CHOICE)
    return choice if rest else None  # a finish carries the fields of its choice


def _end(seen: dict[int, ChoiceState], usage: Any, early: bool, extras: Extras, said_done: bool) -> list[Json]:
    """Return the last chunks: arguments for calls that had none, one finish for each choice, usage.

    early: text came after the usage.
    A host that says [DONE] without a finish_reason has finished; one that just stops has not.
    """
    words: Json = {}
    if not seen:
        extras.ride(words)
    if wrong := told_instead(words, sure=False):
        raise in_band(wrong)
    if not seen and said_done:
        raise UpstreamBadOutput("The upstream ended its stream without an answer.")
    if not said_done and (not seen or any(choice.end is None for choice in seen.values())):
        cut = UpstreamTruncated()
        cut.usage = usage_of(usage) if usage else None
        raise cut
    last = [_for(index, rest) for index, choice in sorted(seen.items()) if (rest := choice.rest())]
    for index, choice in sorted(seen.items()):
        last += [_for(index, tool_call(k, {"arguments": rest})) for k, rest in choice.tools.rest()]
    for index, choice in sorted(seen.items()):
        end = choice.end or _for(index, {}, "stop")["choices"][0]
        end["finish_reason"] = reason_of(end["finish_reason"], choice.tools.any, choice.old)  # calls may come after it
        last.append({"choices": [end]})
    extras.ride(last[-1])
    if (own := next((choice for choice in seen.values() if choice.usage), None)) is not None:
        usage, early = merged(own.usage, usage), early if usage else own.early
    if usage is not None:
        reported = usage_chunk(usage_of(usage), early)
        last.append(reported | {name: value for name, value in last[-1].items() if name in _EVERYWHERE})
    return last


def _for(index: int, delta: Json, finish: str | None = None) -> Json:
    return {"choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}]}
