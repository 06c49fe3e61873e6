"""Made arrivals: the same for a seed, in order, as many as asked for in the mean, and bursty or daily as they say."""

import random
from itertools import islice, takewhile
from statistics import mean, pvariance

import pytest

from batchway.simulate.arrivals import ARRIVALS, DAY, SWING, times_ms


def times(kind: str, rate: float, number: int, seed: int = 1) -> list[int]:
    return list(islice(times_ms(kind, rate, random.Random(seed)), number))


def per_second(found: list[int]) -> list[int]:
    """How many came in each second."""
    counts = [0] * (found[-1] // 1000 + 1)
    for at in found:
        counts[at // 1000] += 1
    return counts


@pytest.mark.parametrize("kind", ARRIVALS)
def test_equal_seeds_give_equal_times_and_others_others(kind: str) -> None:
    assert times(kind, 20, 500) == times(kind, 20, 500)
    assert times(kind, 20, 500) != times(kind, 20, 500, seed=2)


@pytest.mark.parametrize("kind", ARRIVALS)
@pytest.mark.parametrize("rate", [1e-6, 0.5, 20, 1e6])
def test_times_are_whole_and_in_order(kind: str, rate: float) -> None:
    found = times(kind, rate, 2_000)
    assert found == sorted(found)
    assert found[0] >= 0


FIRST = {"poisson": [7, 101, 173, 188], "bursty": [160, 164, 168, 174], "diurnal": [90, 175, 259, 378]}


def test_the_first_times_of_a_seed_never_change() -> None:
    """A trace that was made with a seed must come out the same with every version."""
    assert {kind: times(kind, 20, 4) for kind in ARRIVALS} == FIRST


@pytest.mark.parametrize(("kind", "rate"), [("poisson", 20), ("bursty", 20), ("diurnal", 0.5)])
def test_the_mean_is_what_was_asked_for(kind: str, rate: float) -> None:
    found = times(kind, rate, 100_000)
    assert 1_000 * len(found) / found[-1] == pytest.approx(rate, rel=0.05)


def test_poisson_counts_vary_as_much_as_they_are_many_and_bursts_much_more() -> None:
    poisson, bursty = (per_second(times(kind, 20, 50_000)) for kind in ("poisson", "bursty"))
    assert pvariance(poisson) / mean(poisson) == pytest.approx(1, rel=0.15)
    assert pvariance(bursty) / mean(bursty) > 10


def test_a_day_is_busy_at_noon_and_quiet_at_midnight() -> None:
    day = list(takewhile(lambda at: at < DAY * 1000, times_ms("diurnal", 1, random.Random(4))))
    hours = [0] * 24
    for at in day:
        hours[at // 3_600_000] += 1
    assert hours.index(max(hours)) in (11, 12)
    assert mean(hours[11:13]) / mean((hours[0], hours[23])) == pytest.approx((1 + SWING) / (1 - SWING), rel=0.3)
