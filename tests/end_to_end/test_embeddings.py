"""POST /v1/embeddings: what is refused, what each protocol is sent, and both forms of a vector, whoever answers."""

import base64
import copy
import json
import struct
from collections.abc import Callable
from math import isclose, sqrt
from typing import Any

import embedded
import httpx2 as httpx
import pytest
from openai import APIStatusError, OpenAI
from process import Process, config
from scripted import Upstream as Scripted
from scripted import answer as answered

from dialects.embeddings import parse
from providers import codec
from providers.contract import Json, Upstream
from providers.errors import BadRequest, Failure, ModelNotFound, RateLimitExceeded, Unsupported, UpstreamBadOutput
from providers.hosts import HOSTS


def to(host: str, model: str = "e", **more: Any) -> Upstream:
    return Upstream(host, model, HOSTS[host].base_url, "k", host, HOSTS[host], **more)


def parsed(**body: Any) -> Json:
    return parse(json.dumps(body).encode()).body


# What is refused

REFUSED: list[tuple[Json, str | None, str]] = [
    ({"input": "a"}, "model", "missing_required_parameter"),
    ({"model": "", "input": "a"}, "model", "missing_required_parameter"),
    ({"model": 1, "input": "a"}, "model", "invalid_type"),
    ({"model": "m"}, "input", "missing_required_parameter"),
    ({"model": "m", "input": None}, "input", "missing_required_parameter"),
    ({"model": "m", "input": ""}, "input", "invalid_value"),
    ({"model": "m", "input": 7}, "input", "invalid_type"),
    ({"model": "m", "input": {"text": "a"}}, "input", "invalid_type"),
    ({"model": "m", "input": []}, "input", "empty_array"),
    ({"model": "m", "input": ["a", ""]}, "input[1]", "invalid_value"),
    ({"model": "m", "input": ["a", 1]}, "input[1]", "invalid_type"),
    ({"model": "m", "input": [1, "a"]}, "input[0]", "invalid_type"),
    ({"model": "m", "input": [1, -1]}, "input[0]", "invalid_type"),
    ({"model": "m", "input": [True]}, "input[0]", "invalid_type"),
    ({"model": "m", "input": [[1], []]}, "input[1]", "empty_array"),
    ({"model": "m", "input": [[1], "a"]}, "input[1]", "invalid_type"),
    ({"model": "m", "input": [[1], [1.5]]}, "input[1]", "invalid_type"),
    ({"model": "m", "input": ["a"] * 2049}, "input", "array_above_max_length"),
    ({"model": "m", "input": [1] * 8193}, "input", "array_above_max_length"),
    ({"model": "m", "input": "a", "encoding_format": "int8"}, "encoding_format", "invalid_value"),
    ({"model": "m", "input": "a", "encoding_format": 1}, "encoding_format", "invalid_type"),
    ({"model": "m", "input": "a", "dimensions": 0}, "dimensions", "integer_below_min_value"),
    ({"model": "m", "input": "a", "dimensions": 1.5}, "dimensions", "invalid_type"),
    ({"model": "m", "input": "a", "user": 7}, "user", "invalid_type"),
]


@pytest.mark.parametrize(("body", "param", "code"), REFUSED)
def test_what_is_refused(body: Json, param: str, code: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parsed(**body)
    assert (refused.value.param, refused.value.code) == (param, code)


@pytest.mark.parametrize("data", [b"", b"[]", b'"a"', b"{", b"\xff"])
def test_what_is_no_object(data: bytes) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(data)
    assert refused.value.code == "invalid_json"


@pytest.mark.parametrize(
    "given", ["a", ["a"], ["a"] * 2048, [0], [1] * 8192, [[1, 2], [3]], [[1]] * 2048, " ", ["你好\u2028"]]
)
def test_what_is_taken(given: Any) -> None:
    assert parsed(model="m", input=given, tomorrow=1) == {"model": "m", "input": given, "tomorrow": 1}


def test_null_means_nothing_and_whole_floats_are_integers() -> None:
    body = parsed(model="m", input="a", encoding_format=None, dimensions=3.0, user=None)
    assert body == {"model": "m", "input": "a", "dimensions": 3}
    assert type(body["dimensions"]) is int


# What each protocol is sent


def calls(body: Json, target: Upstream) -> list[tuple[str, Json]]:
    before = copy.deepcopy(body)
    made = embedded.calls(body, target)
    assert body == before
    assert not any(call.stream for call in made)
    return [(call.url, call.body) for call in made]


ASK = {"model": "m", "input": ["a", "b"], "dimensions": 3, "encoding_format": "base64", "user": "u"}


@pytest.mark.parametrize(
    ("host", "url", "body", "dropped"),
    [
        ("openai", "https://api.openai.com/v1/embeddings", ASK | {"model": "e"}, ()),
        ("vllm", "http://127.0.0.1:8000/v1/embeddings",
         {"model": "e", "input": ["a", "b"], "dimensions": 3, "user": "u"}, ()),
        ("mistral", "https://api.mistral.ai/v1/embeddings",
         {"model": "e", "input": ["a", "b"], "output_dimension": 3}, ("user",)),
        ("ollama", "http://127.0.0.1:11434/v1/embeddings",
         {"model": "e", "input": ["a", "b"], "dimensions": 3}, ("user",)),
    ],
)  # fmt: skip
def test_openai_and_its_likes(host: str, url: str, body: Json, dropped: tuple[str, ...]) -> None:
    assert calls(ASK, to(host)) == [(url, body)]
    [call] = embedded.calls(ASK, to(host))
    assert call.dropped == dropped
    assert call.headers == {"Authorization": "Bearer k"}


def test_azure() -> None:
    target = Upstream("azure", "mine", "https://me.openai.azure.com", "k", "azure", HOSTS["azure"])
    [call] = embedded.calls({"model": "m", "input": "a"}, target)
    assert call.url == "https://me.openai.azure.com/openai/deployments/mine/embeddings?api-version=2024-10-21"
    assert call.headers == {"api-key": "k"}


def test_gemini() -> None:
    base = "https://generativelanguage.googleapis.com/v1beta/models/e:"

    def ask(text: str, **more: Any) -> Json:
        return {"model": "models/e", "content": {"parts": [{"text": text}]}, **more}

    assert calls({"model": "m", "input": "a"}, to("gemini")) == [(base + "embedContent", ask("a"))]
    both = {"requests": [ask("a", outputDimensionality=3), ask("b", outputDimensionality=3)]}
    assert calls(ASK, to("gemini")) == [(base + "batchEmbedContents", both)]
    [call] = embedded.calls(ASK, to("gemini"))
    assert (call.headers, call.dropped) == ({"x-goog-api-key": "k"}, ("user",))
    told = {"task_type": "RETRIEVAL_QUERY", "input_type": "query", "user": "u", "encoding_format": "float", "x": None}
    for given in ("a", ["a", "b"]):
        [call] = embedded.calls({"model": "m", "input": given, **told}, to("gemini"))
        assert call.dropped == ("task_type", "input_type", "user"), "all that is left out is named"
    texts = [str(i) for i in range(250)]
    made = calls({"model": "m", "input": texts}, to("gemini"))
    assert [len(sent["requests"]) for _, sent in made] == [100, 100, 50]
    assert [each for _, sent in made for each in sent["requests"]] == [ask(text) for text in texts]


@pytest.mark.parametrize(("host", "given"), [("gemini", [1, 2]), ("gemini", [[1]]), ("anthropic", "a")])
def test_what_a_protocol_cannot_do(host: str, given: Any) -> None:
    with pytest.raises(Unsupported):
        embedded.calls({"model": "m", "input": given}, to(host))


# The way back

FLOATS = [0.6, -0.8]
PACKED = base64.b64encode(struct.pack("<2f", *FLOATS)).decode()


def as_one(given: Any) -> list[float]:
    data = base64.b64decode(given) if isinstance(given, str) else struct.pack(f"<{len(given)}f", *given)
    return list(struct.unpack(f"<{len(data) // 4}f", data))


@pytest.mark.parametrize("form", ["float", "base64", None])
@pytest.mark.parametrize("there", [FLOATS, PACKED])
def test_either_form_is_made_of_the_other(form: str | None, there: Any) -> None:
    body = {"model": "m", "input": "a"} | ({"encoding_format": form} if form else {})
    upstream = {"object": "list", "data": [{"index": 0, "embedding": there}], "usage": {"prompt_tokens": 2}}
    found = embedded.answer(body, to("vllm"), [upstream])
    vector = found["data"][0].pop("embedding")
    assert isinstance(vector, str) == (form == "base64")
    assert as_one(vector) == as_one(there)
    assert found == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0}],
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    }


def test_perplexity_s_vectors_are_of_small_integers() -> None:
    upstream = {"data": [{"index": 0, "embedding": base64.b64encode(struct.pack("2b", 3, -4)).decode()}]}
    assert embedded.answer({"input": "a"}, to("perplexity"), [upstream])["data"][0]["embedding"] == [0.6, -0.8]


def test_vectors_come_in_the_order_of_the_inputs() -> None:
    upstream = {"data": [{"index": 1, "embedding": [1.0]}, {"index": 0, "embedding": [2.0]}]}
    found = embedded.answer({"input": ["a", "b"]}, to("vllm"), [upstream])
    assert found["data"] == [
        {"object": "embedding", "index": 0, "embedding": [2.0]},
        {"object": "embedding", "index": 1, "embedding": [1.0]},
    ]
    assert found["usage"] == {"prompt_tokens": 0, "total_tokens": 0}


def test_gemini_s_vectors_have_length_one() -> None:
    first = [{"values": [3.0, 4.0]}, {"values": [0.0, 0.0]}, *[{"values": [1.0, 0.0]}] * 98]
    batches = [
        {"embeddings": first, "usageMetadata": {"promptTokenCount": 2}},
        {"embeddings": [{"values": [0.6, 0.8]}], "usageMetadata": {"promptTokenCount": 3}},
    ]
    found = json.loads(codec.encode(embedded.answer({"input": ["a"] * 101}, to("gemini"), batches)))
    assert [each["embedding"] for each in found["data"]] == [[0.6, 0.8], [0.0, 0.0], *[[1.0, 0.0]] * 98, [0.6, 0.8]]
    assert [each["index"] for each in found["data"]] == [*range(101)]
    assert found["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    one = embedded.answer({"input": "a"}, to("gemini"), [{"embedding": {"values": [3.0, 4.0]}}])
    assert one["data"][0]["embedding"] == [0.6, 0.8]


@pytest.mark.parametrize(
    ("host", "body", "kind"),
    [
        ("vllm", [], UpstreamBadOutput),
        ("vllm", {}, UpstreamBadOutput),
        ("vllm", {"data": None}, UpstreamBadOutput),
        ("vllm", {"data": []}, UpstreamBadOutput),
        ("vllm", {"data": [{"embedding": FLOATS}] * 2}, UpstreamBadOutput),
        ("vllm", {"data": [{"index": 0}]}, UpstreamBadOutput),
        ("vllm", {"data": [{"embedding": None}]}, UpstreamBadOutput),
        ("vllm", {"data": [{"embedding": "!"}]}, UpstreamBadOutput),
        ("vllm", {"data": [{"embedding": base64.b64encode(b"12345").decode()}]}, UpstreamBadOutput),
        ("vllm", {"data": [{"embedding": ["a"]}], "encoding_format": "base64"}, UpstreamBadOutput),
        ("vllm", {"error": {"message": "slow", "code": "rate_limit_exceeded"}}, RateLimitExceeded),
        ("gemini", {}, UpstreamBadOutput),
        ("gemini", [], UpstreamBadOutput),
        ("gemini", {"embedding": {"values": None}}, UpstreamBadOutput),
        ("gemini", {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "slow"}}, RateLimitExceeded),
    ],
)
def test_an_answer_in_no_shape(host: str, body: Any, kind: type[Failure]) -> None:
    form = "base64" if isinstance(body, dict) and body.get("encoding_format") else "float"
    with pytest.raises(kind):
        embedded.answer({"input": "a", "encoding_format": form}, to(host), [body])


# echo


def echo(**body: Any) -> Any:
    [call] = embedded.calls({"model": "echo", **body}, to("echo", "echo"))
    assert call.reply
    return embedded.answer(body, to("echo", "echo"), [json.loads(b"".join(step.data for step in call.reply.steps))])


def test_echo_is_deterministic_and_of_length_one() -> None:
    found = echo(input=["hello there", "hello there", "Hello there", "你好"], dimensions=8)
    first, second, third, _ = vectors = [each["embedding"] for each in found["data"]]
    assert first == second != third
    assert all(isclose(sqrt(sum(x * x for x in vector)), 1) for vector in vectors)
    assert found["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    assert len(echo(input="a")["data"][0]["embedding"]) == 1536
    four = [0.4673085916295736, -0.6770076723084543, 0.10186202846561124, 0.5593812822945937]
    assert echo(input="hello there", dimensions=4)["data"][0]["embedding"] == four
    assert echo(input=[1, 2, 3])["usage"]["prompt_tokens"] == 3
    assert [each["index"] for each in echo(input=[[1], [2]])["data"]] == [0, 1]


def test_echo_has_its_limits() -> None:
    with pytest.raises(BadRequest):
        echo(input="a", dimensions=4097)
    with pytest.raises(ModelNotFound):
        embedded.calls({"model": "m", "input": "a"}, to("echo", "ecko"))


# The real process


def test_the_sdk(sdk: OpenAI) -> None:
    packed = sdk.embeddings.create(model="echo", input=["a", "b"], dimensions=3)  # asks for base64 by itself
    floats = sdk.embeddings.create(model="echo", input=["a", "b"], dimensions=3, encoding_format="float")
    assert [each.embedding for each in packed.data] == [as_one(each.embedding) for each in floats.data]
    assert (packed.model, packed.object, packed.usage.prompt_tokens) == ("echo", "list", 2)
    assert [each.index for each in packed.data] == [0, 1]
    assert len(sdk.embeddings.create(model="echo", input=[[1, 2], [3]]).data) == 2


def test_an_upstream(server: Process, upstream: Scripted, scripted: Callable[..., str], http: httpx.Client) -> None:
    body = {"data": [{"index": 0, "embedding": FLOATS}], "usage": {"prompt_tokens": 4, "total_tokens": 4}, "model": "x"}
    name = scripted(answered(body, headers={"x-request-id": "theirs"}), answered({"error": {"message": "No."}}, 429,
                                                                                headers={"Retry-After": "7"}))  # fmt: skip
    ask = {"model": f"up/{name}", "input": "a", "encoding_format": "base64", "dimensions": 2}
    for path in ("/v1/embeddings", "/embeddings"):
        found = http.post(server.root + path, json=ask)
        if found.status_code == 429:
            break
        assert found.json() == {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": PACKED}],
            "usage": {"prompt_tokens": 4, "total_tokens": 4},
            "model": f"up/{name}",
        }
        assert found.headers["x-modelserver-upstream"] == f"up/{name}"
        assert found.headers["x-upstream-request-id"] == "theirs"
        line = server.logged(request=found.headers["x-request-id"])
        assert {key: line[key] for key in ("path", "status", "model", "upstream", "prompt_tokens", "completion_tokens")} == {
            "path": path, "status": 200, "model": f"up/{name}", "upstream": f"up/{name}", "prompt_tokens": 4,
            "completion_tokens": 0,
        }  # fmt: skip
    assert found.status_code == 429
    assert found.headers["Retry-After"] == "7"
    assert found.json()["error"] == {
        "message": "No.", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded",
    }  # fmt: skip
    first, _ = upstream.of(name)
    assert first.path == "/v1/embeddings"
    assert first.json == {"model": name, "input": "a", "dimensions": 2}


def test_gemini_in_three_calls(upstream: Scripted, scripted: Callable[..., str]) -> None:
    name = scripted(
        *(answered({"embeddings": [{"values": [float(n), 0.0]}] * size}) for n, size in ((1, 100), (2, 100), (3, 1)))
    )
    text = config(upstream).replace(
        "\nmodels:",
        f'\n  gemini: {{base_url: "{upstream.url}/v1beta", api_key: AIza-canary}}\nmodels:\n  e: [up/none, gemini/{name}]',
    )
    with Process(text) as server, OpenAI(base_url=server.url, api_key="-", max_retries=0) as sdk:
        found = sdk.embeddings.create(model="e", input=[str(i) for i in range(201)])  # the first target fails
        assert [each.embedding for each in found.data] == [[1.0, 0.0]] * 201
        assert found.model == "e"
        with pytest.raises(APIStatusError) as refused:
            sdk.embeddings.create(model="gemini/x", input=[1, 2])
        assert (refused.value.status_code, refused.value.code) == (400, "unsupported_value")
    assert [r.path for r in upstream.of(name)] == [f"/v1beta/models/{name}:batchEmbedContents"] * 3
    assert {r.headers["x-goog-api-key"] for r in upstream.of(name)} == {"AIza-canary"}


@pytest.mark.parametrize(
    ("model", "status"), [("echo-429", 429), ("echo-400", 400), ("echo-529", 503), ("nothing", 404)]
)
def test_names_that_misbehave(server: Process, http: httpx.Client, model: str, status: int) -> None:
    found = http.post(f"{server.url}/embeddings", json={"model": model, "input": "a"})
    assert found.status_code == status
    assert found.json()["error"].keys() == {"message", "type", "param", "code"}


@pytest.mark.parametrize("model", ["echo-cut", "echo-end", "echo-error", "echo-stall"])
def test_names_that_break_off(hasty: Process, http: httpx.Client, model: str) -> None:
    found = http.post(f"{hasty.url}/embeddings", json={"model": model, "input": "a"})
    assert found.status_code == (504 if model == "echo-stall" else 502)


def test_the_same_way_in(keyed: Process, http: httpx.Client) -> None:
    ask = {"model": "echo", "input": "a"}
    assert http.post(f"{keyed.url}/embeddings", json=ask).status_code == 401
    phone = {"x-api-key": "sk-client-canary-phone"}
    assert http.post(f"{keyed.url}/embeddings", json=ask, headers=phone).status_code == 200
    assert http.post(f"{keyed.url}/embeddings", json=ask | {"model": "up/x"}, headers=phone).status_code == 404
    assert http.get(f"{keyed.url}/embeddings", headers=phone).status_code == 405
    assert http.post(f"{keyed.url}/embeddings", content=b"{", headers=phone).status_code == 400


# Vectors that are none

NOT_VECTORS = [
    *(
        "[NaN,0.2]",
        "[0.1,Infinity]",
        "[-Infinity,Infinity]",
        "[1e999]",
        "[null,0.2]",
        "[true,0.2]",
        '["0.1"]',
        "[[0.1]]",
    ),
    *(
        "[]",
        "null",
        "7",
        "{}",
        "[1e39]",
        "[1" + "0" * 400 + "]",
        '""',
        '"AAA"',
        '"AAAAAAA="',
        '"AADAfw=="',
        '"AACAfw=="',
    ),
]


@pytest.mark.parametrize("form", ["float", "base64"])
@pytest.mark.parametrize("vector", NOT_VECTORS)
def test_a_vector_of_anything_but_finite_numbers_is_no_answer(vector: str, form: str) -> None:
    if vector == "[1e39]" and form == "float":
        return  # a number for JSON, but not for 32 bits
    body = parsed(model="m", input="a", encoding_format=form)
    said = [
        codec.decode(f'{{"data": [{{"index": 0, "embedding": {vector}}}], "usage": {{"prompt_tokens": 1}}}}'.encode())
    ]
    google = [codec.decode(f'{{"embedding": {{"values": {vector}}}}}'.encode())]
    for host, answers in (("ollama", said), ("openai", said), ("gemini", google)):
        if host == "gemini" and vector == "[1e39]":
            continue  # which is made 1
        with pytest.raises(UpstreamBadOutput) as caught:
            embedded.answer(body, to(host), answers)
        assert (caught.value.status, caught.value.code) == (502, "upstream_bad_output")
    assert embedded.answer(body, to("gemini"), [{"embedding": {"values": [3, 4]}}])["data"][0]["embedding"]


def test_vectors_whose_length_cannot_be_told_are_none() -> None:
    body = parsed(model="m", input="a")
    with pytest.raises(UpstreamBadOutput):
        embedded.answer(body, to("gemini"), [{"embedding": {"values": [1e200, 1.0]}}])


@pytest.mark.parametrize("form", ["float", "base64"])
def test_another_target_takes_over_from_one_that_answers_nan(form: str, upstream: Scripted) -> None:
    told = b'{"data": [{"index": 0, "embedding": %b}], "usage": {"prompt_tokens": 1}}'
    upstream.script("poison", answered(told % b"[NaN, 0.2]"))
    upstream.script("sound", answered(told % b"[0.5, 0.25]"))
    with Process(config(upstream, models="both: [up/poison, up/sound]\nalone: up/poison")) as server:
        client = OpenAI(api_key="k", base_url=server.url, max_retries=0)
        vector = client.embeddings.create(model="both", input="a", encoding_format=form).data[0].embedding
        assert vector == ([0.5, 0.25] if form == "float" else "AAAAPwAAgD4=")
        with pytest.raises(APIStatusError) as caught:
            client.embeddings.create(model="alone", input="a", encoding_format=form)
        assert (caught.value.status_code, caught.value.code) == (502, "upstream_bad_output")


def test_echo_makes_a_mebi_of_numbers_at_most() -> None:
    assert embedded.calls(parsed(model="echo", input=["x"] * 256, dimensions=4096), to("echo", "echo"))
    with pytest.raises(BadRequest) as caught:
        embedded.calls(parsed(model="echo", input=["x"] * 257, dimensions=4096), to("echo", "echo"))
    assert (caught.value.param, caught.value.code) == ("input", "invalid_value")
    assert caught.value.message == (
        "echo's embeddings have at most 1048576 numbers in one answer: 257 inputs of 4096 dimensions are more. Send fewer "
        "inputs, or ask for fewer dimensions."
    )
