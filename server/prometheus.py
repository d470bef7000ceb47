"""GET /metrics: the counters in Prometheus' text format, written with prometheus-client.

It is imported at the first scrape: most servers are never scraped, and it costs 70 ms of every start.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gateway.metrics import Histogram

from .process import memory
from .state import AppState

if TYPE_CHECKING:
    from prometheus_client import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(state: AppState) -> bytes:
    """All metrics of this process."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(state))
    return generate_latest(registry)


class _Collector:
    """What prometheus-client asks at each scrape."""

    def __init__(self, state: AppState) -> None:
        self._state = state

    def describe(self) -> list["Metric"]:
        """Nothing: it would otherwise collect everything once more to learn the names."""
        return []

    def collect(self) -> Iterator["Metric"]:
        metrics = self._state.metrics
        yield _counter("requests", "Requests that have ended", ("model", "upstream", "status"), metrics.requests)
        yield _counter("tokens", "Tokens as reported upstream", ("model", "upstream", "kind"), metrics.tokens)
        yield _counter("cost_usd", "Cost in US dollars", ("model", "upstream"), metrics.cost)
        yield _counter("upstream_errors", "Failed calls and broken answers", ("upstream", "code"), metrics.errors)
        yield _histogram("first_byte_seconds", "From a request to the first byte of its answer", metrics.first)
        yield _histogram("gap_seconds", "The longest gap in a stream", metrics.gap)
        yield _histogram("overhead_seconds", "Time to the first byte that was not the upstream's", metrics.overhead)
        yield _counter(
            "refused", "Requests refused for want of room", ("reason",), _single(self._state.admission.refused)
        )
        for name, help_, value in self._counts():
            yield _counter(name, help_, (), {(): value})
        for name, help_, value in self._levels():
            yield _gauge(name, help_, (), {(): value})
        live = self._state.generations.now
        yield _gauge("upstream_calls", "Calls under way", ("upstream",), _single(live.http.calls()))
        resting = dict.fromkeys(live.settings.providers, 0) | live.health.open_circuits(self._state.now())
        yield _gauge("targets_resting", "Targets left alone after failures", ("upstream",), _single(resting))

    def _counts(self) -> list[tuple[str, str, float]]:
        state = self._state
        metrics, generations, listener, store = state.metrics, state.generations, state.listener, state.ledger.store
        return [
            ("retries", "Second calls of the same target", metrics.retries),
            ("fallbacks", "Answers by another target than the first", metrics.fallbacks),
            ("cancelled", "Requests whose client left", metrics.cancelled),
            ("connections_refused", "Connections beyond the bound", listener.refused if listener else 0),
            (
                "connections_replaced",
                "Idle connections closed to make room for new ones",
                listener.replaced if listener else 0,
            ),
            ("stale_connections", "Pooled connections that were dead and replaced", generations.now.http.stale),
            ("config_reload_failed", "Reloads that changed nothing", generations.failed),
            ("usage_dropped", "Usage rows that memory had no room for", store.dropped if store else 0),
            ("log_dropped", "Log lines dropped: nobody read them, or too many were alike", state.log.dropped),
        ]

    def _levels(self) -> list[tuple[str, str, float]]:
        state = self._state
        admission, heartbeat, listener, store = state.admission, state.heartbeat, state.listener, state.ledger.store
        return [
            ("in_flight", "Requests being answered", admission.busy),
            ("waiting", "Requests waiting for their turn", len(admission.waiting)),
            (
                "request_bytes",
                "Bytes of memory held by requests: bodies, and whole answers that clients have yet to take",
                admission.bytes,
            ),
            ("connections", "Open connections of clients", listener.open if listener else 0),
            ("ready", "Whether new requests are welcome", int(admission.ready)),
            ("config_generation", "How many configurations there have been", state.generations.generation),
            ("loop_lag_seconds", "How late the event loop last was", heartbeat.lag),
            ("loop_lag_max_seconds", "The latest the event loop ever was", heartbeat.max_lag),
            ("resident_bytes", "Resident memory", memory.resident()),
            ("resident_bytes_limit", "Resident memory from which on requests are refused; 0: none", admission.memory),
            ("usage_waiting", "Usage rows not yet written", store.waiting if store else 0),
            ("usage_failing", "Whether usage rows cannot be written", int(store.failing) if store else 0),
        ]


def _single(values: Mapping[str, float]) -> dict[tuple[str], float]:
    return {(name,): value for name, value in values.items()}


def _counter(name: str, help_: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> "Metric":
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(f"modelserver_{name}", help_, labels=labels)
    for key, value in values.items():
        family.add_metric([str(each) for each in key], value)
    return family


def _gauge(name: str, help_: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> "Metric":
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(f"modelserver_{name}", help_, labels=labels)
    for key, value in values.items():
        family.add_metric([str(each) for each in key], value)
    return family


def _histogram(name: str, help_: str, values: Mapping[str, Histogram] | Histogram) -> "Metric":
    """values: one histogram, or one for each model."""
    from prometheus_client.core import HistogramMetricFamily

    one = isinstance(values, Histogram)
    family = HistogramMetricFamily(f"modelserver_{name}", help_, labels=() if one else ("model",))
    for model, histogram in {"": values}.items() if isinstance(values, Histogram) else values.items():
        buckets, total = [], 0
        for bound, count in zip([*map(str, histogram.bounds), "+Inf"], histogram.counts, strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric([] if one else [model], buckets, histogram.sum)
    return family
