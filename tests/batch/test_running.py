"""While a batch runs, and when it ends as none should: nobody pays twice for a bad poll, and every request has its end.

The faults of failures.md §1.2 that the sandbox can play.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from msgspec import structs
from sqlalchemy import Connection, update
from tests.batch.lane import ONE_JOB, Lane, open_lane, own_answer, questions
from tests.gate import check_fault

from batchway.core.job import Job
from batchway.core.job.facts import CancelAsked
from batchway.core.job.row import Then
from batchway.store import events, jobs
from batchway.store.tables import jobs as table

TWENTY = questions(20)


@pytest.fixture
async def lane(tmp_path: Path) -> AsyncIterator[Lane]:
    """One whose windows hold twenty requests, so that twenty are one job."""
    async with open_lane(tmp_path, **ONE_JOB) as opened:
        yield opened


def right(answers: list[httpx2.Response], texts: list[str] = TWENTY) -> int:
    """How many have their own answer."""
    return sum(own_answer(text, answer) for text, answer in zip(texts, answers, strict=True))


async def told(lane: Lane) -> Counter[str]:
    """What kinds of things happened to our jobs, and how often."""
    storage = lane.gate.gateway.storage
    assert storage is not None
    found: Counter[str] = Counter()
    for each in await lane.jobs():
        found.update(event.kind for event in await storage.database.read(events.of_job, each.job.id))
    return found


async def change(lane: Lane, **fields: Any) -> None:
    """The only job as if it were so: what takes a day otherwise."""
    storage = lane.gate.gateway.storage
    assert storage is not None
    (kept,) = await lane.jobs()

    def write(connection: Connection) -> None:
        job = jobs.load(connection, kept.job.id)
        assert job is not None
        data = msgspec.msgpack.encode(structs.replace(job, **fields))
        connection.execute(update(table).where(table.c.id == job.id, table.c.owner.is_(None)).values(data=data))

    await storage.database.write(write)


async def submitted(lane: Lane) -> Job:
    """The only job, once its batch is there."""
    async with asyncio.timeout(10):
        while not (found := await lane.jobs()) or found[0].job.provider_batch_id is None:
            await asyncio.sleep(0.02)
    return found[0].job


async def cancel(lane: Lane, job: Job, then: Then) -> None:
    """The owner wants it ended."""
    gateway = lane.gate.gateway
    assert gateway.storage is not None
    assert gateway.jobs is not None
    assert await gateway.storage.jobs.cancel(job.id, CancelAsked(by="admin", why="changed our mind", then=then))
    gateway.jobs.wake()


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"kind": "status", "status": 502, "count": 4}, id="502"),
        pytest.param({"kind": "status", "status": 429, "retry_after": 0.2, "count": 2}, id="429"),
        pytest.param({"kind": "drop", "count": 3}, id="dropped"),
        pytest.param({"kind": "malformed_body", "count": 2}, id="not JSON"),
        pytest.param({"kind": "wrong_shape", "count": 2}, id="another object"),
    ],
)
async def test_a_poll_that_fails_says_nothing_about_the_batch(lane: Lane, fault: dict[str, Any]) -> None:
    lane.fault(**fault, endpoint="batches.retrieve")

    answers = await lane.ask_all(TWENTY)

    assert right(answers) == 20
    assert (len(lane.batches), lane.billed) == (1, 20)


async def test_a_batch_that_vanishes_is_sent_again_and_the_risk_is_told(lane: Lane) -> None:
    lane.fault("batch_vanishes", seconds=0.1)

    answers = await lane.ask_all(TWENTY)

    assert right(answers) == 20
    assert len(lane.batches) == 2
    assert (await told(lane))["lost"] == 1


async def test_a_status_that_nobody_knows_is_shown_and_polled_on(lane: Lane) -> None:
    lane.fault("batch_status", status="awaiting_review", polls=6)

    answers = await lane.ask_all(TWENTY)

    assert right(answers) == 20
    assert len(lane.batches) == 1
    assert (await told(lane))["strange_status"] == 1


async def test_one_bad_job_holds_up_no_other(tmp_path: Path) -> None:
    async with open_lane(tmp_path, batch_size=10) as lane:
        lane.fault("batch_status", status="stuck_in_the_mud")
        bad = asyncio.create_task(lane.ask_all(questions(10), model="gpt-4o"))
        await submitted(lane)

        answers = await lane.ask_all(TWENTY)

        assert right(answers) == 20
        assert not bad.done()
        bad.cancel()


@pytest.mark.parametrize("state", ["validating", "running", "finalizing"])
async def test_a_batch_that_takes_long_is_waited_for(lane: Lane, state: str) -> None:
    lane.fault("batch_stuck", state=state, seconds=1.0)

    answers = await lane.ask_all(TWENTY)

    assert right(answers) == 20
    assert (len(lane.batches), lane.billed) == (1, 20)


@pytest.mark.parametrize("then", ["requeue", "reroute"])
async def test_a_batch_that_outlives_its_window_is_ended_and_the_rest_goes_on(tmp_path: Path, then: str) -> None:
    async with open_lane(tmp_path, on_overdue=then, **ONE_JOB) as lane:
        lane.fault("batch_stuck", state="running", lines=8)
        asking = asyncio.create_task(lane.ask_all(TWENTY))
        job = await submitted(lane)
        two_days_ago = (job.submitted_at or 0.0) - 2 * 86_400
        async with asyncio.timeout(10):
            while lane.batches[0].ended is None:
                await change(lane, submitted_at=two_days_ago, expires_at=None)
                await asyncio.sleep(0.02)

        answers = await asking

        assert right(answers) == 20
        assert lane.batches[0].ended == "cancelled"
        assert lane.billed == 20, "what it had finished was to be kept"
        assert (await told(lane))["overdue"] == 1
        assert len(lane.batches) == (2 if then == "requeue" else 1)


async def test_waiting_is_what_is_done_with_an_overdue_batch_unless_asked_otherwise(lane: Lane) -> None:
    lane.fault("batch_stuck", state="running", seconds=1.0)
    asking = asyncio.create_task(lane.ask_all(TWENTY))
    job = await submitted(lane)
    for _ in range(10):
        await change(lane, submitted_at=(job.submitted_at or 0.0) - 2 * 86_400, expires_at=None)
        await asyncio.sleep(0.02)

    assert right(await asking) == 20
    assert (len(lane.batches), (await told(lane))["overdue"]) == (1, 0)


async def test_a_cancelled_job_gives_what_was_done_and_says_why_there_is_no_more(lane: Lane) -> None:
    lane.fault("batch_stuck", state="running", lines=8)
    lane.fault("status", status=500, count=2, endpoint="batches.cancel")
    asking = asyncio.create_task(lane.ask_all(TWENTY))
    job = await submitted(lane)
    async with asyncio.timeout(10):
        while lane.batches[0].done < 8:
            await asyncio.sleep(0.02)

    await cancel(lane, job, "fail")
    answers = await asking

    assert right(answers) == 8
    for answer in answers:
        if answer.status_code != 200:
            check_fault(answer, 499, "job_cancelled")
    assert lane.billed == 8
    assert lane.batches[0].ended == "cancelled"


async def test_lines_that_are_done_while_it_is_being_cancelled_are_delivered(lane: Lane) -> None:
    lane.fault("batch_stuck", state="running", lines=4, seconds=0.3)
    lane.fault("cancel_late", seconds=5.0)
    asking = asyncio.create_task(lane.ask_all(TWENTY))
    await cancel(lane, await submitted(lane), "fail")

    answers = await asking

    assert right(answers) == lane.billed == 20


async def test_a_cancel_that_comes_too_late_changes_nothing(lane: Lane) -> None:
    lane.fault("batch_stuck", state="running", lines=4, seconds=0.3)
    lane.fault("cancel_ignored")
    asking = asyncio.create_task(lane.ask_all(TWENTY))
    await cancel(lane, await submitted(lane), "requeue")

    answers = await asking

    assert right(answers) == 20
    assert (len(lane.batches), lane.billed) == (1, 20)


async def test_a_job_that_is_requeued_by_its_owner_keeps_what_was_done(lane: Lane) -> None:
    lane.fault("batch_stuck", state="running", lines=8)
    asking = asyncio.create_task(lane.ask_all(TWENTY))
    job = await submitted(lane)
    async with asyncio.timeout(10):
        while lane.batches[0].done < 8:
            await asyncio.sleep(0.02)
    await cancel(lane, job, "requeue")

    answers = await asking

    assert right(answers) == 20
    assert [batch.billed for batch in lane.batches] == [8, 12]


async def test_a_row_gets_as_many_jobs_as_the_settings_say_and_then_its_fault(tmp_path: Path) -> None:
    async with open_lane(tmp_path, max_jobs_per_row=3, **ONE_JOB) as lane:
        lane.fault("batch_ends", state="expired", lines=5, count=None)

        answers = await lane.ask_all(TWENTY)

        assert right(answers) == 15
        for answer in answers:
            if answer.status_code != 200:
                assert "expired" in check_fault(answer, 502, "batch_expired")["message"]
        assert [batch.billed for batch in lane.batches] == [5, 5, 5]
