"""`modelserver.py ask`: one streamed answer in the terminal, read with aiohttp-sse-client's EventSource.

EventSource reconnects when a stream ends, which for a POST would be a second question and a second bill, so it is given
a session that can ask only once.
"""

import json
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta
from typing import Any, Final

from aiohttp import ClientResponse, ClientSession, ClientTimeout
from aiohttp_sse_client.client import EventSource

from gateway.config_schema import ServerConfig

START: Final = "start it with `python modelserver.py`, or say where it is with --host and --port"
STRANGER: Final = "what answers at {} is no ModelServer: say where it is with --host and --port"
# Whether a key was sent → what to do about an answer of 401.
_NO_ENTRY: Final = {
    False: "this server wants a client key: give it with -k KEY (-k - reads it from standard input), or set $MODELSERVER_KEY",
    True: "this server does not know the key that came from -k or $MODELSERVER_KEY: it wants one of its configuration's "
    "`keys`; `keys add NAME` makes one",
}


class RequestFailed(Exception):
    """The server answered with an error. The message is for the person at the terminal."""


class SingleRequestSession:
    """A session for EventSource whose second request raises, and whose error answers keep their body."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self._asked = False

    async def request(self, method: str, url: Any, **options: Any) -> ClientResponse:
        """As ClientSession.request. Raises Refused for an error status, StopAsyncIteration at the second call."""
        if self._asked:
            raise StopAsyncIteration
        self._asked = True
        response = await self._session.request(method, url, **options)
        if response.status != 200:
            given = "Authorization" in (options.get("headers") or {})
            raise RequestFailed(
                words_of(response.status, await response.text(errors="replace"), given, response.url.origin())
            )
        if response.content_type != "text/event-stream":
            raise RequestFailed(STRANGER.format(response.url.origin()))
        return response


async def events(session: ClientSession, url: str, body: Any, key: str = "") -> AsyncGenerator[str, None]:
    """POST `body` and yield the data of each server-sent event, as text, until the stream ends."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    source = EventSource(
        url,
        option={"method": "POST"},
        reconnection_time=timedelta(0),  # it sleeps, five seconds and more, before it would ask again
        session=SingleRequestSession(session),
        max_connect_retry=0,
        json=body,
        headers=headers,
    )
    async with source:
        while True:
            try:
                event = await anext(source)
            except (StopAsyncIteration, RuntimeError):
                return
            yield event.data


async def chunks(session: ClientSession, url: str, body: Any, key: str = "") -> AsyncGenerator[Any, None]:
    """POST `body` and yield the chunks of its streamed answer.

    Raises Refused for an error status, for an error event, and for a stream that ends without [DONE].
    """
    async with aclosing(events(session, url, body, key)) as stream:
        async for data in stream:
            if data == "[DONE]":
                return
            chunk = json.loads(data)
            if "error" in chunk:
                raise RequestFailed(chunk["error"]["message"])
            yield chunk
    raise RequestFailed("The stream broke off.")


def address(server: ServerConfig) -> str:
    """Return where a program on this machine reaches the server of a configuration. Raises OSError for port 0."""
    if not server.port:
        raise OSError("server.port is 0, which lets the system choose: say with --port where the server is")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{server.port}"


async def ask(server: ServerConfig, question: str, model: str, key: str) -> int:
    """Print the running server's answer as it comes; returns the exit code."""
    url = f"{address(server)}/v1/chat/completions"
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": question}]}
    said = False
    async with ClientSession(timeout=ClientTimeout(total=None, sock_connect=5)) as session:
        try:
            async for chunk in chunks(session, url, body, key):
                for choice in chunk["choices"]:
                    text = choice["delta"].get("content") or ""
                    said |= bool(text)
                    sys.stdout.write(text)
                    sys.stdout.flush()
        except RequestFailed as error:
            if said:
                print(flush=True)
            print(error, file=sys.stderr)
            return 1
    print()
    return 0


def words_of(status: int, text: str, given: bool, place: Any) -> str:
    """Return what to say of an error answer. given: whether a key was sent; place: who answered."""
    try:
        error = json.loads(text)["error"]
        message, code = str(error["message"]), error.get("code")
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"HTTP {status}: {STRANGER.format(place)}"
    if code == "authentication_error":
        message = _NO_ENTRY[given]
    elif code == "model_not_found" and message.endswith("."):
        message = f"{message} Choose one with -m MODEL."
    return f"HTTP {status}: {message}"
