"""Twins on disk: who asks the same while the first is under way waits for its answer, is charged nothing, and is never
lost with it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.batch.lane import Lane, open_lane, questions
from tests.batch.test_stopping import SAME
from tests.gate import chat, via

from batchway.store import charges, lookup

FOUR = questions(4)

FOR_LONG: dict[str, Any] = {"batch_size": 100, "flush_interval": 600}
"""A window that closes when it is told to."""


@pytest.fixture
async def lane(tmp_path: Path) -> AsyncIterator[Lane]:
    async with open_lane(tmp_path, **FOR_LONG, **SAME) as opened:
        yield opened


async def submit(lane: Lane, texts: list[str], prefix: str = "run-", **fields: Any) -> None:
    """Hand them in, not to wait; they are called by their numbers, from 1."""
    given = {"temperature": 0} | fields
    lines = b"\n".join([msgspec.json.encode(chat(text, **given)) for text in texts])
    headers = {"content-type": "application/x-ndjson"}
    said = await lane.gate.http.post(f"/submit?prefix={prefix}", content=lines, headers=headers)
    assert (said.status_code, said.headers["x-batchway-taken"]) == (202, str(len(texts)))


async def answers(lane: Lane, texts: list[str], prefix: str = "run-") -> list[dict[str, Any]]:
    """What became of them: each has the answer to its own question."""
    found = []
    async with asyncio.timeout(20):
        for number, text in enumerate(texts, 1):
            while (told := await one(lane, f"{prefix}{number}"))["status"] == "pending":
                await asyncio.sleep(0.05)
            assert f": {text} " in told["response"]["choices"][0]["message"]["content"]
            found.append(told)
    return found


async def one(lane: Lane, request_id: str) -> dict[str, Any]:
    found = await lane.gate.http.get(f"/requests/{request_id}")
    told: dict[str, Any] = found.json()
    return told | {"via": found.headers.get("x-batchway-routed-via")}


async def flush(lane: Lane) -> None:
    assert (await lane.gate.http.post("/queue/flush/openai")).status_code == 200


async def ledger(lane: Lane, request_id: str) -> list[tuple[str, int | None]]:
    """What it is charged, and by what way."""
    storage = lane.gate.gateway.storage
    assert storage is not None
    booked = await storage.database.read(charges.of_request, "default", request_id)
    return [(charge.via, charge.cost) for charge in booked]


async def test_of_those_that_ask_the_same_one_is_paid(lane: Lane) -> None:
    await submit(lane, FOUR * 5)
    queue = (await lane.gate.http.get("/queue/stats")).json()
    assert (queue["queue_size"], queue["following"]) == (4, 16)
    await flush(lane)

    found = await answers(lane, FOUR * 5)

    assert lane.billed == 4
    assert [job.job.n for job in await lane.done()] == [4]
    assert Counter(each["via"] for each in found) == {"batch": 4, "coalesced": 16}
    assert {via for via, _ in await ledger(lane, "run-1")} == {"batch"}
    assert await ledger(lane, "run-5") == [("coalesced", 0)]


async def test_sampled_ones_are_never_one(lane: Lane) -> None:
    await submit(lane, FOUR[:1] * 3, temperature=1)
    await flush(lane)
    assert {each["via"] for each in await answers(lane, FOUR[:1] * 3)} == {"batch"}
    assert lane.billed == 3


async def test_who_comes_while_the_batch_is_under_way_waits_for_it(tmp_path: Path) -> None:
    """Where somebody waits here for the first; else it is forgotten once its job is formed, and asked again."""
    async with open_lane(tmp_path, seconds=2.0, batch_size=1) as lane:
        first = asyncio.create_task(lane.ask(FOUR[0], reuse="auto", request_id="first"))
        async with asyncio.timeout(10):
            while not lane.batches:
                await asyncio.sleep(0.02)
        await submit(lane, FOUR[:1])
        assert via(await first) == "batch"
        assert [each["via"] for each in await answers(lane, FOUR[:1])] == ["coalesced"]
        assert lane.billed == 1


async def test_who_cannot_wait_so_long_does_not(lane: Lane) -> None:
    await submit(lane, FOUR[:1])
    soon = await lane.ask(FOUR[0], priority="normal", reuse="auto", request_id="soon")
    assert via(soon) == "direct"
    assert (await one(lane, "run-1"))["status"] == "pending"


async def test_who_waits_in_vain_goes_by_itself(lane: Lane) -> None:
    await submit(lane, FOUR[:1] * 3)
    assert (await lane.gate.http.delete("/requests/run-1")).status_code == 200
    await flush(lane)
    assert (await one(lane, "run-1"))["error"]["code"] == "cancelled"
    for number in (2, 3):
        async with asyncio.timeout(20):
            while (told := await one(lane, f"run-{number}"))["status"] == "pending":
                await asyncio.sleep(0.05)
        assert told["via"] == "batch"


async def test_who_is_cancelled_cancels_nobody(lane: Lane) -> None:
    await submit(lane, FOUR[:1] * 2)
    assert (await lane.gate.http.delete("/requests/run-2")).status_code == 200
    await flush(lane)
    assert [each["via"] for each in await answers(lane, FOUR[:1])] == ["batch"]
    assert (await one(lane, "run-2"))["error"]["code"] == "cancelled"


async def test_a_deadline_is_kept_though_the_twin_has_none(tmp_path: Path) -> None:
    settings = {"rescue_margin": 0.3, "rescue_call_seconds": 0.3}
    async with open_lane(tmp_path, seconds=30.0, **settings, **FOR_LONG) as lane:
        await submit(lane, FOUR[:1], prefix="calm-")
        await submit(lane, FOUR[:1], prefix="late-", deadline=1.5, strategy="batch")
        await flush(lane)
        assert [each["via"] for each in await answers(lane, FOUR[:1], "late-")] == ["direct"]
        assert (await one(lane, "calm-1"))["status"] == "pending"


async def test_nobody_is_lost_when_the_gateway_stops(tmp_path: Path) -> None:
    async with open_lane(tmp_path, seconds=30.0, **FOR_LONG, **SAME) as lane:
        await submit(lane, FOUR * 3)
    async with open_lane(tmp_path, batch_size=4, **SAME) as lane:
        await answers(lane, FOUR * 3)


async def test_what_it_waits_for_can_be_looked_up(lane: Lane) -> None:
    await submit(lane, FOUR[:2] + FOUR[:1])
    storage = lane.gate.gateway.storage
    assert storage is not None
    found = [(await storage.database.read(lookup.stories, f"run-{number}"))[0].twin for number in (2, 3)]
    assert found == [None, "run-1"]
