"""Stats: exact totals since the start, for `/stats` and the demo: requests by way, money paid and saved."""

from batchway.core.events import Accepted, Answered, CallSent, Charged, Event, Refused
from batchway.core.types import Via

VIAS: tuple[Via, ...] = ("direct", "flex", "batch", "cache", "coalesced")


class Stats:
    """A listener. Money in picodollars; a charge without a known price is counted, not guessed."""

    def __init__(self) -> None:
        self.accepted = 0
        self.calls = 0
        self.refused = 0
        self.answered: dict[Via, int] = dict.fromkeys(VIAS, 0)
        self.paid = 0
        self.saved = 0
        self.unpriced = 0

    def __call__(self, event: Event) -> None:
        """Listen."""
        match event:
            case Accepted():
                self.accepted += 1
            case CallSent():
                self.calls += 1
            case Answered():
                self.answered[event.via] += 1
            case Refused():
                self.refused += 1
            case Charged(charge=charge):
                if charge.cost is None or charge.counterfactual is None:
                    self.unpriced += 1
                else:
                    self.paid += charge.cost
                    self.saved += charge.counterfactual - charge.cost
            case _:
                pass
