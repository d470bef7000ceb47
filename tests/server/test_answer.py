"""server/answer.py: an answer's bytes, as they go out."""

import asyncio
import re
from unittest import mock

import pytest
from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.test_utils import make_mocked_request

from server.answer import Answer

ALWAYS = (
    "Cache-Control: no-store\r\nContent-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n"
    "Referrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\nServer: ModelServer\r\n"
)


def sent(answer: Answer, method: str = "POST", version: object = HttpVersion11, close: bool = False) -> str:
    """What goes out for an answer; its date is replaced by D."""
    written: list[bytes] = []

    async def send() -> None:
        app = web.Application()
        app.on_response_prepare.freeze()
        transport = mock.Mock()
        transport.is_closing.return_value = False
        transport.write.side_effect = written.append
        request = make_mocked_request(
            method,
            "/",
            version=version,
            closing=close,
            app=app,
            transport=transport,  # type: ignore[arg-type]
        )
        request.protocol.writing_paused = False  # type: ignore[misc]
        await answer.prepare(request)
        await answer.write_eof()
        await answer.write_eof()  # aiohttp writes what has been written once more

    asyncio.run(send())
    assert len(written) == 1
    return re.sub(r"Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", "Date: D", written[0].decode())


@pytest.mark.parametrize(
    ("method", "version", "close", "first", "connection", "body"),
    [
        ("POST", HttpVersion11, False, "HTTP/1.1", "", "{}"),
        ("POST", HttpVersion11, True, "HTTP/1.1", "Connection: close\r\n", "{}"),
        ("POST", HttpVersion10, True, "HTTP/1.0", "", "{}"),
        ("HEAD", HttpVersion11, False, "HTTP/1.1", "", ""),
    ],
)
def test_one_write(method: str, version: object, close: bool, first: str, connection: str, body: str) -> None:
    answer = Answer(b"{}", {"Content-Type": "application/json"}, 529)
    assert sent(answer, method, version, close) == (
        f"{first} 529 \r\nContent-Type: application/json\r\n{connection}{ALWAYS}Content-Length: 2\r\nDate: D\r\n\r\n{body}"
    )


def test_no_header_of_its_own() -> None:
    assert sent(Answer(b"", {})) == f"HTTP/1.1 200 OK\r\n{ALWAYS}Content-Length: 0\r\nDate: D\r\n\r\n"


def test_a_connection_that_is_to_close() -> None:
    answer = Answer(b"", {}, 200)
    answer.force_close()
    assert sent(answer) == f"HTTP/1.1 200 OK\r\nConnection: close\r\n{ALWAYS}Content-Length: 0\r\nDate: D\r\n\r\n"


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\ny", "a\ry"])
def test_no_header_ends_a_line(value: str) -> None:
    with pytest.raises(ValueError, match="a line end in a header"):
        sent(Answer(b"", {"x-a": value}))
