"""Luck: the same for the same name and seed, in whatever order it is asked for; even, and free of patterns."""

from math import log
from statistics import fmean, pstdev

import pytest

from batchway.simulate.luck import Luck


def test_draws_do_not_depend_on_what_was_drawn_before() -> None:
    one, other = Luck(7), Luck(7)
    names = [f"r{number}" for number in range(50)]
    forwards = {name: one.draw(name, 1) for name in names}
    backwards = {name: other.draw(name, 1) for name in reversed(names)}
    assert forwards == backwards


def test_seeds_names_and_numbers_draw_differently() -> None:
    draws = {Luck(seed).draw(name, number) for seed in range(5) for name in ("a", "b") for number in range(5)}
    assert len(draws) == 50


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_draws_are_even(seed: int) -> None:
    luck = Luck(seed)
    draws = [luck.draw(f"r{number}", 3) for number in range(20_000)]
    tenths = [sum(at <= draw * 10 < at + 1 for draw in draws) for at in range(10)]
    assert all(1_850 < count < 2_150 for count in tenths)
    assert min(draws) >= 0 and max(draws) < 1


def test_two_draws_of_one_name_have_nothing_to_do_with_each_other() -> None:
    luck = Luck(3)
    pairs = [(luck.draw(f"r{number}", 0) - 0.5, luck.draw(f"r{number}", 1) - 0.5) for number in range(20_000)]
    assert abs(fmean(one * other for one, other in pairs) * 12) < 0.03


def test_a_factor_is_as_often_above_one_as_below_and_as_wide_as_asked() -> None:
    luck = Luck(5)
    logs = [log(luck.factor(f"r{number}", 0, 0.4)) for number in range(20_000)]
    assert abs(fmean(logs)) < 0.01
    assert pstdev(logs) == pytest.approx(0.4, rel=0.03)
    assert luck.factor("any", 0, 0.0) == 1.0
