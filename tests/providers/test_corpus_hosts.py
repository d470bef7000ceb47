"""Recorded exchanges with every host, compared with what the openai SDK reads of the same bytes.

At the level of the translators, cut everywhere; test_corpus_process.py does it again through the real process.
"""

from collections import Counter

import chat_oracle
import corpus
import pytest
import replay
import responses_oracle
from corpus import Exchange, check_all, short
from cuts import FEW
from translators import ON_RESPONSES, made_call, translator_of

from providers import codec, openai
from providers.chunks import collect
from providers.contract import Call, Json, Upstream
from providers.errors import Failure
from providers.hosts import HOSTS
from providers.sse import Event

pytestmark = [corpus.needed, pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")]

# File → row of the table of hosts.
FILES = {
    "deepseek-chat": "deepseek",
    "groq-chat": "groq",
    "mistral-chat": "mistral",
    "openrouter-chat": "openrouter",
    "together-chat": "together",
    "xai-chat": "xai",
    "zai-chat": "zhipu",
    "hf-chat": "huggingface",
    "cerebras-chat": "cerebras",
    "fireworks-chat": "fireworks",
    "perplexity-chat": "perplexity",
    "ollama-openai-chat": "ollama",
    "compat-chat": "vllm",
    "openai-chat": "openai",
}
# Answered exchanges, and the streams among them.
COUNTS = {
    "deepseek-chat": (61, 34),
    "groq-chat": (34, 23),
    "mistral-chat": (76, 23),
    "openrouter-chat": (141, 64),
    "together-chat": (18, 7),
    "xai-chat": (38, 23),
    "zai-chat": (25, 13),
    "hf-chat": (34, 18),
    "cerebras-chat": (9, 6),
    "fireworks-chat": (3, 1),
    "perplexity-chat": (11, 3),
    "ollama-openai-chat": (47, 6),
    "compat-chat": (37, 9),
    "openai-chat": (440, 184),
    "openai-responses": (168, 53),
    "compat-responses": (22, 6),
    "openai-embeddings": (17, 0),
    "compat-embeddings": (7, 0),
}
NO_FINISH = "no finish_reason, but a whole answer: it is stop, or tool_calls"
NO_USAGE = "no usage in a whole answer: it is zeros"
# Where we say something else than the SDK reads, each with its reason.
EXCEPTIONS = {
    "crewAI__crewai-test_deepseek_r1_with_open_router-0": NO_FINISH,
    "pydantic-ai__test_snowflake-test_snowflake_model_streaming": NO_FINISH,
    "dd-trace-py__openai-v1-chat_completion_image_input": NO_FINISH,
    "llm__test_tools_streaming-test_tools_streaming_variant_b-0": NO_FINISH,
    "openai-dotnet__ChatTests-ChatWithAudioAsync-1": NO_FINISH,
    "openai-dotnet__ChatTests-ChatWithBasicAudioOutput": NO_FINISH,
    "openai-dotnet__ChatTests-ChatWithBasicAudioOutputAsync": NO_FINISH,
    "prism__openrouter-structured-missing-usage-1": NO_USAGE,
    "chatlas__test_provider_cloudflare-test_cloudflare_data_extraction-0": NO_USAGE,
}
# Errors inside a 200 that the SDK does not see: (status, code).
UNSEEN = {
    # An `error:` line, which SSE has no meaning for.
    "ruby_llm__chat_with_extended_thinking_gpustack_qwen3_streams_thinking_content_when_available": (
        502,
        "upstream_error",
    ),
    # {"error": …} as a whole answer.
    "openllmetry__opentelemetry-instrumentation-openai-test_azure-test_prompt_content_filtering-0": (
        400,
        "content_filter",
    ),
}

CHATS = [(name, exchange) for name in FILES for exchange in corpus.wire(name)]
RESPONSES = [(name, x) for name in ("openai-responses", "compat-responses") for x in corpus.wire(name)]


def excused(theirs: chat_oracle.Said, reason: str | None) -> chat_oracle.Said:
    """What the SDK reads, with the exception made."""
    if reason == NO_USAGE:
        assert theirs.usage is None
        return theirs._replace(usage=(0, 0, 0, 0))
    if reason == NO_FINISH:
        assert all(choice.finish is None for choice in theirs.choices.values())
        ends = {i: c._replace(finish="tool_calls" if c.calls else "stop") for i, c in theirs.choices.items()}
        return theirs._replace(choices=ends)
    return theirs


def translated(exchange: Exchange, call: Call, to: Upstream, size: int | None) -> list[Json]:
    """The chunks, or the one whole answer, that we make of a recorded body. Raises Failure."""
    body = corpus.body_of(exchange)
    if exchange["response"]["stream"]:
        return list(replay.chunks(openai, body, size, call=call, to=to))
    translator, made = translator_of("openai", call, to), list[Json]()
    try:
        made += translator.send(Event("", codec.decode(body)))
        made += translator.send(None)
    except StopIteration as end:
        made += end.value
    return made


def asked(exchange: Exchange) -> Json:
    """What of the recorded request the reading of its answer goes by."""
    body = exchange["request"]["body"]
    return {"n": body["n"]} if isinstance(body, dict) and body.get("n") else {}


def sizes(exchange: Exchange) -> list[int | None]:
    """Where to cut: everywhere, but long streams not into single bytes."""
    if not exchange["response"]["stream"]:
        return [None]
    short = len(exchange["response"]["body"]) < 20_000
    return [size for size in FEW if short or size is None or size > 3]


def test_the_corpus_is_complete() -> None:
    found = {name: [x["response"]["stream"] for x in corpus.wire(name)] for name in COUNTS}
    assert {name: (len(streams), sum(streams)) for name, streams in found.items()} == COUNTS


@pytest.mark.parametrize("name", FILES)
def test_chats(name: str) -> None:
    check_all(lambda exchange: compare_chat(name, exchange), [x for by, x in CHATS if by == name])


def compare_chat(name: str, exchange: Exchange) -> None:
    host = HOSTS[FILES[name]]
    streamed = exchange["response"]["stream"]
    objects, wrong = chat_oracle.read(corpus.body_of(exchange), corpus.kind_of(exchange), streamed)
    theirs = chat_oracle.said(objects, host.think_tags)
    to = Upstream("x", "m", host=host)
    for size in sizes(exchange):
        if wrong or short(exchange) in UNSEEN:
            with pytest.raises(Failure) as failed:
                translated(exchange, made_call(asked(exchange), streamed), to, size)
            assert (failed.value.status, failed.value.code) == UNSEEN.get(short(exchange), (400, failed.value.code))
            assert wrong in ("", failed.value.message)
            continue
        made = translated(exchange, made_call(asked(exchange), streamed), to, size)
        ours = chat_oracle.said(made)
        expected = excused(theirs, EXCEPTIONS.get(short(exchange)))
        assert chat_oracle.same_ids(ours, expected) == expected
        if streamed:
            chat_oracle.check(made)
            assert chat_oracle.said([collect(made)]) == ours


@pytest.mark.parametrize("name", ["openai-responses", "compat-responses"])
def test_responses(name: str) -> None:
    check_all(compare_response, [x for by, x in RESPONSES if by == name])


def compare_response(exchange: Exchange) -> None:
    streamed = exchange["response"]["stream"]
    response, wrong = responses_oracle.read(corpus.body_of(exchange), corpus.kind_of(exchange), streamed)
    call, to = made_call({}, True, ON_RESPONSES), Upstream("x", "m")
    for size in sizes(exchange):
        if wrong:
            with pytest.raises(Failure):
                translated(exchange, call, to, size)
            continue
        made = translated(exchange, call, to, size)
        assert response is not None
        assert chat_oracle.said(made) == chat_oracle.alike(responses_oracle.said(response))
        chat_oracle.check(made)
        kept = [
            item for chunk in made for choice in chunk["choices"] for item in choice["delta"].get("reasoning_items", ())
        ]
        assert [item["id"] for item in kept] == [i["id"] for i in response["output"] if i["type"] == "reasoning"]


def test_every_exception_is_one() -> None:
    """The tables hold nothing that is not needed."""
    ids = Counter(short(x) for _, x in CHATS)
    assert {name: ids[name] for name in [*EXCEPTIONS, *UNSEEN]} == dict.fromkeys([*EXCEPTIONS, *UNSEEN], 1)
    for name, exchange in CHATS:
        if short(exchange) in EXCEPTIONS:
            host = HOSTS[FILES[name]]
            streamed = exchange["response"]["stream"]
            made = translated(exchange, made_call(asked(exchange), streamed), Upstream("x", "m", host=host), None)
            objects, _ = chat_oracle.read(corpus.body_of(exchange), corpus.kind_of(exchange), streamed)
            assert chat_oracle.said(made) != chat_oracle.said(objects, host.think_tags)
