"""What is kept of responses: the same suite for memory and for a file. Numbers are the acceptance cases of the Responses API."""

import asyncio
import random
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dialects.responses import state
from providers.errors import BadRequest
from server import responses_store
from server.responses_store import Pin, ResponsesStore, Stored

Json = dict[str, Any]


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = 1_000_000.0

    def __call__(self) -> float:
        return self.time


def stored(
    ident: str, parent: str | None = None, text: str = "", provider: str = "echo", native: bool = False
) -> Stored:
    own: Json = {"id": f"msg_in_{ident}", "type": "message", "role": "user", "content": text}
    output: Json = {"id": f"msg_out_{ident}", "type": "message", "role": "assistant", "content": []}
    return Stored(ident, parent, provider, native, [own], {"id": ident, "output": [output], "status": "completed"})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "file"])
def made(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Callable[..., ResponsesStore]]:
    """Makes stores that are closed at the end of the test."""
    path = "memory" if request.param == "memory" else str(tmp_path / "responses.db")
    opened: list[ResponsesStore] = []

    def make(ttl: float = 100.0, room: int = 2**20) -> ResponsesStore:
        opened.append(ResponsesStore(path, ttl, room, clock))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


@pytest.mark.case(responses=67)
def test_what_was_put_is_found(made: Callable[..., ResponsesStore]):
    async def run() -> None:
        store = made()
        assert await store.put("laptop", stored("a", text="é 世界"))
        assert await store.get("laptop", "a") == stored("a", text="é 世界")
        assert await store.get("laptop", "b") is None

    asyncio.run(run())


@pytest.mark.case(responses=69)
def test_another_key_finds_nothing(made: Callable[..., ResponsesStore]):
    async def run() -> None:
        store = made()
        await store.put("laptop", stored("a"))
        await store.put("laptop", stored("b", "a"))
        assert await store.get("phone", "a") is None
        assert await store.chain("phone", "b") is None
        assert await store.items("phone", ["msg_out_a"]) == {}
        assert await store.delete("phone", "a") is False
        assert await store.get("laptop", "a") is not None

    asyncio.run(run())


@pytest.mark.case(responses=67)
def test_a_chain_is_oldest_first(made: Callable[..., ResponsesStore]):
    async def run() -> None:
        store = made()
        for ident, parent in (("a", None), ("b", "a"), ("c", "b")):
            await store.put("", stored(ident, parent))
        chain = await store.chain("", "c")
        assert chain is not None and [each.id for each in chain] == ["a", "b", "c"]

    asyncio.run(run())


@pytest.mark.case(responses=70)
def test_a_chain_with_a_deleted_link_is_not_found(made: Callable[..., ResponsesStore]):
    async def run() -> None:
        store = made()
        for ident, parent in (("a", None), ("b", "a"), ("c", "b")):
            await store.put("", stored(ident, parent))
        assert await store.delete("", "b") is True
        assert await store.delete("", "b") is False
        assert await store.chain("", "c") is None
        assert await store.get("", "c") is not None
        assert await store.items("", ["msg_out_b", "msg_in_b"]) == {}

    asyncio.run(run())


@pytest.mark.case(responses=70)
def test_what_is_not_used_expires_and_a_child_keeps_its_ancestors(made: Callable[..., ResponsesStore], clock: Clock):
    async def run() -> None:
        store = made(ttl=10.0)
        await store.put("", stored("a"))
        await store.put("", stored("lonely"))
        clock.time += 9
        await store.put("", stored("b", "a"))
        clock.time += 9
        chain = await store.chain("", "b")
        assert chain is not None and [each.id for each in chain] == ["a", "b"]
        assert await store.get("", "lonely") is None
        clock.time += 10
        assert await store.get("", "b") is None

    asyncio.run(run())


@pytest.mark.case(responses=70)
def test_the_longest_unused_goes_first(made: Callable[..., ResponsesStore], clock: Clock):
    async def run() -> None:
        store = made(room=30_000)
        for ident in "abc":
            await store.put("", stored(ident, text="x" * 9_000))
            clock.time += 1
        await store.get("", "a")
        clock.time += 1
        await store.put("", stored("d", text="x" * 9_000))
        found = {ident: await store.get("", ident) is not None for ident in "abcd"}
        assert found == {"a": True, "b": False, "c": True, "d": True}

    asyncio.run(run())


@pytest.mark.case(responses=71)
def test_what_is_too_large_is_not_kept(made: Callable[..., ResponsesStore]):
    async def run() -> None:
        store = made(room=2**30)
        assert not await store.put("", stored("a", text="x" * (responses_store.LARGEST + 1)))
        assert await store.get("", "a") is None
        small = made(room=1024)
        assert not await small.put("", stored("a", text="x" * 2000))

    asyncio.run(run())


@pytest.mark.case(responses=71)
def test_off_keeps_nothing():
    async def run() -> None:
        store = ResponsesStore("off", 100.0, 2**20, Clock())
        assert not await store.put("", stored("a"))
        assert await store.get("", "a") is None
        store.close()

    asyncio.run(run())


@pytest.mark.case(responses=12)
def test_items_are_found_by_their_ids(made: Callable[..., ResponsesStore]):
    async def run() -> None:
        store = made()
        await store.put("laptop", stored("a"))
        one, other = stored("a").input[0], stored("a").response["output"][0]
        found = await store.items("laptop", ["msg_in_a", "msg_out_a", "msg_x"])
        assert found == {"msg_in_a": one, "msg_out_a": other}

    asyncio.run(run())


def test_an_upstream_that_uses_ids_again_makes_no_circle(made: Callable[..., ResponsesStore]):
    async def run() -> None:
        store = made()
        await store.put("", stored("a", "b"))
        await store.put("", stored("b", "a"))
        await store.put("", stored("c", "c"))
        for ident in "abc":
            await store.chain("", ident)
            await store.get("", ident)

    asyncio.run(run())


@pytest.mark.case(responses=81)
def test_pins_say_whose_an_id_is(made: Callable[..., ResponsesStore], clock: Clock):
    async def run() -> None:
        store = made()
        await store.pin("laptop", "openai", ["resp_1", "rs_1"])
        await store.pin("phone", "xai", ["resp_2"])
        pins = {"resp_1": Pin("laptop", "openai"), "rs_1": Pin("laptop", "openai"), "resp_2": Pin("phone", "xai")}
        assert await store.pinned(["resp_1", "rs_1", "resp_2", "resp_3"]) == pins
        await store.unpin("resp_1")
        assert await store.pinned(["resp_1"]) == {}
        clock.time += responses_store.PIN_SECONDS
        assert await store.pinned(["rs_1", "resp_2"]) == {}

    asyncio.run(run())


def test_pins_are_bounded(made: Callable[..., ResponsesStore], clock: Clock):
    async def run() -> None:
        store = made()
        await store.pin("", "openai", ["old"])
        clock.time += 1
        await store.pin("", "openai", [f"resp_{n}" for n in range(responses_store.PINS)])
        assert await store.pinned(["old"]) == {}
        last = f"resp_{responses_store.PINS - 1}"
        pins = await store.pinned([last])
        assert len(pins) <= 1

    asyncio.run(run())


def test_a_file_outlives_a_restart_and_is_nobody_elses_to_read(tmp_path: Path, clock: Clock):
    async def run() -> None:
        path = str(tmp_path / "responses.db")
        store = ResponsesStore(path, 100.0, 2**20, clock)
        await store.put("laptop", stored("a", text="x" * 1000))
        await store.pin("laptop", "openai", ["resp_1"])
        store.close()
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
        again = ResponsesStore(path, 100.0, 1500, clock)
        assert await again.get("laptop", "a") == stored("a", text="x" * 1000)
        assert await again.pinned(["resp_1"]) == {"resp_1": Pin("laptop", "openai")}
        await again.put("laptop", stored("b", text="x" * 500))  # the size of what was there counts
        assert await again.get("laptop", "a") is None
        again.close()

    asyncio.run(run())


def test_a_file_that_cannot_be_used(tmp_path: Path, clock: Clock):
    with pytest.raises(OSError, match=r"the file of responses .* cannot be used"):
        ResponsesStore(str(tmp_path / "nowhere" / "responses.db"), 1.0, 1, clock)


@pytest.mark.parametrize("seed", range(5))
def test_it_behaves_like_a_plain_dict(made: Callable[..., ResponsesStore], clock: Clock, seed: int):
    """Random work on the store and on a model of it."""
    chance = random.Random(seed)
    model: dict[tuple[str, str], tuple[Stored, float]] = {}
    ttl = 20.0

    def fresh() -> None:
        for key, (_, used) in list(model.items()):
            if used <= clock.time - ttl:
                del model[key]

    def touch(owner: str, ident: str | None) -> None:
        seen = set()
        while ident is not None and ident not in seen:
            seen.add(ident)
            found = model.get((owner, ident))
            if found is None:
                return
            model[owner, ident] = found[0], clock.time
            ident = found[0].parent

    async def run() -> None:
        store = made(ttl=ttl)
        for _ in range(300):
            clock.time += chance.choice((0.0, 1.0, 5.0))
            owner, ident = chance.choice(("a", "b")), str(chance.randrange(8))
            match chance.randrange(4):
                case 0 | 1:
                    known = [each for key, each in model if key == owner and each < ident]
                    new = stored(ident, chance.choice([None, *known]), str(chance.random()))
                    await store.put(owner, new)
                    model[owner, ident] = new, clock.time
                    touch(owner, new.parent)
                    fresh()
                case 2:
                    fresh()
                    found = await store.get(owner, ident)
                    assert found == (model[owner, ident][0] if (owner, ident) in model else None)
                    if found is not None:
                        touch(owner, ident)
                case 3:
                    fresh()
                    assert await store.delete(owner, ident) is ((owner, ident) in model)
                    model.pop((owner, ident), None)

    asyncio.run(run())


ITEMS = [{"id": f"msg_{n}", "type": "message"} for n in range(5)]


@pytest.mark.parametrize(
    "query, ids, more",
    [
        ({}, ["msg_4", "msg_3", "msg_2", "msg_1", "msg_0"], False),
        ({"order": "asc", "limit": "2"}, ["msg_0", "msg_1"], True),
        ({"order": "asc", "limit": "2", "after": "msg_1"}, ["msg_2", "msg_3"], True),
        ({"limit": "2", "after": "msg_1"}, ["msg_0"], False),
        ({"after": "msg_0"}, [], False),
    ],
    ids=str,
)
@pytest.mark.case(responses=67)
def test_pages_of_items(query: dict[str, str], ids: list[str], more: bool):
    page = state.page(ITEMS, query)
    assert [item["id"] for item in page["data"]] == ids
    ends = (ids[0], ids[-1]) if ids else (None, None)
    assert (page["object"], page["first_id"], page["last_id"], page["has_more"]) == ("list", *ends, more)


@pytest.mark.parametrize(
    "query, param",
    [({"limit": "0"}, "limit"), ({"limit": "101"}, "limit"), ({"limit": "x"}, "limit"), ({"order": "up"}, "order"),
     ({"after": "msg_9"}, "after")],
    ids=str,
)  # fmt: skip
@pytest.mark.case(responses=67)
def test_pages_that_there_are_not(query: dict[str, str], param: str):
    with pytest.raises(BadRequest) as raised:
        state.page(ITEMS, query)
    assert raised.value.param == param


@pytest.mark.case(responses=67)
def test_kept_items_have_ids():
    given = [
        {"role": "user", "content": "Hi"},
        {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "ok"},
        {"role": "assistant", "content": "Hello"},
        {"type": "brand_new"},
    ]
    unique = "0" * 32
    text: Json = {"type": "input_text", "text": "Hi"}
    said: Json = {"type": "output_text", "text": "Hello"}
    assert state.with_ids(given, unique) == [
        {"role": "user", "content": [text], "id": f"msg_ms{unique}8000", "type": "message"},
        given[1],
        {**given[2], "id": f"fco_ms{unique}8002"},
        {"role": "assistant", "content": [said], "id": f"msg_ms{unique}8003", "type": "message"},
        {"type": "brand_new", "id": f"item_ms{unique}8004"},
    ]
