"""Stats: exact totals since the start, for `/stats` and the demo: requests and money by way, batches, rescues."""

from collections import Counter
from collections.abc import Callable, Mapping

from batchway.core.events import (
    Acknowledged,
    Answered,
    CallEnded,
    CallerLeft,
    Cancelled,
    Charged,
    JobMoved,
    Refused,
    Rescued,
)
from batchway.core.types import Via

VIAS: tuple[Via, ...] = ("direct", "flex", "batch", "cache", "coalesced")


class Stats:
    """A listener. Money in picodollars; a charge without a known price is counted, not guessed."""

    def __init__(self) -> None:
        self.calls = 0
        """Upstream calls that have ended, cancelled ones included."""
        self.refused = 0
        self.left = 0
        self.answered: dict[Via, int] = dict.fromkeys(VIAS, 0)
        self.paid = 0
        self.saved = 0
        self.unpriced = 0
        self.acknowledged = 0
        """Callers that did not wait, and were told that their request is on disk."""
        self.paid_by: dict[Via, int] = dict.fromkeys(VIAS, 0)
        self.saved_by: dict[Via, int] = dict.fromkeys(VIAS, 0)
        self.jobs_formed = 0
        self.jobs_done = 0
        self.rescues: Counter[str] = Counter()
        """By what was done: send, fail, leave (`core.rescue`)."""

    @property
    def hears(self) -> Mapping[type, Callable[..., None]]:
        return {
            CallEnded: self._called,
            Cancelled: self._called,
            Answered: self._answered,
            Refused: self._refused,
            CallerLeft: self._left,
            Charged: self._charged,
            Acknowledged: self._acknowledged,
            JobMoved: self._job_moved,
            Rescued: self._rescued,
        }

    def _called(self, _: CallEnded | Cancelled) -> None:
        self.calls += 1

    def _answered(self, event: Answered) -> None:
        self.answered[event.via] += 1

    def _refused(self, _: Refused) -> None:
        self.refused += 1

    def _left(self, _: CallerLeft) -> None:
        self.left += 1

    def _charged(self, event: Charged) -> None:
        charge = event.charge
        if charge.cost is None or charge.counterfactual is None:
            self.unpriced += 1
        else:
            self.paid += charge.cost
            self.saved += charge.counterfactual - charge.cost
            self.paid_by[charge.via] += charge.cost
            self.saved_by[charge.via] += charge.counterfactual - charge.cost

    def _acknowledged(self, _: Acknowledged) -> None:
        self.acknowledged += 1

    def _job_moved(self, event: JobMoved) -> None:
        if event.before is None:
            self.jobs_formed += 1
        elif event.job.state == "done" and event.before.state != "done":
            self.jobs_done += 1

    def _rescued(self, event: Rescued) -> None:
        self.rescues[event.measure] += 1
