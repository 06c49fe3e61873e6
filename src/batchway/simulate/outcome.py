"""What came of a run: requests, money and waiting by way, windows by how they closed. Its size does not grow with it.

It is a listener like any other: it hears the events of the offline driver, and would hear those of the live engine.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Literal

from msgspec import Struct

from batchway.core.batcher import Closed
from batchway.core.events import Answered, CallEnded, CallSent, Cancelled, Charged, JobFormed, Refused
from batchway.core.settlement import OVERHEAD
from batchway.core.types import Via
from batchway.simulate.sketch import Sketch
from batchway.simulate.timeline import Timeline
from batchway.simulate.world import Recorded

VIAS: tuple[Via, ...] = ("direct", "flex", "batch", "cache", "coalesced")

KEPT = 1_000
"""Windows that are kept one by one, the first of each kind: what a picture of them can show."""


class Way:
    """What was answered one way. Money in picodollars."""

    def __init__(self) -> None:
        self.requests = 0
        self.paid = 0
        self.worth = 0
        """What the same would have cost alone and directly."""
        self.unpriced = 0
        """Charges without a known price, which are in neither sum."""
        self.waited = Sketch()

    def charge(self, cost: int | None, worth: int | None) -> None:
        """Add a charge."""
        if cost is None or worth is None:
            self.unpriced += 1
        else:
            self.paid += cost
            self.worth += worth


class Window(Struct, frozen=True, kw_only=True):
    """A window that has closed, as a picture shows it."""

    opened_at: float
    closed_at: float
    size: int
    tokens: int
    reason: str


class Windows:
    """The windows of one kind."""

    def __init__(self) -> None:
        self.count = 0
        self.sizes: Counter[int] = Counter()
        self.reasons: Counter[str] = Counter()
        self.waited = Sketch()
        """What each request waited in it."""
        self.first: list[Window] = []

    def add(self, closed: Closed) -> None:
        """Count one."""
        self.count += 1
        self.sizes[len(closed.tickets)] += 1
        self.reasons[closed.reason] += 1
        for ticket in closed.tickets:
            self.waited.add(closed.closed_at - ticket.at)
        if len(self.first) < KEPT:
            self.first.append(
                Window(
                    opened_at=closed.opened_at,
                    closed_at=closed.closed_at,
                    size=len(closed.tickets),
                    tokens=sum([ticket.tokens for ticket in closed.tickets]),
                    reason=closed.reason,
                )
            )


class Outcome:
    """A listener, and the onlooker of a planner's windows (`watch`)."""

    def __init__(self) -> None:
        self.ways: dict[Via, Way] = {via: Way() for via in VIAS}
        self.overhead = Way()
        """What no request asked for: samples of the guard, rows that were paid twice."""
        self.waited = Sketch()
        """All that was answered but to the patient: those who said themselves that a batch is soon enough."""
        self.refused: Counter[str] = Counter()
        """By code."""
        self.calls = 0
        self.packed = 0
        """Requests that went in calls with others."""
        self.packs = 0
        """Those calls."""
        self.failed = 0
        """Calls that failed."""
        self.cancelled = 0
        self.jobs = 0
        self.windows: dict[Literal["pack", "job"], Windows] = {"pack": Windows(), "job": Windows()}
        self.timeline = Timeline()

    @property
    def hears(self) -> Mapping[type, Callable[..., None]]:
        return {
            Answered: self._answered,
            Refused: self._refused,
            Charged: self._charged,
            CallSent: self._sent,
            CallEnded: self._ended,
            Cancelled: self._called_off,
            JobFormed: self._formed,
        }

    @property
    def requests(self) -> int:
        """Those that have ended."""
        return sum(way.requests for way in self.ways.values()) + sum(self.refused.values())

    @property
    def paid(self) -> int:
        """Picodollars."""
        return sum(way.paid for way in self.ways.values()) + self.overhead.paid

    @property
    def worth(self) -> int:
        """Picodollars that all of it would have cost alone and directly."""
        return sum(way.worth for way in self.ways.values())

    @property
    def unpriced(self) -> int:
        """Charges without a known price."""
        return sum(way.unpriced for way in self.ways.values()) + self.overhead.unpriced

    def watch(self, kind: Literal["pack", "job"], closed: Closed) -> None:
        """A window has closed."""
        self.windows[kind].add(closed)
        self.timeline.at(closed.closed_at).windows += 1

    def _answered(self, event: Answered) -> None:
        way = self.ways[event.via]
        way.requests += 1
        way.waited.add(event.seconds)
        request = event.request
        if not (isinstance(request, Recorded) and request.patient):
            self.waited.add(event.seconds)
        answered = self.timeline.at(event.at).answered
        answered[event.via] = answered.get(event.via, 0) + 1

    def _refused(self, event: Refused) -> None:
        self.refused[event.fault.code or str(event.fault.status)] += 1
        self.timeline.at(event.at).refused += 1

    def _charged(self, event: Charged) -> None:
        charge = event.charge
        way = self.overhead if charge.request_id == OVERHEAD else self.ways[charge.via]
        way.charge(charge.cost, charge.counterfactual)
        if charge.cost is not None and charge.counterfactual is not None:
            stretch = self.timeline.at(event.at)
            stretch.paid += charge.cost
            stretch.worth += charge.counterfactual

    def _sent(self, event: CallSent) -> None:
        self.calls += 1
        self.timeline.at(event.at).calls += 1
        if len(event.ids) > 1:
            self.packs += 1
            self.packed += len(event.ids)

    def _ended(self, event: CallEnded) -> None:
        self.failed += event.fault is not None

    def _called_off(self, _: Cancelled) -> None:
        self.cancelled += 1

    def _formed(self, _: JobFormed) -> None:
        self.jobs += 1
