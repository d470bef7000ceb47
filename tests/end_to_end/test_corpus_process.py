"""The recorded exchanges of test_corpus_hosts.py again: from a real socket, through the real process, to the SDK."""

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any

import chat_oracle
import corpus
import pytest
import responses_oracle
from corpus import Exchange, short
from cuts import FEW
from openai import APIError, APIStatusError, OpenAI
from process import Process
from scripted import Script, Upstream, answer, stream
from test_corpus_hosts import CHATS, COUNTS, EXCEPTIONS, FILES, RESPONSES, UNSEEN, asked, excused

from providers.hosts import HOSTS

pytestmark = [corpus.needed, pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")]

HI: Any = [{"role": "user", "content": "hi"}]
TOOL: Any = {"type": "function", "function": {"name": "f"}}
# Ollama's own API under a name that is OpenAI's, and vectors of integers: the host says which.
NATIVE = "openllmetry__opentelemetry-instrumentation-ollama-test_embeddings-test_ollama_embeddings_legacy"
INT8 = "ruby_llm__embedding_perplexity_int8_embeddings_perplexity"
EMBEDDINGS = [x for name in ("openai-embeddings", "compat-embeddings") for x in corpus.wire(name)]
FAILED = [
    x
    for name in [*FILES, "openai-responses", "openai-embeddings"]
    for x in corpus.load(name)
    if x["response"]["status"] >= 400 and x["provenance"].startswith("recorded")
]
# A sample, for streams cut in pieces: every seventh, as far as they are short.
SAMPLE = [x for _, x in CHATS + RESPONSES if x["response"]["stream"] and len(x["response"]["body"]) < 8_000][::7]


@pytest.fixture(scope="module")
def recorded() -> Iterator[Upstream]:
    """Where the recorded hosts are. A name of its own: what was recorded is only played here."""
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def client(recorded: Upstream) -> Iterator[OpenAI]:
    """The SDK at a server that has every host of the recordings as a provider."""
    lines = ["server: {port: 0}", "providers:"]
    for host in sorted({*FILES.values()}):
        key = ", api_key: sk-canary" if HOSTS[host].key_variable else ""
        lines.append(f'  {host}: {{base_url: "{recorded.url}/v1"{key}}}')
    lines.append('model_facts: {"bridged-*": {like: gpt-6-always}}')
    with (
        Process("\n".join(lines)) as server,
        OpenAI(base_url=server.url, api_key="-", max_retries=0) as client,
    ):
        yield client


def play(exchange: Exchange, cut: int | None = None) -> Script:
    """The exchange's answer."""
    response, body, kind = exchange["response"], corpus.body_of(exchange), corpus.kind_of(exchange)
    if response["stream"] and response["status"] == 200:
        return stream(body, cut)
    headers = {name: value for name, value in (response["headers"] or {}).items() if name.lower() == "retry-after"}
    return answer(body, response["status"], headers, kind=kind, cut=cut)


def heard(client: OpenAI, model: str, streamed: bool, **more: Any) -> chat_oracle.Said:
    """What a client hears of a model's answer. Raises APIError."""
    ask: Any = {"model": model, "messages": HI, **more}
    if not streamed:
        return chat_oracle.said([client.chat.completions.create(**ask).model_dump(exclude_unset=True)])
    ask |= {"stream": True, "stream_options": {"include_usage": True}}
    chunks = [chunk.model_dump(exclude_unset=True) for chunk in client.chat.completions.create(**ask)]
    assert {(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in chunks} == {
        (chunks[0]["id"], chunks[0]["created"], model, "chat.completion.chunk")
    }
    for chunk in chunks:
        if chunk["choices"]:
            assert chunk.pop("usage") is None
    chat_oracle.check(chunks)
    return chat_oracle.said(chunks)


def compare_chat(client: OpenAI, recorded: Upstream, name: str, exchange: Exchange, cut: int | None = None) -> None:
    host, streamed = FILES[name], exchange["response"]["stream"]
    model = recorded.script(f"{short(exchange)}-{cut}", play(exchange, cut))
    objects, wrong = chat_oracle.read(corpus.body_of(exchange), corpus.kind_of(exchange), streamed)
    if wrong or short(exchange) in UNSEEN:
        with pytest.raises(APIError):
            heard(client, f"{host}/{model}", streamed, **asked(exchange))
        return
    theirs = excused(chat_oracle.said(objects, HOSTS[host].think_tags), EXCEPTIONS.get(short(exchange)))
    ours = heard(client, f"{host}/{model}", streamed, **asked(exchange))
    assert chat_oracle.same_ids(ours, theirs) == theirs, exchange["id"]


@pytest.mark.parametrize("name", FILES)
def test_chats(name: str, client: OpenAI, recorded: Upstream) -> None:
    found = [exchange for by, exchange in CHATS if by == name]
    assert len(found) == COUNTS[name][0]
    for exchange in found[::3]:  # test_corpus_hosts.py reads them all, without a socket
        compare_chat(client, recorded, name, exchange)


def compare_response(client: OpenAI, recorded: Upstream, exchange: Exchange, cut: int | None = None) -> None:
    body, kind, streamed = corpus.body_of(exchange), corpus.kind_of(exchange), exchange["response"]["stream"]
    model = recorded.script(f"bridged-{short(exchange)}-{cut}", play(exchange, cut))
    response, wrong = responses_oracle.read(body, kind, streamed)
    for asks in (True, False) if cut is None else (True,):  # always streamed upstream, either way for the client
        if wrong:
            with pytest.raises(APIError):
                heard(client, f"openai/{model}", asks, tools=[TOOL])
            continue
        assert response is not None
        theirs = chat_oracle.alike(responses_oracle.said(response))
        ours = heard(client, f"openai/{model}", asks, tools=[TOOL])
        if theirs.usage is None and not asks:
            theirs = theirs._replace(usage=ours.usage)
        assert ours == theirs, exchange["id"]
    sent = recorded.of(model)[0]
    assert sent.path == "/v1/responses"
    assert sent.json["stream"] is True


@pytest.mark.parametrize("name", ["openai-responses", "compat-responses"])
def test_responses(name: str, client: OpenAI, recorded: Upstream) -> None:
    found = [exchange for by, exchange in RESPONSES if by == name]
    assert len(found) == COUNTS[name][0]
    for exchange in found[::3]:
        compare_response(client, recorded, exchange)


@pytest.mark.parametrize("cut", [cut for cut in FEW if cut])
def test_a_sample_in_pieces(cut: int, client: OpenAI, recorded: Upstream) -> None:
    assert len(SAMPLE) == 45
    names = {short(exchange): name for name, exchange in CHATS}
    for exchange in SAMPLE:
        if short(exchange) in names:
            compare_chat(client, recorded, names[short(exchange)], exchange, cut)
        else:
            compare_response(client, recorded, exchange, cut)


def numbers(embedding: Any) -> list[float]:
    """A vector as 32 bit floats, from either form."""
    data = base64.b64decode(embedding) if isinstance(embedding, str) else struct.pack(f"<{len(embedding)}f", *embedding)
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def test_embeddings(client: OpenAI, recorded: Upstream) -> None:
    """Asked for as floats and, as the SDK does by itself, as base64: the same numbers, whatever form the host took."""
    assert len(EMBEDDINGS) == COUNTS["openai-embeddings"][0] + COUNTS["compat-embeddings"][0]
    for exchange in EMBEDDINGS:
        if short(exchange) == NATIVE or short(exchange).startswith(INT8):
            continue
        theirs = json.loads(exchange["response"]["body"])
        vectors = [numbers(each["embedding"]) for each in theirs["data"]]
        model = recorded.script(short(exchange), play(exchange))
        given: Any = ["x"] * len(vectors)
        for host in "openai", "vllm":
            for form in ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}):
                ours = client.embeddings.create(model=f"{host}/{model}", input=given, **form)  # type: ignore[arg-type]
                assert [numbers(each.embedding) for each in ours.data] == vectors, exchange["id"]
                assert ours.usage.prompt_tokens == (theirs.get("usage") or {}).get("prompt_tokens", 0)
                assert ours.model == f"{host}/{model}"


def test_embeddings_that_are_not_openai_s(client: OpenAI, recorded: Upstream) -> None:
    native, int8 = (x for x in EMBEDDINGS if short(x) == NATIVE or short(x).startswith(INT8))
    with pytest.raises(APIStatusError) as refused:
        client.embeddings.create(model=f"vllm/{recorded.script(short(native), play(native))}", input="x")
    assert refused.value.code == "upstream_bad_output"
    theirs, *more = json.loads(int8["response"]["body"])["data"]
    whole = struct.unpack("256b", base64.b64decode(theirs["embedding"]))
    model = recorded.script(short(int8), play(int8))
    ours = client.embeddings.create(model=f"perplexity/{model}", input=["x"] * (1 + len(more))).data[0]
    assert sum(x * x for x in ours.embedding) == pytest.approx(1)
    assert ours.embedding == pytest.approx([x * max(ours.embedding) / max(whole) for x in whole])


def test_every_recorded_error_keeps_its_promises(client: OpenAI, recorded: Upstream) -> None:
    """Never a 401, a foreign shape or an account's id; the status class is kept, and so is Retry-After."""
    expected = {401: 502, 402: 503, 422: 400, 500: 502, 502: 502, 503: 503, 529: 503}
    for exchange in FAILED:
        status = exchange["response"]["status"]
        model = recorded.script(short(exchange), play(exchange))
        with pytest.raises(APIStatusError) as failed:
            client.chat.completions.create(model=f"openai/{model}", messages=HI)
        error = failed.value
        body: Any = error.body
        assert body.keys() == {"message", "type", "param", "code"}
        wanted = {expected.get(status, status)}
        if body["code"] == "model_not_found":
            wanted.add(404)
        if body["code"] == "content_filter":
            wanted.add(400)
        if body["code"] == "upstream_quota_exhausted":
            wanted = {503}
        assert error.status_code in wanted, exchange["id"]
        assert "org-" not in body["message"]
        assert "org_" not in body["message"]
        given = {name.lower(): value for name, value in (exchange["response"]["headers"] or {}).items()}
        if status == 429 and "retry-after" in given and body["code"] == "rate_limit_exceeded":
            assert error.response.headers["retry-after"] == given["retry-after"]
    assert len(FAILED) == 149
