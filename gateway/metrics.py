"""Counters and histograms of requests, as plain numbers; server/prometheus.py writes them out for Prometheus.

Labels come from the configuration alone (public models and patterns, provider names) or from fixed lists: a client that
invents names must not grow the tables.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from math import ceil
from typing import Final, NamedTuple, TypeVar

from .record import RequestRecord

K = TypeVar("K")
Number = TypeVar("Number", int, float)

FIRST: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 600.0)  # seconds to the first byte
GAP: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds, the longest of a stream
OVERHEAD: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0)  # seconds added by this server

_KEPT: Final = 10  # failures of each provider
_WAITS: Final = 100  # latencies of each provider
_OURS: Final = frozenset({"beyond_limits", "budget_exceeded"})  # a target was left out: its provider was not called

_CODES: Final = frozenset(
    {
        "upstream_connect",
        "upstream_connect_timeout",
        "upstream_dns",
        "upstream_tls",
        "upstream_protocol",
        "upstream_first_byte_timeout",
        "upstream_idle_timeout",
        "upstream_timeout",
        "upstream_truncated",
        "upstream_too_large",
        "upstream_event_too_large",
        "upstream_bad_json",
        "upstream_bad_output",
        "upstream_auth_error",
        "upstream_error",
        "upstream_quota_exhausted",
        "rate_limit_exceeded",
        "overloaded",
        "provider_unavailable",
        "provider_busy",
        "model_not_found",
        "server_shutting_down",
        "total_timeout",
        "request_timeout",
        "request_too_large",
        "context_length_exceeded",
        "permission_denied",
        "conflict",
        "internal_error",
    }
)


class Histogram:
    """Counts of values by size. counts: one per bound and one for what is above, not cumulative."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def see(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Fault(NamedTuple):
    """A call that failed, or an answer that broke off. at: monotonic seconds at which its request began."""

    at: float
    request: str
    target: str
    code: str


Latest = tuple[deque[float], deque[float]]  # seconds until a whole answer, and until the first byte of a stream


class Traffic:
    """What is counted of the requests for one model that one provider has answered, or none."""

    __slots__ = ("completion", "cost", "prompt", "requests", "waits")

    def __init__(self, waits: Latest) -> None:
        """waits: of the provider, whatever the model."""
        self.waits = waits
        self.requests: dict[int, int] = {}  # by status
        self.prompt: int | None = None  # tokens; None: nobody has told of any
        self.completion = 0
        self.cost = 0.0  # USD


class Metrics:
    """All counters and histograms since the start of the process, and what happened last at each provider."""

    def __init__(self) -> None:
        self.traffic: dict[tuple[str, str], Traffic] = {}  # by model and upstream, "" where none has answered
        self.errors: dict[tuple[str, str], int] = {}  # upstream, code: of attempts, and of answers that broke off
        self.first: dict[str, Histogram] = {}
        self.gap: dict[str, Histogram] = {}
        self.overhead = Histogram(OVERHEAD)
        self.faults: dict[str, deque[Fault]] = {}  # provider → the latest, oldest first
        self.waits: dict[str, Latest] = {}  # by provider
        self.retries = self.fallbacks = self.cancelled = 0

    @property
    def requests(self) -> dict[tuple[str, str, int], int]:
        """Requests by model, upstream and status."""
        return {(*name, status): n for name, each in self.traffic.items() for status, n in each.requests.items()}

    @property
    def tokens(self) -> dict[tuple[str, str, str], int]:
        """Tokens by model, upstream, and prompt or completion."""
        found: dict[tuple[str, str, str], int] = {}
        for name, each in self.traffic.items():
            if each.prompt is not None:
                found |= {(*name, "prompt"): each.prompt, (*name, "completion"): each.completion}
        return found

    @property
    def cost(self) -> dict[tuple[str, str], float]:
        """USD by model and upstream, where it is not 0."""
        return {name: each.cost for name, each in self.traffic.items() if each.cost}

    def seen(self, record: RequestRecord, model: str, status: int) -> None:
        """Count a request that has ended. model: its label (ModelRouter.metric_label), "" when it named none."""
        upstream = record.upstream.partition("/")[0]
        traffic = self.traffic.get((model, upstream)) or self._begun(model, upstream)
        traffic.requests[status] = traffic.requests.get(status, 0) + 1
        if status == 499:
            self.cancelled += 1
        if record.tried:
            self._failures(record)
        if record.upstream and record.code:
            _add(self.errors, (upstream, record.code if record.code in _CODES else "other"))
            self._keep(record, record.upstream, record.code)
        if record.first:
            if not record.tried:  # else the others' time would count as this provider's
                traffic.waits[record.stream].append(record.waited)
            wait = record.first - record.started
            _of(self.first, model, FIRST).see(wait)
            self.overhead.see(wait - record.waited if wait > record.waited else 0.0)
        if record.gap:
            _of(self.gap, model, GAP).see(record.gap)
        if record.prompt is not None:
            traffic.prompt = (traffic.prompt or 0) + record.prompt
            traffic.completion += record.completion or 0
        if record.cost:
            traffic.cost += record.cost

    def _begun(self, model: str, upstream: str) -> Traffic:
        """Return the counters of a model and an upstream that have come for the first time."""
        waits = self.waits.setdefault(upstream, (deque(maxlen=_WAITS), deque(maxlen=_WAITS)))
        traffic = self.traffic[model, upstream] = Traffic(waits)
        return traffic

    def _failures(self, record: RequestRecord) -> None:
        """Count the failed attempts of a request."""
        for target, code in record.tried:
            _add(self.errors, (target.partition("/")[0], code if code in _CODES else "other"))
            if code not in _OURS:
                self._keep(record, target, code)
        self.retries += record.retried
        if record.upstream and record.tried[-1][0] != record.upstream:
            self.fallbacks += 1

    def _keep(self, record: RequestRecord, target: str, code: str) -> None:
        """Keep a failure among the latest of its provider."""
        kept = self.faults.setdefault(target.partition("/")[0], deque(maxlen=_KEPT))
        kept.append(Fault(record.started, record.id, target, code))


def percentile(values: Sequence[Number], share: float) -> Number:
    """Return the smallest of these values that so large a share of them does not exceed. values: at least one."""
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


def _add(table: dict[K, int], key: K) -> None:
    table[key] = table.get(key, 0) + 1


def _of(table: dict[str, Histogram], model: str, bounds: Sequence[float]) -> Histogram:
    histogram = table.get(model)
    if histogram is None:
        histogram = table[model] = Histogram(bounds)
    return histogram
