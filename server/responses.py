"""Responses that clients go on from: ids are looked up before a request is parsed, answers are kept before their end is sent.

What belongs to another key is not found, in the same words as what never was.
"""

import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

import msgspec
from aiohttp import web

from dialects import responses
from dialects.contract import ClientRequest, Renderer
from dialects.responses import outgoing, state
from gateway.restricted_fields import FIELDS
from gateway.routing import Target, with_defaults
from gateway.settings import Settings
from providers import codec
from providers.contract import Json, Upstream
from providers.errors import Failure

from .admission import too_large
from .outbound.exchange import Exchange
from .responses_store import Pin, ResponsesStore, Stored
from .worker import Worker, done

STORE: Final = web.AppKey("RESPONSES", ResponsesStore)
_ANY: Final = "*"  # any provider that keeps responses itself
# What limited keys may send although chat completions know it by other names, or do not know it.
_KNOWN_HERE: Final = frozenset({"max_output_tokens", "previous_response_id"})


class Fit(NamedTuple):
    """A request as a target is sent it natively, and what was dropped for that."""

    body: Json
    dropped: tuple[str, ...]


class Conversation(msgspec.Struct):
    """What one request goes on from, and what will be kept of it.

    sent: the request as the client sent it; before: the items of the responses it goes on from, None where they are not
    known here; own: the items of its own input; at: the provider that keeps the response it goes on from, if one does;
    unknown: the failure for targets that do not know its ids, where these are not known here; provider: who knows them.
    """

    owner: str
    store: ResponsesStore
    restricted: bool
    sent: Json | None = None
    previous: str | None = None
    before: list[Json] | None = None
    own: list[Json] = []
    at: str = ""
    unknown: Failure | None = None
    provider: str = ""
    keep: bool = False
    foreign: Mapping[str, Pin] = {}  # ids of reasoning items → whose they are
    opened: bool = False  # the id of a native answer has been pinned
    closed: bool = False  # the end of a streamed answer has been seen

    async def resolve(self, data: bytes, may_pass: bool, largest: int, worker: Worker | None) -> bytes:
        """Return the request's body with the conversation that it goes on from, where that is known here.

        may_pass: whether ids that are not known are passed on to a provider that keeps responses itself; largest: bytes
        that the body may have; worker: of a large body. Raises BadRequest, NotFound, RequestTooLarge.
        """
        if not state.goes_on(data):
            return data
        body, named = await done(worker, partial(state.references, data))
        if named.previous is None and not named.items:
            return data
        self.sent, self.previous = body, named.previous
        pins = await self.store.pinned([each for each in (named.previous, *named.items.values()) if each])
        if named.previous is not None:
            await self._find_previous(named.previous, pins.get(named.previous), may_pass)
        idents = dict.fromkeys(named.items.values())
        items = await self.store.items(self.owner, idents)
        not_found = partial(state.item_not_found, store=body.get("store"))
        for ident in idents:
            if ident not in items:
                self._place(ident, pins.get(ident), may_pass, not_found)
        largest = max(largest, len(data))
        expand = partial(state.expanded, body, named.items, items, self.before or [], largest)
        self.own, whole = await done(worker, expand)
        if not whole:
            raise too_large(largest)
        return whole

    async def _find_previous(self, ident: str, pin: Pin | None, may_pass: bool) -> None:
        chain = await self.store.chain(self.owner, ident)
        if chain is None:
            self._place(ident, pin, may_pass, partial(state.previous_not_found, off=not self.store.on))
            self.at = self.provider
            return
        self.before = [item for each in chain for item in (*each.input, *each.response["output"])]
        # What an upstream knows and this server does not read would pass a key's limits by.
        if chain[-1].native and not self.restricted:
            self.at = chain[-1].provider

    def _place(self, ident: str, pin: Pin | None, may_pass: bool, unknown: Callable[[str], Failure]) -> None:
        """Note who knows an id that is not known here. Raises `unknown` of it where nobody does."""
        mine = pin is not None and pin.owner == self.owner
        if self.restricted or not (mine if pin is not None else may_pass and not outgoing.is_own(ident)):
            raise unknown(ident)
        provider = pin.provider if pin is not None else _ANY
        self.provider = provider if self.provider in ("", _ANY) else self.provider
        self.unknown = self.unknown or unknown(ident)

    async def begin(self, asked: ClientRequest) -> ClientRequest:
        """Return the parsed request, with what its answer and its errors are to say of it. Looks up whose its reasoning is."""
        raw = asked.raw
        if self.sent is None:
            self.own = state.resolved(raw, {}, {})
        self.keep = self.store.on and raw.get("store") is not False
        given = raw.get("input")
        reasoning = [item["id"] for item in given if outgoing.is_reasoning(item) and isinstance(item.get("id"), str)] \
            if isinstance(given, list) else []  # fmt: skip
        self.foreign = await self.store.pinned(reasoning)
        asked = asked._replace(answer=asked.answer._replace(previous=self.previous, stored=self.keep))
        return responses.behind(asked, len(self.before)) if self.before else asked

    def check(self) -> None:
        """Raise the failure of a request that cannot be translated: it holds ids that only an upstream knows."""
        if self.unknown is not None:
            raise self.unknown

    def native(self, asked: ClientRequest, target: Target) -> "Fit | None":
        """Return the request as this target is sent it natively; None where it must be translated.

        Raises the failure of a target that does not know the ids it holds.
        """
        upstream = target.upstream
        raw, keeps = asked.raw, upstream.host.responses_state
        if self.unknown is not None and not (keeps and self.provider in (upstream.name, _ANY)):
            raise self.unknown
        if self.sent is not None and keeps and self.at in (upstream.name, _ANY):
            own = self.own if isinstance(self.sent.get("input"), list) else self.sent.get("input")
            raw = {**self.sent, "input": own}
        if self.restricted and any(raw.get(name) for name in FIELDS.keys() - _KNOWN_HERE - {*upstream.host.allow}):
            return None
        raw, cleaned = outgoing.cleaned(raw)
        others = {ident for ident, pin in self.foreign.items() if pin != (self.owner, upstream.name)}
        raw, without = outgoing.without_reasoning_of(raw, frozenset(others))
        filled = with_defaults(asked.body, target)
        missing = {name: value for name, value in filled.items() if name not in asked.body}
        return Fit(outgoing.with_defaults(raw, missing), (*cleaned, *without))

    def must_keep(self, answer: Renderer) -> bool:
        """Whether `keep_streamed` has something to do."""
        return isinstance(answer, responses.Answered) and (
            (not self.opened and answer.begun is not None) or (not self.closed and answer.response is not None)
        )

    async def keep_streamed(self, answer: Renderer, exchange: Exchange) -> None:
        """Keep a streamed answer that has ended, if it is one to be kept. Call it before its end is sent.

        The id of a native answer is noted as soon as it is known.
        """
        if not isinstance(answer, responses.Answered):
            return
        if not self.opened and (begun := answer.begun) is not None:
            self.opened = True
            if state.is_ident(begun.get("id")):
                await self._pin(begun["id"], [], exchange.to)
        if not self.closed and (response := answer.response) is not None:
            self.closed = True
            await self._keep(response, exchange, exchange.verbatim)

    async def keep_whole(self, answer: Json, exchange: Exchange) -> None:
        """Keep an answer. Call it before it is sent. What passes as it came is read from the exchange."""
        if not exchange.verbatim:
            await self._keep(answer, exchange, False)
            return
        with suppress(ValueError):
            await self._keep(await exchange.on_answer(partial(codec.decode, exchange.answer)), exchange, True)

    async def _keep(self, response: Json, exchange: Exchange, native: bool) -> None:
        """Keep an answer, where it is one to be kept, and note whose its ids are."""
        upstream = exchange.to
        match response:
            case {"id": str(ident), "output": list(output)} if state.is_ident(ident):
                pass
            case _:
                return
        if native:
            await self._pin(ident, [*state.by_ident(output)], upstream)
        if self.keep and response.get("status") in ("completed", "incomplete"):
            unique = f"{random.getrandbits(128):032x}"
            parent = self.previous if self.before is not None else None
            stored = Stored(ident, parent, upstream.name, native, state.with_ids(self.own, unique), response)
            # Without what it goes on from, it is not the whole conversation: only the upstream can go on with it.
            if self.previous is None or self.before is not None:
                await self.store.put(self.owner, stored, exchange.large or exchange.encoder is not None)

    async def _pin(self, ident: str, items: list[str], upstream: Upstream) -> None:
        await self.store.pin(self.owner, upstream.name, [ident, *(items if upstream.host.responses_unique else ())])


def open_store(settings: Settings, worker: Worker) -> ResponsesStore:
    """Return the store that a configuration asks for. Raises OSError where its file cannot be used."""
    config = settings.config.responses
    return ResponsesStore(config.store, config.ttl, config.store_mb * 2**20, time.time, worker)
