"""Tallies: what happens with every request, counted once for whoever shows it: answers, calls and charges."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping

from msgspec import Struct

from batchway.core.events import Answered, CallEnded, Charged
from batchway.core.facts import Finished
from batchway.core.settlement import OVERHEAD
from batchway.core.types import Charge, Fault

SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400)
"""Upper bounds of the buckets: from a cache hit to a day of batch."""

MANY = 200
"""Distinct model names counted apart; later ones are counted as `other`, since model names come from callers."""

Labels = tuple[str, ...]


class Durations:
    """How often and how long, by labels."""

    def __init__(self) -> None:
        self.by: dict[Labels, list[float]] = {}
        """A cell holds the count of each bucket, and at its end the sum of the seconds."""

    def add(self, seconds: float, labels: Labels) -> None:
        """Observe."""
        cell = self.by.get(labels)
        if cell is None:
            cell = self.by[labels] = [0.0] * (len(SECONDS) + 2)
        cell[bisect_left(SECONDS, seconds)] += 1
        cell[-1] += seconds

    def counts(self) -> dict[Labels, int]:
        """How often."""
        return {labels: round(sum(cell[:-1])) for labels, cell in self.by.items()}

    def among(self, *places: int) -> dict[Labels, list[float]]:
        """The cells by only the labels in these places."""
        found: dict[Labels, list[float]] = {}
        for labels, cell in self.by.items():
            fewer = tuple([labels[place] for place in places])
            found[fewer] = [one + other for one, other in zip(cell, found.get(fewer) or [0.0] * len(cell), strict=True)]
        return found


class Sum(Struct, eq=False):
    """The charges of one model by one way. Money in picodollars."""

    charges: int = 0
    overhead: int = 0
    """Those of them that no request asked for."""
    unpriced: int = 0
    """Those of them whose price is not known: they are counted, and not guessed."""
    input: int = 0
    output: int = 0
    paid: int = 0
    saved: int = 0
    """Below what the same would have cost alone and directly."""
    above: int = 0
    """What is in `saved` as a loss: of calls that cost more than that (a tier with a premium)."""


class Tallies:
    """A listener."""

    def __init__(self) -> None:
        self.answers = Durations()
        """By provider and way."""
        self.calls = Durations()
        """By provider, lane and outcome."""
        self.answered_at: dict[str, float] = {}
        """By provider, when its last call ended with an answer."""
        self.faults: dict[str, tuple[float, Fault]] = {}
        """By provider, when its last call ended with a fault, and with which."""
        self.charges: dict[Labels, Sum] = {}
        """By provider, model and way."""
        self._models: set[str] = set()

    @property
    def hears(self) -> Mapping[type, Callable[..., None]]:
        return {Answered: self._answered, CallEnded: self._call_ended, Charged: self._charged}

    def answered(self) -> dict[str, int]:
        """Requests answered, by way."""
        found: defaultdict[str, int] = defaultdict(int)
        for (_, via), count in self.answers.counts().items():
            found[via] += count
        return found

    def _answered(self, event: Answered) -> None:
        reply = event.reply
        request = reply.request
        self.answers.add(event.at - request.asked_at, (request.provider, reply.via))

    def _call_ended(self, event: CallEnded) -> None:
        call, fact = event.call, event.fact
        provider = call.requests[0].provider
        if isinstance(fact, Finished):
            outcome = "answered"
            self.answered_at[provider] = event.at
        else:
            outcome = "refused" if fact.fault.healthy else "failed"
            self.faults[provider] = event.at, fact.fault
        self.calls.add(event.at - event.sent_at, (provider, call.lane, outcome))

    def _charged(self, event: Charged) -> None:
        charge = event.book.charge
        sums = self.charges.get((charge.provider, charge.model, charge.via)) or self._sums(charge)
        sums.charges += 1
        if charge.request_id == OVERHEAD:
            sums.overhead += 1
        sums.input += charge.usage.input
        sums.output += charge.usage.output
        cost, worth = charge.cost, charge.counterfactual
        if cost is None or worth is None:
            sums.unpriced += 1
            return
        sums.paid += cost
        sums.saved += worth - cost
        if cost > worth:
            sums.above += cost - worth

    def _sums(self, charge: Charge) -> Sum:
        if len(self._models) < MANY:
            self._models.add(charge.model)
        model = charge.model if charge.model in self._models else "other"
        return self.charges.setdefault((charge.provider, model, charge.via), Sum())
