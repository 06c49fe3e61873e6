"""When requests arrive: their own times in order, made ones where there are none, and what is said of a mixture."""

import random
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchway.core.errors import InputError
from batchway.simulate import timing
from batchway.simulate.inputs import Entry
from batchway.simulate.notes import Notes
from batchway.simulate.timing import timed


def entries(*times: int | None) -> list[Entry]:
    return [Entry(line=order + 1, prompt="p", created_at_ms=at) for order, at in enumerate(times)]


def order(found: list[Entry], notes: Notes | None = None, *, anew: bool = False) -> list[tuple[int, int]]:
    """Each request's place in the file and its time."""
    made = (100 * number for number in count(1))
    return [(each.order, each.at_ms) for each in timed("f", found, made, notes or Notes(), anew=anew)]


def test_own_times_are_kept() -> None:
    notes = Notes()
    assert order(entries(0, 5, 5, 9), notes) == [(0, 0), (1, 5), (2, 5), (3, 9)]
    assert order([]) == []
    assert list(notes) == []


def test_what_is_out_of_order_is_sorted_and_said() -> None:
    notes = Notes()
    assert order(entries(7, 3, 9, 3, 8), notes) == [(1, 3), (3, 3), (0, 7), (4, 8), (2, 9)]
    assert list(notes) == ["created_at_ms: earlier than a request before it; sorted (line 2 and 2 more)"]


@given(st.lists(st.integers(0, 30), max_size=50))
def test_any_order_is_sorted_and_equal_times_keep_their_places(times: list[int]) -> None:
    assert order(entries(*times)) == sorted(enumerate(times), key=lambda each: (each[1], each[0]))


def test_times_are_made_where_there_are_none() -> None:
    assert order(entries(None, None, None)) == [(0, 100), (1, 200), (2, 300)]


def test_times_are_made_anew_where_that_was_asked_for() -> None:
    notes = Notes()
    assert order(entries(7, None, 3), notes, anew=True) == [(0, 100), (1, 200), (2, 300)]
    assert list(notes) == ["created_at_ms: replaced by a made time, as asked for (line 1 and 1 more)"]


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ((1, None), "f: line 2: created_at_ms: missing, though earlier requests have it"),
        ((None, None, 4), "f: line 3: created_at_ms: given, though earlier requests have none; give all"),
    ],
)
def test_all_have_a_time_or_none(times: tuple[int | None, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        order(entries(*times))


def test_a_request_that_is_too_late_for_the_look_ahead_is_an_error() -> None:
    late = [*range(1, timing.AHEAD + 2), 0]
    assert order(entries(*late[1:]))[0] == (timing.AHEAD, 0)
    with pytest.raises(InputError, match=f"line {timing.AHEAD + 2}: created_at_ms: 0 is out of order by more than"):
        order(entries(*late))


def test_what_is_held_of_texts_is_bounded() -> None:
    text = "x" * (timing.AHEAD_CHARACTERS // 4)
    found = [Entry(line=at, prompt=text, created_at_ms=at) for at in range(10)]
    drawn = 0

    def draw() -> Iterator[Entry]:
        nonlocal drawn
        for entry in found:
            drawn += 1
            yield entry

    first = next(timed("f", draw(), iter(()), Notes()))
    assert (first.at_ms, drawn) == (0, 5)


def test_a_random_trace_is_the_same_sorted_by_us_or_before() -> None:
    dice = random.Random(3)
    times = [dice.randrange(1_000) for _ in range(2_000)]
    assert [at for _, at in order(entries(*times))] == sorted(times)
