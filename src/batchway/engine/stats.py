"""Stats: exact totals since the start, for `/stats` and the demo: requests and money by way, batches, rescues."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping

from msgspec import Struct

from batchway.core.events import Acknowledged, CallerLeft, Cancelled, JobMoved, Refused, Rescued
from batchway.core.types import Fault, Via
from batchway.engine.tallies import Sum, Tallies

VIAS: tuple[Via, ...] = ("direct", "flex", "batch", "cache", "coalesced")


class Calls(Struct, frozen=True, kw_only=True):
    """How the calls to one provider have ended. (Those about its batches are not among them.)"""

    provider: str
    answered: int
    refused: int
    """With a fault that says nothing against the provider: what was asked, or too much of it."""
    failed: int
    answered_at: float | None
    """The last that was answered."""
    fault: tuple[float, Fault] | None
    """The last that was not: when, and why."""


class Stats:
    """A listener, over the tallies. Money in picodollars; a charge without a known price is counted, not guessed."""

    def __init__(self, tallies: Tallies) -> None:
        self._tallies = tallies
        self._cancelled = 0
        self.refused = 0
        self.left = 0
        self.acknowledged = 0
        """Callers that did not wait, and were told that their request is on disk."""
        self.jobs_formed = 0
        self.jobs_done = 0
        self.rescues: Counter[str] = Counter()
        """By what was done: send, fail, leave (`core.rescue`)."""

    @property
    def hears(self) -> Mapping[type, Callable[..., None]]:
        return {
            Cancelled: self._call_cancelled,
            Refused: self._refused,
            CallerLeft: self._left,
            Acknowledged: self._acknowledged,
            JobMoved: self._job_moved,
            Rescued: self._rescued,
        }

    @property
    def calls(self) -> int:
        """Upstream calls that have ended, cancelled ones included."""
        return sum(self._tallies.calls.counts().values()) + self._cancelled

    def providers(self) -> list[Calls]:
        """Of those that had calls."""
        tallies = self._tallies
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for (provider, _, outcome), count in tallies.calls.counts().items():
            counts[provider][outcome] += count
        return [
            Calls(
                provider=provider,
                answered=by["answered"],
                refused=by["refused"],
                failed=by["failed"],
                answered_at=tallies.answered_at.get(provider),
                fault=tallies.faults.get(provider),
            )
            for provider, by in sorted(counts.items())
        ]

    @property
    def answered(self) -> dict[Via, int]:
        """Requests, by way."""
        found = dict.fromkeys(VIAS, 0) | self._tallies.answered()
        return {via: found[via] for via in VIAS}

    @property
    def paid(self) -> int:
        return sum(self.paid_by.values())

    @property
    def saved(self) -> int:
        return sum(self.saved_by.values())

    @property
    def unpriced(self) -> int:
        """Charges without a known price."""
        return sum(self._by_via(lambda sums: sums.unpriced).values())

    @property
    def paid_by(self) -> dict[Via, int]:
        return self._by_via(lambda sums: sums.paid)

    @property
    def saved_by(self) -> dict[Via, int]:
        return self._by_via(lambda sums: sums.saved)

    def _by_via(self, figure: Callable[[Sum], int]) -> dict[Via, int]:
        charges = self._tallies.charges
        return {via: sum(figure(sums) for (*_, by), sums in charges.items() if by == via) for via in VIAS}

    def _call_cancelled(self, _: Cancelled) -> None:
        self._cancelled += 1

    def _refused(self, _: Refused) -> None:
        self.refused += 1

    def _left(self, _: CallerLeft) -> None:
        self.left += 1

    def _acknowledged(self, _: Acknowledged) -> None:
        self.acknowledged += 1

    def _job_moved(self, event: JobMoved) -> None:
        if event.before is None:
            self.jobs_formed += 1
        elif event.job.ended and not event.before.ended:
            self.jobs_done += 1

    def _rescued(self, event: Rescued) -> None:
        self.rescues[event.measure] += 1
