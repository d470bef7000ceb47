"""Routes that pass as bytes, through the real process, with the official SDK of OpenAI and raw requests."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx2 as httpx
import openai
import pytest
from http_client import dial, metric, until
from openai import OpenAI
from process import Process
from scripted import ABORT, CLOSE, FOREVER, Request, Upstream, answer, chunked, head, sse, stream

PASSING, LIMITED, PRICED, PLAIN = (f"sk-client-canary-{name}" for name in ("passing", "limited", "priced", "plain"))
CONFIG: Final = """
server:
  port: 0
  max_body: 1MiB
  max_upload: 300MiB
  timeouts: {{request_body: 1, between_bytes: 2, first_byte: 5}}
inspector: {{enabled: true}}
usage: {{path: usage.db}}
keys:
  - {{name: passing, key: "{passing}", passthrough: true, admin: true}}
  - {{name: limited, key: "{limited}", rpm: 2}}
  - {{name: priced, key: "{priced}", models: [whisper, priced], budget_usd: 1}}
  - {{name: plain, key: "{plain}", models: [whisper, both, echo, "up/*"]}}
providers:
  echo: {{options: {{delay: 0}}}}
  up: {{protocol: openai, base_url: "{url}/v1", api_key: "sk-upstream-canary"}}
  down: {{protocol: openai, base_url: "http://127.0.0.1:1/v1", api_key: "sk-upstream-canary"}}
  sink: {{protocol: openai, base_url: "http://127.0.0.1:{sink}/v1"}}
  claude: {{protocol: anthropic, base_url: "{url}/claude", api_key: "sk-upstream-canary"}}
models:
  echo: echo
  "echo-*": echo
  whisper: up/whisper-1
  priced: up/gpt-image-1
  both: [claude/claude-x, down/other, up/last]
  none: claude/claude-x
model_facts:
  gpt-image-1: {{price: {{input: 10, output: 40}}}}
"""


@pytest.fixture(scope="module")
def there() -> Iterator[Upstream]:
    with Upstream() as there:
        yield there


@pytest.fixture(scope="module")
def passing(there: Upstream, sink: "Sink") -> Iterator[Process]:
    keys = {"passing": PASSING, "limited": LIMITED, "priced": PRICED, "plain": PLAIN}
    with Process(CONFIG.format(url=there.url, sink=sink.port, **keys)) as process:
        yield process


@pytest.fixture
def client(passing: Process) -> Iterator[OpenAI]:
    with OpenAI(base_url=passing.url, api_key=PASSING, max_retries=0) as client:
        yield client


def bearer(key: str = PASSING) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def row(passing: Process, got: Any) -> dict[str, Any]:
    """The row of the ledger for a request, once it is settled."""
    request_id = got.headers["x-request-id"]

    def found() -> Any:
        rows = httpx.get(f"{passing.url}/usage", headers=bearer(), trust_env=False).json()["requests"]
        return next((each for each in rows if each["request_id"] == request_id and each["status"]), None)

    return dict(until(found))


def spent(passing: Process, got: Any) -> tuple[int, int, float | None]:
    """Tokens of the prompt, of the answer, and the dollars that they cost."""
    found = row(passing, got)
    return found["prompt_tokens"], found["completion_tokens"], found["cost_usd"]


def only(there: Upstream, name: str) -> Request:
    """The last request for a script."""
    return there.of(name)[-1]


def test_images(there: Upstream, client: OpenAI, passing: Process) -> None:
    usage = {"input_tokens": 50, "output_tokens": 200, "total_tokens": 250}
    there.script("gpt-image-1", answer({"created": 1, "data": [{"b64_json": "AAAA" * 100_000}], "usage": usage}))
    raw = client.images.with_raw_response.generate(model="priced", prompt="a fox", size="1024x1024")
    assert raw.parse().data[0].b64_json == "AAAA" * 100_000  # type: ignore[index]
    assert only(there, "gpt-image-1").path == "/v1/images/generations"
    assert only(there, "gpt-image-1").json == {"model": "gpt-image-1", "prompt": "a fox", "size": "1024x1024"}
    assert raw.headers["x-modelserver-upstream"] == "up/gpt-image-1"
    assert spent(passing, raw) == (50, 200, 0.0085)


@pytest.mark.filterwarnings("ignore:deprecated")
def test_image_edits(there: Upstream, client: OpenAI) -> None:
    there.script("/v1/images/edits", answer({"created": 1, "data": [{"b64_json": "QUJD"}]}))
    there.script("/v1/images/variations", answer({"created": 1, "data": [{"url": "https://x.test/1"}]}))
    images = [("a.png", b"\x89PNG" + b"a" * 300_000, "image/png"), ("b.png", b"\x89PNG" + b"b", "image/png")]
    got = client.images.edit(model="priced", image=images, prompt="two foxes")
    assert got.data[0].b64_json == "QUJD"  # type: ignore[index]
    sent = only(there, "/v1/images/edits").body
    assert b'name="model"\r\n\r\ngpt-image-1\r\n' in sent and images[0][1] in sent and b"two foxes" in sent
    varied = client.images.create_variation(model="whisper", image=images[1])
    assert varied.data[0].url == "https://x.test/1"  # type: ignore[index]


@pytest.mark.filterwarnings("ignore:deprecated")
def test_transcriptions(there: Upstream, client: OpenAI, passing: Process) -> None:
    usage = {"type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59}
    there.script("/v1/audio/transcriptions", answer({"text": "Hello", "usage": usage}))
    raw = client.audio.transcriptions.with_raw_response.create(model="whisper", file=("a.mp3", b"ID3" + bytes(9)))
    assert raw.parse().text == "Hello"
    assert spent(passing, raw) == (14, 45, None)
    there.script("/v1/audio/translations", answer("Hello", kind="text/plain"))
    plain = client.audio.translations.create(model="whisper", file=("a.mp3", b"ID3"), response_format="text")
    assert str(plain) == "Hello"


def test_only_the_model_is_changed(there: Upstream, passing: Process, http: httpx.Client) -> None:
    there.script("/v1/audio/transcriptions", answer({"text": "Hello"}))
    first = b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\nX-Own: 1\r\n\r\n\x00--xy\r\n--x\xff\r\n'
    model = b'--xyz\r\ncontent-disposition: form-data; name="model"\r\n\r\n%b\r\n'
    last = b'--xyz\r\nContent-Disposition: form-data; name="language"\r\n\r\nen\r\n--xyz--\r\n'
    kind = {"Content-Type": 'multipart/form-data; boundary="xyz"', **bearer()}
    body = first + model % b"whisper" + last
    got = http.post(f"{passing.url}/audio/transcriptions", content=body, headers=kind)
    assert (got.status_code, got.json()) == (200, {"text": "Hello"})
    sent = only(there, "/v1/audio/transcriptions")
    assert sent.body == first + model % b"whisper-1" + last
    assert sent.headers["content-type"] == kind["Content-Type"]
    assert sent.headers["authorization"] == "Bearer sk-upstream-canary"
    text = b' {"a": {"model": "x"} , "\\u006dodel" :\n"priced", "big": 1e400, "s": "\\ud83d"}\n'
    there.script("gpt-image-1", answer({"created": 1, "data": []}))
    there.script("/v1/images/generations", answer({"created": 1, "data": []}))
    got = http.post(f"{passing.url}/images/generations", content=text, headers=bearer())
    assert got.status_code == 200, got.text
    assert there.requests[-1].body == text.replace(b'"priced"', b'"gpt-image-1"')


def test_speech_is_passed_while_it_is_made(there: Upstream, client: OpenAI) -> None:
    more = threading.Event()
    there.script("tts-1", [head(200, {"Content-Length": "8"}, "audio/mpeg"), b"ID3\x00", more, b"rest"])
    with client.audio.speech.with_streaming_response.create(model="up/tts-1", voice="alloy", input="Hello") as got:
        pieces = got.iter_bytes()
        assert next(pieces) == b"ID3\x00"
        more.set()
        assert b"".join(pieces) == b"rest"
        assert (got.headers["content-type"], got.headers["content-length"]) == ("audio/mpeg", "8")


def test_moderations_have_a_model_by_default(there: Upstream, client: OpenAI, passing: Process) -> None:
    result = {"flagged": False, "categories": {}, "category_scores": {}}
    there.script("omni-moderation-latest", answer({"id": "modr-1", "model": "m", "results": [result]}))
    with pytest.raises(openai.NotFoundError):
        client.moderations.create(input="Hello")  # nobody serves the default here
    got = client.moderations.create(input="Hello", model="up/omni-moderation-latest")
    assert got.results[0].flagged is False
    assert only(there, "omni-moderation-latest").json == {"input": "Hello", "model": "omni-moderation-latest"}


def test_completions(there: Upstream, client: OpenAI) -> None:
    choice = {"text": " world", "index": 0, "logprobs": None, "finish_reason": "stop"}
    whole = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "base", "choices": [choice]}
    there.script("base", answer({**whole, "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}),
                 stream(sse(whole, whole)))  # fmt: skip
    got = client.completions.create(model="up/base", prompt="Hello", max_tokens=5)
    assert (got.choices[0].text, got.usage and got.usage.total_tokens) == (" world", 3)
    chunks = list(client.completions.create(model="up/base", prompt="Hello", stream=True))
    assert [chunk.choices[0].text for chunk in chunks] == [" world", " world"]


def test_completions_of_echo(client: OpenAI) -> None:
    got = client.completions.create(model="echo", prompt="One two three", max_tokens=2)
    assert (got.choices[0].text, got.choices[0].finish_reason) == ("One two", "length")
    assert got.usage is not None and got.usage.completion_tokens == 2
    chunks = list(client.completions.create(model="echo", prompt=["One two"], stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "One two"
    assert got.object == chunks[0].object == "text_completion"
    with pytest.raises(openai.RateLimitError):
        client.completions.create(model="echo-429", prompt="Hello")
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="echo", prompt=[1, 2, 3])
    assert caught.value.param == "prompt"
    with pytest.raises(openai.BadRequestError):
        client.images.generate(model="echo", prompt="a fox")


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank", "/v2/rerank"])
def test_rerank(there: Upstream, passing: Process, http: httpx.Client, path: str) -> None:
    told = {
        "/v1/rerank": {"usage": {"total_tokens": 15}},
        "/rerank": {},
        "/v2/rerank": {"meta": {"billed_units": {"search_units": 1}, "tokens": {"input_tokens": 15}}},
    }[path]
    results = [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]
    there.script("rerank-3", answer({"id": "1", "results": results, **told}))
    body = {"model": "up/rerank-3", "query": "fox", "documents": ["cat", "fox"], "top_n": 2}
    got = http.post(f"{passing.root}{path}", json=body, headers=bearer())
    assert (got.status_code, got.json()["results"]) == (200, results)
    assert only(there, "rerank-3").path == "/v1/rerank"
    assert only(there, "rerank-3").json == {**body, "model": "rerank-3"}
    assert spent(passing, got) == ((15 if told else 0), 0, None)


def form(*fields: tuple[str, bytes], end: bytes = b"--\r\n") -> bytes:
    """A form with these fields, each as it is to be named in its Content-Disposition."""
    parts = [
        b"--xyz\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (name.encode(), value) for name, value in fields
    ]
    return b"".join(parts) + b"--xyz" + end


MODEL: Final = ('name="model"', b"whisper")
FORM: Final = {"Content-Type": "multipart/form-data; boundary=xyz"}


@pytest.mark.parametrize(
    "body, words",
    [
        (form(('name="file"; filename="a"', b"x")), "You must provide a model"),
        (form(MODEL, ('name="model"', b"up/other")), "'model' twice"),
        (form(MODEL, end=b"\r\n"), "before its last boundary"),
        (form(MODEL, ('name="a"', b"--xyz")), "inside of a part"),
        (form(MODEL) + b"--xyz\r\n", "behind its last boundary"),
        (form(("name=\"mo\\\\del\"", b"whisper")), "not clear"),
        (form(('name="a"; name="model"', b"whisper")), "not clear"),
        (form(("name*=utf-8''model", b"whisper")), "not clear"),
        (b"x" + form(MODEL), "does not begin"),
        (form(('name="model"\r\nContent-Transfer-Encoding: base64', b"d2hpc3Blcg==")), "Content-Transfer-Encoding"),
        (form(("name=\"a\"\r\nX: " + "y" * 9000, b"")), "too long"),
        (form(('name="model"', b"w" * 3000)), "too long"),
        (b"".join(form((f'name="{i}"', b"1"), end=b"")[:-5] for i in range(1001)) + form(MODEL), "more than 1000 parts"),
    ],
)  # fmt: skip
def test_forms_that_could_be_misread_are_refused(
    passing: Process, http: httpx.Client, body: bytes, words: str, there: Upstream
) -> None:
    before = len(there.requests)
    got = http.post(f"{passing.url}/audio/transcriptions", content=body, headers=bearer() | FORM)
    assert got.status_code == 400 and words in got.json()["error"]["message"], got.text
    assert len(there.requests) == before


@pytest.mark.parametrize(
    "body, code",
    [
        (b'{"model": "whisper", "model": "up/other"}', "invalid_json"),
        (b'{"model": "whisper", "mod\\u0065l": "whisper"}', "invalid_json"),
        (b"[1]", "invalid_json"),
        (b'{"model": "whisper"', "invalid_json"),
        (b'{"model": 1}', "invalid_type"),
        (b"{}", "missing_required_parameter"),
        (b'{"model": "nobody"}', "model_not_found"),
        (b'{"model": "none"}', "unsupported_value"),
    ],
)
def test_json_that_is_refused(passing: Process, http: httpx.Client, body: bytes, code: str) -> None:
    got = http.post(f"{passing.url}/images/generations", content=body, headers=bearer())
    assert got.json()["error"]["code"] == code, got.text


def test_limits(passing: Process, http: httpx.Client, there: Upstream) -> None:
    there.script("limited-1", answer({"data": []}))
    send = {"json": {"model": "up/limited-1", "prompt": "a fox"}, "headers": bearer(LIMITED)}
    assert [http.post(f"{passing.url}/images/generations", **send).status_code for _ in range(3)] == [200, 200, 429]  # type: ignore[arg-type]
    url = f"{passing.url}/images/generations"
    got = http.post(url, json={"model": "up/limited-1"}, headers=bearer(PRICED))
    assert got.json()["error"]["code"] == "model_not_found"  # another model than this key may use
    got = http.post(url, json={"model": "whisper"}, headers=bearer(PRICED))
    assert got.json()["error"]["code"] == "model_not_priced"
    got = http.post(url, json={"model": "priced", "prompt": "x", "provider": {"order": ["y"]}}, headers=bearer(PRICED))
    assert (got.json()["error"]["code"], got.json()["error"]["param"]) == ("unsupported_parameter", "provider")
    body = form(('name="model"', b"priced"), ('name="provider[order]"', b"y"))
    got = http.post(f"{passing.url}/images/edits", content=body, headers=bearer(PRICED) | FORM)
    assert got.json()["error"]["param"] == "provider"
    assert http.post(url, json={"model": "whisper"}).status_code == 401


def test_the_next_target_is_asked_where_nothing_has_passed(
    passing: Process, http: httpx.Client, there: Upstream
) -> None:
    """Claude has no such API, one host is down, and the last one answers: a form that is small, too."""
    there.script("last", answer({"data": [1]}))
    got = http.post(f"{passing.url}/images/generations", json={"model": "both", "prompt": "x"}, headers=bearer())
    assert (got.status_code, got.headers["x-modelserver-upstream"]) == (200, "up/last")
    assert passing.logged(request=got.headers["x-request-id"])["tried"] == (
        "claude/claude-x: unsupported_value, down/other: upstream_connect"
    )
    there.script("/v1/images/edits", answer({"data": [2]}))
    got = http.post(f"{passing.url}/images/edits", content=form(('name="model"', b"both")), headers=bearer() | FORM)
    assert (got.status_code, got.headers["x-modelserver-upstream"]) == (200, "up/last")


def test_what_the_provider_refuses_it_says_itself(passing: Process, http: httpx.Client, there: Upstream) -> None:
    wrong = {"error": {"message": "Unknown voice 'x'", "type": "invalid_request_error", "extra": 1}}
    there.script("refusing", answer(wrong, 400), answer({"error": {"message": "Incorrect API key"}}, 401))
    send = {"json": {"model": "up/refusing"}, "headers": bearer()}
    got = http.post(f"{passing.url}/audio/speech", **send)  # type: ignore[arg-type]
    assert (got.status_code, got.json()) == (400, wrong)
    got = http.post(f"{passing.url}/audio/speech", **send)  # type: ignore[arg-type]
    assert (got.status_code, got.json()["error"]["code"]) == (502, "upstream_auth_error")


@pytest.mark.parametrize("how", [CLOSE, ABORT])
def test_an_answer_that_is_cut_is_cut_here(passing: Process, there: Upstream, how: str) -> None:
    there.script("cut", [head(200, {"Content-Length": "9"}, "audio/mpeg"), b"ID3", 0.05, how])
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(f"{passing.url}/audio/speech", json={"model": "up/cut"}, headers=bearer(), trust_env=False)
    until(lambda: metric(passing, "upstream_errors_total", upstream="up", code="upstream_truncated"))


def test_a_client_that_leaves_ends_the_call(passing: Process, there: Upstream) -> None:
    there.script("slow", [head(200, {"Content-Length": "9"}, "audio/mpeg"), b"ID3", FOREVER])
    send = {"json": {"model": "up/slow"}, "headers": bearer(), "trust_env": False}
    with httpx.stream("POST", f"{passing.url}/audio/speech", **send) as got:  # type: ignore[arg-type]
        assert next(got.iter_bytes()) == b"ID3"
    assert only(there, "slow").wait_left()


class Taken:
    """What one connection of a Sink was sent. size: bytes of the body; whole: it came to its end."""

    def __init__(self) -> None:
        self.size, self.whole = 0, False
        self.begun, self.closed = threading.Event(), threading.Event()


class Sink:
    """An upstream that counts what it is sent and holds none of it. early: bytes after which it refuses; 0: it takes all."""

    def __init__(self) -> None:
        self.early = 0
        self.taken: list[Taken] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                with peer:
                    taken = Taken()
                    self.taken.append(taken)
                    self._take(peer, taken)
                    taken.closed.set()

    def _take(self, peer: socket.socket, taken: Taken) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += peer.recv(2**16)
        top, _, body = data.partition(b"\r\n\r\n")
        found = re.search(rb"(?i)content-length: (\d+)", top)
        length = int(found[1]) if found else None
        taken.size, tail = len(body), body[-5:]
        while taken.size != length and (length is not None or tail != b"0\r\n\r\n"):
            if 0 < self.early <= taken.size:
                peer.sendall(_answered(b"413 Too Large", b'{"error": {"message": "Too long"}}'))
                while peer.recv(2**16):
                    pass
                return
            data = peer.recv(2**16)
            taken.begun.set()
            if not data:
                return
            taken.size, tail = taken.size + len(data), (tail + data)[-5:]
        taken.whole = True
        peer.sendall(_answered(b"200 OK", b'{"text": "Hello"}'))


def _answered(status: bytes, text: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (status, len(text), text)


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.close()


def last(sink: Sink) -> Taken:
    """What the last connection was sent, once it has ended."""
    taken = sink.taken[-1]
    assert taken.closed.wait(10)
    return taken


LARGE: Final = ('name="model"', b"sink/whisper-1")


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def send_large(server: Process, before: bytes, after: bytes, size: int, chunked: bool = False) -> tuple[bytes, int]:
    """Send a form around a file of so many bytes; return the answer and the most memory the server took meanwhile."""
    kind = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (len(before) + size + len(after))
    most, piece = 0, bytes(2**16)
    with dial(server) as client:
        client.sendall(
            b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n"
            b"Content-Type: multipart/form-data; boundary=xyz\r\n%b\r\n\r\n" % (PASSING.encode(), kind)
        )
        framed = [before, *([piece] * (size // len(piece))), after]
        for i, each in enumerate(framed):
            client.sendall(b"%x\r\n%b\r\n" % (len(each), each) if chunked else each)
            if i % 64 == 0:
                most = max(most, resident(server.pid))
        if chunked:
            client.sendall(b"0\r\n\r\n")
        got = b""
        while b'"Hello"' not in got and (data := client.recv(2**16)):
            got += data
    return got, max(most, resident(server.pid))


@pytest.mark.parametrize("order", ["model first", "file first", "chunked"])
def test_a_large_file_costs_no_memory(passing: Process, sink: Sink, order: str) -> None:
    size = 200 * 2**20
    head_of_file = b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    before, after = form(LARGE, end=b"")[:-5] + head_of_file, b"\r\n--xyz--\r\n"
    if order == "file first":
        before, after = head_of_file, b"\r\n" + form(LARGE)
    began = resident(passing.pid)
    got, most = send_large(passing, before, after, size, order == "chunked")
    assert b"200 OK" in got and last(sink).whole and last(sink).size >= size
    assert (most - began) / 2**20 < 16


def test_a_large_answer_costs_no_memory(passing: Process, there: Upstream) -> None:
    count, piece = 1600, bytes(2**16)
    there.script("long", [head(200, {"Content-Length": str(count * len(piece))}, "audio/wav"), *([piece] * count)])
    began = most = resident(passing.pid)
    send, size = {"json": {"model": "up/long"}, "headers": bearer(), "trust_env": False}, 0
    with httpx.stream("POST", f"{passing.url}/audio/speech", **send) as got:  # type: ignore[arg-type]
        for data in got.iter_raw():
            size += len(data)
            most = max(most, resident(passing.pid)) if size % 64 == 0 else most
    assert size == count * len(piece) and (most - began) / 2**20 < 16


def begin_upload(client: socket.socket, framing: bytes, part: bytes) -> None:
    client.sendall(
        b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n"
        b"Content-Type: multipart/form-data; boundary=xyz\r\n%b\r\n\r\n%b" % (PASSING.encode(), framing, part)
    )


def test_an_upload_that_is_cut_is_not_taken_for_whole(passing: Process, sink: Sink) -> None:
    count = len(sink.taken)
    with dial(passing) as client:
        part = form(LARGE, ('name="file"; filename="a"', bytes(2**17)), end=b"")
        begin_upload(client, b"Transfer-Encoding: chunked", b"%x\r\n%b\r\n" % (len(part), part))
        until(lambda: len(sink.taken) > count and sink.taken[-1].begun.is_set())
    assert not last(sink).whole
    passing.logged(status=499, path="/v1/audio/transcriptions")


def test_an_upload_that_stops_is_given_up(passing: Process, sink: Sink) -> None:
    part = form(LARGE, ('name="file"; filename="a"', bytes(2**17)), end=b"")
    with dial(passing) as client:
        begin_upload(client, b"Content-Length: 999999", part)
        assert b"408 " in client.recv(2**16)
    assert not last(sink).whole


def test_a_second_model_ends_an_upload_that_is_under_way(passing: Process, http: httpx.Client, sink: Sink) -> None:
    """The first has been passed on by then: the host may not get to see the other."""
    body = form(LARGE, ('name="file"; filename="a"', bytes(2**21)), ('name="model"', b"sink/other"))
    got = http.post(f"{passing.url}/audio/transcriptions", content=body, headers=bearer() | FORM)
    assert (got.status_code, got.json()["error"]["param"]) == (400, "model")
    assert not last(sink).whole and last(sink).size < len(body)


def test_an_answer_before_the_end_of_an_upload(passing: Process, http: httpx.Client, sink: Sink) -> None:
    sink.early = 2**18
    body = form(LARGE, ('name="file"; filename="a"', bytes(2**23)))
    got = http.post(f"{passing.url}/audio/transcriptions", content=body, headers=bearer() | FORM)
    sink.early = 0
    assert (got.status_code, got.json()) == (413, {"error": {"message": "Too long"}})
    assert last(sink).size < len(body)


def test_an_upload_has_a_bound(passing: Process) -> None:
    with dial(passing) as client:
        begin_upload(client, b"Content-Length: %d" % 2**29, b"")
        got = client.recv(2**16)
    assert b"413 " in got and b"server.max_upload" in got


def test_the_inspector_keeps_the_head_alone(passing: Process, http: httpx.Client, there: Upstream) -> None:
    there.script("/v1/audio/transcriptions", answer(b"A" * 2**20, kind="text/plain"))
    body = form(MODEL, ('name="file"; filename="a"', b"B" * 2**21))
    assert http.post(f"{passing.url}/audio/transcriptions", content=body, headers=bearer() | FORM).status_code == 200
    listed = http.get(f"{passing.root}/inspector/exchanges", headers=bearer()).json()["data"][0]
    shown = http.get(f"{passing.root}/inspector/exchanges/{listed['serial']}", headers=bearer()).json()
    attempt = shown["attempts"][0]
    kept = [shown["request"]["body"], attempt["body"], *(
        "".join(piece["data"] for piece in pieces) for pieces in (attempt["reads"], shown["response"]["writes"])
    )]  # fmt: skip
    assert [len(text) for text in kept] == [65536] * 4
    assert listed["model"] == "whisper" and listed["upstream"] == "up/whisper-1"
    assert listed["api"] == "audio/transcriptions"


def test_paths_of_a_provider(passing: Process, http: httpx.Client, there: Upstream) -> None:
    there.script("/v1/files", answer({"data": []}), answer({"id": "file-1"}, 201))
    there.script("/v1/files/file-1", answer({"deleted": True}), answer({"error": {"message": "No such file"}}, 404))
    there.script("/v1/files/file-1/content?a=1&b=%2F", answer(b"\x00\x01", kind="application/octet-stream"))
    root = f"{passing.root}/p/up"
    got = http.get(f"{root}/files", headers=bearer())
    assert (got.status_code, got.json()) == (200, {"data": []})
    upload = form(('name="purpose"', b"batch"), ('name="file"; filename="a.jsonl"', b"{}"))
    got = http.post(f"{root}/files", content=upload, headers=bearer() | FORM)
    assert (got.status_code, got.json()) == (201, {"id": "file-1"})
    sent = only(there, "/v1/files")
    assert (sent.body, sent.headers["content-type"]) == (upload, FORM["Content-Type"])
    assert sent.headers["authorization"] == "Bearer sk-upstream-canary"
    got = http.delete(f"{root}/files/file-1", headers=bearer())
    assert (got.status_code, got.json(), there.requests[-1].method) == (200, {"deleted": True}, "DELETE")
    assert (got.headers["x-modelserver-upstream"], row(passing, got)["upstream"]) == ("up", "up")
    got = http.get(f"{root}/files/file-1", headers=bearer())
    assert (got.status_code, got.json()) == (404, {"error": {"message": "No such file"}})
    headers = {"x-api-key": PASSING, "Cookie": f"a={PASSING}", "OpenAI-Beta": "x", "OpenAI-Organization": "mine"}
    got = http.get(f"{root}/files/file-1/content?a=1&key={PASSING}&b=%2F", headers=headers)
    assert (got.content, got.headers["content-type"]) == (b"\x00\x01", "application/octet-stream")
    sent = there.requests[-1]
    assert PASSING not in sent.path + str(sent.headers) and sent.headers["openai-beta"] == "x"
    assert not {"cookie", "x-api-key", "openai-organization"} & sent.headers.keys()
    assert row(passing, got)["model"] == "up/*" and spent(passing, got)[2] is None


@pytest.mark.parametrize(
    "path",
    [
        "..", "../admin", "files/../../admin", "files/..", "./files", "files/./x", "%2e%2e/admin", "%2E./admin",
        "files/%2e%2e/%2e%2e/admin", "files%2f..%2fadmin", "..%2fadmin", "files%2Fx", "files//x", "/files", "%2ffiles",
        "..\\admin", "..%5cadmin", "files\\x", "files;a=1", "files%3ba", "..;/admin", "%252e%252e/admin", "%25",
        "http://127.0.0.1:1/x", "https:/x", "files%00", "files%0d%0aX: y", "files%20x", "é", "",
    ],
)  # fmt: skip
def test_paths_that_may_lead_out_are_refused(passing: Process, there: Upstream, path: str) -> None:
    before = len(there.requests)
    with dial(passing) as client:
        head_of = f"GET /p/up/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {PASSING}\r\n\r\n"
        client.sendall(head_of.encode())
        got = client.recv(2**16)
    assert got.split(b" ", 2)[1] in (b"404", b"400"), got
    assert len(there.requests) == before


def test_who_may_not_pass_through(passing: Process, http: httpx.Client, there: Upstream) -> None:
    for provider, headers, status in (
        ("up", bearer(PLAIN), 403),
        ("up", {}, 401),
        ("nobody", bearer(), 404),
        ("echo", bearer(), 404),
    ):
        assert http.get(f"{passing.root}/p/{provider}/files", headers=headers).status_code == status
    assert http.request("HEAD", f"{passing.root}/p/up/files", headers=bearer()).status_code == 405
    there.script("/v1/moved", answer(b"", 302, {"Location": "https://elsewhere.test/"}))
    got = http.get(f"{passing.root}/p/up/moved", headers=bearer())
    assert (got.status_code, got.json()["error"]["code"]) == (502, "upstream_protocol")
    there.script("/v1/locked", answer({"error": {"message": "Incorrect API key: sk-upstream-canary"}}, 401))
    got = http.get(f"{passing.root}/p/up/locked", headers=bearer())
    assert (got.status_code, got.json()["error"]["code"]) == (502, "upstream_auth_error")
    assert got.headers["x-modelserver-tried"] == "up=upstream_auth_error"


EVENTS: Final = """
server: {{port: 0, keep_alive: {{after: 0.1, every: 0.05}}, timeouts: {{between_bytes: 5}}}}
providers:
  up: {{protocol: openai, base_url: "{url}/v1", api_key: "sk-upstream-canary"}}
  google: {{host: gemini, base_url: "{url}/v1beta", api_key: "sk-upstream-canary"}}
"""
COMMENT: Final = b": keep-alive\n\n"


@pytest.fixture(scope="module")
def silent(there: Upstream) -> Iterator[Process]:
    with Process(EVENTS.format(url=there.url)) as process:
        yield process


def test_silent_event_streams_get_comments_between_events(there: Upstream, silent: Process, http: httpx.Client) -> None:
    first, last = b'data: {"a": 1}\n\ndata: {"b"', b': "x"}\r\n\r\n'
    more = [0.5, *chunked(last, end=False), 0.5, *chunked(b"data: [DONE]\n\n")]
    there.script("silent", [*stream(b"", end=False), 0.5, *chunked(first, end=False), *more])
    there.script("sized", [head(200, {"Content-Length": "14"}, "text/event-stream"), 0.5, b"data: [DONE]\n\n"])
    there.script("array", [head(200, {"Transfer-Encoding": "chunked"}), 0.5, *chunked(b"[1]")])
    there.script("gemini", [*stream(b"", end=False), 0.5, *chunked(b'data: {"a": 1}\r\n\r\n')])
    got = http.post(f"{silent.url}/completions", json={"model": "up/silent", "prompt": "x", "stream": True})
    before, inside, behind = (got.content.partition(mark)[0] for mark in (first, last, b"data: [DONE]\n\n"))
    assert got.content.replace(COMMENT, b"") == first + last + b"data: [DONE]\n\n"
    assert before.count(COMMENT) > 1 and inside == before + first
    assert behind == inside + last + COMMENT * (behind.count(COMMENT) - before.count(COMMENT)) != inside + last
    for name, whole in ("sized", b"data: [DONE]\n\n"), ("array", b"[1]"):
        got = http.post(f"{silent.url}/completions", json={"model": f"up/{name}", "prompt": "x"})
        assert got.content == whole
    # Google's SDKs lose what follows a comment.
    url = f"{silent.root}/v1beta/models/google/gemini:streamGenerateContent?alt=sse"
    assert http.post(url, json={"contents": []}).content == b'data: {"a": 1}\r\n\r\n'


def test_a_silent_event_stream_that_never_begins(there: Upstream, silent: Process, http: httpx.Client) -> None:
    there.script("never", [*stream(b"", end=False), 0.4, ABORT])
    there.script("empty", [*stream(b"", end=False), 0.4, *chunked(b"")])
    url, body = f"{silent.url}/completions", {"prompt": "x", "stream": True}
    with pytest.raises(httpx.RemoteProtocolError):
        http.post(url, json={**body, "model": "up/never"})
    got = http.post(url, json={**body, "model": "up/empty"})
    assert (got.status_code, set(got.content.split(b"\n\n"))) == (200, {b": keep-alive", b""})
