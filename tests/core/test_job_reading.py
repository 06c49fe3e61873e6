"""Rows on the wire: ids that hold their tag, what a line means for its row, and how rows are dealt out."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.test_job import TAG, fault, ingesting, job, requeue

from batchway.core.job import RowResult, Tally, custom_id, position_of, settles, shares, successor
from batchway.core.types import Answer, Fault

ANSWER = Answer(body=b"{}")


@given(st.from_regex(r"[A-Za-z0-9_-]{8,30}", fullmatch=True), st.integers(0, 99_999_999))
def test_an_id_names_its_row_and_no_other(tag: str, position: int) -> None:
    named = custom_id(tag, position)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,40}", named)
    assert position_of(tag, named) == position
    assert position_of("x" + tag[1:] if tag[0] != "x" else "y" + tag[1:], named) is None


@pytest.mark.parametrize(
    "strange", ["", TAG, f"{TAG}-", f"{TAG}-01", f"{TAG}--1", f"{TAG}-1x", f"{TAG}-١", f"{TAG}-9999999999", "x-1"]
)
def test_what_we_did_not_make_is_no_row(strange: str) -> None:
    assert position_of(TAG, strange) is None


@pytest.mark.parametrize(
    ("outcome", "now", "in_the_last"),
    [
        (ANSWER, True, True),
        (fault(400), True, True),
        (fault(500, passing=True), False, True),
        (None, False, False),
    ],
)
def test_what_settles_a_row(outcome: object, now: bool, in_the_last: bool) -> None:
    assert settles(outcome, last=False) is now  # type: ignore[arg-type]
    assert settles(outcome, last=True) is in_the_last  # type: ignore[arg-type]


def test_lines_are_matched_by_id_and_strangers_counted() -> None:
    tally = Tally(ingesting(), last=False)
    lines: list[tuple[str, Answer | Fault]] = [
        (custom_id(TAG, 2), ANSWER),
        (custom_id(TAG, 0), fault(500, passing=True)),
        (custom_id(TAG, 2), fault(400)),
        (custom_id(TAG, 4), ANSWER),
        ("request-1", ANSWER),
    ]
    meanings = [tally.take(RowResult(custom_id=name, outcome=outcome)) for name, outcome in lines]
    assert meanings == [("settles", 2), ("open", 0), ("settles", 2), ("ghost", -1), ("ghost", -1)]
    tally.bad += 1
    read = tally.ingested(done=1, failed=0)
    assert (read.done, read.failed, read.seen, read.bad, read.ghosts) == (1, 0, 2, 1, 2)


@given(st.integers(1, 1000), st.integers(1, 50))
def test_rows_are_dealt_out_evenly_and_whole(n: int, parts: int) -> None:
    dealt = shares(n, parts)
    assert [position for share in dealt for position in share] == list(range(n))
    sizes = [len(share) for share in dealt]
    assert len(dealt) == min(parts, n)
    assert max(sizes) - min(sizes) <= 1


def test_a_successor_is_of_the_same_kind_and_begins_anew() -> None:
    before = ingesting(attempt=1, crowded=1, window="7d")
    after = successor(
        before,
        requeue(attempt=2, splits=3, crowded=2, not_before=2500.0),
        id="job-2",
        submit_tag="01JTAG0001",
        n=2,
        size=200,
        tokens=20,
        now=2000.0,
    )
    assert after == job(
        id="job-2",
        submit_tag="01JTAG0001",
        n=2,
        size=200,
        tokens=20,
        window="7d",
        created_at=2000.0,
        not_before=2500.0,
        next_at=2500.0,
        attempt=2,
        splits=3,
        crowded=2,
    )
