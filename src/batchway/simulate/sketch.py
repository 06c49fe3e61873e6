"""A sketch of many durations: counts by size, from which quantiles are read to within one in a hundred.

It takes the same little memory for ten values and for ten million, and two sketches can be added.
"""

from collections.abc import Iterator
from math import exp, log

ERROR = 0.01
"""Of a quantile, relative: the middle of its bucket is given, whose ends are one hundredth away (as in DDSketch)."""

LEAST = 1e-4
"""Seconds below which durations are one: nobody waits for them."""

_WIDTH = log((1 + ERROR) / (1 - ERROR))


class Sketch:
    """Durations in seconds, counted."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.most = 0.0
        self._buckets: dict[int, int] = {}

    def add(self, seconds: float) -> None:
        """Count one."""
        self.count += 1
        self.total += seconds
        if seconds > self.most:
            self.most = seconds
        bucket = -1 if seconds <= LEAST else int(log(seconds / LEAST) / _WIDTH)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1

    def merge(self, other: "Sketch") -> None:
        """Count all of another's as well."""
        self.count += other.count
        self.total += other.total
        self.most = max(self.most, other.most)
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count

    @property
    def mean(self) -> float:
        """Exactly; 0 where nothing was counted."""
        return self.total / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        """The duration that this share of them does not exceed; 0 where nothing was counted."""
        wanted, passed = share * self.count, 0
        for bucket, count in sorted(self._buckets.items()):
            passed += count
            if passed >= wanted:
                return min(self.most, _middle(bucket))
        return self.most

    def counts(self) -> Iterator[tuple[float, int]]:
        """Each bucket's middle and how many are in it, rising."""
        return ((_middle(bucket), count) for bucket, count in sorted(self._buckets.items()))

    def histogram(self, bins: int) -> list[tuple[float, int]]:
        """As `counts`, in so many bins at most, which are equally wide on a logarithmic scale; empty ones included."""
        found = sorted(self._buckets.items())
        if not found:
            return []
        first, last = found[0][0], found[-1][0]
        width = (last - first) // bins + 1
        counts = [0] * ((last - first) // width + 1)
        for bucket, count in found:
            counts[(bucket - first) // width] += count
        return [(_middle(first + width * at + width // 2), count) for at, count in enumerate(counts)]


def _middle(bucket: int) -> float:
    return 0.0 if bucket < 0 else LEAST * exp((bucket + 0.5) * _WIDTH)
