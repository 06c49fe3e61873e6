"""A gateway that stops hands over at once, and what is on disk in nobody's hands finds its way."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, select
from tests.batch.lane import ONE_JOB, Lane, open_lane, own_answer, questions
from tests.gate import chat, check_fault, until

from batchway.core.commands import Save
from batchway.engine.intake import Identity
from batchway.store import Database
from batchway.store.tables import jobs, owners
from batchway.wire.endpoints import FRONTS

TWENTY = questions(20)

SAME: dict[str, Any] = {"environment": {"BATCHWAY_PROVIDERS__OPENAI__ACCOUNT": "ours"}}
"""The provider's account is the same, though the sandbox's address is another."""


def named(text: str) -> bytes:
    """A chat with an id."""
    return json.dumps(chat(text, priority="low", request_id=text.replace(" ", "-"), temperature=0)).encode()


async def accept(lane: Lane, texts: list[str]) -> None:
    """Have them taken on, not to wait."""
    asked = [lane.gate.post(named(text), headers={"prefer": "respond-async"}) for text in texts]
    assert {answer.status_code for answer in await asyncio.gather(*asked)} == {202}


async def all_answered(lane: Lane, texts: list[str]) -> None:
    """Wait until each has its own answer."""
    async with asyncio.timeout(20):
        for text in texts:
            while f": {text} " not in await _answer(lane, text):
                await asyncio.sleep(0.05)


async def _answer(lane: Lane, text: str) -> str:
    found = (await lane.gate.http.get(f"/requests/{text.replace(' ', '-')}")).json()
    return str(found["response"]["choices"][0]["message"]["content"]) if found["status"] == "completed" else ""


def held(connection: Connection) -> tuple[int, int]:
    """Jobs that somebody holds, and owners that live."""
    taken = connection.scalar(select(func.count()).where(jobs.c.owner.is_not(None))) or 0
    return taken, connection.scalar(select(func.count()).select_from(owners)) or 0


async def test_who_stops_holds_nothing_any_more(tmp_path: Path) -> None:
    """Else the next to start would have to wait for its leases to be over: here for ten minutes."""
    async with open_lane(tmp_path, lease=600, **ONE_JOB) as lane:
        lane.fault("delay", seconds=30, endpoint="batches.retrieve")
        await accept(lane, TWENTY)
        async with asyncio.timeout(10):
            while not lane.gate.sandbox.faults.armed[0].applied:
                await asyncio.sleep(0.02)

    async with await Database.open(str(tmp_path / "batchway.db"), now=lambda: 0.0) as database:
        assert await database.read(held) == (0, 0)


async def test_what_waits_in_a_window_when_the_gateway_stops_is_in_a_job_when_it_has(tmp_path: Path) -> None:
    async with open_lane(tmp_path, batch_size=100, flush_interval=600, **SAME) as lane:
        await accept(lane, TWENTY)

    async with open_lane(tmp_path, batch_size=100, flush_interval=600, **SAME) as lane:
        await all_answered(lane, TWENTY)


@pytest.mark.parametrize("window", [{"batch_size": 1}, {"batch_size": 100, "flush_interval": 600}])
async def test_who_waits_for_a_batch_does_not_hold_up_the_stop(tmp_path: Path, window: dict[str, Any]) -> None:
    """Its batch takes longer than any shutdown: it is told that its request goes on, and where."""
    text = "told before it is late"
    async with open_lane(tmp_path, drain_timeout=600, **window, **SAME) as lane:
        lane.fault("delay", seconds=30, endpoint="batches.retrieve")
        waiting = asyncio.create_task(lane.gate.post(named(text)))
        async with asyncio.timeout(20):
            while "pending" not in (await lane.gate.http.get(f"/requests/{text.replace(' ', '-')}")).text:
                await asyncio.sleep(0.02)
            await lane.gate.gateway.engine.drain()
            told = await waiting
    check_fault(told, 503, "stopping")
    assert (told.headers["retry-after"], "x-should-retry" in told.headers) == ("1", False), "the same id attaches"

    async with open_lane(tmp_path, **(window | SAME | {"flush_interval": 0.1})) as lane:
        assert own_answer(text, await lane.gate.post(named(text)))
        assert lane.billed == 1


async def test_who_waits_without_an_id_is_told_not_to_ask_anew(tmp_path: Path) -> None:
    text = "no id of its own"
    async with open_lane(tmp_path, drain_timeout=600, batch_size=1, **SAME) as lane:
        lane.fault("delay", seconds=30, endpoint="batches.retrieve")
        waiting = asyncio.create_task(lane.ask(text))
        async with asyncio.timeout(20):
            while not lane.gate.sandbox.faults.armed[0].applied:
                await asyncio.sleep(0.02)
            await lane.gate.gateway.engine.drain()
            told = await waiting
    check_fault(told, 503, "goes_on")
    assert told.headers["x-should-retry"] == "false", "an SDK's own retry would be paid again"
    place = f"/requests/{told.headers['x-batchway-request-id']}"
    assert told.headers["x-batchway-request-id"] in told.json()["error"]["message"]

    async with open_lane(tmp_path, batch_size=1, **SAME) as lane, asyncio.timeout(20):
        while (found := (await lane.gate.http.get(place)).json())["status"] == "pending":
            await asyncio.sleep(0.02)
        assert f": {text} " in found["response"]["choices"][0]["message"]["content"]
        assert lane.billed == 1


async def test_who_waits_for_a_rescue_at_the_end_is_told_that_it_goes_on(tmp_path: Path) -> None:
    """It is on disk by its lane: asked anew without an id it would be paid again."""
    async with open_lane(
        tmp_path, seconds=30, drain_timeout=0.2, rescue_margin=0.2, rescue_call_seconds=0.2, **SAME
    ) as lane:
        lane.fault("delay", seconds=10, endpoint="chat")
        waiting = asyncio.create_task(lane.ask("rescued please", strategy="batch", deadline=1.0))
        await until(lane.gate.under_way())
        await lane.gate.gateway.engine.drain()

        assert "goes on" in check_fault(await waiting, 503, "goes_on")["message"]
        storage = lane.gate.gateway.storage
        assert storage is not None
        await until(lambda: storage.database.health().behind_bytes == 0)
        assert (await lane.gate.http.get("/stats")).json()["unrecorded"]["records"] == 0


async def test_what_is_ours_on_disk_and_in_nobodys_hands_finds_its_way(tmp_path: Path) -> None:
    """As after a commit whose outcome was never told: saved, and its caller was told that it is not."""
    text = "stranded please"
    async with open_lane(tmp_path, lease=0.1) as lane:
        gateway = lane.gate.gateway
        assert gateway.storage is not None
        who = Identity(tenant="default", key="default")
        taken = gateway.intake.take(FRONTS["chat"], named(text), {}, who, gateway.clock.now(), detached=True)
        await gateway.storage.journal.save([Save(request=taken.request, lane="batch", why="saved in doubt")])

        await all_answered(lane, [text])

        assert lane.billed == 1


async def test_a_direct_call_that_was_acknowledged_is_waited_for_and_not_paid_twice(tmp_path: Path) -> None:
    async with open_lane(tmp_path, drain_timeout=30, **SAME) as lane:
        lane.fault("delay", seconds=1, endpoint="chat")
        accepted = await lane.gate.post(
            json.dumps(chat("on its way", strategy="direct", request_id="on-its-way")).encode(),
            headers={"prefer": "respond-async"},
        )
        assert accepted.status_code == 202
        async with asyncio.timeout(10):
            while not lane.gate.gateway.engine.load().flights:
                await asyncio.sleep(0.01)
        first = lane.gate.sandbox

    assert [call.outcome for call in first.ledger.view({}, 9).lines] == ["completed"]
    async with open_lane(tmp_path, **SAME) as lane:
        assert "on its way" in await _answer(lane, "on its way")
        assert lane.billed == 0
