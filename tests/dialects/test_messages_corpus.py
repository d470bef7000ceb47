"""Recorded answers of other providers through the hub to a Messages client: what the anthropic SDK accumulates of them.

It is compared with what the provider's own SDK reads of the same bytes, written as a message a second time (`express`), with
no code of ours between. Skipped where the recordings are absent.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import chat_oracle
import corpus
import gemini_oracle
import pytest
import responses_oracle
from chat_oracle import Choice, Said
from corpus import Exchange, short
from cuts import FEW
from gemini_run import UPSTREAM as GEMINI
from gemini_run import asked as gemini_asked
from messages_fold import check_grammar, events_of, read_by_sdk
from replay import chunks as replayed
from test_corpus_gemini import expected as gemini_reads
from test_corpus_gemini import framed
from test_corpus_hosts import FILES, UNSEEN, asked
from translators import ON_RESPONSES, made_call, translator_of

from dialects import messages
from dialects.contract import ClientRequest, Envelope, end_of
from dialects.messages.wanted import Wanted
from providers import codec, gemini, openai
from providers.chunks import collect
from providers.contract import Batch, Call, Json, Upstream
from providers.errors import Failure
from providers.hosts import HOSTS
from providers.sse import DONE, Event

pytestmark = [corpus.needed, pytest.mark.filterwarnings("ignore::UserWarning")]

ENVELOPE = Envelope("0" * 31 + "1", 1, "claude-x", "req_1", "up", "m", 7)
REQUEST = ClientRequest({}, answer=Wanted(thinking=True))
RESPONSES = ("openai-responses", "compat-responses")
GEMINIS = ("gemini-stream", "gemini-generate")
SMALL = [cut for cut in FEW if cut]  # every twelfth stream is cut, too
ID = re.compile(r"[A-Za-z0-9_-]{1,40}")

# The stop reasons of a message, written down a second time. Another one: end_turn, or tool_use where there is a call.
STOPS = {"length": "max_tokens", "content_filter": "refusal"}


class Told(NamedTuple):
    """What a client can tell of a message. calls: id, "" where the host gave none that fits; name; input as JSON."""

    text: str
    thinking: str
    calls: list[tuple[str, str, str]]
    stop: str
    explanation: str | None
    usage: tuple[int, int, int, int] | None  # input, cache read, output, thinking; None: not told


# What is compared of each file: streams, whole answers, and what is an error for both.
COUNTS = {
    "deepseek-chat": (36, 36, 0),
    "groq-chat": (25, 52, 2),
    "mistral-chat": (34, 92, 0),
    "openrouter-chat": (64, 220, 1),
    "together-chat": (7, 29, 0),
    "xai-chat": (24, 46, 0),
    "zai-chat": (13, 35, 0),
    "hf-chat": (24, 21, 0),
    "cerebras-chat": (7, 32, 0),
    "fireworks-chat": (1, 2, 0),
    "perplexity-chat": (4, 8, 0),
    "ollama-openai-chat": (6, 43, 0),
    "compat-chat": (10, 38, 1),
    "openai-chat": (224, 382, 1),
    "openai-responses": (71, 183, 9),
    "compat-responses": (6, 23, 0),
    "gemini-stream": (216, 12, 1),
    "gemini-generate": (0, 296, 9),
}
CUSTOM = "a tool without a schema, or one that a host of the Responses API runs: no Messages request has it"
LOST = "the recorder has left pieces out"
PIECES = "arguments in pieces, an option of Vertex that is never asked for"
NO_ANSWER = "a stream as a text in JSON, or a page about a failure: no answer of this API"
MORE = "the total is more than prompt and completion: the rest was thought, which this SDK does not tell"
# Recordings that are no answer to a Messages client, each with its reason. None is of the bytes as a host sent them.
EXCEPTIONS = {
    "ai__openai-responses-openai-custom-tool.1.chunks": CUSTOM,
    "lingua__responsesAdditionalToolsMultipleToolsParam-responses-followup-response": CUSTOM,
    "lingua__responsesCustomToolCallStreamingParam-responses-response": CUSTOM,
    "ai__xai-responses-xai-x-search-tool.chunks": CUSTOM,
    "ai__openai-responses-openai-shell-container.1.chunks": LOST,
    "braintrust-sdk-javascript__flue-instrumentation-flue-v0-8-latest.cassette-11": LOST,
    "ai__google-google-stream-no-args-tool-call.chunks": PIECES,
    "ai__google-google-vertex-stream-tool-call-arguments-nested.1.chunks": PIECES,
    "hist.pydantic-ai__test_deepseek-test_deepseek_model_thinking_stream-0.2": NO_ANSWER,
    "req_llm__openrouter-mistralai_devstral_small_2505-tool_round_trip_2": NO_ANSWER,
    "pydantic-ai__test_openai-test_compatible_api_with_tool_calls_without_id-1": MORE,
    **dict.fromkeys(
        (
            "hist.pydantic-ai__test_huggingface-test_hf_model_instructions-0",
            "hist.pydantic-ai__test_huggingface-test_hf_model_thinking_part-1",
            "hist.pydantic-ai__test_huggingface-test_max_completion_tokens-0",
            "hist.pydantic-ai__test_huggingface-test_request_simple_usage-0",
            "hist.pydantic-ai__test_huggingface-test_request_structured_response-0",
            "hist.pydantic-ai__test_huggingface-test_simple_completion-0",
        ),
        NO_ANSWER,
    ),
}


class Recorded(NamedTuple):
    """An exchange and what an SDK reads of it: None where it reads an error."""

    exchange: Exchange
    call: Call
    provider: Any
    to: Upstream
    raw: bytes
    theirs: Said | None


def express(said: Said) -> Told:
    """Write an answer to a chat as a message."""
    choice = said.choices.get(0, Choice("", "", "", (), None, 0, "", 0))
    stop = STOPS.get(choice.finish or "") or ("tool_use" if choice.calls else "end_turn")
    usage = None
    if said.usage is not None:
        prompt, completion, cached, reasoning = said.usage
        read = min(cached, max(prompt - 1, 0))  # what is not cached is never told as none
        usage = max(prompt - read, 1), read, completion, reasoning
    return Told(
        text=choice.content + choice.refusal,
        thinking=choice.reasoning,
        calls=[(ident if ID.fullmatch(ident) else "", name, canonical(text)) for ident, name, text in choice.calls],
        stop=stop,
        explanation=choice.refusal or None if stop == "refusal" else None,
        usage=usage,
    )


def told(message: Json, theirs: Told) -> Told:
    """What a message says, without the ids that the host did not give, and the usage that it did not tell."""
    blocks, usage = message["content"], message["usage"]
    calls = [(each["id"], each["name"], _input(each["input"])) for each in blocks if each["type"] == "tool_use"]
    if len(calls) == len(theirs.calls):
        calls = [(id if wanted[0] else "", *more) for (id, *more), wanted in zip(calls, theirs.calls, strict=True)]
    counts = (
        usage["input_tokens"] + usage["cache_creation_input_tokens"],  # which the oracles do not tell apart
        usage["cache_read_input_tokens"],
        usage["output_tokens"],
        (usage.get("output_tokens_details") or {}).get("thinking_tokens") or 0,
    )
    assert sum(usage[name] for name in ("input_tokens", "output_tokens")) > 0
    return Told(
        text="".join(each["text"] for each in blocks if each["type"] == "text"),
        thinking="".join(each["thinking"] for each in blocks if each["type"] == "thinking"),
        calls=calls,
        stop=message["stop_reason"],
        explanation=(message["stop_details"] or {}).get("explanation"),
        usage=counts if theirs.usage else None,
    )


def canonical(text: str) -> str:
    """Arguments, an object or not, in the form in which they are compared."""
    try:
        return json.dumps(json.loads(text or "{}"), sort_keys=True)
    except ValueError:
        return text


def _input(value: Any) -> str:
    match value:
        case {"_raw_arguments": str(text), **more} if not more:
            return canonical(text)
    return json.dumps(value, sort_keys=True)


def recorded(name: str) -> Iterator[Recorded]:
    """The answered exchanges of a file, with what the SDK of the provider reads of them."""
    for exchange in corpus.load(name):
        if exchange["response"]["status"] != 200:
            continue
        raw, kind, streamed = corpus.body_of(exchange), corpus.kind_of(exchange), exchange["response"]["stream"]
        if name in GEMINIS:
            yield from _gemini(exchange)
        elif name in RESPONSES:
            response, wrong = responses_oracle.read(raw, kind, streamed)
            whole = not wrong and response is not None and response["status"] in ("completed", "incomplete")
            theirs = responses_oracle.said(response) if whole and response is not None else None
            yield Recorded(exchange, made_call({}, True, ON_RESPONSES), openai, Upstream("x", "m"), raw, theirs)
        else:
            host = HOSTS[FILES[name]]
            objects, wrong = chat_oracle.read(raw, kind, streamed)
            said = None if wrong or short(exchange) in UNSEEN else chat_oracle.said(objects, host.think_tags)
            call = made_call(asked(exchange), streamed)
            yield Recorded(exchange, call, openai, Upstream("x", "m", host=host), raw, said)


def _gemini(exchange: Exchange) -> Iterator[Recorded]:
    if '"candidates"' not in exchange["response"]["body"] and '"promptFeedback"' not in exchange["response"]["body"]:
        return  # of another operation
    raw, _ = framed(exchange)
    theirs, _ = gemini_reads(raw)
    choice = theirs.choices.get(0)
    said = None
    broken = any(f'"finishReason": "{why}"'.encode() in raw for why in gemini_oracle.BROKEN)
    if choice is not None and choice.finish and not broken:
        calls = tuple((ident or "", name, text) for ident, name, text in choice.calls)
        refusal = "Prompt blocked: " + "".join(_blocked(raw)) if theirs.refused else ""
        said = Said({0: Choice(choice.text, choice.reasoning, refusal, calls, choice.finish, 0, "", 0)}, theirs.usage)
    yield Recorded(exchange, gemini_asked(), gemini, GEMINI, raw, said)


def _blocked(raw: bytes) -> Iterator[str]:
    for response in gemini_oracle.responses(raw):
        if response.prompt_feedback and response.prompt_feedback.block_reason:
            yield response.prompt_feedback.block_reason.value


def chunks_of(given: Recorded, size: int | None) -> list[Json]:
    """The chunks that the provider's translator makes of an answer. Raises Failure."""
    if given.exchange["response"]["stream"] or given.provider is gemini:
        made = list(replayed(given.provider, given.raw, size, call=given.call, to=given.to))
    else:
        translator, made = translator_of("openai", given.call, given.to), list[Json]()
        try:
            for event in (Event("", codec.decode(given.raw)), Event("", DONE), None):
                made += translator.send(event)  # type: ignore[arg-type]
        except StopIteration as end:
            made += end.value
    return made


def first_choice(chunks: list[Json]) -> list[Json]:
    """A copy of these chunks, with the one answer that a Messages client gets: others were asked for in the recording."""
    made: list[Json] = codec.decode(codec.encode(chunks))
    return [{**chunk, "choices": [each for each in chunk["choices"] if not each["index"]]} for chunk in made]


def streamed(chunks: list[Json], each: int = 3) -> bytes:
    """A stream of these chunks, `each` in a batch."""
    renderer = messages.render(REQUEST, ENVELOPE, True)
    data = b"".join(bytes(renderer.send(Batch(chunks[at : at + each]))) for at in range(0, len(chunks), each))
    return data + end_of(renderer)


@pytest.mark.parametrize("name", [*FILES, *RESPONSES, *GEMINIS])
def test_answers(name: str) -> None:
    seen: Counter[str] = Counter()
    wrong: dict[str, str] = {}
    for n, given in enumerate(recorded(name)):
        ident, is_stream = short(given.exchange), given.exchange["response"]["stream"]
        try:
            seen[compared(given, cuts=SMALL if is_stream and not n % 12 else ())] += 1
        except Exception as no:
            if ident not in EXCEPTIONS:
                wrong[ident] = f"{type(no).__name__}: {no}"[:1500]
        else:
            assert ident not in EXCEPTIONS
    print(name, dict(seen))
    assert not wrong, "\n".join(f"{ident}: {why}" for ident, why in wrong.items())
    assert (seen["stream"], seen["whole"], seen["error"]) == COUNTS[name]


def compared(given: Recorded, cuts: Sequence[int]) -> str:
    """Compare an answer, and what its pieces of other sizes make; return what it is."""
    if given.theirs is None:
        with pytest.raises(Failure):
            chunks_of(given, 0)
        return "error"
    theirs = express(given.theirs)
    chunks = chunks_of(given, 0)
    if "message" in chunks[0]["choices"][0]:
        assert told(messages.completion(REQUEST, chunks[0], ENVELOPE, True), theirs) == theirs
        return "whole"
    data = streamed(first_choice(chunks))
    check_grammar(events_of(data))
    assert told(read_by_sdk(data), theirs) == theirs
    for size in (None, *cuts):
        answer = collect(first_choice(chunks_of(given, size) if size else chunks))
        assert told(messages.completion(REQUEST, answer, ENVELOPE, True), theirs) == theirs
    return "stream" if given.exchange["response"]["stream"] else "whole"
