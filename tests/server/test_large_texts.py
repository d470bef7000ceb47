"""What a body of megabytes is looked through for costs little: nearly all of it is one text, base64 most often.

CPU is compared with what this machine needs to count one byte in the same body.
"""

import re
import time
from base64 import b64encode
from collections.abc import Callable
from math import inf
from random import Random

import pytest

from dialects.responses import state
from providers import density, raw_json
from providers.common import media

IMAGE = b64encode(Random(1).randbytes(3 * 2**20)).decode()
BODY = (
    '{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"What, [1] is in {it}?"},'
    f'{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{IMAGE}"}}}}]}}],"previous_response_id":null}}'
).encode()
MEMBERS = raw_json.members(BODY)
TIMES = 5  # measurements of each, of which the least counts


def cpu(work: Callable[[], object]) -> float:
    """Seconds of CPU."""
    least = inf
    for _ in range(TIMES):
        start = time.thread_time()
        work()
        least = min(least, time.thread_time() - start)
    return least


# What is done, and how many times as much as counting one byte it may cost.
WORK: dict[str, tuple[Callable[[], object], float]] = {
    "values are counted": (lambda: density.values(BODY, density.MOST), 1),
    "earlier responses are looked for": (lambda: state.goes_on(BODY), 0.5),
    "members are joined": (lambda: raw_json.joined(MEMBERS), 0.7),
}


@pytest.mark.parametrize("name", WORK)
def test_a_large_text_is_looked_through_fast(name: str) -> None:
    work, most = WORK[name]
    assert cpu(work) < most * cpu(lambda: BODY.count(b","))


@pytest.mark.parametrize("seed", range(40))
def test_marks_are_counted(seed: int) -> None:
    """Marks that stand close and marks that stand far apart, whole and within bounds."""
    chance = Random(seed)
    pieces = [b"x" * chance.randrange(1, 3000), b",", b",,,{{,[[", b",x" * chance.randrange(1, 800), b"\x00\xff"]
    data = b"".join(chance.choices(pieces, k=chance.randrange(200)))
    at, end = sorted(chance.choices(range(len(data) + 2), k=2))
    assert density.count(data, b",", 0, len(data)) == data.count(b",")
    assert density.count(data, b",", at, end) == data.count(b",", at, end)
    assert density.marks(data, len(data)) == sum(map(data.count, (b"{", b"[", b",")))
    assert density.marks(data, 0) >= min(1, density.marks(data, len(data)))


@pytest.mark.parametrize("seed", range(40))
def test_what_stands_between_quotes_is_in_the_outline(seed: int) -> None:
    chance = Random(seed)
    pieces = [b'"%d"' % n for n in range(9)] + [
        b'"',
        b"x" * 70_000,
        b" " * 140_000,
        b"x" * chance.randrange(300_000),
        b'\\"',
    ]
    data = b"".join(chance.choices(pieces, k=chance.randrange(1, 20)))
    made = density.outline(data)
    quoted = re.compile(rb'"(?=([^"]{0,60000})")')
    assert (
        quoted.findall(made) == quoted.findall(data)
        if made == data
        else set(quoted.findall(data)) <= set(quoted.findall(made))
    )
    assert made.count(b'"') == data.count(b'"')
    assert max(map(len, made.split(b'"'))) < 3 * 2**16


@pytest.mark.parametrize("value", [b"null", b" null", b"\n\t1", b"{}"])
def test_no_earlier_response_is_none(value: bytes) -> None:
    said = b'{"input":"of \\"previous_response_id\\": \\"resp_1\\"","previous_response_id" :' + value + b"}"
    assert not state.goes_on(said)


@pytest.mark.parametrize("name", ["previous\\u005fresponse_id", "\\u0070revious_response_id"])
def test_an_earlier_response_is_found_behind_escapes(name: str) -> None:
    assert state.goes_on(f'{{"input":"x","{name}":"resp_1"}}'.encode())
    assert state.goes_on(b'{"input":[{"type":"item\\u005Freference","id":"msg_1"}]}')
    assert not state.goes_on(b'{"input":"\\u003cb\\u003e \\u00e9"}')


@pytest.mark.parametrize("blanks", [0, 1, 70_000, 200_000])
def test_an_earlier_response_is_found_behind_many_blanks(blanks: int) -> None:
    gap = b" " * blanks
    assert state.goes_on(b'{"input":"x","previous_response_id"' + gap + b":" + gap + b'"resp_1"}')
    assert state.goes_on(b'{"input":[' + gap + b'{"type":' + gap + b'"item_reference","id":"msg_1"}]}')


@pytest.mark.parametrize("seed", range(40))
def test_what_may_name_earlier_responses_is_found(seed: int) -> None:
    pattern = re.compile(rb'"previous_response_id"\s*:\s*"|item_reference')
    chance = Random(seed)
    pieces = [b'"previous_response_id"', b" ", b":", b'"', b"null", b"\n\t", b'"previous_response_id":null', b"item_"]
    for _ in range(200):
        data = b"".join(chance.choices([*pieces, *pieces, b"item_reference"], k=chance.randrange(9)))
        assert state.goes_on(data) or pattern.search(data) is None, data


@pytest.mark.parametrize("declared", ["image/png", "", "text/plain", "a;base64,zz", "a,b", "x" * 300, None, 7])
@pytest.mark.parametrize(
    "data",
    [
        IMAGE,
        "iVBORw0KGgo" + IMAGE,
        "",
        "AA",
        "A",
        "=",
        "%41",
        "\ud800",
        "ü" + IMAGE,
        "A" * 63 + "%",
        "A" * 64 + "%",
        "QUJD\n" * 99,
    ],
)
def test_the_type_of_a_file_is_that_of_its_data_uri(declared: object, data: str) -> None:
    def found(look: Callable[[], str]) -> str:
        try:
            return look()
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    whole = found(lambda: media.data_uri(f"data:{declared};base64,{data}", "").type)
    assert found(lambda: media.type_of(data, declared)) == whole
