"""The thirteen faults by which a peer loses or doubles paid work (failures.md §1.4), fifty requests each.

Every caller gets its own answer or its own typed fault, at most fifty completions are billed, and what is unfinished
goes again.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.batch.lane import Lane, open_lane, own_answer, questions
from tests.gate import check_fault
from tests.proofs.running import ask, client, world

FIFTY = questions(50)


@pytest.fixture
async def lane(tmp_path: Path) -> AsyncIterator[Lane]:
    """One whose windows hold fifty requests, so that fifty are one job."""
    async with open_lane(tmp_path, batch_size=50, flush_interval=5) as opened:
        yield opened


async def answered(lane: Lane) -> None:
    """All fifty get their own answers, and each is billed once."""
    answers = await lane.ask_all(FIFTY)

    assert [own_answer(text, answer) for text, answer in zip(FIFTY, answers, strict=True)] == [True] * 50
    assert Counter(lane.paid.values()) == {1: 50}


MESSY = ("lines_reversed", "lines_doubled", "ghost_lines")


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([], id="none"),
        pytest.param([{"kind": kind} for kind in MESSY], id="messy"),
        pytest.param([{"kind": "odd_separators", "lines": None}], id="U+2028"),
        pytest.param([{"kind": "batch_hidden", "polls": 2}], id="404 to two polls"),
        pytest.param([{"kind": "files_late", "polls": 3}], id="file ids lag"),
    ],
)
async def test_what_only_looks_wrong_costs_no_second_batch(lane: Lane, faults: list[dict[str, Any]]) -> None:
    for fault in faults:
        lane.fault(**fault)

    await answered(lane)

    assert len(lane.batches) == 1


async def test_a_create_that_answers_500_after_accepting_is_found_not_repeated(lane: Lane) -> None:
    lane.fault("status", status=500, accepted=True, count=2, endpoint="batches.create")

    await answered(lane)

    assert len(lane.batches) == 1


@pytest.mark.parametrize("state", ["expired", "cancelled"])
async def test_a_batch_that_ends_early_gives_what_it_did_and_only_the_rest_goes_again(lane: Lane, state: str) -> None:
    lane.fault("batch_ends", state=state, lines=40)

    await answered(lane)

    assert [batch.billed for batch in lane.batches] == [40, 10]


async def test_lines_in_the_error_file_are_faults_of_their_own_callers(lane: Lane) -> None:
    lane.fault("lines_fail", lines=10, status=422, code="odd_input", message="This input is odd.")

    answers = await lane.ask_all(FIFTY)

    faulty = [answer for answer in answers if answer.status_code != 200]
    assert sum(own_answer(text, answer) for text, answer in zip(FIFTY, answers, strict=True)) == 40
    assert len(faulty) == 10
    for answer in faulty:
        assert check_fault(answer, 422, "odd_input")["message"] == "This input is odd."
    assert lane.billed == 40
    assert len(lane.batches) == 1


async def test_lines_with_status_400_stop_no_other(lane: Lane) -> None:
    lane.fault("lines_fail", lines=10, status=400, code="bad_line", message="No.", file="output")

    answers = await lane.ask_all(FIFTY)

    assert Counter(answer.status_code for answer in answers) == {200: 40, 400: 10}
    assert lane.billed == 40


async def test_lines_that_fail_for_a_moment_go_again(lane: Lane) -> None:
    lane.fault("lines_fail", lines=10, status=503)

    await answered(lane)

    assert [batch.billed for batch in lane.batches] == [40, 10]


DOWNLOAD = {"endpoint": "files.content"}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"kind": "status", "status": 503} | DOWNLOAD, id="503"),
        pytest.param({"kind": "cut_body"} | DOWNLOAD, id="cut"),
        pytest.param({"kind": "malformed_body"} | DOWNLOAD, id="truncated 200"),
        pytest.param({"kind": "garbage_lines", "after": 25}, id="garbage line"),
    ],
)
async def test_a_download_that_goes_wrong_is_repeated_until_all_is_read(lane: Lane, fault: dict[str, Any]) -> None:
    lane.fault(**fault)

    await answered(lane)

    assert len(lane.batches) == 1


async def test_what_was_accepted_survives_a_kill(tmp_path: Path) -> None:
    """`kill -9` as soon as all fifty are acknowledged, and a start: nobody asks anything again."""
    async with world(tmp_path, str(tmp_path / "store.db")) as made:
        asked = made.new_questions(50, "openai", "gpt-4o-mini")
        async with made.gateway() as process:
            await process.ready()
            async with client(process) as http:
                await asyncio.gather(*[ask(http, question) for question in asked])
            process.process.kill()

        async with made.gateway() as process:
            await process.ready()
            async with client(process) as http:
                await made.finish(http)

        assert all(question.answered for question in asked)
        assert made.billed_twice("gpt-4o-mini") == 0
        assert {len(batches) for batches in made.batches_by_tag().values()} == {1}


async def test_a_refused_upload_holds_up_no_other_endpoint(tmp_path: Path) -> None:
    async with open_lane(tmp_path, batch_size=50, flush_interval=1) as lane:
        lane.fault("status", status=429, retry_after=3, endpoint="files.create")
        chats = asyncio.create_task(lane.ask_all(FIFTY))
        async with asyncio.timeout(10):
            while not lane.gate.lines:
                await asyncio.sleep(0.01)

        embedding = {"model": "text-embedding-3-small", "input": "a text", "priority": "low"}
        other = await lane.gate.http.post("/v1/embeddings", json=embedding)

        assert other.status_code == 200
        assert other.headers["x-batchway-routed-via"] == "batch"
        assert not chats.done(), "the refused upload was to be tried again only after the other's whole batch"
        answers = await chats
        assert all(own_answer(text, answer) for text, answer in zip(FIFTY, answers, strict=True))
        assert lane.billed == 51
