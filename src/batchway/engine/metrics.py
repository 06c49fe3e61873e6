"""Metrics: events counted for Prometheus. Counting is plain arithmetic; the library's families are made when asked."""

from bisect import bisect_left
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
    Answered,
    CallEnded,
    CallerLeft,
    Cancelled,
    Charged,
    JobMoved,
    JobNoted,
    Joined,
    Refused,
    Rescued,
)
from batchway.core.planner import Load
from batchway.core.settlement import OVERHEAD
from batchway.core.types import PICODOLLARS

SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400)
"""Upper bounds of the histograms' buckets: from a cache hit to a day of batch."""

MANY = 200
"""Distinct model names shown; later ones are counted as `other`, since model names come from callers."""


class Count:
    """A counter by labels."""

    def __init__(self, name: str, text: str, *labels: str) -> None:
        self.name, self.text, self.labels = name, text, labels
        self.by: defaultdict[tuple[str, ...], int] = defaultdict(int)
        """What happens with every request is counted here directly: a call for each count costs more than the sums."""

    def add(self, amount: int, *labels: str) -> None:
        """Count."""
        self.by[labels] += amount

    def family(self, unit: int = 1) -> Metric:
        """As the library's family; `unit`: how many of what was counted make one of what is shown."""
        family = CounterMetricFamily(self.name, self.text, labels=self.labels)
        for labels, value in self.by.items():
            family.add_metric(labels, value / unit)
        return family


class Durations:
    """A histogram of seconds by labels."""

    def __init__(self, name: str, text: str, *labels: str) -> None:
        self.name, self.text, self.labels = name, text, labels
        self.by: dict[tuple[str, ...], list[float]] = {}

    def add(self, seconds: float, *labels: str) -> None:
        """Observe. A cell holds the count of each bucket, and at its end the sum."""
        cell = self.by.get(labels)
        if cell is None:
            cell = self.by[labels] = [0.0] * (len(SECONDS) + 2)
        cell[bisect_left(SECONDS, seconds)] += 1
        cell[-1] += seconds

    def family(self) -> Metric:
        """As the library's family."""
        family = HistogramMetricFamily(self.name, self.text, labels=self.labels)
        bounds = [*map(str, SECONDS), "+Inf"]
        for labels, cell in self.by.items():
            family.add_metric(labels, list(zip(bounds, accumulate(cell[:-1]), strict=True)), cell[-1])
        return family


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
        kind = CounterMetricFamily if self.grows else GaugeMetricFamily
        family = kind(self.name, self.text, labels=self.labels)
        for labels, value in self.by.items():
            family.add_metric(labels, value)
        return family


class Metrics(Collector):
    """A listener."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._answers = Count("batchway_answers", "Requests answered, by how", "provider", "via")
        self._faults = Count("batchway_faults", "Requests refused, by whose fault and status", "whose", "status")
        self._seconds = Durations("batchway_request_seconds", "From acceptance to answer", "via")
        self._calls = Count("batchway_calls", "Upstream calls, by outcome", "provider", "lane", "outcome")
        self._call_seconds = Durations("batchway_call_seconds", "Length of upstream calls", "provider", "lane")
        self._tokens = Count("batchway_tokens", "Tokens billed", "provider", "model", "kind")
        self._paid = Count("batchway_paid_usd", "Booked cost", "provider", "model", "via")
        self._saved = Count("batchway_saved_usd", "Booked cost below the same sent alone and directly", "via")
        self._unpriced = Count("batchway_unpriced_charges", "Charges without a known price", "provider", "model")
        self._joined = Count("batchway_joined", "Requests that joined a call under way")
        self._left = Count("batchway_callers_left", "Callers gone before their answer")
        self._cancelled = Count("batchway_calls_cancelled", "Calls ended since nobody waited")
        self._charges = Count("batchway_charges", "Charges booked: requests by lane, and overhead", "provider", "via")
        self._acknowledged = Count("batchway_acknowledged", "Requests acknowledged by 202", "provider")
        self._job_moves = Count("batchway_job_moves", "Provider batches that came into a state", "provider", "state")
        self._job_notes = Count("batchway_job_notes", "What happened to batches besides, by kind", "provider", "kind")
        self._rescues = Count("batchway_rescues", "Requests that were late in their batch, by what was done", "measure")
        self._levels: Sequence[Level] = ()
        self._gauges: list[tuple[str, str, Callable[[], float]]] = []
        self._models: set[str] = set()
        self._registry.register(self)

    @property
    def hears(self) -> Mapping[type, Callable[..., None]]:
        return {
            Answered: self._on_answered,
            Refused: self._on_refused,
            CallEnded: self._on_call_ended,
            Charged: self._on_charged,
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
        for count in (self._answers, self._faults, self._calls, self._tokens, self._unpriced):
            yield count.family()
        for count in (self._joined, self._left, self._cancelled, self._charges, self._acknowledged):
            yield count.family()
        for count in (self._job_moves, self._job_notes, self._rescues):
            yield count.family()
        for money in (self._paid, self._saved):
            yield money.family(PICODOLLARS)
        for durations in (self._seconds, self._call_seconds):
            yield durations.family()
        for name, text, read in self._gauges:
            yield GaugeMetricFamily(name, text, value=read())
        for level in self._levels:
            yield level.family()

    def exposition(self, levels: Sequence[Level] = ()) -> bytes:
        """The text format of Prometheus. `levels`: what had to be asked of the store for it."""
        self._levels = levels
        return generate_latest(self._registry)

    def _model(self, name: str) -> str:
        if name in self._models:
            return name
        if len(self._models) >= MANY:
            return "other"
        self._models.add(name)
        return name

    def _on_answered(self, event: Answered) -> None:
        self._answers.by[event.request.provider, event.via] += 1
        self._seconds.add(event.seconds, event.via)

    def _on_refused(self, event: Refused) -> None:
        self._faults.add(1, event.fault.whose, str(event.fault.status))

    def _on_call_ended(self, event: CallEnded) -> None:
        outcome = "answered" if event.fault is None else "refused" if event.fault.healthy else "failed"
        self._calls.by[event.provider, event.lane, outcome] += 1
        self._call_seconds.add(event.seconds, event.provider, event.lane)

    def _on_charged(self, event: Charged) -> None:
        charge = event.charge
        provider, model = charge.provider, self._model(charge.model)
        self._charges.by[provider, charge.via if charge.request_id != OVERHEAD else OVERHEAD] += 1
        if charge.via != "cache" and charge.via != "coalesced":
            self._tokens.by[provider, model, "input"] += charge.usage.input
            self._tokens.by[provider, model, "output"] += charge.usage.output
        if charge.cost is None or charge.counterfactual is None:
            self._unpriced.by[provider, model] += 1
            return
        self._paid.by[provider, model, charge.via] += charge.cost
        # A call that cost more than its counterfactual (a premium tier) is no saving, and a counter cannot fall.
        self._saved.by[(charge.via,)] += max(0, charge.counterfactual - charge.cost)

    def _on_job_moved(self, event: JobMoved) -> None:
        if event.before is None or event.before.state != event.job.state:
            self._job_moves.add(1, event.job.provider, event.job.state)
