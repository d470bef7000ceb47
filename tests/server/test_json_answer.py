"""The server's own answers of JSON are encoded by one function: compact, UTF-8 as it is."""

import json

import httpx2 as httpx
import pytest
from process import Process


@pytest.mark.parametrize("path", ["/v1/models", "/healthz", "/readyz"])
def test_answers_are_encoded_alike(server: Process, http: httpx.Client, path: str) -> None:
    check(http.get(server.root + path))


def test_so_is_an_estimate_of_tokens(server: Process, http: httpx.Client) -> None:
    body = {"model": "echo", "messages": [{"role": "user", "content": "Hello"}]}
    got = http.post(f"{server.url}/messages/count_tokens", json=body)
    check(got)
    assert (got.json()["estimated"], got.headers["x-modelserver-estimated"]) == (True, "input_tokens")


def check(got: httpx.Response) -> None:
    assert got.headers["content-type"] == "application/json; charset=utf-8"
    assert got.content == json.dumps(got.json(), ensure_ascii=False, separators=(",", ":")).encode()
