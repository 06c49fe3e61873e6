"""Deadlines of batched requests: rescued in time, paid twice only where the books say so, or refused when asked to."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.batch.lane import Lane, open_lane, own_answer, questions
from tests.gate import check_fault, until, via

from batchway.core.types import Charge
from batchway.store import charges

FIVE = questions(5)

SOON: dict[str, Any] = {"strategy": "batch", "deadline": 1.5}


@pytest.fixture
async def lane(tmp_path: Path) -> AsyncIterator[Lane]:
    """One that rescues at the last moment, before a provider whose batches take three seconds."""
    settings = {"batch_size": 5, "flush_interval": 5, "rescue_margin": 0.3, "rescue_call_seconds": 0.3}
    async with open_lane(tmp_path, seconds=3.0, **settings) as opened:
        yield opened


async def overhead(lane: Lane) -> list[Charge]:
    """What was paid for nothing."""
    storage = lane.gate.gateway.storage
    assert storage is not None
    return await storage.database.read(charges.of_request, "default", "overhead")


async def test_what_would_be_late_is_asked_directly_in_time(lane: Lane) -> None:
    started = lane.gate.gateway.clock.now()

    answers = await lane.ask_all(FIVE, **SOON)

    assert lane.gate.gateway.clock.now() - started < 3.0, "its batch was not to be waited for"
    assert [own_answer(text, answer) for text, answer in zip(FIVE, answers, strict=True)] == [True] * 5
    assert [via(answer) for answer in answers] == ["direct"] * 5


async def test_what_its_batch_does_after_all_is_charged_as_paid_twice(lane: Lane) -> None:
    await lane.ask_all(FIVE, **SOON)
    (job,) = await lane.done()

    assert lane.billed == 10
    late = await overhead(lane)
    assert len(late) == 5
    assert all(charge.counterfactual == 0 and charge.via == "batch" for charge in late)
    assert job.job.done == 5


async def test_what_comes_back_in_time_is_not_rescued(tmp_path: Path) -> None:
    settings = {"batch_size": 5, "flush_interval": 5, "rescue_margin": 0.1, "rescue_call_seconds": 0.1}
    async with open_lane(tmp_path, **settings) as lane:
        answers = await lane.ask_all(FIVE, strategy="batch", deadline=20)

        assert [via(answer) for answer in answers] == ["batch"] * 5
        assert lane.billed == 5
        assert await overhead(lane) == []


async def test_a_rescue_that_fails_leaves_it_to_its_batch(lane: Lane) -> None:
    lane.fault("status", status=400, count=None, endpoint="chat.completions")
    lane.fault("status", status=400, count=None, endpoint="chat")

    answers = await lane.ask_all(FIVE, **SOON)

    assert [own_answer(text, answer) for text, answer in zip(FIVE, answers, strict=True)] == [True] * 5
    assert [via(answer) for answer in answers] == ["batch"] * 5
    assert lane.billed == 5


async def test_what_waits_in_a_window_is_rescued_too(tmp_path: Path) -> None:
    settings = {"batch_size": 100, "flush_interval": 30, "rescue_margin": 0.3, "rescue_call_seconds": 0.3}
    async with open_lane(tmp_path, **settings) as lane:
        answers = await lane.ask_all(FIVE, **SOON)

        assert [via(answer) for answer in answers] == ["direct"] * 5
        assert (lane.batches, lane.billed) == ((), 5)


async def test_what_is_to_fail_fails_at_its_deadline_and_costs_no_second_call(lane: Lane) -> None:
    started = lane.gate.gateway.clock.now()

    answers = await lane.ask_all(FIVE, **SOON, on_deadline="fail")

    assert lane.gate.gateway.clock.now() - started < 3.0
    for answer in answers:
        check_fault(answer, 504, "deadline_passed")
    await lane.done()
    assert lane.billed == 5
    assert len(await overhead(lane)) == 5


async def test_who_asks_again_for_what_failed_gets_the_same_fault(lane: Lane) -> None:
    first = await lane.ask(FIVE[0], **SOON, on_deadline="fail", request_id="mine")
    await asyncio.sleep(0.5)
    again = await lane.ask(FIVE[0], **SOON, on_deadline="fail", request_id="mine")

    check_fault(first, 504, "deadline_passed")
    check_fault(again, 504, "deadline_passed")
    assert again.json()["request_id"] == "mine"


async def test_no_more_is_rescued_than_may_be_paid_for(tmp_path: Path) -> None:
    settings = {"batch_size": 5, "flush_interval": 5, "rescue_margin": 0.3, "rescue_call_seconds": 0.3}
    async with open_lane(tmp_path, seconds=2.5, rescue_cap_usd=0.0, **settings) as lane:
        answers = await lane.ask_all(FIVE, **SOON)

        assert [via(answer) for answer in answers] == ["batch"] * 5
        assert lane.billed == 5


async def test_what_rescues_have_cost_outlasts_a_restart(tmp_path: Path) -> None:
    """One rescue more would be within the bound, if the five before the restart were forgotten."""
    settings: dict[str, Any] = {"batch_size": 5, "flush_interval": 5, "rescue_margin": 0.3, "rescue_call_seconds": 0.3}
    async with open_lane(tmp_path, seconds=2.5, **settings) as lane:
        answers = await lane.ask_all(FIVE, **SOON)
        assert [via(answer) for answer in answers] == ["direct"] * 5

    async with open_lane(tmp_path, seconds=2.5, rescue_cap_usd=0.0004, **settings) as lane:
        answers = await lane.ask_all([f"again {text}" for text in FIVE], **SOON)
        assert [via(answer) for answer in answers] == ["batch"] * 5


# A deadline that fails without a batch: what its caller is told, and what is told of it by its id later


AT_ONCE: dict[str, Any] = {"priority": "normal", "deadline": 0.5, "on_deadline": "fail"}


async def told(lane: Lane, request_id: str) -> dict[str, Any]:
    """What there is of a request, once it has ended."""
    async with asyncio.timeout(20):
        found: dict[str, Any] = {"status": "pending"}
        while found["status"] == "pending":
            await asyncio.sleep(0.05)
            found = (await lane.gate.http.get(f"/requests/{request_id}")).json()
    return found


@contextmanager
def busy(folder: Path) -> Iterator[None]:
    """Another process writes all the while."""
    other = sqlite3.connect(folder / "batchway.db", isolation_level=None)
    with closing(other):
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("COMMIT")


async def unrecorded(lane: Lane) -> int:
    """What was lost of the records."""
    storage = lane.gate.gateway.storage
    assert storage is not None
    await until(lambda: storage.database.health().behind_bytes == 0)
    return int((await lane.gate.http.get("/stats")).json()["unrecorded"]["records"])


async def test_a_call_that_will_be_billed_keeps_its_answer_and_its_fault_says_so(lane: Lane) -> None:
    lane.fault("delay", seconds=1.5, endpoint="chat")
    error = check_fault(await lane.ask(FIVE[0], **AT_ONCE, request_id="mine"), 504, "deadline_passed")
    assert "request 'mine' goes on" in error["message"]
    assert (await lane.gate.http.get("/requests/mine")).json()["status"] == "pending"

    assert (await told(lane, "mine"))["status"] == "completed"

    assert own_answer(FIVE[0], await lane.ask(FIVE[0], **AT_ONCE, request_id="mine"))
    assert (lane.billed, await unrecorded(lane)) == (1, 0)


@pytest.mark.parametrize("detached", [False, True])
async def test_what_is_not_sent_by_its_deadline_has_failed_and_costs_nothing(tmp_path: Path, detached: bool) -> None:
    async with open_lane(tmp_path, max_in_flight=1) as lane:
        lane.fault("delay", seconds=1.5, endpoint="chat")
        first = asyncio.create_task(lane.ask("first please", priority="normal"))
        await until(lane.gate.under_way())
        headers = {"prefer": "respond-async"} if detached else {}
        answer = await lane.ask(FIVE[0], **AT_ONCE, request_id="mine", headers=headers)
        if not detached:
            error = check_fault(answer, 504, "deadline_passed")
            assert "goes on" not in error["message"]

        found = await told(lane, "mine")
        assert not first.done()

        assert (found["status"], found["error"]["code"]) == ("failed", "deadline_passed")
        assert own_answer("first please", await first)
        check_fault(await lane.ask(FIVE[0], **AT_ONCE, request_id="mine"), 504, "deadline_passed")
        await until(lane.gate.under_way(0))
        assert (lane.gate.calls, await unrecorded(lane)) == (1, 0)


async def test_who_was_told_while_it_was_being_saved_is_not_sent_for_after_all(tmp_path: Path) -> None:
    async with open_lane(tmp_path) as lane:
        with busy(tmp_path):
            error = check_fault(await lane.ask(FIVE[0], **AT_ONCE, request_id="mine"), 504, "deadline_passed")
            assert "goes on" not in error["message"]

        assert (await told(lane, "mine"))["error"]["code"] == "deadline_passed"
        assert (lane.billed, lane.gate.calls, await unrecorded(lane)) == (0, 0, 0)


async def test_nor_for_who_asked_again_and_had_longer(tmp_path: Path) -> None:
    async with open_lane(tmp_path, max_in_flight=1) as lane:
        lane.fault("delay", seconds=2.5, endpoint="chat")
        first = asyncio.create_task(lane.ask("first please", priority="normal"))
        await until(lane.gate.under_way())
        gone = asyncio.create_task(lane.ask(FIVE[0], **AT_ONCE, request_id="mine"))
        await asyncio.sleep(0.3)
        gone.cancel()
        again = await lane.ask(FIVE[0], **AT_ONCE | {"deadline": 1.0}, request_id="mine")

        check_fault(again, 504, "deadline_passed")
        assert (await told(lane, "mine"))["status"] == "failed"
        assert own_answer("first please", await first)
        await until(lane.gate.under_way(0))
        assert lane.gate.calls == 1


async def test_nor_by_whoever_starts_after_its_deadline(tmp_path: Path) -> None:
    async with open_lane(tmp_path, max_in_flight=1, drain_timeout=0.2) as lane:
        lane.fault("delay", seconds=3, endpoint="chat")
        first = asyncio.create_task(lane.ask("first please", priority="normal"))
        await until(lane.gate.under_way())
        answer = await lane.ask(
            FIVE[0], **AT_ONCE | {"deadline": 1.0}, request_id="mine", headers={"prefer": "respond-async"}
        )
        assert answer.status_code == 202
        first.cancel()
    await asyncio.sleep(1.2)
    async with open_lane(tmp_path) as lane:
        assert (await told(lane, "mine"))["error"]["code"] == "deadline_passed"
        assert lane.gate.calls == 0


async def test_a_twin_that_has_time_is_not_refused_with_it(tmp_path: Path) -> None:
    """It asks while the failure of the other is being written down."""
    async with open_lane(tmp_path, max_in_flight=1) as lane:
        lane.fault("delay", seconds=2, endpoint="chat")
        first = asyncio.create_task(lane.ask("first please", priority="normal"))
        await until(lane.gate.under_way())
        one = asyncio.create_task(lane.ask(FIVE[0], **AT_ONCE, request_id="mine", reuse="auto"))
        await until(lambda: lane.gate.gateway.engine.load().queued == 1)
        with busy(tmp_path):
            await asyncio.sleep(0.7)
            twin = asyncio.create_task(lane.ask(FIVE[0], priority="normal", reuse="auto"))
            await asyncio.sleep(0.2)

        check_fault(await one, 504, "deadline_passed")
        assert own_answer(FIVE[0], await twin)
        assert own_answer("first please", await first)


async def test_what_no_disk_has_stays_failed_whatever_comes_late(lane: Lane) -> None:
    """It is kept for its caller's own retry alone, as any answer that came too late for whoever asked."""
    lane.fault("delay", seconds=1.5, endpoint="chat")
    late = await lane.ask(FIVE[0], **AT_ONCE)
    error = check_fault(late, 504, "deadline_passed")
    assert "goes on" not in error["message"]
    await until(lane.gate.under_way(0))

    found = await told(lane, late.json()["request_id"])

    assert (found["status"], found["error"]["code"]) == ("failed", "deadline_passed")
    retried = await lane.ask(FIVE[0], **AT_ONCE)
    assert own_answer(FIVE[0], retried) and "adopted" in retried.headers["x-batchway-why"]
    assert (lane.billed, await unrecorded(lane)) == (1, 0)


async def test_what_fails_in_its_batch_is_told_so_for_good(lane: Lane) -> None:
    error = check_fault(await lane.ask(FIVE[0], **SOON, on_deadline="fail", request_id="mine"), 504, "deadline_passed")
    assert "goes on" not in error["message"]

    found = await told(lane, "mine")
    assert (found["status"], found["error"]["code"]) == ("failed", "deadline_passed")
    await lane.done()
    assert (await told(lane, "mine")) == found, "what its batch brings is too late"
    assert await unrecorded(lane) == 0
