"""A conversation that ends with the assistant's words: what Mistral repeats of them, and what hosts refuse."""

from collections.abc import Callable

import httpx2 as httpx
import pytest
from http_client import whole
from process import Process
from scripted import Upstream as Scripts
from scripted import answer

from providers import openai
from providers.chunks import collect
from providers.contract import Json, Upstream
from providers.errors import Failure, from_upstream
from providers.hosts import HOSTS
from providers.sse import DONE, Event

WORDS = "It is "
LAST = {"role": "assistant", "content": WORDS}
GO_ON = {"role": "user", "content": "Continue."}
ASKED: list[Json] = [{"role": "user", "content": "What time?"}]
MISTRAL = Upstream(name="mistral", model="m", base_url="http://x", host=HOSTS["mistral"])


def streamed(pieces: list[str], last: Json = LAST) -> str | None:
    """What the client is streamed where Mistral streams these texts."""
    call = openai.build_request({"messages": [*ASKED, last], "stream": True}, MISTRAL)
    translator = call.read(call, True)
    chunks: list[Json] = []
    for text in pieces:
        chunks += translator.send(
            Event("", {"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]})
        )  # type: ignore[arg-type]
    chunks += translator.send(Event("", {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))  # type: ignore[arg-type]
    try:
        chunks += translator.send(Event("", DONE))  # type: ignore[arg-type]
        translator.send(None)
    except StopIteration as end:
        chunks += end.value
    content: str | None = collect(chunks)["choices"][0]["message"]["content"]
    return content


@pytest.mark.parametrize(
    "pieces, shown",
    [
        (["It is ", "noon."], "noon."),
        (["It", " i", "s n", "oon."], "noon."),
        (["It is noon."], "noon."),
        (["Noon."], "Noon."),
        (["It", " was noon."], "It was noon."),
        (["It", " is"], "It is"),
        (["It is ", "It is ", "noon."], "It is noon."),
    ],
)
def test_mistral_does_not_repeat_the_clients_words(pieces: list[str], shown: str):
    assert streamed(pieces) == shown


def test_who_asks_for_mistrals_prefix_gets_it():
    assert streamed(["It is ", "noon."], LAST | {"prefix": True}) == "It is noon."


@pytest.mark.parametrize("said, shown", [("It is noon.", "noon."), ("Noon.", "Noon."), ("It is ", "")])
def test_nor_in_one_piece(said: str, shown: str):
    call = openai.build_request({"messages": [*ASKED, LAST]}, MISTRAL)
    translator = call.read(call, False)
    answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}]}
    with pytest.raises(StopIteration) as end:
        translator.send(Event("", answer))  # type: ignore[arg-type]
    assert end.value.value[0]["choices"][0]["message"]["content"] == shown


REFUSALS = [
    "Assistant response prefill is incompatible with enable_thinking.",
    "This model does not support assistant message prefill. The conversation must end with a user message.",
    "Last message must have role `user`.",
    "the role of last message must be user or function",
]


@pytest.mark.parametrize("words", REFUSALS)
def test_a_host_that_refuses_them_is_asked_once_more(words: str):
    call = openai.build_request({"messages": [*ASKED, LAST]}, Upstream(name="p", model="m", base_url="http://x"))
    assert call.repair is not None
    repaired = call.repair(refusal(400, words))
    assert repaired is not None and repaired.body == {"model": "m", "messages": [*ASKED, LAST, GO_ON]}


@pytest.mark.parametrize("status, words", [(400, "temperature is too high"), (503, REFUSALS[0])])
def test_another_error_stays(status: int, words: str):
    call = openai.build_request({"messages": [*ASKED, LAST]}, Upstream(name="p", model="m", base_url="http://x"))
    assert call.repair is not None and call.repair(refusal(status, words)) is None


def test_a_conversation_that_ends_with_the_user_has_no_second_call():
    assert openai.build_request({"messages": ASKED}, Upstream(name="p", model="m")).repair is None


def refusal(status: int, words: str) -> Failure:
    failure = from_upstream(status, words)
    failure.upstream_status = status
    return failure


def test_the_real_server_asks_once_more(
    server: Process, upstream: Scripts, scripted: Callable[..., str], http: httpx.Client
):
    name = scripted(answer({"error": {"message": REFUSALS[0]}}, 400), answer(whole("noon.")))
    got = http.post(f"{server.url}/chat/completions", json={"model": f"up/{name}", "messages": [*ASKED, LAST]})
    assert (got.status_code, got.json()["choices"][0]["message"]["content"]) == (200, "noon.")
    assert [asked.json["messages"] for asked in upstream.of(name)] == [[*ASKED, LAST], [*ASKED, LAST, GO_ON]]


def test_the_real_server_names_what_it_did_with_a_trimmed_history(
    server: Process, upstream: Scripts, scripted: Callable[..., str], http: httpx.Client
):
    name = scripted(answer(whole("noon.")))
    trimmed = [{"role": "tool", "tool_call_id": "c", "content": "12:00"}, *ASKED]
    got = http.post(f"{server.url}/chat/completions", json={"model": f"up/{name}", "messages": trimmed})
    assert (got.status_code, got.headers["x-modelserver-dropped"]) == (200, "messages.tool_call_id")
    assert upstream.of(name)[0].json["messages"] == [
        {"role": "user", "content": "[Result of the tool call c]\n12:00"},
        *ASKED,
    ]
