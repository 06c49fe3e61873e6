"""How likely a batch is back in time: a prior at first, and then what was measured."""

import pytest

from batchway.core.turnaround import HOUR, PRIOR, REMEMBERED, WEIGHT, Turnaround, Turnarounds, prior


def measured(seconds: float, model: str = "m", provider: str = "p") -> Turnaround:
    return Turnaround(provider=provider, model=model, at=0.0, seconds=seconds, n=1)


def test_before_anything_was_measured_the_prior_holds() -> None:
    known = Turnarounds()

    for seconds, share in PRIOR:
        assert known.chance("p", "m", seconds) == pytest.approx(share)
    assert known.chance("p", "m", -1.0) == 0.0
    assert known.chance("p", "m", 0.0) == 0.0
    assert known.chance("p", "m", 1000 * HOUR) == 1.0


def test_the_prior_rises_evenly_between_its_points() -> None:
    (first, low), (second, high) = PRIOR[1], PRIOR[2]

    assert prior((first + second) / 2) == pytest.approx((low + high) / 2)
    shares = [prior(step * HOUR / 10) for step in range(500)]
    assert shares == sorted(shares)


def test_what_was_measured_outweighs_the_prior() -> None:
    quick = Turnarounds([measured(60.0) for _ in range(100)])
    slow = Turnarounds([measured(20 * HOUR) for _ in range(100)])

    assert quick.chance("p", "m", 120.0) > 0.9
    assert slow.chance("p", "m", 8 * HOUR) < 0.1
    # Just as much as so many batches: half of them were back.
    even = Turnarounds([measured(60.0) for _ in range(int(WEIGHT))])
    assert even.chance("p", "m", HOUR) == pytest.approx((prior(HOUR) + 1) / 2)


def test_a_model_that_was_never_measured_goes_by_its_provider() -> None:
    known = Turnarounds([measured(60.0, "m") for _ in range(50)])

    assert known.chance("p", "other", 120.0) == known.chance("p", "m", 120.0)
    assert known.chance("another", "m", 120.0) == pytest.approx(prior(120.0))


def test_a_model_that_was_measured_goes_by_itself() -> None:
    known = Turnarounds([measured(60.0, "quick") for _ in range(50)])
    known.learn(measured(20 * HOUR, "slow"))

    assert known.chance("p", "slow", 120.0) < known.chance("p", "quick", 120.0)


def test_only_the_newest_are_remembered() -> None:
    known = Turnarounds([measured(20 * HOUR) for _ in range(REMEMBERED)])
    for _ in range(REMEMBERED):
        known.learn(measured(60.0))

    assert known.chance("p", "m", 120.0) == pytest.approx((WEIGHT * prior(120.0) + REMEMBERED) / (WEIGHT + REMEMBERED))


def test_the_typical_time_is_the_quantile_of_the_chance() -> None:
    known = Turnarounds([measured(float(minute * 60)) for minute in range(1, 101)])

    for share in (0.1, 0.5, 0.9):
        seconds = known.typical("p", "m", share)
        assert known.chance("p", "m", seconds) >= share
        assert known.chance("p", "m", seconds - 2.0) < share
