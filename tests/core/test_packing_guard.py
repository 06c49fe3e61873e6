"""The guard: small at first, grown by agreement, closed by differences, back after a while."""

import random

import pytest

from batchway.core.packing import Missing
from batchway.core.packing_guard import HALF_LIFE, LEAST_SAMPLED, MOST, YOUNG, Guard, compare, normalise

KEY = ("openai", "m", "xml")


def agree(guard: Guard, times: int, now: float = 0.0) -> None:
    for _ in range(times):
        guard.compared(KEY, "agrees", now, repeatable=True)


def test_samples_that_tell_nothing_become_fewer_and_let_nothing_grow() -> None:
    guard = Guard()
    for _ in range(36):
        guard.untold("k", 0.0)
    assert guard.sampling("k", 0.0) == pytest.approx(0.1)
    assert guard.cap("k", 0.0) == YOUNG


def test_a_model_grows_by_agreement_only() -> None:
    guard = Guard()
    caps = [guard.cap(KEY, 0.0)]
    for _ in range(50):
        guard.unpacked(KEY, 2, 0, 0.0)
    assert guard.cap(KEY, 0.0) == caps[0] == YOUNG
    for _ in range(4):
        agree(guard, 1)
        caps.append(guard.cap(KEY, 0.0))
    assert caps == sorted(caps)
    assert caps[-1] == MOST
    assert Guard(most=2).cap(KEY, 0.0) == 2


def test_one_difference_closes_a_young_model_and_it_says_so() -> None:
    guard = Guard()
    guard.compared(KEY, "differs", 0.0, repeatable=True)
    standing = guard.standing(KEY, 0.0)
    assert standing.cap == 1
    assert standing.agreement == pytest.approx(2 / 3)
    assert standing.why.startswith("packing is off for this model: 67% of its packed answers agree")


def test_a_sampled_request_may_differ_from_itself() -> None:
    guard = Guard()
    guard.compared(KEY, "differs", 0.0, repeatable=False)
    assert guard.cap(KEY, 0.0) > 1
    guard.compared(KEY, "differs", 0.0, repeatable=False)
    assert guard.cap(KEY, 0.0) == 1


def test_a_grown_model_is_closed_by_two_differences_in_a_row() -> None:
    guard = Guard()
    agree(guard, 100)
    guard.compared(KEY, "differs", 0.0, repeatable=True)
    assert 1 < guard.cap(KEY, 0.0) <= MOST
    guard.compared(KEY, "differs", 0.0, repeatable=True)
    assert guard.cap(KEY, 0.0) == 1


@pytest.mark.parametrize("repeatable", [True, False])
def test_one_exchanged_answer_closes_a_grown_model(repeatable: bool) -> None:
    guard = Guard()
    agree(guard, 100)
    guard.compared(KEY, "exchanged", 0.0, repeatable=repeatable)
    assert guard.cap(KEY, 0.0) == 1


def test_what_was_closed_comes_back_small_and_stays_away_longer_the_next_time() -> None:
    guard = Guard()
    away = []
    now = 0.0
    for _ in range(3):
        guard.compared(KEY, "differs", now, repeatable=True)
        closed = now
        while guard.cap(KEY, now) == 1:
            now += HALF_LIFE / 20
        assert guard.cap(KEY, now) == YOUNG
        assert guard.sampling(KEY, now) > 0.3
        away.append(now - closed)
    assert away == sorted(away)
    assert HALF_LIFE * 0.9 < away[0] < away[2]


def test_fallbacks_are_learnt_from_pessimism_to_the_truth_and_forgotten() -> None:
    guard = Guard()
    first = guard.failing(KEY, 0.0)
    for _ in range(60):
        guard.unpacked(KEY, 4, 1, 0.0)
    assert guard.failing(KEY, 0.0) == pytest.approx(0.25, abs=0.02)
    for _ in range(60):
        guard.unpacked(KEY, 4, 4, 0.0)
    assert guard.failing(KEY, 0.0) > 0.8
    assert guard.failing(KEY, 20 * HALF_LIFE) == pytest.approx(first, abs=0.01)
    assert guard.failing(("another",), 0.0) == first


def test_samples_are_many_at_first_and_few_for_good() -> None:
    guard, dice = Guard(), random.Random(1)
    taken = []
    for _ in range(1000):
        place = guard.sample(KEY, 5, 0.0, dice)
        taken.append(place is not None)
        if place is not None:
            assert 0 <= place < 5
            agree(guard, 1)
    assert taken[0]
    assert sum(taken[:50]) > 10
    assert 60 < sum(taken) < 110
    assert guard.sampling(KEY, 0.0) >= LEAST_SAMPLED
    guard.compared(KEY, "differs", 0.0, repeatable=True)
    assert guard.sampling(KEY, 0.0) >= 0.5


def test_sampled_items_are_spread_over_the_places() -> None:
    guard, dice = Guard(), random.Random(2)
    assert {guard.sample(KEY, 4, 0.0, dice) for _ in range(100)} == {0, 1, 2, 3}


@pytest.mark.parametrize("seed", range(50))
def test_exchanged_answers_close_packing_within_fifty_packs(seed: int) -> None:
    """Two items of each pack have each other's answer; what is sampled shows it only where it hits one of them."""
    guard, dice = Guard(), random.Random(seed)
    packs = 0
    while (size := guard.cap(KEY, 0.0)) > 1:
        packs += 1
        assert packs <= 50
        answers = [f"answer {place}" for place in range(size)]
        at = dice.randrange(size - 1)
        answers[at], answers[at + 1] = answers[at + 1], answers[at]
        guard.unpacked(KEY, size, 0, 0.0)
        place = guard.sample(KEY, size, 0.0, dice)
        if place is not None:
            found = compare(answers, place, f"answer {place}")
            assert found is not None
            guard.compared(KEY, found, 0.0, repeatable=True)
    assert "packing is off" in guard.standing(KEY, 0.0).why


LONG = "word " * 40


@pytest.mark.parametrize(
    ("answers", "single", "found"),
    [
        (["Yes.", "no"], "yes", "agrees"),
        (["**Yes**", "no"], " 'Yes' \n", "agrees"),
        (["4", "5"], "6", "differs"),
        (["4", "5"], "5", "exchanged"),
        # With labels that several items have, chance does it too.
        (["yes", "no", "no"], "no", "differs"),
        ([LONG, "x"], LONG + "\n", "agrees"),
        ([LONG, "x"], LONG + "more", None),
        ([LONG, LONG + "other"], LONG + "other", "exchanged"),
        ([Missing("lost"), "x"], "x", None),
        (["x", Missing("lost")], "x", "agrees"),
    ],
)
def test_what_agreement_means(answers: list[str | Missing], single: str, found: str | None) -> None:
    assert compare(answers, 0, single) == found


def test_normalising_keeps_what_means_something() -> None:
    assert normalise("Ｆｕｌｌ  width!") == "full width"
    assert normalise("-4") != normalise("4")
    assert normalise("C++") != normalise("C")


def test_the_key_longest_without_news_is_forgotten() -> None:
    guard = Guard(remembered=2)
    for name in ("a", "b", "a", "c"):
        guard.compared((name,), "differs", 0.0, repeatable=True)
    assert [guard.cap((name,), 0.0) for name in ("a", "b", "c")] == [1, YOUNG, 1]


def test_a_clock_that_goes_back_changes_nothing() -> None:
    guard = Guard()
    guard.compared(KEY, "differs", 1000.0, repeatable=True)
    assert guard.cap(KEY, 0.0) == 1
