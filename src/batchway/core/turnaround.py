"""Turnaround: how likely a provider's batch is back within so many seconds, as learnt from batches before it.

A share of what was measured of the model (else of the provider), leaning on a prior while little was: no provider says
more than its window. The prior is a guess from reports (most batches take under an hour or a few, some all of their
window; failures.md #19, #32) and is soon outweighed.
"""

from bisect import bisect_right, insort
from collections.abc import Iterable

from msgspec import Struct

HOUR = 3600.0

PRIOR = (
    (0.25 * HOUR, 0.15),
    (0.5 * HOUR, 0.30),
    (1 * HOUR, 0.50),
    (2 * HOUR, 0.65),
    (4 * HOUR, 0.76),
    (8 * HOUR, 0.85),
    (12 * HOUR, 0.89),
    (18 * HOUR, 0.93),
    (24 * HOUR, 0.97),
    (48 * HOUR, 1.0),
)
"""Seconds, and the share of batches that are back by then before anything was measured."""

WEIGHT = 8.0
"""Measured batches that the prior counts as much as."""

REMEMBERED = 200
"""Batches remembered of each model, the newest: providers change their habits."""


class Turnaround(Struct, frozen=True, kw_only=True):
    """How long a batch took."""

    provider: str
    model: str
    at: float
    seconds: float
    n: int
    """Its rows."""


class Turnarounds:
    """What was measured, by provider and by model."""

    def __init__(self, measured: Iterable[Turnaround] = ()) -> None:
        self._sorted: dict[tuple[str, str], list[float]] = {}
        self._in_order: dict[tuple[str, str], list[float]] = {}
        for each in measured:
            self.learn(each)

    def learn(self, measured: Turnaround) -> None:
        """One more batch came back."""
        for key in ((measured.provider, measured.model), (measured.provider, "")):
            ordered, ranked = self._in_order.setdefault(key, []), self._sorted.setdefault(key, [])
            ordered.append(measured.seconds)
            insort(ranked, measured.seconds)
            if len(ordered) > REMEMBERED:
                ranked.pop(bisect_right(ranked, ordered.pop(0)) - 1)

    def chance(self, provider: str, model: str, seconds: float) -> float:
        """Of a batch submitted now to be back within so many seconds, 0 to 1."""
        ranked = self._sorted.get((provider, model)) or self._sorted.get((provider, "")) or []
        back = bisect_right(ranked, seconds)
        return (WEIGHT * prior(seconds) + back) / (WEIGHT + len(ranked))

    def typical(self, provider: str, model: str, share: float = 0.5) -> float:
        """Seconds within which that share of batches is back."""
        low, high = 0.0, PRIOR[-1][0] * 2
        while high - low > 1.0:
            middle = (low + high) / 2
            if self.chance(provider, model, middle) >= share:
                high = middle
            else:
                low = middle
        return high


def prior(seconds: float) -> float:
    """The share of batches that are back by then before anything was measured, rising evenly between its points."""
    before, share_before = 0.0, 0.0
    for point, share in PRIOR:
        if seconds < point:
            return share_before + (share - share_before) * max(0.0, seconds - before) / (point - before)
        before, share_before = point, share
    return 1.0
