"""Asking a running server, below the SDK: what came back, byte for byte, what the server counted, and what came true."""

import json
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx2 as httpx
from process import Process
from prometheus_client.parser import text_string_to_metric_families

PLAIN: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loading certificates costs 80 ms a client; http needs none
HELLO: Final[Any] = [{"role": "user", "content": "Hello"}]


def delta(text: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk as OpenAI sends it."""
    body = {**({} if text is None else {"content": text}), **more}
    return {"id": "chatcmpl-up", "choices": [{"index": 0, "delta": body, "logprobs": None, "finish_reason": finish}]}


def whole(text: str = "Hi") -> dict[str, Any]:
    """A whole answer as OpenAI sends it."""
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": "chatcmpl-up",
        "object": "chat.completion",
        "created": 1,
        "model": "up-1",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }


@dataclass
class Got:
    """An answer. text, error: of a stream, the words said and the error it ended with; done: it ended with [DONE]."""

    status: int
    headers: httpx.Headers
    body: str
    text: str = ""
    error: dict[str, Any] | None = None
    done: bool = False

    @property
    def code(self) -> Any:
        return self.error["code"] if self.error else None


def ask(server: Process, model: str, stream: bool = False, **more: Any) -> Got:
    """One request; how it ended."""
    headers = more.pop("headers", {})
    body = {"model": model, "stream": stream, "messages": HELLO, **more}
    with httpx.Client(timeout=30, trust_env=False, verify=PLAIN) as http:
        answer = http.post(f"{server.url}/chat/completions", json=body, headers=headers)
    got = Got(answer.status_code, answer.headers, answer.text)
    if not answer.headers["content-type"].startswith("text/event-stream"):
        value = answer.json()
        got.error = value.get("error")
        got.text = "" if got.error else value["choices"][0]["message"]["content"]
        return got
    for block in answer.text.split("\n\n"):
        if block == "data: [DONE]":
            got.done = True
        elif block.startswith("data: "):
            event = json.loads(block[6:])
            got.error = event.get("error") or got.error
            for choice in event.get("choices", ()):
                got.text += choice["delta"].get("content") or ""
    return got


def metrics(server: Process) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Everything that /metrics says: name and labels → value."""
    with httpx.Client(timeout=10, trust_env=False, verify=PLAIN) as http:
        text = http.get(f"{server.root}/metrics").raise_for_status().text
    families = text_string_to_metric_families(text)
    return {
        (sample.name.removeprefix("modelserver_"), frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def metric(server: Process, name: str, **labels: str) -> float:
    """One value, 0 when it was never counted."""
    return metrics(server).get((name, frozenset(labels.items())), 0.0)


def raw(model: str, stream: bool = True, **more: Any) -> bytes:
    """A request as it goes over the wire."""
    body = json.dumps({"model": model, "stream": stream, "messages": HELLO, **more}).encode()
    head = ["POST /v1/chat/completions HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


def dial(server: Process) -> socket.socket:
    """A bare connection."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def free_port() -> int:
    """A port that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(test: Callable[[], Any], patience: float = 10.0) -> Any:
    """What `test` says, as soon as that is true. Fails when it never is."""
    end = time.monotonic() + patience
    while not (found := test()):
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)
    return found
