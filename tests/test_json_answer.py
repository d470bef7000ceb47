"""The server's own answers of JSON are encoded by one function: compact, UTF-8 as it is."""

import json

import httpx2 as httpx
import pytest
from process import Process


@pytest.mark.parametrize("path", ["/v1/models", "/healthz", "/readyz"])
def test_answers_are_encoded_alike(server: Process, http: httpx.Client, path: str) -> None:
    got = http.get(server.root + path)
    assert got.headers["content-type"] == "application/json; charset=utf-8"
    assert got.content == json.dumps(got.json(), ensure_ascii=False, separators=(",", ":")).encode()
