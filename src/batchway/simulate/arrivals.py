"""Made arrivals: endless times for a trace that has none, from a mean rate and seeded dice; equal dice, equal times.

To add a kind: a function of rate and dice, and its row in `ARRIVALS`.
"""

from collections.abc import Callable, Iterator, Mapping
from math import cos, log, pi
from typing import Protocol

DAY = 86_400.0
"""Seconds."""

PEAK, QUIET = 8.0, 0.2
"""Of a bursty trace: the rate within bursts and between them, as multiples of the mean."""

BURST = 20
"""Requests of a burst, in the mean."""

SWING = 0.9
"""Of a diurnal trace: how far the rate swings about its mean. 0.9: 19 times as many come at noon as at midnight."""


class Dice(Protocol):
    """What is needed of `random.Random`: the one method whose numbers are promised to stay the same for a seed."""

    def random(self) -> float:
        """From 0 up to, but not, 1."""
        ...


def poisson(per_second: float, dice: Dice) -> Iterator[float]:
    """Seconds from the start at which requests come that know nothing of each other."""
    at = 0.0
    while True:
        at += _gap(per_second, dice)
        yield at


def bursty(per_second: float, dice: Dice) -> Iterator[float]:
    """Bursts and quiet times by turns, each of a length by chance; in the mean over long, `per_second` come."""
    share = (1 - QUIET) / (PEAK - QUIET)  # of the time that is burst, so that the mean holds
    burst = BURST / (PEAK * per_second)
    states = ((PEAK * per_second, burst), (QUIET * per_second, burst * (1 - share) / share))
    at, ends, state = 0.0, 0.0, 0
    while True:
        state = 1 - state
        rate, length = states[state]
        at, ends = ends, ends + _gap(1 / length, dice)
        while (at := at + _gap(rate, dice)) < ends:
            yield at


def diurnal(per_second: float, dice: Dice) -> Iterator[float]:
    """Days that begin at midnight: few requests then, most at noon, `per_second` in the mean of a day."""
    for at in poisson(per_second * (1 + SWING), dice):
        if dice.random() * (1 + SWING) < 1 - SWING * cos(2 * pi * at / DAY):
            yield at


ARRIVALS: Mapping[str, Callable[[float, Dice], Iterator[float]]] = {
    "poisson": poisson,
    "bursty": bursty,
    "diurnal": diurnal,
}


def times_ms(kind: str, per_second: float, dice: Dice) -> Iterator[int]:
    """Such arrivals in whole milliseconds. `kind` is one of ARRIVALS, `per_second` above 0."""
    return (round(at * 1000) for at in ARRIVALS[kind](per_second, dice))


def _gap(per_second: float, dice: Dice) -> float:
    return -log(1 - dice.random()) / per_second
