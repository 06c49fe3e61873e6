"""A disk that is full, or a store that cannot be written: what must be durable is refused, and nothing is acknowledged;
all else goes on, and what went unrecorded is shown."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.batch.lane import ONE_JOB, Lane, open_lane, own_answer, questions
from tests.gate import check_fault, until, via

from batchway.store import Health, charges

LARGE = "x" * 50_000
"""A text that needs pages of its own on the disk."""

TWENTY = questions(20)


@pytest.fixture
async def lane(tmp_path: Path) -> AsyncIterator[Lane]:
    """One whose windows hold twenty requests, so that twenty are one job."""
    async with open_lane(tmp_path, **ONE_JOB) as opened:
        yield opened


@contextmanager
def down(lane: Lane, how: str) -> Iterator[None]:
    """The store can be written no more, while this lasts."""
    during, after = {
        "disk full": ("max_page_count = 1", "max_page_count = 1073741823"),
        "read-only": ("query_only = ON", "query_only = OFF"),
    }[how]
    _tell(lane, during)
    try:
        yield
    finally:
        _tell(lane, after)


def _tell(lane: Lane, pragma: str) -> None:
    # The writer's own connection, between two of its transactions.
    storage = lane.gate.gateway.storage
    assert storage is not None
    connection = storage.database._writing.raw_connection()
    connection.cursor().execute(f"PRAGMA {pragma}")
    connection.close()


def health(lane: Lane) -> Health:
    """How the store does."""
    storage = lane.gate.gateway.storage
    assert storage is not None
    return storage.database.health()


async def stats(lane: Lane) -> dict[str, Any]:
    """What the gateway says of itself."""
    shown: dict[str, Any] = (await lane.gate.http.get("/stats")).json()
    return shown


@pytest.mark.parametrize("how", ["disk full", "read-only"])
async def test_durable_requests_are_refused_and_direct_ones_go_on(lane: Lane, how: str) -> None:
    with down(lane, how):
        durable = [
            await lane.ask(f"low {LARGE}"),
            await lane.ask(f"batch {LARGE}", strategy="batch"),
            await lane.ask(f"named {LARGE}", priority="normal", request_id="mine"),
            await lane.gate.ask(headers={"prefer": "respond-async"}, text=f"async {LARGE}"),
        ]
        direct = await lane.ask("direct please", priority="normal")

        for answer in durable:
            check_fault(answer, 503, "store_down")
        assert own_answer("direct please", direct)
        assert via(direct) == "direct"
        assert (lane.batches, lane.billed) == ((), 1)
        assert (await lane.gate.http.get("/health")).json()["store"] == "down"


async def test_what_was_refused_may_be_asked_again_by_its_id_when_the_store_is_back(lane: Lane) -> None:
    with down(lane, "read-only"):
        refused = await lane.ask("mine please", request_id="mine")
        check_fault(refused, 503, "store_down")

    async with asyncio.timeout(20):
        while (again := await lane.ask("mine please", request_id="mine", deadline=300)).status_code == 503:
            await asyncio.sleep(0.1)

    assert own_answer("mine please", again)
    assert lane.billed == 1


async def test_the_gap_is_shown_and_no_charge_is_in_it(tmp_path: Path) -> None:
    # No heartbeats: while others ask if the store is back, records wait, and none of them is lost.
    async with open_lane(tmp_path, lease=600) as lane:
        with down(lane, "read-only"):
            for number in range(3):
                await lane.ask(f"direct {number} please", priority="normal")
            async with asyncio.timeout(20):
                while (await stats(lane))["unrecorded"]["records"] < 3:
                    await asyncio.sleep(0.1)
        async with asyncio.timeout(20):
            while (unrecorded := (await stats(lane))["unrecorded"])["records"] < 3 or health(lane).gap is not None:
                await asyncio.sleep(0.1)

        assert unrecorded["charges"] == 0
        assert "readonly" in unrecorded["gaps"][0]["reason"]
        storage = lane.gate.gateway.storage
        assert storage is not None
        ledger = await storage.database.read(lambda c: charges.ledger(c, since_day=0, until_day=10**6))
        assert sum(line.charges for line in ledger) == lane.billed == 3


async def test_what_is_in_a_batch_when_the_store_goes_down_is_answered_when_it_is_back(lane: Lane) -> None:
    asking = asyncio.create_task(lane.ask_all(TWENTY))
    async with asyncio.timeout(10):
        while not lane.batches:
            await asyncio.sleep(0.01)
    with down(lane, "read-only"):
        await asyncio.sleep(1.0)
        assert not asking.done()

    answers = await asking

    assert [own_answer(text, answer) for text, answer in zip(TWENTY, answers, strict=True)] == [True] * 20
    assert (len(lane.batches), lane.billed) == (1, 20)


async def test_what_is_in_a_window_when_the_store_goes_down_forms_its_job_when_it_is_back(tmp_path: Path) -> None:
    async with open_lane(tmp_path, batch_size=100, flush_interval=0.5) as lane:
        asking = asyncio.create_task(lane.ask_all(TWENTY))
        async with asyncio.timeout(10):
            while lane.gate.gateway.engine.load().queued < 20:
                await asyncio.sleep(0.01)
        with down(lane, "read-only"):
            await asyncio.sleep(1.0)
            assert lane.batches == ()

        answers = await asking

        assert [own_answer(text, answer) for text, answer in zip(TWENTY, answers, strict=True)] == [True] * 20
        assert (len(lane.batches), lane.billed) == (1, 20)


async def test_an_answer_that_was_paid_is_given_though_it_cannot_be_kept_yet(lane: Lane) -> None:
    lane.fault("delay", seconds=0.5, endpoint="chat")
    asking = asyncio.create_task(lane.ask("mine please", priority="normal", request_id="mine"))
    async with asyncio.timeout(10):
        while not lane.gate.gateway.engine.load().flights:
            await asyncio.sleep(0.01)
    with down(lane, "read-only"):
        answer = await asking
        assert own_answer("mine please", answer)

    async with asyncio.timeout(20):
        while (found := await lane.gate.http.get("/requests/mine")).json()["status"] == "pending":
            await asyncio.sleep(0.1)
    assert found.json()["status"] == "completed"
    assert lane.billed == 1


@pytest.mark.parametrize("how", ["disk full", "read-only"])
async def test_an_outage_is_one_line_when_it_begins_and_one_when_it_is_over(tmp_path: Path, how: str) -> None:
    """However many requests end meanwhile, and however often each is tried to be written down."""
    thirty = [f"mine-{number}" for number in range(30)]
    async with open_lane(tmp_path, lease=600) as lane:
        lane.fault("delay", seconds=6, endpoint="chat", count=None)
        with capture_logs() as lines:
            asking = [
                asyncio.create_task(lane.ask(f"{text} {LARGE[:5000]}", priority="normal", request_id=text))
                for text in thirty
            ]
            await until(lambda: lane.gate.gateway.engine.load().flights == 30)
            with down(lane, how):
                assert [answer.status_code for answer in await asyncio.gather(*asking)] == [200] * 30
                for number in range(5):
                    check_fault(await lane.ask(f"refused {number} {LARGE}"), 503, "store_down")
                # Long enough for each ending to be tried again.
                await asyncio.sleep(2.5)
                assert lane.gate.gateway.stats.refused == 5, "metrics miss none of them"
            async with asyncio.timeout(20):
                while not any(line["event"] == "the store works again" for line in lines):
                    # Whatever is written next tells that it works.
                    await lane.ask("mine", priority="normal", request_id="mine")
                    await asyncio.sleep(0.1)

        shown = [line for line in lines if line["log_level"] != "debug"]
        began, *between, ended = shown
        assert {line["event"] for line in between} <= {"the store cannot be used yet"}, shown
        assert (began["log_level"], began["event"]) == ("error", "the store cannot be used")
        assert ("readonly" if how == "read-only" else "full") in began["reason"]
        assert "written down when the store works again" in began["meanwhile"]
        assert (ended["written"], ended["refused"]) == (30, 5)
        answers = [(await lane.gate.http.get(f"/requests/{text}")).json() for text in thirty]
        assert {answer["status"] for answer in answers} == {"completed"}


async def test_who_stops_while_the_store_is_down_is_told_what_waits(tmp_path: Path) -> None:
    with capture_logs() as lines:
        async with open_lane(tmp_path, lease=600) as lane:
            lane.fault("delay", seconds=0.5, endpoint="chat")
            asking = asyncio.create_task(lane.ask("mine please", priority="normal", request_id="mine"))
            await until(lambda: lane.gate.gateway.engine.load().flights)
            _tell(lane, "query_only = ON")
            assert own_answer("mine please", await asking)

    (last,) = [line for line in lines if line["event"].startswith("stopped while")]
    assert last["waiting"] == 1
