"""Google Gemini, generateContent. https://ai.google.dev/api/generate-content

Streamed with alt=sse, or whole, as one object of the same form. The events are complete JSON, framed in CRLF, with neither
names nor [DONE].
Relays in Python write their fields as prompt_feedback; Google's SDK takes both.
What arrives is a delta of parts, but the usage is cumulative and corrected until the last event. A stream ends by
closing; the answer is complete when every candidate has told its finishReason (some models repeat it in each event).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from .. import codec
from ..chunks import chunk, opening, tool_call, usage_chunk
from ..common.arguments import as_text
from ..common.bounds import MAX_CALLS, too_many_calls
from ..common.error_shapes import told_instead
from ..common.finish_reasons import failure_of, reason_of
from ..common.tools import CallIds
from ..common.typed import text as text_of
from ..common.usage import merged, total_of
from ..contract import Call, Ended, Json, Translator, prime
from ..errors import Failure, UpstreamBadOutput, UpstreamTruncated
from ..sse import Cut, Event, refuse_value
from .errors import failure

_LEGS: Final = 32  # requests that may make one answer, each with a bill: an upstream must not go on for ever


class _Early(dict[str, Any]):
    """The usageMetadata of a request after which more of the answer came without any."""


class State(msgspec.Struct):
    """What the answer's translator must know of the request, and what it has seen."""

    names: Mapping[str, str]  # upstream tool name → the client's
    custom: frozenset[str]  # the client's custom tools: their input is text
    limit: int | None  # tokens the client wants at most
    new_id: Callable[[], str]
    told: bool = False  # a candidate has told why it ended


class CandidateState(msgspec.Struct):
    """One candidate on its way through."""

    index: int
    ids: CallIds
    begun: bool = False  # the client has got its role
    spoke: bool = False
    calls: int = 0
    images: int = 0
    finish: Any = None  # finishReason, as received
    repeats: bool = False  # whether there was more after one: it does not say that the answer is complete
    token: Any = None  # continuationToken
    signature: Any = None  # of its text: the last one holds for the whole


def translate(call: Call, streamed: bool, state: State, reasoning: bool) -> Translator:
    """Return the primed translator of a call's answer.

    Where an answer stops at the upstream's limit for one request, it yields the same call with the token that the answer
    brought (google-genai 3.4.0, GenerateContentConfig.automatic_continuation), and goes on with the events of that. Sent
    None at once instead, it ends as `length`. Raises UpstreamTruncated, UpstreamBadOutput, and what parse_error makes of an
    error inside the stream.
    """
    candidates = (call.body.get("generationConfig") or {}).get("candidateCount") or 1
    return prime(_translate(call, state, reasoning, candidates))


def _translate(call: Call, state: State, reasoning: bool, candidates: int) -> Translator:
    """candidates: how many answers were asked for."""
    answers: dict[int, CandidateState] = {}
    legs: list[Json] = []  # usage of each request that made this answer; within one, the last word counts
    chunks: list[Json] | Call = []
    try:
        while True:
            heard, made = False, 0
            legs.append({})
            while (event := (yield chunks)) is not None:
                if not heard:
                    heard, state.told = True, False
                    for answer in answers.values():
                        answer.finish = None
                batch: list[Json] = []
                for data in _objects(event, answers):
                    batch += _read(data, answers, legs, state, reasoning, candidates)
                made += len(batch)
                chunks = batch
                if state.told and len(answers) >= candidates and not any(map(_may_go_on, answers.values())):
                    chunks = Ended(batch)
            if not heard and not answers:
                raise UpstreamTruncated
            # A leg that added nothing would be followed by others like it, each with a bill.
            token = _token_to_go_on(state, answers, legs) if made else None
            if token is None:
                return _end(answers, legs)
            chunks = call._replace(body={**call.body, "continuationToken": token})
    except (AttributeError, LookupError, TypeError) as odd:
        raise _paid(UpstreamBadOutput("The upstream sent an event of an unknown shape."), legs) from odd
    except Failure as failed:
        _paid(failed, legs)
        raise


def _may_go_on(answer: CandidateState) -> bool:
    """Whether an answer is not known to be complete: some models repeat STOP in each event, beside thoughts too."""
    return (
        answer.finish is None or answer.repeats or (answer.finish == "STOP" and not answer.spoke and answer.calls == 0)
    )


def _objects(event: Event, answers: dict[int, CandidateState]) -> list[Any]:
    """The objects in an event: one, or a list of them, as errors come from some endpoints and answers without alt=sse."""
    match event.data:
        case dict() as data:
            return [data]
        case list() as several:
            return several
        case Cut(inside) if inside or any(answer.repeats for answer in answers.values()):
            raise UpstreamTruncated  # what finishReason said before is no longer true
    if event.name == "error":
        raise failure(None, {"error": event.data})
    refuse_value(event)  # [DONE] is not Gemini's, but a proxy's on the way
    return []


def _read(
    data: Any, answers: dict[int, CandidateState], legs: list[Json], state: State, reasoning: bool, candidates: int
) -> list[Json]:
    """The chunks that one object makes."""
    if data.get("error") is not None or ("candidates" not in data and told_instead(data)):
        raise failure(None, data)
    chunks: list[Json] = []
    counts = isinstance(reported := data.get("usageMetadata") or data.get("usage_metadata"), dict)
    if counts:
        legs[-1] = merged(legs[-1], reported)
    told: list[Json] = data.get("candidates") or []
    if 1 < len(told) <= candidates:
        _number(told)
    for candidate in told:
        index = candidate.get("index") or 0
        answer = answers.get(index) or _opened(index, answers, candidates, state)
        answer.repeats = answer.repeats or (answer.finish is not None and "content" in candidate)
        parts = (candidate.get("content") or {}).get("parts")
        if parts is not None and type(parts) is not list:
            raise TypeError
        for part in parts or ():
            if len(part) == 1 and isinstance(text := part.get("text"), str):  # nearly all of them: keep it cheap
                if text:
                    if not answer.spoke:
                        answer.spoke = True
                        _begin(answer, {"content": text}, chunks)
                    chunks.append(chunk({"content": text}, None, index))
            elif delta := _delta(part, answer, state, reasoning):
                _begin(answer, delta, chunks)
                chunks.append(chunk(delta, None, index))
        _told(candidate, answer, chunks, state)
    feedback = data.get("promptFeedback") or data.get("prompt_feedback")
    if feedback is not None and (blocked := feedback.get("blockReason") or feedback.get("block_reason")):
        answer = answers.get(0) or _opened(0, answers, candidates, state)
        answer.finish, state.told = "SAFETY", True
        _begin(answer, None, chunks)
        chunks.append(chunk({"refusal": f"Prompt blocked: {blocked}"}))
    if chunks and not counts:
        legs[-1] = _Early(legs[-1])
    return chunks


def _number(several: list[Json]) -> None:
    """Set the indexes of candidates that came together, in place, where one is there twice. 0 may be left out."""
    if len({candidate.get("index") or 0 for candidate in several}) < len(several):
        for place, candidate in enumerate(several):
            candidate["index"] = place


def _opened(index: Any, answers: dict[int, CandidateState], candidates: int, state: State) -> CandidateState:
    """The state of a candidate that is new. Raises UpstreamBadOutput for one that was not asked for."""
    if type(index) is not int or not 0 <= index < candidates:
        raise UpstreamBadOutput("The upstream sent an answer that was not asked for.")
    answer = answers[index] = CandidateState(index, CallIds(state.new_id))
    return answer


def _begin(answer: CandidateState, first: Json | None, chunks: list[Json]) -> None:
    """Add the chunk that opens an answer, before its first delta. None: it says nothing."""
    if not answer.begun:
        answer.begun = True
        chunks.append(opening(first, answer.index))


def _delta(part: Json, answer: CandidateState, state: State, reasoning: bool) -> Json | None:
    """What a part that is more than plain text adds to the message; parts of Google's own tools add nothing."""
    match part:
        case {"functionCall": call} | {"function_call": call} if call is not None:
            answer.calls += 1
            if answer.calls > MAX_CALLS:
                raise too_many_calls()
            said = _delta({name: part.get(name) for name in ("thought", "text")}, answer, state, reasoning)
            signature = part.get("thoughtSignature") or part.get("thought_signature")
            return {**(said or {}), **_tool_call(call, signature, answer, state)}
        case {"thought": True}:
            text = part.get("text")
            return {"reasoning_content": text} if reasoning and isinstance(text, str) and text else None
        case {"text": str(text)}:
            answer.signature = part.get("thoughtSignature") or part.get("thought_signature") or answer.signature
            answer.spoke = answer.spoke or text != ""
            return {"content": text} if text else None
        case {"text": int() | float() as number}:
            return _delta({**part, "text": codec.encode_text(number)}, answer, state, reasoning)
        case {"inlineData": {"mimeType": str(kind), "data": str(data)}} | {
            "inline_data": {"mime_type": str(kind), "data": str(data)}
        } if kind.startswith("image/"):
            answer.spoke = True
            answer.images += 1
            url = f"data:{kind};base64,{data}"
            return {"images": [{"type": "image_url", "image_url": {"url": url}, "index": answer.images - 1}]}
        case dict():
            return None
    raise TypeError


def _tool_call(call: Json, signature: str | None, answer: CandidateState, state: State) -> Json:
    """A call comes whole. (Vertex can send its arguments in pieces, when asked to: not by us.)"""
    index, name, args = answer.calls - 1, text_of(call.get("name")), call.get("args") or {}
    if not name or call.get("willContinue") or "partialArgs" in call:
        raise UpstreamBadOutput("The upstream sent a tool call without its name or arguments.")
    name = state.names.get(name, name)
    first: Json = {"id": answer.ids.own(call.get("id")), "type": "function"}
    if signature:
        first["extra_content"] = {"google": {"thought_signature": signature}}
    if name not in state.custom:
        return tool_call(index, {"name": name, "arguments": as_text(args)}, **first)
    text = args.get("input")
    custom = {"name": name, "input": text if isinstance(text, str) else codec.encode_text(args)}
    return {"tool_calls": [{"index": index, **first, "type": "custom", "custom": custom}]}


def _told(candidate: Json, answer: CandidateState, chunks: list[Json], state: State) -> None:
    """What a candidate says besides its parts."""
    if finish := candidate.get("finishReason") or candidate.get("finish_reason"):
        if broken := failure_of(finish):
            raise broken
        answer.finish, state.told = finish, True
    if token := candidate.get("continuationToken"):
        answer.token = token
    if result := candidate.get("logprobsResult"):
        if not chunks or not chunks[-1]["choices"][0]["delta"].get("content"):
            _begin(answer, None, chunks)
            chunks.append(chunk({}, None, answer.index))
        chunks[-1]["choices"][0]["logprobs"] = {"content": list(_logprobs(result)), "refusal": None}


def _logprobs(result: Json) -> Iterator[Json]:
    """logprobsResult → OpenAI's logprobs.content: the chosen tokens, each with its rivals."""
    rivals = result.get("topCandidates") or ()
    for i, chosen in enumerate(result.get("chosenCandidates") or ()):
        top = rivals[i].get("candidates") or () if i < len(rivals) else ()
        yield {**_token(chosen), "top_logprobs": [_token(rival) for rival in top]}


def _token(chosen: Json) -> Json:
    text = chosen.get("token", "")
    return {"token": text, "logprob": chosen.get("logProbability", 0.0), "bytes": list(text.encode(errors="replace"))}


def _token_to_go_on(state: State, answers: dict[int, CandidateState], legs: list[Json]) -> str | None:
    """The token by which another request can continue an answer that was cut, if it was and the client wants more."""
    match list(answers.values()):
        case [CandidateState(finish="CONTINUATION", token=str(token))] if len(legs) < _LEGS:
            written = total_of(legs)["completion_tokens"]
            return token if state.limit is None or written < state.limit else None
    return None


def _end(answers: dict[int, CandidateState], legs: list[Json]) -> list[Json]:
    if not answers:
        raise UpstreamBadOutput("The upstream's answer holds neither text nor a reason for having none.")
    if any(answer.finish is None for answer in answers.values()):
        raise UpstreamTruncated
    chunks: list[Json] = []
    for index in sorted(answers):
        _begin(answers[index], None, chunks)
    chunks += (_finish(answers[index]) for index in sorted(answers))
    early = any(isinstance(reported, _Early) for reported in legs)
    return [*chunks, usage_chunk(total_of(legs), early)] if any(legs) else chunks


def _paid(failed: Failure, legs: list[Json]) -> Failure:
    """A failure that knows the tokens spent before it."""
    if any(legs):
        failed.usage = total_of(legs)
    return failed


def _finish(answer: CandidateState) -> Json:
    """The last chunk of a choice. Gemini has no word for "now run these tools": it stops."""
    default = "stop" if answer.spoke or answer.calls else "content_filter"  # OTHER, and what Google adds tomorrow
    reason = reason_of(answer.finish, answer.calls > 0, default=default)
    signed: Json = {"extra_content": {"google": {"thought_signature": answer.signature}}} if answer.signature else {}
    return chunk(signed, reason, answer.index)
