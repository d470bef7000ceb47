"""The rows of the fault matrix F1-F50, and that each is proved by a test with its mark: `@pytest.mark.fault("F12")`.

A test says what the client sees, what is asked upstream, what the log and the metrics say.
"""

import re
from typing import Final

from process import ROOT

# Fault → what it is; behind a semicolon, what is not made here, and why.
FAULTS: Final = {
    "F1": "the name does not exist",
    "F2": "the name server hangs",
    "F3": "connection refused",
    "F4": "connections swallowed",
    "F5": "TLS that is none, or not to be trusted",
    "F6": "closed before the status line",
    "F7": "reset before the status line",
    "F8": "garbage for HTTP",
    "F9": "a head, then silence",
    "F10": "one event, then silence",
    "F11": "chunks cut off",
    "F12": "a reset in mid-stream",
    "F13": "a cut that looks like an end",
    "F14": "a finish without [DONE]",
    "F15": "[DONE], and the connection stays",
    "F16": "a body shorter than its length",
    "F17": "a body that is not JSON",
    "F18": "bad events among good",
    "F19": "web pages, 204, redirects, 999",
    "F20": "a line without an end; 16 MiB of it: the limit is one of 64 KiB",
    "F21": "bad UTF-8, NUL, half an emoji",
    "F22": "line ends and cuts of every kind",
    "F23": "comments for ever; sixty of them, not a million",
    "F24": "a gzip bomb",
    "F25": "400",
    "F26": "401, 403",
    "F27": "404",
    "F28": "429",
    "F29": "500, 502, 503, 504, 529",
    "F30": "an error inside a 200",
    "F31": "a target that rests; asserted below 50 ms, for busy machines; it takes less than 1",
    "F32": "the client leaves, at any stage",
    "F33": "the client closes its sending half",
    "F34": "the client never reads",
    "F35": "the body comes slowly",
    "F36": "idle connections; with a bound of ten, and with 270 connections; 2,000 would be the test's own limit of files",
    "F37": "bodies that are wrong",
    "F38": "SIGTERM; with twenty streams and ten requests",
    "F39": "a reload under load",
    "F40": "a reload of a broken file",
    "F41": "kill -9",
    "F42": "the disk is full",
    "F43": "the database is locked",
    "F44": "the log's pipe is stuck",
    "F45": "few files may be open",
    "F46": "the clock jumps",
    "F47": "the loop stands still; that systemd restarts what does not feed its watchdog is systemd's",
    "F48": "memory runs out",
    "F49": "one hangs, the other throttles",
    "F50": "an idle connection that the upstream closed",
}


def test_every_fault_is_proved_by_a_test() -> None:
    assert list(FAULTS) == [f"F{n}" for n in range(1, 51)]
    texts = [file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py")]
    marks = [mark for text in texts for mark in re.findall(r"^ *@pytest\.mark\.fault\((.+)\)$", text, re.MULTILINE)]
    assert {fault for mark in marks for fault in re.findall(r"F\d+", mark)} == FAULTS.keys()
