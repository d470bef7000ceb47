"""What a streamed answer is written by: it may begin before it is known who gives the answer, and goes on with who does."""

import random
import time
from contextlib import suppress

from dialects.contract import ClientRequest, Dialect, Envelope, Renderer, end_of
from gateway.routing import Target
from providers.contract import Batch, Call, Upstream
from providers.errors import Failure

from .calls import prepare_call
from .delivery import Delivery
from .request import Request


def envelope(request: Request) -> Envelope:
    """Return what the answer to this request says of itself, whoever gives it."""
    record = request.record
    return Envelope(f"{random.getrandbits(128):032x}", int(time.time()), record.model, record.id)


def answered_by(request: Request, ident: Envelope, upstream: Upstream) -> Envelope:
    """Return the same, and who answers."""
    tokens = request.meter.prompt.tokens(upstream)
    return Envelope(*ident[:4], upstream.name, upstream.model, tokens, upstream.facts.context or 0)


class Rendering:
    """The renderer of one answer, from its beginning on. delivery: what writes the answer, once there is one."""

    def __init__(self, request: Request, dialect: Dialect, asked: ClientRequest) -> None:
        self._request, self._dialect, self._asked = request, dialect, asked
        self._ident = envelope(request)
        self._times = request.app_state.heartbeat.settings
        self.renderer: Renderer | None = None
        self.delivery: Delivery | None = None

    def by(self, upstream: Upstream) -> Renderer:
        """Return what the answer of this upstream is written by."""
        ident = answered_by(self._request, self._ident, upstream)
        self.renderer = self._dialect.render(self._asked, ident, upstream.reasoning, self.renderer)
        return self.renderer

    def is_bound(self) -> bool:
        """Whether the answer has begun in a way with which no other target can go on."""
        return self.renderer is not None and not self._dialect.begins_early

    async def prepare(self, target: Target) -> Call:
        """Return the call; a translated one once the answer has begun: a native one would begin anew. See prepare_call."""
        asked = self._asked if self.renderer is None else self._asked._replace(raw=None)
        return await prepare_call(self._request, self._dialect, asked, target)

    def on_silence(self, seconds: float) -> bytes | bytearray:
        """Return the event that the client gets although the upstream is silent; b"" where a comment will do.

        It may be what the answer begins with. seconds: since the client got anything but comments.
        """
        early = 0.0 if self._dialect.begins_early else self._times.thinking
        silent = self._request.meter.exchange
        if seconds < (early if self.renderer is None else self._times.events) or silent is None:
            return b""
        if silent.call.native is not None or (self.delivery is not None and self.delivery.busy):
            return b""
        before = self.renderer
        if data := (before or self.by(silent.to)).send(Batch([])):
            return data
        self.renderer = before
        return b""

    def failed(self, failure: Failure) -> bytes:
        """Return what ends the stream of an answer that has failed; its renderer may be what failed."""
        if self.renderer is not None:
            if failure.verbatim is not None:  # of a native answer
                return failure.verbatim
            with suppress(Failure, RuntimeError):
                return end_of(self.renderer, failure)
        return end_of(self._dialect.render(self._asked, self._ident, True), failure)
