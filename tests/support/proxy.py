"""An HTTP proxy: `python tests/support/proxy.py [user:password]`. It prints its port, then a line for each request it is sent.

It tunnels CONNECT and forwards requests in absolute form, one a connection; with a user it answers others with 407.
"""

import asyncio
import base64
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    print(f"{method} {target}", flush=True)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    wanted = "Basic " + base64.b64encode(sys.argv[1].encode()).decode() if len(sys.argv) > 1 else None
    if headers.get("proxy-authorization") != wanted:
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()
        return
    place = target if method == "CONNECT" else urlsplit(target).netloc
    host, _, port = place.rpartition(":")
    # Names that only the proxy knows are this machine.
    out_reader, out = await asyncio.open_connection("127.0.0.1" if host.endswith(".test") else host, int(port))
    if method == "CONNECT":
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    else:
        parts = urlsplit(target)
        lines = [line for line in lines if not line.lower().startswith("proxy-")]
        out.write("\r\n".join([f"{method} {parts.path} HTTP/1.1", *lines, "", ""]).encode())
    await asyncio.gather(pipe(reader, out), pipe(out_reader, writer))


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Proxy:
    """A running proxy. port; asked: the request lines so far, after `stop`."""

    def __init__(self, user: str = "") -> None:
        command = [sys.executable, str(Path(__file__)), *([user] if user else [])]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.asked: list[str] = []

    def stop(self) -> None:
        self._process.terminate()
        assert self._process.stdout is not None
        self.asked += self._process.stdout.read().splitlines()
        self._process.stdout.close()
        self._process.wait()


@contextmanager
def proxy(user: str = "") -> Iterator[Proxy]:
    """user: user:password that it wants."""
    running = Proxy(user)
    try:
        yield running
    finally:
        running.stop()


if __name__ == "__main__":
    asyncio.run(main())
