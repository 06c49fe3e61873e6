"""Catching up: what counts as a look at a job since a start, or since this process stood still."""

from batchway.engine.caretaker import CAUGHT_UP, CatchUp


def test_a_look_that_began_before_the_gap_is_none() -> None:
    caught = CatchUp()
    caught.begin(["j-1", "j-2"], since=100.0)

    assert not caught.looked("j-1", 99.9), "it has to be looked at again"
    assert caught.looked("j-1", 100.1) and not caught.over(101.0)
    assert caught.looked("j-2", 100.1) and caught.over(101.0)
    assert caught.looked("j-1", 99.0), "it was looked at since"


def test_what_was_formed_since_is_not_waited_for() -> None:
    caught = CatchUp()
    assert caught.over(0.0)
    caught.begin([], since=100.0)
    assert caught.looked("j-9", 99.0) and caught.over(100.0)


def test_nothing_waits_for_ever() -> None:
    caught = CatchUp()
    caught.begin(["j-1"], since=100.0)
    assert not caught.over(100.0 + CAUGHT_UP - 1)
    assert caught.over(100.0 + CAUGHT_UP)
