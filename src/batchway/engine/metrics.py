"""Metrics: tallies and events for Prometheus: plain arithmetic; the library's families are made when asked."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate

from msgspec import Struct
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from batchway.core.events import (
    Acknowledged,
    CallerLeft,
    Cancelled,
    JobMoved,
    JobNoted,
    Joined,
    Refused,
    Rescued,
)
from batchway.core.planner import Load
from batchway.core.settlement import OVERHEAD
from batchway.core.types import PICODOLLARS
from batchway.engine.tallies import SECONDS, Labels, Tallies


class Count:
    """A counter by labels."""

    def __init__(self, name: str, text: str, *labels: str) -> None:
        self.name, self.text, self.labels = name, text, labels
        self.by: defaultdict[Labels, int] = defaultdict(int)

    def add(self, amount: int, *labels: str) -> None:
        """Count. What never happened is not shown."""
        if amount:
            self.by[labels] += amount

    def family(self, unit: int = 1) -> Metric:
        """As the library's family; `unit`: how many of what was counted make one of what is shown."""
        return _counter(self.name, self.text, self.labels, {key: value / unit for key, value in self.by.items()})


class Level(Struct, frozen=True, kw_only=True):
    """A figure by labels, as it was found a moment ago."""

    name: str
    text: str
    labels: tuple[str, ...] = ()
    by: Mapping[tuple[str, ...], float]
    grows: bool = False
    """A counter, not a gauge."""

    def family(self) -> Metric:
        """As the library's family."""
        if self.grows:
            return _counter(self.name, self.text, self.labels, self.by)
        family = GaugeMetricFamily(self.name, self.text, labels=self.labels)
        for labels, value in self.by.items():
            family.add_metric(labels, value)
        return family


class Metrics(Collector):
    """A listener. What the tallies count it only shows."""

    def __init__(self, tallies: Tallies) -> None:
        self._tallies = tallies
        self._registry = CollectorRegistry()
        self._faults = Count("batchway_faults", "Requests refused, by whose fault and status", "whose", "status")
        self._joined = Count("batchway_joined", "Requests that joined a call under way")
        self._left = Count("batchway_callers_left", "Callers gone before their answer")
        self._cancelled = Count("batchway_calls_cancelled", "Calls ended since nobody waited")
        self._acknowledged = Count("batchway_acknowledged", "Requests acknowledged by 202", "provider")
        self._job_moves = Count("batchway_job_moves", "Provider batches that came into a state", "provider", "state")
        self._job_notes = Count("batchway_job_notes", "What happened to batches besides, by kind", "provider", "kind")
        self._rescues = Count("batchway_rescues", "Requests that were late in their batch, by what was done", "measure")
        self._levels: Sequence[Level] = ()
        self._gauges: list[tuple[str, str, Callable[[], float]]] = []
        self._registry.register(self)

    @property
    def hears(self) -> Mapping[type, Callable[..., None]]:
        return {
            Refused: self._on_refused,
            Joined: lambda _: self._joined.add(1),
            CallerLeft: lambda _: self._left.add(1),
            Cancelled: lambda _: self._cancelled.add(1),
            Acknowledged: lambda event: self._acknowledged.add(1, event.request.provider),
            JobMoved: self._on_job_moved,
            JobNoted: lambda event: self._job_notes.add(1, event.job.provider, event.kind),
            Rescued: lambda event: self._rescues.add(1, event.measure),
        }

    def watch(self, load: Callable[[], Load], cache: Callable[[], tuple[int, int]]) -> None:
        """Also show what is under way, and the cache's entries and bytes, as they are when asked."""
        self._gauges = [
            ("batchway_requests_waiting", "Requests whose callers wait", lambda: load().waiting),
            ("batchway_requests_queued", "Requests in windows or held for a slot", lambda: load().queued),
            ("batchway_calls_under_way", "Upstream calls under way", lambda: load().flights),
            ("batchway_cache_entries", "Answers in the cache", lambda: cache()[0]),
            ("batchway_cache_bytes", "Bytes the cache counts for", lambda: cache()[1]),
        ]

    def collect(self) -> Iterator[Metric]:
        """Every family, as it is now."""
        for count in (self._faults, self._joined, self._left, self._cancelled, self._acknowledged):
            yield count.family()
        for count in (self._job_moves, self._job_notes, self._rescues):
            yield count.family()
        yield from _of_answers(self._tallies)
        yield from _of_charges(self._tallies)
        for name, text, read in self._gauges:
            yield GaugeMetricFamily(name, text, value=read())
        for level in self._levels:
            yield level.family()

    def exposition(self, levels: Sequence[Level] = ()) -> bytes:
        """The text format of Prometheus. `levels`: what had to be asked of the store for it."""
        self._levels = levels
        return generate_latest(self._registry)

    def _on_refused(self, event: Refused) -> None:
        self._faults.add(1, event.fault.whose, str(event.fault.status))

    def _on_job_moved(self, event: JobMoved) -> None:
        if event.before is None or event.before.state != event.job.state:
            self._job_moves.add(1, event.job.provider, event.job.state)


def _of_answers(tallies: Tallies) -> Iterator[Metric]:
    answers, calls = tallies.answers, tallies.calls
    yield _counter("batchway_answers", "Requests answered, by how", ("provider", "via"), answers.counts())
    yield _histogram("batchway_request_seconds", "From acceptance to answer", ("via",), answers.among(1))
    labels = ("provider", "lane", "outcome")
    yield _counter("batchway_calls", "Upstream calls, by outcome", labels, calls.counts())
    yield _histogram("batchway_call_seconds", "Length of upstream calls", labels[:2], calls.among(0, 1))


def _of_charges(tallies: Tallies) -> Iterator[Metric]:
    charges = Count("batchway_charges", "Charges booked: requests by lane, and overhead", "provider", "via")
    tokens = Count("batchway_tokens", "Tokens billed", "provider", "model", "kind")
    unpriced = Count("batchway_unpriced_charges", "Charges without a known price", "provider", "model")
    paid = Count("batchway_paid_usd", "Booked cost", "provider", "model", "via")
    saved = Count("batchway_saved_usd", "Booked cost below the same sent alone and directly", "via")
    overpaid = Count("batchway_overpaid_usd", "Booked cost above it: take it from what was saved", "via")
    for (provider, model, via), sums in tallies.charges.items():
        charges.add(sums.charges - sums.overhead, provider, via)
        charges.add(sums.overhead, provider, OVERHEAD)
        if via not in _NOT_CALLED:
            tokens.add(sums.input, provider, model, "input")
            tokens.add(sums.output, provider, model, "output")
        unpriced.add(sums.unpriced, provider, model)
        paid.add(sums.paid, provider, model, via)
        # What cost more than its counterfactual is no saving, and a counter cannot fall: it has one of its own.
        saved.add(sums.saved + sums.above, via)
        overpaid.add(sums.above, via)
    yield from (charges.family(), tokens.family(), unpriced.family())
    yield from (paid.family(PICODOLLARS), saved.family(PICODOLLARS), overpaid.family(PICODOLLARS))


_NOT_CALLED = frozenset({"cache", "coalesced"})
"""Ways by which nothing new is billed."""


def _counter(name: str, text: str, labels: Labels, values: Mapping[Labels, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histogram(name: str, text: str, labels: Labels, cells: Mapping[Labels, list[float]]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    bounds = [*map(str, SECONDS), "+Inf"]
    for key, cell in cells.items():
        family.add_metric(key, list(zip(bounds, accumulate(cell[:-1]), strict=True)), cell[-1])
    return family
