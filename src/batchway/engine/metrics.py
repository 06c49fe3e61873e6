"""Metrics: events counted for Prometheus, and the same numbers as a snapshot for `/stats`."""

from collections.abc import Callable
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from batchway.core.events import Answered, CallEnded, CallerLeft, Cancelled, Charged, Event, Refused
from batchway.core.planner import Load

Metric = TypeVar("Metric", Counter, Histogram)

SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400)
MANY_MODELS = 200
"""Distinct model labels kept; later ones are counted as `other`, since model names come from callers."""


class Metrics:
    """A listener. Label values are bounded; the children of each metric are looked up once and kept."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._answers = Counter(
            "batchway_answers", "Requests answered, by how", ["provider", "via"], registry=self.registry
        )
        self._faults = Counter(
            "batchway_faults", "Requests refused, by whose fault and status", ["whose", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "batchway_request_seconds", "From acceptance to answer", ["via"], buckets=SECONDS, registry=self.registry
        )
        self._calls = Counter(
            "batchway_calls", "Upstream calls, by outcome", ["provider", "lane", "outcome"], registry=self.registry
        )
        self._call_seconds = Histogram(
            "batchway_call_seconds", "Length of upstream calls", ["provider", "lane"], buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self._tokens = Counter(
            "batchway_tokens", "Tokens billed", ["provider", "model", "kind"], registry=self.registry
        )
        self._paid = Counter("batchway_paid_usd", "Booked cost", ["provider", "model"], registry=self.registry)
        self._saved = Counter(
            "batchway_saved_usd", "Booked cost below the same requests sent alone and directly", ["via"],
            registry=self.registry,
        )  # fmt: skip
        self._unpriced = Counter(
            "batchway_unpriced_charges", "Charges whose price is unknown", ["provider", "model"], registry=self.registry
        )
        self._left = Counter("batchway_callers_left", "Callers gone before their answer", registry=self.registry)
        self._cancelled = Counter("batchway_calls_cancelled", "Calls ended since nobody waited", registry=self.registry)
        self._children: dict[tuple[object, ...], object] = {}
        self._models: set[str] = set()
        self._on: dict[type, Callable[..., None]] = {
            Answered: self._answered,
            Refused: self._refused,
            CallEnded: self._call_ended,
            Charged: self._charged,
            CallerLeft: lambda _: self._left.inc(),
            Cancelled: lambda _: self._cancelled.inc(),
        }

    def __call__(self, event: Event) -> None:
        """Listen."""
        on = self._on.get(type(event))
        if on is not None:
            on(event)

    def watch(self, load: Callable[[], Load], cache: Callable[[], tuple[int, int]]) -> None:
        """Also show what is under way, and the cache's entries and bytes, as they are when asked."""
        for name, text, read in (
            ("batchway_requests_waiting", "Requests whose callers wait", lambda: load().waiting),
            ("batchway_requests_queued", "Requests in windows or held for a slot", lambda: load().queued),
            ("batchway_calls_under_way", "Upstream calls under way", lambda: load().flights),
            ("batchway_cache_entries", "Answers in the cache", lambda: cache()[0]),
            ("batchway_cache_bytes", "Bytes the cache counts for", lambda: cache()[1]),
        ):
            Gauge(name, text, registry=self.registry).set_function(read)

    def exposition(self) -> bytes:
        """The text format of Prometheus."""
        return generate_latest(self.registry)

    def _child(self, metric: Metric, *labels: str) -> Metric:
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child  # type: ignore[return-value]

    def _model(self, name: str) -> str:
        if name in self._models:
            return name
        if len(self._models) >= MANY_MODELS:
            return "other"
        self._models.add(name)
        return name

    def _answered(self, event: Answered) -> None:
        self._child(self._answers, event.request.provider, event.via).inc()
        self._child(self._seconds, event.via).observe(event.seconds)

    def _refused(self, event: Refused) -> None:
        self._child(self._faults, event.fault.whose, str(event.fault.status)).inc()

    def _call_ended(self, event: CallEnded) -> None:
        outcome = "answered" if event.fault is None else "refused" if event.fault.healthy else "failed"
        self._child(self._calls, event.provider, event.lane, outcome).inc()
        self._child(self._call_seconds, event.provider, event.lane).observe(event.seconds)

    def _charged(self, event: Charged) -> None:
        charge = event.charge
        model = self._model(charge.model)
        if charge.via != "cache" and charge.via != "coalesced":
            self._child(self._tokens, charge.provider, model, "input").inc(charge.usage.input)
            self._child(self._tokens, charge.provider, model, "output").inc(charge.usage.output)
        if charge.cost is None or charge.counterfactual is None:
            self._child(self._unpriced, charge.provider, model).inc()
            return
        self._child(self._paid, charge.provider, model).inc(charge.cost / 1e12)
        # A call that cost more than its counterfactual (a premium tier) is no saving, and a counter cannot fall.
        self._child(self._saved, charge.via).inc(max(0, charge.counterfactual - charge.cost) / 1e12)
