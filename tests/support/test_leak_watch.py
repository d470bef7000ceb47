"""The watch over what servers send would see a key: by servers of these tests' own, which do send one."""

import socket
from collections.abc import Iterator

import pytest
from conftest import leak
from http_client import ask
from leak_watch import WORD, Flow, Unable, Watch, attach, open_socket
from process import Process

SECRET = b"sk-" + WORD + b"-0001"


@pytest.fixture
def mine() -> Iterator[Watch]:
    """A watch beside that of the session, which must not hear of these."""
    session, Process.watch = Process.watch, None
    try:
        with Watch() as watch:
            yield watch
    except Unable as reason:
        pytest.skip(str(reason))
    finally:
        Process.watch = session


def around(watch: Watch) -> list[str]:
    return [found["around"] for found in watch.report().found]


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 200 OK\r\nX-Key: " + SECRET + b"\r\n\r\n",),
        (b"x" * 60_000 + SECRET + b"x" * 60_000,),
        (b"your key sk-can", b"ary-0001 is bad"),
        tuple(SECRET[i : i + 1] for i in range(len(SECRET))),
        (b"6\r\nsk-can\r\n8\r\nary-0001\r\n0\r\n\r\n",),
        (b"1\r\nc\r\n1\r\na\r\n1\r\nn\r\n", b"1\r", b"\na\r\n1\r\nr\r\n1\r\ny\r\n0\r\n\r\n"),
        (SECRET.upper(),),
    ],
    ids=["whole", "far behind", "two segments", "a byte each", "two chunks", "a chunk each", "capitals"],
)
def test_a_key_is_found_however_it_is_cut(mine: Watch, pieces: tuple[bytes, ...]) -> None:
    mine.running("tests/test_mine.py::test_it")
    port = leak(mine, *pieces)
    [found] = mine.report().found
    assert found["port"] == port
    assert mine.verdict().startswith(f"a key left port {port} in tests/test_mine.py::test_it: ")
    assert mine.report().bytes == sum(map(len, pieces)) and mine.report().dropped == 0


def test_each_is_found_once(mine: Watch) -> None:
    leak(mine, SECRET, b" and ", SECRET, b"; ", b"the rest")
    assert len(mine.report().found) == 2


def test_only_servers_are_looked_at_and_only_while_they_live(mine: Watch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as watched, socket.create_server(("127.0.0.1", 0)) as other:
        port = watched.getsockname()[1]
        for begin, end in ((False, False), (True, False), (False, True)):
            if begin:
                mine.on(port)
            for listener, who in ((watched, "client"), (other, "server"), (other, "client")):
                said(listener, who)
            if end:
                mine.off(port)
        said(watched, "server")
        assert around(mine) == []
        mine.on(port)
        mine.on(port)  # a second process behind the same socket
        mine.off(port)
        said(watched, "server")
        mine.off(port)
        said(watched, "server")
        assert len(around(mine)) == 1 and mine.report().ports.keys() == {port}


def said(listener: socket.socket, who: str) -> None:
    """One side of a connection says the secret."""
    with socket.create_connection(listener.getsockname()) as client, listener.accept()[0] as server:
        speaker, hearer = (client, server) if who == "client" else (server, client)
        speaker.sendall(SECRET)
        assert hearer.recv(len(SECRET), socket.MSG_WAITALL) == SECRET


def test_compressed_bodies_are_counted(mine: Watch) -> None:
    leak(
        mine,
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gz",
        b"ip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: identity\r\n",
    )
    assert mine.report().packed == 1 and mine.verdict() == ""


def test_the_kernel_drops_nothing_that_it_does_not_count() -> None:
    """A buffer that is too small: what is lost is known, and is a reason to fail."""
    try:
        looking = open_socket()
    except Unable as reason:
        pytest.skip(str(reason))
    with looking, socket.create_server(("127.0.0.1", 0)) as listener:
        looking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        attach(looking, [listener.getsockname()[1]])
        for _ in range(50):
            said(listener, "server")
        assert int.from_bytes(looking.getsockopt(263, 6, 8)[4:], "little") > 0


def test_a_real_server_is_watched(watch: Watch | None, server: Process) -> None:
    if watch is None:
        pytest.skip("no packet sockets here")
    before = watch.report().ports[server.port]
    assert ask(server, "echo").text == "Hello"
    assert watch.report().ports[server.port] > before


# Connections


@pytest.mark.parametrize("begin", [0, 1000, 2**32 - 5], ids=["zero", "thousand", "before the numbers wrap"])
@pytest.mark.parametrize(
    "segments",
    [
        [(0, b"abc"), (3, b"def"), (6, b"ghij")],
        [(0, b"abc"), (0, b"abc"), (3, b"def"), (3, b"def"), (6, b"ghij")],
        [(0, b"abc"), (0, b"abcdef"), (2, b"cdefgh"), (6, b"ghij")],
        [(3, b"def"), (6, b"ghij"), (0, b"abc")],
        [(0, b"abc"), (6, b"ghij"), (6, b"ghij"), (3, b"def")],
        [(0, b"a"), (2, b"c"), (4, b"e"), (3, b"d"), (1, b"b"), (5, b"fghij")],
        [(0, b"abc"), (6, b"ghi"), (5, b"fghij"), (3, b"de")],
    ],
    ids=["in order", "twice", "overlapping", "last first", "a gap", "single bytes", "a gap and an overlap"],
)
def test_segments_are_put_in_order(segments: list[tuple[int, bytes]], begin: int) -> None:
    flow, got = Flow(begin), b""
    for number, data in segments:
        for text, known in flow.take((begin + number) % 2**32, data):
            assert text[:known] == got[len(got) - known :]
            got += text[known:]
    assert got == b"abcdefghij"


def test_what_never_comes_is_not_waited_for_for_ever() -> None:
    flow, size, got = Flow(0), 2**20, 0
    for n in range(1, 9):
        got += sum(len(text) - known for text, known in flow.take(n * size, b"x" * size))
    assert got > 0
