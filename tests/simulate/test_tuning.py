"""Tuning: the grid, a seeded choice of it, the cheapest within a goal, and the curve of what waiting buys."""

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import structs
from tests.simulate.traffic import lab, mixed, request

from batchway.assemble import load_settings
from batchway.core.errors import SettingsError
from batchway.simulate.outcome import Outcome
from batchway.simulate.policies import named, on, read, write
from batchway.simulate.tuning import AXES, Candidate, Goal, Tried, best, candidates, front, read_axis
from batchway.simulate.world import Conditions, Recorded

BASE = named("saver")
RICH = structs.replace(BASE, policy=structs.replace(BASE.policy, pack_stake=10**15))


def values(found: list[Candidate]) -> list[Mapping[str, object]]:
    return [candidate.values for candidate in found]


def test_a_small_grid_is_tried_whole_after_what_one_began_with() -> None:
    axes = {"pack.max_wait": (0.1, 0.2), "requests.reuse": ("off", "all")}
    found = candidates(BASE, axes, 40, 1)
    assert values(found) == [
        {},
        {"pack.max_wait": 0.1, "requests.reuse": "off"},
        {"pack.max_wait": 0.2, "requests.reuse": "off"},
        {"pack.max_wait": 0.1, "requests.reuse": "all"},
        {"pack.max_wait": 0.2, "requests.reuse": "all"},
    ]
    last = found[-1].setup
    assert (last.policy.pack.max_wait, last.requests.reuse, last.requests.packing) == (0.2, "all", "auto")


def test_what_one_began_with_is_not_tried_twice() -> None:
    found = candidates(BASE, {"pack.max_wait": (BASE.policy.pack.max_wait, 1.0)}, 9, 1)
    assert values(found) == [{}, {"pack.max_wait": 1.0}]


def test_of_a_large_grid_a_seeded_choice_is_tried() -> None:
    one, same, other = (values(candidates(BASE, AXES, 30, seed)) for seed in (1, 1, 2))
    assert one == same != other
    assert 25 <= len(one) <= 30
    assert len({tuple(sorted(map(str, each.items()))) for each in one}) == len(one)


@pytest.mark.parametrize(
    ("said", "axis"),
    [
        ("pack.max_wait=0.05,1", ("pack.max_wait", (0.05, 1))),
        ("requests.packing=auto, always", ("requests.packing", ("auto", "always"))),
        ("retry_unknown=true,false", ("retry_unknown", (True, False))),
    ],
)
def test_axes_are_read_as_they_are_said(said: str, axis: tuple[str, tuple[object, ...]]) -> None:
    assert read_axis(said) == axis


@pytest.mark.parametrize("said", ["pack.max_wait", "=1", "pack.max_wait="])
def test_what_is_no_axis_is_refused(said: str) -> None:
    with pytest.raises(SettingsError, match="allowed is a field and its values"):
        read_axis(said)


@pytest.mark.parametrize(
    ("axes", "most", "words"),
    [
        ({"pack.max_weight": (1,)}, 9, "--over: pack.max_weight: there is no such field; 'max_wait' is meant"),
        ({"pack.max_size": ("many",)}, 9, "--over: pack.max_size: Expected `int`, got `str`"),
        ({"pack.max_size": (0,)}, 9, "--over: pack.max_size is 0; it must be at least 1"),
        ({"requests.tags": ("x",)}, 9, "--over: requests.tags: there is no such field"),
        ({"pack.max_size": (3,)}, 1, "--trials 1: allowed are 2 or more"),
    ],
)
def test_what_cannot_be_tried_is_named(axes: dict[str, tuple[object, ...]], most: int, words: str) -> None:
    with pytest.raises(SettingsError, match=words.replace("(", r"\(")):
        candidates(BASE, axes, most, 1)


def tried(name: str, paid: int, p95: float, *, refused: int = 0) -> Tried:
    outcome = Outcome()
    outcome.ways["direct"].charge(paid, paid)
    for _ in range(10):
        outcome.ways["direct"].requests += 1
        outcome.waited.add(p95)
    outcome.refused["queue_full"] = refused
    return Tried(candidate=Candidate(setup=structs.replace(BASE, name=name), values={}), outcome=outcome)


def names(found: list[Tried]) -> list[str]:
    return [each.candidate.setup.name for each in found]


def test_the_cheapest_within_the_goal_is_the_best() -> None:
    found = [tried("quick", 100, 1.0), tried("middling", 60, 4.0), tried("slow", 10, 60.0)]
    for goal, name in ((2.0, "quick"), (5.0, "middling"), (100.0, "slow")):
        chosen = best(found, Goal(p95=goal))
        assert chosen is not None and chosen.candidate.setup.name == name
    assert best(found, Goal(p95=0.5)) is None


def test_what_refuses_requests_is_not_cheap() -> None:
    found = [tried("honest", 100, 1.0), tried("refusing", 1, 1.0, refused=5)]
    chosen = best(found, Goal(p95=10.0))
    assert chosen is not None and chosen.candidate.setup.name == "honest"


def test_the_curve_holds_what_no_other_beats_in_both() -> None:
    found = [tried("beaten", 120, 2.0), tried("slow", 10, 60.0), tried("quick", 100, 1.0), tried("same", 100, 1.5)]
    assert names(front(found)) == ["quick", "slow"]


def company(count: int) -> list[Recorded]:
    """Short questions of one kind, ten a second."""
    return [
        request(f"r{number}", 0.1 * number, packing="auto", max_output=40, temperature=0.7, seconds=None)
        for number in range(count)
    ]


def test_waiting_buys_company_and_the_goal_says_how_much_of_it() -> None:
    axes: dict[str, tuple[Any, ...]] = {"pack.max_wait": (0.05, 0.5, 3.0), "pack.max_size": (6, 12)}
    chosen = candidates(RICH, axes, 40, 1)
    outcomes = lab(Conditions(length_spread=0.0)).rehearse([each.setup for each in chosen], company(600))
    found = [Tried(candidate=each, outcome=outcome) for each, outcome in zip(chosen, outcomes, strict=True)]
    hasty, patient = best(found, Goal(p95=1.4)), best(found, Goal(p95=6.0))
    assert hasty is not None and patient is not None
    assert patient.outcome.paid < hasty.outcome.paid
    assert hasty.p95 <= 1.4 < patient.p95 <= 6.0
    assert len(front(found)) >= 2


def test_what_is_written_does_again_what_was_tried() -> None:
    base = on(load_settings({"pack_stake_usd": 1000}, environment={}).settings)
    (chosen,) = [each for each in candidates(base("saver"), {"pack.max_wait": (0.5,)}, 9, 1) if each.values]
    text = write(chosen.setup, base, heading="made by a test")
    again = read(text, where="tuned.toml", name=chosen.setup.name, base=base)
    assert again == chosen.setup
    first, second = lab().rehearse([chosen.setup, again], mixed(200))
    assert (first.paid, first.worth, first.packs) == (second.paid, second.worth, second.packs)
