"""Stats: exact totals since the start, for `/stats` and the demo: requests by way, money paid and saved."""

from collections.abc import Callable, Mapping

from batchway.core.events import Accepted, Answered, CallerLeft, CallSent, Charged, Refused
from batchway.core.types import Via

VIAS: tuple[Via, ...] = ("direct", "flex", "batch", "cache", "coalesced")


class Stats:
    """A listener. Money in picodollars; a charge without a known price is counted, not guessed."""

    def __init__(self) -> None:
        self.accepted = 0
        self.calls = 0
        self.refused = 0
        self.left = 0
        self.answered: dict[Via, int] = dict.fromkeys(VIAS, 0)
        self.paid = 0
        self.saved = 0
        self.unpriced = 0

    @property
    def hears(self) -> Mapping[type, Callable[..., None]]:
        return {
            Accepted: self._accepted,
            CallSent: self._sent,
            Answered: self._answered,
            Refused: self._refused,
            CallerLeft: self._left,
            Charged: self._charged,
        }

    def _accepted(self, _: Accepted) -> None:
        self.accepted += 1

    def _sent(self, _: CallSent) -> None:
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
