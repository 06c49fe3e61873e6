"""Luck: numbers drawn by name, so that a request is as lucky under one policy as under another, in whatever order.

Policies are compared under equal luck: what a provider's whim does to a request is the same in each of them, and a
difference between two runs is a difference of their policies.
"""

from math import exp
from statistics import NormalDist
from zlib import crc32

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_bell = NormalDist().inv_cdf
_LEAST = 2.0**-54
"""Keeps a draw off the ends of the bell, which are infinite."""


class Luck:
    """One for each seed. The same name and number always draw the same."""

    def __init__(self, seed: int) -> None:
        self._seed = _mix((seed + 1) * _GOLDEN & _MASK)

    def draw(self, name: str, number: int) -> float:
        """At least 0, less than 1, evenly. `number` tells the draws of one name apart."""
        return (_mix((crc32(name.encode()) + self._seed + number * _GOLDEN) & _MASK) >> 11) * 2.0**-53

    def factor(self, name: str, number: int, spread: float) -> float:
        """A factor around 1, as often above as below. `spread`: the standard deviation of its logarithm."""
        return exp(spread * _bell(self.draw(name, number) + _LEAST)) if spread else 1.0


def _mix(number: int) -> int:
    """SplitMix64's last step (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014)."""
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    number = (number ^ number >> 27) * 0x94D049BB133111EB & _MASK
    return number ^ number >> 31
