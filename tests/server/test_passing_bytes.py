"""What is found in bytes that pass: the model of a form and of JSON, and the usage of an answer, wherever they are cut."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from cuts import CUTS, pieces

from dialects.passing import json_model
from dialects.passing.form import FormScanner, boundary_of
from dialects.passing.paths import under_base, without_keys
from dialects.passing.usage import UsageWatch
from providers.errors import BadRequest, NotFound, Overloaded
from server.passing.uploads import Spool

FORM = (
    b'--b-1\r\nContent-Disposition: form-data; name="file"; filename="\xe4\xbd\xa0\xe5\xa5\xbd.mp3"; filename*=utf-8\'\'x\r\n'
    b"Content-Type: audio/mpeg\r\n\r\n\r\n--b\r\n--b-\r\n-\r\n\xff\r\n--b-1\r\ncontent-disposition: FORM-DATA;name=model\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\nwhisper\xe2\x80\xa8\r\n"
    b'--b-1\r\nContent-Disposition: form-data; name="\xe4"\r\n\r\n\r\n--b-1--\r\n'
)


@pytest.mark.parametrize("cut", CUTS)
def test_the_model_of_a_form(cut: int | None) -> None:
    names: list[str] = []
    scanner = FormScanner(b"b-1", names.append)
    for piece in pieces(FORM, cut):
        scanner.feed(piece)
    scanner.close()
    assert scanner.model == "whisper\u2028"
    assert FORM[scanner.start : scanner.end] == "whisper\u2028".encode()
    assert names == ["file", "model", "\ufffd"]


@pytest.mark.parametrize(
    "given, expected",
    [
        (["multipart/form-data; boundary=abc"], b"abc"),
        (['Multipart/Form-Data; charset=utf-8; boundary="a b"'], b"a b"),
        (["application/json"], None),
        ([], None),
        (["multipart/form-data"], BadRequest),
        (["multipart/form-data; boundary=a; boundary=b"], BadRequest),
        (["multipart/form-data; boundary=a", "multipart/form-data; boundary=b"], BadRequest),
        (["multipart/mixed; boundary=a"], BadRequest),
        (["multipart/form-data; x=é; boundary=a"], BadRequest),
    ],
)
def test_boundaries(given: list[str], expected: Any) -> None:
    if expected is BadRequest:
        with pytest.raises(BadRequest):
            boundary_of(given)
    else:
        assert boundary_of(given) == expected


@pytest.mark.parametrize(
    "text, changed",
    [
        ('{"model":"a"}', '{"model":"new"}'),
        ('{"x":[{"model":"a"}],"model" : "a" , "y":"\\"model\\":\\"a\\""}', None),
        ('\n{ "x" : 1 ,\t"mod\\u0065l":"a"}\r\n', None),
        ('{"x":{"model":"a"}}', '{"model":"new","x":{"model":"a"}}'),
        ("{}", '{"model":"new"}'),
        ('{"s":"\\ud83d","你好":"\u2028","model":"a"}', None),
    ],
)
def test_the_model_of_json(text: str, changed: str | None) -> None:
    if changed is None:
        at = text.index(
            ':"a"' if "mod\\u0065l" in text else '"a"',
            text.index('"model" ') if '"model" ' in text else text.rindex("mod"),
        )
        at += text[at] == ":"
        changed = text[:at] + '"new"' + text[at + 3 :]
    assert json_model.read(text.encode()).with_model("new").decode() == changed


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":12}',
        '{"a":12,"a":1}',
        '{"model":"a","model":"a"}',
        '{"a":"x","\\u0061":"x"}',
        "[1]",
        '"a"',
        '{"a":',
        "",
    ],
)
def test_json_that_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        json_model.read(text.encode())


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize(
    "answer, expected",
    [
        (b'{"text":"\\"usage\\": {\\"total_tokens\\": 9}","usage":{"type":"duration","seconds":9}}', None),
        (b'{"usage": {"prompt_tokens": 3, "completion_tokens": 2}, "data": "' + b"A" * 200_000 + b'"}', (3, 2)),
        (b'{"data": "' + b"A" * 200_000 + b'", "usage": {"input_tokens": 3, "output_tokens": 2, "details": {"a": "}"}}}', (3, 2)),
        (b'data: {"usageMetadata": {"promptTokenCount": 3}}\r\n\r\ndata: {"usageMetadata": {"promptTokenCount": 3, '
         b'"candidatesTokenCount": 2, "totalTokenCount": 5}}\r\n\r\n', (3, 2)),
        (b'{"usage": {"total_tokens": 5}}', (5, 0)),
        (b'{"meta": {"tokens": {"input_tokens": 5}}}', (5, 0)),
        (b'{"usage": {"total_tokens": 5', None),
        (b"\xff\x00" * 100, None),
    ],
)  # fmt: skip
def test_the_usage_of_an_answer(answer: bytes, expected: tuple[int, int] | None, cut: int | None) -> None:
    watch = UsageWatch()
    for piece in pieces(answer, cut if len(answer) < 10_000 else cut and cut * 1000):
        watch.see(piece)
    found = watch.usage()
    assert (found and (found["prompt_tokens"], found["completion_tokens"])) == expected


def test_paths_and_queries() -> None:
    assert under_base("files/file-1/content") == "/files/file-1/content"
    assert under_base("a.b/c~d:e@f,g/") == "/a.b/c~d:e@f,g/"
    for path in ("..", "a/../b", "%2e%2e", "a%2fb", "a\\b", "a;b", "a//b", "a%2525", "http://x", "", "/a", "a%0d", "é"):
        with pytest.raises(NotFound):
            under_base(path)
    assert without_keys("a=1&b=%2F") == "a=1&b=%2F"
    assert without_keys("a=é&b") == "a=%C3%A9&b="
    assert without_keys("a=1&KEY=x&api_key=y&b=%2F&a=2") == "a=1&b=%2F&a=2"


def test_a_spool_has_a_bound() -> None:
    """What is long goes to disk; where all together are too much, the client is told what to do."""

    async def fill() -> None:
        state: Any = SimpleNamespace(spooled=0)
        one, other = Spool(state, 2**20), Spool(state, 2**20)
        for _ in range(12):
            await one.add(b"a" * 2**16)
        assert state.spooled == 12 * 2**16
        await one.add(b"b" * 10)
        assert b"".join([piece async for piece in one.read(5, one.size)]) == b"a" * (12 * 2**16 - 5) + b"b" * 10
        assert b"".join([piece async for piece in one.read(3, 9)]) == b"a" * 6
        with pytest.raises(Overloaded, match="'model' before the"):
            for _ in range(9):
                await other.add(b"a" * 2**16)
        one.close()
        other.close()
        assert state.spooled == 0

    asyncio.run(fill())
