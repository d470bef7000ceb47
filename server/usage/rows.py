"""The rows of the usage ledger's file: one for each request, and what is known of it when it begins."""

from typing import NamedTuple

from gateway import pricing
from gateway.pricing import TokenUsage
from providers.contract import Upstream


class UsageRow(NamedTuple):
    """One request. Tokens of an open row are its prompt's estimate, its cost what that costs. Times are milliseconds."""

    id: int
    at: int  # Unix time at its start
    request: str
    key: str
    model: str
    upstream: str
    stream: bool
    status: int | None  # HTTP's; 499: the client left; None: not yet known
    code: str  # of the error, if any
    prompt: int
    completion: int
    cached: int
    reasoning: int
    cost: int | None  # micro-USD; None: the price is unknown
    estimated: bool
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


class Opened(NamedTuple):
    """What is known of a request when it begins, as an immutable value for the store's thread."""

    id: int  # of its row
    at: float  # Unix time
    request: str
    key: str
    model: str
    stream: bool
    prompt: int  # tokens, estimated
    upstream: Upstream  # the target that is called first

    def row(self) -> UsageRow:
        """Return the row while the request runs, with the prompt's estimate and cost, in case this process dies."""
        cost = pricing.cost(TokenUsage(self.prompt), self.upstream)
        return UsageRow(
            self.id,
            int(self.at * 1000),
            self.request,
            self.key,
            self.model,
            self.upstream.target_name,
            self.stream,
            None,
            "",
            self.prompt,
            0,
            0,
            0,
            cost,
            False,
            None,
            None,
            0,
            cost,
        )
