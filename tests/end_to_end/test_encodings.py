"""Compressed request bodies: unpacked within max_body, or refused with the encodings that are taken."""

import asyncio
import gzip
import json
import os
import random
import socket
import sys
import zlib
from pathlib import Path
from typing import Any, Final

import httpx2 as httpx
import pytest
from process import Process, config

from server import content_encoding

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ASKED: Final = json.dumps({"model": "echo", "messages": [{"role": "user", "content": "Hello, 世界! " * 30}]}).encode()
SAID: Final = "Hello, 世界! " * 30


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKED = {
    "gzip": gzip.compress(ASKED),
    "x-gzip": gzip.compress(ASKED),
    "GZIP": gzip.compress(ASKED),
    "gzip , identity": gzip.compress(ASKED),
    "deflate": zlib.compress(ASKED),
    "Deflate": bare(ASKED),
    "zstd": zstd.compress(ASKED),
    "identity": ASKED,
    "": ASKED,
}


def post(server: Process, encoding: str, body: Any, **more: Any) -> httpx.Response:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    return httpx.post(f"{server.url}/chat/completions", content=body, headers=headers, timeout=20, **more)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("encoding", PACKED)
def test_a_packed_body_is_unpacked(server: Process, encoding: str, chunked: bool) -> None:
    body = PACKED[encoding]
    got = post(server, encoding, (body[i : i + 7] for i in range(0, len(body), 7)) if chunked else body)
    assert (got.status_code, got.json()["choices"][0]["message"]["content"]) == (200, SAID)


@pytest.mark.parametrize("encoding", ["br", "compress", "made-up", "gzip, gzip", "zstd, gzip"])
def test_an_encoding_that_is_not_taken(server: Process, encoding: str) -> None:
    got = post(server, encoding, b"\x0b\x02\x80abc\x03")
    assert (got.status_code, got.headers["accept-encoding"], got.json()) == (
        415,
        "gzip, deflate, zstd",
        {
            "error": {
                "message": f"This server does not unpack request bodies with the Content-Encoding '{encoding}': send the "
                "body as it is, or as one of gzip, deflate, zstd.",
                "type": "invalid_request_error",
                "param": None,
                "code": "unsupported_encoding",
            }
        },
    )
    assert server.logged(code="unsupported_encoding")["status"] == 415


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="zstd is in the standard library")
def test_zstd_needs_its_package_before_python_3_14(tmp_path: Path) -> None:
    (tmp_path / "backports").mkdir()
    (tmp_path / "backports" / "__init__.py").write_text("")
    with Process(config(), env={"PYTHONPATH": str(tmp_path)}) as server:
        got = post(server, "zstd", PACKED["zstd"])
        assert (got.status_code, got.headers["accept-encoding"]) == (415, "gzip, deflate")
        assert post(server, "gzip", PACKED["gzip"]).status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_packed_body_that_is_broken(server: Process, encoding: str) -> None:
    good = PACKED[encoding]
    for body in (b"zebra", good[:-3], good[: len(good) // 2], good + b"x", good + good, b""):
        got = post(server, encoding, body)
        assert (got.status_code, got.json()["error"]["message"]) == (
            400,
            f"The request body is not valid {encoding}, or a part of it is missing.",
        ), body[:20]


def test_the_work_of_unpacking_is_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    """zlib copies, at each call, what it was given and has not used."""
    given = 0

    class Counting:
        """What zlib.decompressobj() gives, and how many bytes it is given."""

        def __init__(self, window: int) -> None:
            self._stream = real(window)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

        def decompress(self, data: bytes, most: int) -> bytes:
            nonlocal given
            given += len(data)
            return self._stream.decompress(data, most)

    real = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", Counting)
    body = random.Random(1).randbytes(2**23)
    for encoding, packed in (("gzip", gzip.compress(body, 1)), ("deflate", zlib.compress(body, 1))):
        given = 0
        assert asyncio.run(content_encoding.unpacked(packed, encoding, lambda size: None)) == body
        assert given <= 3 * len(packed), encoding


def peak(server: Process) -> int:
    """MiB of memory the server has had at most."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="there is no /proc here")  # noqa: PTH110
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_bomb(encoding: str) -> None:
    size = 2**27
    with Process(config(server="max_body: 2MiB")) as server:
        packer: Any = (
            zstd.ZstdCompressor() if encoding == "zstd" else zlib.compressobj(9, wbits=31 if encoding[0] == "g" else 15)
        )
        bomb = b"".join([*(packer.compress(bytes(2**20)) for _ in range(size >> 20)), packer.flush()])
        assert len(bomb) < 2**20
        before = peak(server)
        got = post(server, encoding, bomb)
        assert (got.status_code, got.json()["error"]["code"]) == (413, "request_too_large")
        assert peak(server) - before < 16


def test_a_zstd_body_cannot_ask_for_much_history(server: Process) -> None:
    """A frame says how much of what came before the receiver must keep, up to 2 GiB."""
    wide = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.content_size_flag: 0}
    packer = zstd.ZstdCompressor(options=wide)
    body = packer.compress(ASKED, packer.FLUSH_BLOCK) + packer.flush()
    assert post(server, "zstd", body).json()["error"]["message"].startswith("The request body is not valid zstd")


def test_what_is_no_http_is_told_apart(server: Process) -> None:
    for data, says in (
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "this port takes neither TLS (https://) nor HTTP/2"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 9000 + b"\r\n\r\n", "longer than 8 kB"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", "longer than 8 kB"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX y: z\r\n\r\n", "The request is not valid HTTP."),
    ):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(data)
            said = client.recv(65536)
            assert says in json.loads(said.partition(b"\r\n\r\n")[2])["error"]["message"], said
