"""Every byte that servers send to their clients in a test run, looked through for keys: all keys of the tests hold WORD.

A process of its own reads the loopback interface through a packet socket, so neither the servers nor their clients notice.
The kernel passes on only what comes from the ports that are watched at that moment: `on` when a server listens, `off`
when its process has ended. Each connection is put in order by its sequence numbers, whatever the kernel repeats or
reorders, and a word that is cut in two by a segment or by an HTTP chunk is found.

What it cannot see: bodies under a Content-Encoding (only the page's own files have one; such heads are counted), a word
whose letters are spread over several events of a stream, other spellings (base64, escapes, a digest), IPv6, and what the
kernel still delivers for a process that has ended.

    with Watch() as watch:     # raises Unable where packet sockets are not allowed
        watch.on(port); …; watch.off(port)
        watch.report()
"""

import ctypes
import json
import re
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Self

WORD: Final = b"canary"
_CUT: Final = rb"(?:\r\n[0-9A-Fa-f]{1,8}\r\n)?"  # between two chunks of a body
_FOUND: Final = re.compile(_CUT.join(re.escape(WORD[i : i + 1]) for i in range(len(WORD))), re.IGNORECASE)
_PACKED: Final = re.compile(rb"\r\ncontent-encoding: *(?!identity)\w", re.IGNORECASE)
_TAIL: Final = len(WORD) * 13  # bytes that a word may take, with chunks in it
_AROUND: Final = 80  # bytes of context that are shown
_MOST: Final = 100  # finds that are kept
_FLOWS: Final = 20_000  # connections followed at once; the oldest go first
_AHEAD: Final = 2**22  # bytes of a connection that wait for a missing piece
_BUFFER: Final = 2**26  # bytes that the kernel may hold for us
_BATCH: Final = 0.02  # seconds between two looks at what has come
_PATIENCE: Final = 30.0  # seconds for an answer of the other process

# <asm/socket.h>, <linux/if_packet.h>, <linux/if_ether.h>
_ATTACH_FILTER, _RCVBUFFORCE, _TIMESTAMPNS = 26, 33, 35
_SOL_PACKET, _STATISTICS, _IP = 263, 6, 0x0800


class Unable(Exception):
    """This machine does not let us look."""


class Flow:
    """What one side of a connection says, put in order."""

    def __init__(self, due: int) -> None:
        """due: the sequence number of the first byte."""
        self._due, self._tail = due, b""
        self._ahead: dict[int, bytes] = {}  # pieces behind a gap
        self._waiting = 0  # bytes of these

    def take(self, number: int, data: bytes) -> Iterator[tuple[bytes, int]]:
        """What a segment adds, in order: each piece behind the end of what came before it, and how long that end is."""
        if self._since(number) < 0:
            if number not in self._ahead:
                self._ahead[number] = data
                self._waiting += len(data)
            if self._waiting <= _AHEAD:
                return
            self._due, self._tail = max(self._ahead, key=self._since), b""  # what is missing never reached us
        else:
            yield from self._add(number, data)
        while due := [each for each in self._ahead if self._since(each) >= 0]:
            piece = self._ahead.pop(due[0])
            self._waiting -= len(piece)
            yield from self._add(due[0], piece)

    def _since(self, number: int) -> int:
        """How many bytes this number lies before the one that is due. Numbers wrap around."""
        return (self._due - number + 2**31) % 2**32 - 2**31

    def _add(self, number: int, data: bytes) -> Iterator[tuple[bytes, int]]:
        if new := data[self._since(number) :]:  # the rest is a repetition
            self._due = (self._due + len(new)) % 2**32
            text, known = self._tail + new, len(self._tail)
            self._tail = text[-_TAIL:]
            yield text, known


@dataclass
class Seen:
    """What has been looked at. found: port, time and surroundings of each WORD; ports: packets from each."""

    packets: int = 0
    bytes: int = 0
    dropped: int = 0
    packed: int = 0
    buffer: int = 0  # bytes that the kernel may hold for us
    ports: Counter[int] = field(default_factory=Counter)
    found: list[dict[str, Any]] = field(default_factory=list)


class Looker:
    """The reader of packets: the other process."""

    def __init__(self) -> None:
        self._socket = open_socket()
        self._ports: Counter[int] = Counter()  # how many processes share each
        self._flows: dict[bytes, Flow] = {}
        self.seen = Seen(buffer=self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))

    def on(self, port: int) -> None:
        self._ports[port] += 1
        attach(self._socket, list(self._ports))

    def off(self, port: int) -> None:
        self._ports[port] -= 1
        if not self._ports[port]:
            del self._ports[port]
            mark = struct.pack("!H", port)
            self._flows = {ends: flow for ends, flow in self._flows.items() if ends[8:10] != mark}
            attach(self._socket, list(self._ports))

    def look(self) -> None:
        """Read what has come until now."""
        until = time.time()
        at = 0.0
        while at <= until:
            try:
                packet, [(_, _, stamp)], _, _ = self._socket.recvmsg(2**18, 64)
            except BlockingIOError:
                break
            seconds, nanoseconds = struct.unpack("@qq", stamp)
            at = seconds + nanoseconds / 1e9
            self._packet(packet, at)
        _, dropped = struct.unpack("@II", self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 8))
        self.seen.dropped += dropped

    def _packet(self, packet: bytes, at: float) -> None:
        top = (packet[0] & 15) * 4
        port, _, number, _, where, flags = struct.unpack_from("!HHIIBB", packet, top)
        data = packet[top + (where >> 4) * 4 : int.from_bytes(packet[2:4]) or None]
        seen = self.seen
        seen.packets += 1
        seen.bytes += len(data)
        seen.ports[port] += 1
        ends = packet[12:20] + packet[top : top + 4]
        if flags & 2:  # SYN: takes a number
            self._flows[ends] = Flow((number + 1) % 2**32)
        if data:
            flow = self._flows.get(ends)
            if flow is None:  # it was open before it was watched
                flow = self._flows[ends] = Flow(number)
            for text, known in flow.take(number, data):
                self._search(text, known, port, at)
        if flags & 4:  # RST. After a FIN something may be sent again.
            self._flows.pop(ends, None)
        if len(self._flows) > _FLOWS:
            del self._flows[next(iter(self._flows))]

    def _search(self, text: bytes, known: int, port: int, at: float) -> None:
        for match in _FOUND.finditer(text):
            if match.end() > known and len(self.seen.found) < _MOST:
                around = text[max(0, match.start() - _AROUND) : match.end() + _AROUND]
                self.seen.found.append({"port": port, "at": at, "around": around.decode("latin-1")})
        self.seen.packed += sum(match.end() > known for match in _PACKED.finditer(text))


def open_socket() -> socket.socket:
    """A packet socket that has no port yet. Raises Unable."""
    if not hasattr(socket, "AF_PACKET"):
        raise Unable("packet sockets are Linux's")
    try:
        # Without the link's header, and of the two copies that loopback makes only the one that arrives.
        found = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    except PermissionError:
        raise Unable("packet sockets need CAP_NET_RAW") from None
    found.setblocking(False)
    try:
        found.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, _BUFFER)
    except PermissionError:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    found.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)
    attach(found, [])
    found.bind(("lo", _IP))
    return found


def attach(sock: socket.socket, ports: list[int]) -> None:
    """Let the kernel pass on only TCP from these ports: a classic BPF program over packets that begin with the IP header."""
    load_byte, load_half, jump_if_equal, header_length, give = (
        0x30,
        0x48,
        0x15,
        0xB1,
        0x06,
    )  # the half: from the header on
    lines = [
        (load_byte, 0, 0, 9), (jump_if_equal, 0, 2 + len(ports), socket.IPPROTO_TCP),
        (header_length, 0, 0, 0), (load_half, 0, 0, 0),
        *((jump_if_equal, len(ports) - i, 0, port) for i, port in enumerate(ports)),
        (give, 0, 0, 0),
        (give, 0, 0, 2**18),
    ]  # fmt: skip
    code = ctypes.create_string_buffer(b"".join(struct.pack("@HBBI", *line) for line in lines))
    sock.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("@HP", len(lines), ctypes.addressof(code)))


def main() -> None:
    """Look until standard input ends. Each line of it, `on PORT`, `off PORT` or `report`, is answered by a line of JSON."""
    looker = Looker()
    print(json.dumps("ready"), flush=True)
    while True:
        asked, _, _ = select.select([sys.stdin], [], [], _BATCH)
        looker.look()
        if not asked:
            continue
        match sys.stdin.readline().split():
            case ["on", port]:
                looker.on(int(port))
            case ["off", port]:
                looker.off(int(port))
            case []:
                return
        print(json.dumps(vars(looker.seen)), flush=True)


class Watch:
    """The watch as tests see it. Raises Unable where it is not possible."""

    def __init__(self) -> None:
        open_socket().close()
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for pytest; this one ends with its input
        )
        self._tests: list[tuple[float, str]] = []
        self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(_PATIENCE)
        self._process.stdout.close()

    def on(self, port: int) -> None:
        """A server listens on this port: look at all that comes from it from now on."""
        self._ask(f"on {port}")

    def off(self, port: int) -> None:
        """Its process has ended. Several may share a port: it is watched until all have."""
        self._ask(f"off {port}")

    def report(self) -> Seen:
        """All that was seen until now."""
        told = self._ask("report")
        return Seen(**{**told, "ports": Counter({int(port): count for port, count in told["ports"].items()})})

    def running(self, test: str) -> None:
        """This test begins; a find is told with the test that ran at its time."""
        self._tests.append((time.time(), test))

    def verdict(self) -> str:
        """What is wrong, in a few lines; "" when nothing is."""
        seen = self.report()
        lines = []
        for found in seen.found:
            test = next((name for at, name in reversed(self._tests) if at <= found["at"]), "(before the first test)")
            lines.append(f"a key left port {found['port']} in {test}: {found['around']!r}")
        if seen.dropped:
            lines.append(f"{seen.dropped} packets were dropped unseen (buffer: {seen.buffer} bytes)")
        return "\n".join(lines)

    def _ask(self, line: str) -> Any:
        with self._lock:
            assert self._process.stdin
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
            return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, f"the watch has ended with {self._process.wait(_PATIENCE)}"
        return json.loads(line)


if __name__ == "__main__":
    main()
