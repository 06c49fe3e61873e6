"""Results that are late, damaged, doubled or missing: every paid row reaches its caller, and no caller gets another's.

The faults of failures.md §1.3 that the sandbox can play, beyond those of test_peer_faults.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.batch.lane import ONE_JOB, Lane, open_lane, own_answer, questions
from tests.gate import check_fault, said

TWENTY = questions(20)


@pytest.fixture
async def lane(tmp_path: Path) -> AsyncIterator[Lane]:
    """One whose windows hold twenty requests, so that twenty are one job."""
    async with open_lane(tmp_path, **ONE_JOB) as opened:
        yield opened


def right(answers: list[httpx2.Response]) -> int:
    """How many have their own answer."""
    return sum(own_answer(text, answer) for text, answer in zip(TWENTY, answers, strict=True))


ALL_LINES: dict[str, Any] = {"kind": "lines_fail", "lines": None, "status": 422, "code": "odd", "message": "All odd."}


@pytest.mark.parametrize("blank", [False, True], ids=["null", "empty"])
async def test_a_batch_without_an_output_file_gives_the_errors_of_its_lines(lane: Lane, blank: bool) -> None:
    if blank:
        lane.fault("blank_file_ids")
    lane.fault(**ALL_LINES)

    answers = await lane.ask_all(TWENTY)

    for answer in answers:
        assert check_fault(answer, 422, "odd")["message"] == "All odd."
    assert (len(lane.batches), lane.billed) == (1, 0)


async def test_a_batch_without_an_error_file_is_as_good(lane: Lane) -> None:
    lane.fault("blank_file_ids")

    assert right(await lane.ask_all(TWENTY)) == 20
    assert lane.billed == 20


async def test_a_line_that_is_no_success_is_not_passed_off_as_one(lane: Lane) -> None:
    """Status 0 and no error, counted among the completed (#36): whatever it is, it is not an answer."""
    lane.fault("lines_fail", lines=10, status=0, file="output", counted=False)

    answers = await lane.ask_all(TWENTY)

    assert right(answers) == 20
    assert [batch.billed for batch in lane.batches] == [10, 10]


@pytest.mark.parametrize("lines", [1, 7])
async def test_lines_that_are_paid_and_never_shown_are_asked_for_again(lane: Lane, lines: int) -> None:
    lane.fault("lines_missing", lines=lines)

    answers = await lane.ask_all(TWENTY)

    assert right(answers) == 20
    assert [batch.billed for batch in lane.batches] == [20, lines]


async def test_a_line_that_is_half_written_for_good_costs_its_own_row_alone(lane: Lane) -> None:
    lane.fault("half_line")

    answers = await lane.ask_all(TWENTY)

    assert right(answers) == 20
    assert [batch.billed for batch in lane.batches] == [20, 1]


async def test_a_line_that_cannot_be_read_costs_its_own_row_alone(lane: Lane) -> None:
    lane.fault("garbage_lines", lines=5)

    assert right(await lane.ask_all(TWENTY)) == 20
    assert (len(lane.batches), lane.billed) == (1, 20)


async def test_a_byte_that_is_no_text_keeps_nobody_from_the_rest(lane: Lane) -> None:
    lane.fault("invalid_utf8", lines=None)

    answers = await lane.ask_all(TWENTY)

    assert [f": {text}" in said(answer) for text, answer in zip(TWENTY, answers, strict=True)] == [True] * 20
    assert lane.billed == 20


async def test_ids_that_are_nobodys_are_ignored_whatever_they_say(lane: Lane) -> None:
    lane.fault("ghost_lines", lines=None)
    lane.fault("lines_reversed")

    assert right(await lane.ask_all(TWENTY)) == 20
    (job,) = await lane.done()
    assert job.job.ghosts == 20


async def test_every_line_twice_is_every_answer_once(lane: Lane) -> None:
    lane.fault("lines_doubled", lines=None)

    assert right(await lane.ask_all(TWENTY)) == 20
    stats = (await lane.gate.http.get("/stats")).json()
    assert stats["requests"]["answered"] == 20
    assert Counter(lane.paid.values()) == {1: 20}


@pytest.mark.parametrize("status", [404, 500])
async def test_a_download_that_is_refused_for_a_while_is_repeated(lane: Lane, status: int) -> None:
    lane.fault("status", status=status, count=4, endpoint="files.content")

    assert right(await lane.ask_all(TWENTY)) == 20
    assert (len(lane.batches), lane.billed) == (1, 20)


async def test_results_that_are_gone_for_good_are_asked_for_again(lane: Lane) -> None:
    lane.fault("status", status=404, count=None, endpoint="files.content")
    asking = asyncio.create_task(lane.ask_all(TWENTY))
    async with asyncio.timeout(20):
        while len(lane.batches) < 2:
            await asyncio.sleep(0.05)
    lane.gate.sandbox.faults.switch_off()

    assert right(await asking) == 20
    assert len(lane.batches) == 2


async def test_faults_keep_the_providers_words_and_reach_only_their_own(lane: Lane) -> None:
    lane.fault("lines_fail", lines=1, status=400, code="content_filter", message="Filtered.", after=3)
    lane.fault("lines_fail", lines=1, status=413, code="too_long", message="Too long.", after=9)

    answers = await lane.ask_all(TWENTY)

    faults = [answer.json()["error"] for answer in answers if answer.status_code != 200]
    assert right(answers) == 18
    assert sorted((fault["code"], fault["message"]) for fault in faults) == [
        ("content_filter", "Filtered."),
        ("too_long", "Too long."),
    ]
