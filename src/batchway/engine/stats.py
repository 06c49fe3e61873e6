"""Stats: exact totals since the start, for `/stats` and the demo: requests by way, money paid and saved."""

from collections.abc import Callable, Mapping

from batchway.core.events import Answered, CallEnded, CallerLeft, Cancelled, Charged, Refused
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

    @property
    def hears(self) -> Mapping[type, Callable[..., None]]:
        return {
            CallEnded: self._called,
            Cancelled: self._called,
            Answered: self._answered,
            Refused: self._refused,
            CallerLeft: self._left,
            Charged: self._charged,
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
