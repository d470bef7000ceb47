"""The inspector: what it keeps, what it masks, what bounds it, and who may look."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2 as httpx
import pytest
from process import Process, config
from scripted import ABORT, FOREVER, Upstream, head, sse, stream

from gateway.config_schema import InspectorConfig
from server import inspector, masking

Scripted = Callable[..., str]
ADMIN, USER = "sk-canary-of-the-admin-0001", "sk-canary-of-a-user-0002"
ON = "inspector: {enabled: true, exchanges: 5, max_bytes: 256KiB}"


@pytest.fixture(scope="module")
def watched(upstream: Upstream) -> Iterator[Process]:
    """A server with two keys, one of them an admin's."""
    keys = f'keys:\n  - {{name: boss, key: "{ADMIN}", admin: true}}\n  - {{name: user, key: "{USER}"}}'
    with Process(config(upstream, f"{keys}\n{ON}", models="both: [up/broken, echo/echo-503, echo/echo]")) as process:
        yield process


@pytest.fixture
def boss(watched: Process) -> Iterator[httpx.Client]:
    """An admin's client, and nothing kept."""
    with httpx.Client(base_url=watched.root, headers={"x-api-key": ADMIN}, timeout=20, trust_env=False) as client:
        client.delete("/inspector/exchanges")
        yield client


def chat(client: httpx.Client, model: str, text: str = "Hello", **more: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    return client.post("/v1/chat/completions", json=body, headers={"x-api-key": USER})


def kept(client: httpx.Client) -> list[dict[str, Any]]:
    """What is kept, newest first, each whole."""
    data = client.get("/inspector/exchanges").json()["data"]
    return [client.get(f"/inspector/exchanges/{each['serial']}").json() for each in data]


def joined(pieces: list[dict[str, Any]]) -> str:
    assert [piece["at"] for piece in pieces] == sorted(piece["at"] for piece in pieces)
    return "".join(piece["data"] for piece in pieces)


def test_every_byte_of_an_exchange(boss: httpx.Client, upstream: Upstream) -> None:
    upstream.script("broken", [ABORT])
    got = chat(boss, "both", "你好 world", stream=True, top_k=3)
    [seen] = kept(boss)
    assert (seen["method"], seen["path"], seen["status"], seen["model"], seen["key"]) == (
        "POST", "/v1/chat/completions", 200, "both", "user",
    )  # fmt: skip
    assert seen["id"] == got.headers["x-request-id"] and not seen["running"] and not seen["cut"]
    assert json.loads(seen["request"]["body"])["top_k"] == 3
    assert joined(seen["response"]["writes"]) == got.text
    assert seen["response"]["headers"]["x-modelserver-upstream"] == "echo/echo"
    broken, refused, answered = seen["attempts"]
    assert broken["upstream"] == "up/broken" and broken["url"] == f"{upstream.url}/v1/chat/completions"
    assert broken["status"] == 0 and broken["failure"]["code"] == "upstream_error"
    assert json.loads(broken["body"])["model"] == "broken"
    assert (
        refused["status"] == 503
        and refused["failure"]["code"] == "overloaded"
        and "echo-503" in joined(refused["reads"])
    )
    assert answered["status"] == 200 and answered["failure"] is None and "你好" in joined(answered["reads"])


def test_a_request_of_another_api_is_shown_in_all_its_forms(boss: httpx.Client, scripted: Scripted) -> None:
    name = scripted([*stream(sse({"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}))])
    asked = {"model": f"up/{name}", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    got = boss.post("/v1/messages", json={**asked, "system": "Be brief."})
    [seen] = kept(boss)
    assert seen["api"] == "messages"
    assert json.loads(seen["request"]["body"])["system"] == "Be brief."
    [attempt] = seen["attempts"]
    hub, sent = json.loads(attempt["hub"]), json.loads(attempt["body"])
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    assert (hub["model"], hub["messages"], hub["max_completion_tokens"]) == (f"up/{name}", said, 9)
    assert (sent["model"], sent["messages"]) == (name, said)
    assert joined(seen["response"]["writes"]) == got.text
    chat(boss, f"up/{name}")
    assert kept(boss)[0]["attempts"][0]["hub"] == ""


def test_keys_are_masked_wherever_they_stand(boss: httpx.Client, scripted: Scripted) -> None:
    """An upstream that echoes our key, cut in two by the network; the client's key in its own body."""
    leak = json.dumps({"error": {"message": "Incorrect API key: sk-upstream-canary"}}).encode()
    name = scripted([head(401, {"Content-Length": str(len(leak))}), leak[:55], 0.05, leak[55:]])
    chat(boss, f"up/{name}", f"my key is {USER}")
    [seen] = kept(boss)
    text = json.dumps(seen)
    assert "canary" not in text
    assert seen["request"]["headers"]["x-api-key"] == "sk-…0002"
    assert seen["attempts"][0]["headers"]["Authorization"] == "Bearer sk-…nary"
    assert "Incorrect API key: ***" in joined(seen["attempts"][0]["reads"])


def test_whole_answers_and_refusals(boss: httpx.Client) -> None:
    got = chat(boss, "echo")
    wrong = chat(boss, "nope")
    boss.post("/v1/nothing/here", content=b"x")
    boss.get("/v1/models")  # only POSTs are kept
    lost, refused, whole = kept(boss)
    assert joined(whole["response"]["writes"]) == got.text and whole["attempts"][0]["status"] == 200
    assert (refused["status"], refused["code"], refused["attempts"]) == (404, "model_not_found", [])
    assert joined(refused["response"]["writes"]) == wrong.text
    assert (lost["status"], lost["path"]) == (404, "/v1/nothing/here")


def test_a_running_exchange_and_one_that_was_left(
    watched: Process, boss: httpx.Client, upstream: Upstream, scripted: Scripted
) -> None:
    delta = {"choices": [{"index": 0, "delta": {"content": "half"}, "finish_reason": None}]}
    name = scripted([*stream(sse(delta, done=False), end=False), FOREVER])
    body = {"model": f"up/{name}", "stream": True, "messages": [{"role": "user", "content": "Go"}]}
    with boss.stream("POST", "/v1/chat/completions", json=body) as response:
        lines = response.iter_lines()
        next(lines)
        [seen] = kept(boss)
        assert seen["running"] and seen["took"] is None and "half" in joined(seen["attempts"][0]["reads"])
    upstream.wait(name).wait_left()
    watched.logged(model=f"up/{name}", status=499)
    [seen] = kept(boss)
    assert not seen["running"] and seen["status"] == 499


def test_the_oldest_go_first(boss: httpx.Client) -> None:
    for n in range(8):
        chat(boss, "echo", f"number {n}")
    assert [each["request"]["body"][-5] for each in kept(boss)] == [*"76543"]


def test_bytes_are_bounded(boss: httpx.Client, watched: Process) -> None:
    for _ in range(4):
        chat(boss, "echo", "x " * 20_000)  # 40 kB in, up and down: more than a quarter of 256 KiB together
    listed = boss.get("/inspector/exchanges").json()
    assert listed["bytes"] <= listed["limits"]["max_bytes"] == 256 * 1024
    chat(boss, "echo", "x" * 100_000)  # too big for its share: known, but not in full
    newest = kept(boss)[0]
    assert newest["cut"] and newest["status"] == 200 and newest["request"]["body"] == ""


def test_many_small_writes_are_bounded_too(boss: httpx.Client, scripted: Scripted) -> None:
    delta = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]}
    name = scripted(
        stream(sse(*[delta] * 2000, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}), cut=99)
    )
    assert chat(boss, f"up/{name}", stream=True).text.endswith("data: [DONE]\n\n")
    listed = boss.get("/inspector/exchanges").json()
    assert listed["bytes"] <= 64 * 1024 and kept(boss)[0]["cut"]


def test_who_may_look(watched: Process, server: Process, http: httpx.Client) -> None:
    for path in ("/inspector/exchanges", "/inspector/exchanges/1"):
        assert http.get(f"{watched.root}{path}").status_code == 401
        refused = http.get(f"{watched.root}{path}", headers={"x-api-key": USER})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "admin_only")
        off = http.get(f"{server.root}{path}")
        assert (off.status_code, off.json()["error"]["code"]) == (404, "inspector_off")
        other = http.get(f"{server.root}{path}", headers={"Sec-Fetch-Site": "cross-site"})
        assert (other.status_code, other.json()["error"]["code"]) == (403, "origin_not_allowed")
    assert http.delete(f"{watched.root}/inspector/exchanges", headers={"x-api-key": USER}).status_code == 403
    missing = http.get(f"{watched.root}/inspector/exchanges/999999", headers={"x-api-key": ADMIN})
    assert missing.status_code == 404


def test_off_it_is_not_there() -> None:
    """Nothing is installed, and what the spine asks for is the plain thing."""
    assert inspector.install({}, InspectorConfig()) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "masked"),
    [
        ("Authorization", "Bearer sk-0123456789abcdef", "Bearer sk-…cdef"),
        ("X-Api-Key", "short", "…"),
        ("authorization", "Basic dXNlcjpwYXNz", "Basic …"),
        ("Cookie", "session=0123456789; b=c", "ses…789; …"),
        ("x-goog-api-key", "0123456789abcdefgh", "012…efgh"),
        ("x-ratelimit-remaining-tokens", "1000", "1000"),
        ("x-stainless-lang", "python", "python"),
    ],
)
def test_headers(name: str, value: str, masked: str) -> None:
    assert masking.masked_headers({name: value}) == {name: masked}


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("https://x.example/v1?key=0123456789abcdefgh&alt=sse", "https://x.example/v1?key=012…efgh&alt=sse"),
        ("https://x.example/v1?api-version=2024-10-21", "https://x.example/v1?api-version=2024-10-21"),
        ("https://x.example/v1?access_token=short", "https://x.example/v1?access_token=…"),
    ],
)
def test_urls(url: str, masked: str) -> None:
    assert masking.masked_url(url) == masked


def test_an_answer_of_the_own_page(upstream: Upstream, http: httpx.Client) -> None:
    """A keyless server that is called by a name of its own lets its own page in, and no other."""
    with Process(config(upstream, server="allowed_hosts: [box.lan]")) as server:
        body = {"model": "echo", "messages": [{"role": "user", "content": "Hi"}]}
        host = f"box.lan:{server.port}"
        for origin, status in (
            (f"http://{host}", 200),
            ("http://evil.example", 403),
            (f"http://box.lan:{server.port + 1}", 403),
        ):
            headers = {"Host": host, "Origin": origin}
            assert http.post(f"{server.url}/chat/completions", json=body, headers=headers).status_code == status, origin
        plain = {"Host": host, "Origin": f"http://{host}", "Content-Type": "text/plain"}
        assert http.post(f"{server.url}/chat/completions", content=json.dumps(body), headers=plain).status_code == 403
