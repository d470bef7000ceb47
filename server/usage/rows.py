"""The rows of the usage ledger's file: one for each request, and what is known of it when it begins."""

import msgspec
from msgspec.structs import astuple

from gateway import pricing
from gateway.estimates import Prompt
from gateway.pricing import TokenUsage
from providers.contract import Upstream


class UsageRow(msgspec.Struct, frozen=True, gc=False):
    """One request. Tokens of an open row are its prompt's estimate, its cost what that costs. Times are milliseconds.

    `stream` and `estimated` are 0 or 1, as SQLite has them: its module takes long to convert a bool.
    """

    id: int
    at: int  # Unix time at its start
    request: str
    key: str
    model: str
    upstream: str
    stream: int
    status: int | None  # HTTP's; 499: the client left; None: not yet known
    code: str  # of the error, if any
    prompt: int
    completion: int
    cached: int
    reasoning: int
    cost: int | None  # micro-USD; None: the price is unknown
    estimated: int
    first_ms: int | None
    total_ms: int | None
    saved: int | None = 0  # micro-USD that the upstream's cache has saved; None: the price is unknown
    listed: int | None = 0  # the cost by this server's own prices, in micro-USD; None: the price is unknown

    @property
    def failed(self) -> bool:
        """Whether it counts as an error: an error status, or a stream that began well and ended with an error event.

        A client that left is none, whatever happened meanwhile. It is counted once, when the row has ended.
        """
        return self.status is not None and self.status != 499 and (self.status >= 400 or self.code != "")


def summed(rows: list[UsageRow]) -> tuple[int, ...]:
    """Return the sums of requests that have ended, as migrations.SUMS."""
    of = dict(zip(UsageRow.__struct_fields__, zip(*map(astuple, rows), strict=True), strict=True))
    return (
        len(rows),
        *(sum(of[name]) for name in ("prompt", "completion", "cached", "reasoning")),
        sum(filter(None, of["cost"])),
        of["cost"].count(None),
        sum([row.failed for row in rows if row.status != 200 or row.code]),
        sum(filter(None, of["saved"])),
    )


class Opened(msgspec.Struct, frozen=True, gc=False):
    """What is known of a request when it begins, as an immutable value for the store's thread."""

    id: int  # of its row
    at: float  # Unix time
    request: str
    key: str
    model: str
    stream: bool
    prompt: Prompt
    upstream: Upstream  # the target that is called first

    def row(self) -> UsageRow:
        """Return the row while the request runs, with the prompt's estimate and cost, in case this process dies."""
        prompt = self.prompt.tokens(self.upstream)
        cost = pricing.cost(TokenUsage(prompt), self.upstream)
        return UsageRow(
            self.id,
            int(self.at * 1000),
            self.request,
            self.key,
            self.model,
            self.upstream.target_name,
            int(self.stream),
            None,
            "",
            prompt,
            0,
            0,
            0,
            cost,
            0,
            None,
            None,
            0,
            cost,
        )
