"""A request taken back by its owner, and `?timeout=`: who stops waiting, what goes on, and what is ended upstream."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from tests.gate import CHAT, PATIENCE, Gate, check_fault, said, until
from tests.server.lane import ASYNC, batches, ended, flush, open_lane


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gate]:
    """One gateway for the tests that want nothing special of it."""
    async with open_lane(tmp_path_factory.mktemp("cancelling")) as gate:
        yield gate


async def accepted(gate: Gate, **fields: Any) -> str:
    """A request that waits for its batch: its id."""
    answer = await gate.ask("/submit", ASYNC, priority="low", **fields)
    assert answer.status_code == 202, answer.text
    request_id: str = answer.json()["request_id"]
    return request_id


async def cancel(gate: Gate, request_id: str, **headers: str) -> httpx2.Response:
    return await gate.http.delete(f"/requests/{request_id}", headers=headers)


def check_cancelled(answer: httpx2.Response, request_id: str) -> None:
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["request_id"], body["status"], body["error"]["code"]) == (request_id, "failed", "cancelled")


async def test_what_waits_in_a_window_is_never_sent(lane: Gate) -> None:
    request_id = await accepted(lane, text="never")
    before = lane.calls
    for _ in range(2):
        check_cancelled(await cancel(lane, request_id), request_id)
    check_cancelled(await lane.http.get(f"/requests/{request_id}"), request_id)
    assert (await lane.http.post("/queue/flush/openai")).json()["flushed"] == 0
    assert lane.calls == before
    assert (await lane.http.get("/queue/stats")).json()["waiting"] == []


async def test_who_waits_for_it_is_told(lane: Gate) -> None:
    waits = lane.start("/submit", text="told", priority="low", request_id="told")
    await until(lambda: lane.gateway.engine.load().queued == 1)
    check_cancelled(await cancel(lane, "told"), "told")
    check_fault(await waits, 409, "cancelled")
    check_fault(await lane.ask("/submit", text="told", priority="low", request_id="told"), 409, "cancelled")


async def test_a_call_of_its_own_ends(lane: Gate) -> None:
    lane.fault({"kind": "delay", "seconds": 30, "match": {"text": "slow"}})
    waits = lane.start(text="slow", request_id="slow")
    await until(lane.under_way(1))
    check_cancelled(await cancel(lane, "slow"), "slow")
    check_fault(await waits, 409, "cancelled")
    await until(lane.under_way(0))
    await until(lambda: "aborted" in lane.outcomes)
    lane.sandbox.faults.switch_off()


async def test_what_has_ended_or_is_on_no_disk_cannot_be_cancelled(lane: Gate) -> None:
    done = (await lane.ask(request_id="done")).json()["request_id"]
    check_fault(await cancel(lane, done), 409, "not_cancellable", "request_id")
    assert (await ended(lane, done)).json()["status"] == "completed"
    lane.fault({"kind": "delay", "seconds": 0.3, "match": {"text": "unnamed"}})
    waits = lane.start(text="unnamed")
    await until(lane.under_way(1))
    (flight,) = lane.gateway.planner._plan.flights.values()
    held = flight.seats[0].request.id
    assert (await lane.http.get(f"/requests/{held}")).json()["status"] == "pending"
    check_fault(await cancel(lane, held), 409, "not_cancellable", "request_id")
    assert (await waits).json()["request_id"] == held
    lane.sandbox.faults.switch_off()


async def test_pages_of_other_sites_cancel_nothing(lane: Gate) -> None:
    request_id = await accepted(lane, text="ours")
    check_fault(await cancel(lane, request_id, origin="https://evil.example"), 403, "origin_not_allowed")
    assert (await lane.http.get(f"/requests/{request_id}")).json()["status"] == "pending"
    check_cancelled(await cancel(lane, request_id), request_id)


async def test_the_last_live_row_takes_its_batch_with_it(tmp_path: Path) -> None:
    async with open_lane(tmp_path, endless=True) as gate:
        ids = [await accepted(gate, text=f"row {number}") for number in range(2)]
        await flush(gate, 2)
        await submitted(gate)
        check_cancelled(await cancel(gate, ids[0]), ids[0])
        (batch,) = await batches(gate, status="active")
        assert batch["status"] != "cancelling", "somebody waits for the other row"
        check_cancelled(await cancel(gate, ids[1]), ids[1])
        (over,) = await batches(gate, status="cancelled")
        assert over["batch_id"] == batch["batch_id"]
        assert [line.endpoint for line in gate.lines].count("batches.cancel") == 1


async def submitted(gate: Gate) -> None:
    """The one batch has been made at the provider."""
    async with asyncio.timeout(PATIENCE):
        while not any(batch["provider_batch_id"] for batch in await batches(gate, status="active")):
            await asyncio.sleep(0.01)


async def test_a_row_that_comes_back_after_all_is_delivered_to_nobody(tmp_path: Path) -> None:
    async with open_lane(tmp_path) as gate:
        ids = [await accepted(gate, text=f"row {number}") for number in range(2)]
        await flush(gate, 2)
        check_cancelled(await cancel(gate, ids[0]), ids[0])
        assert (await ended(gate, ids[1])).json()["status"] == "completed"
        await batches(gate, status="completed")
        check_cancelled(await gate.http.get(f"/requests/{ids[0]}"), ids[0])


@pytest.mark.parametrize("path", [CHAT, "/submit"])
async def test_a_batch_goes_on_when_its_caller_has_waited_long_enough(lane: Gate, path: str) -> None:
    gone = await lane.ask(f"{path}?timeout=0.1", text=f"timeout {path}", priority="low")
    error = check_fault(gone, 504, "wait_over")
    request_id = gone.headers["x-batchway-request-id"]
    assert gone.json()["request_id"] == request_id
    assert f"GET /requests/{request_id}" in error["message"]
    assert (await lane.http.get(f"/requests/{request_id}")).json()["status"] == "pending"
    await flush(lane, 1)
    assert (await ended(lane, request_id)).json()["response"]["routed_via"] == "batch"


async def test_a_direct_request_goes_on_too(lane: Gate) -> None:
    lane.fault(
        {"kind": "status", "status": 400, "match": {"text": "and fails"}},
        {"kind": "delay", "seconds": 0.4, "count": 2, "match": {"text": "goes on"}},
    )
    asked = {"well": "goes on", "badly": "goes on and fails"}
    gone = {name: await lane.ask(f"{CHAT}?timeout=0.1", text=text) for name, text in asked.items()}
    ids = {name: check_and_name(answer) for name, answer in gone.items()}
    assert (await lane.http.get(f"/requests/{ids['badly']}")).json()["status"] == "pending"
    assert (await ended(lane, ids["badly"])).json()["status"] == "failed"
    found = (await ended(lane, ids["well"])).json()
    assert found["response"]["content"]
    again = await lane.ask(text=asked["well"])
    assert said(again) == found["response"]["content"], "sent again it gets what was paid for"
    lane.sandbox.faults.switch_off()


def check_and_name(answer: httpx2.Response) -> str:
    check_fault(answer, 504, "wait_over")
    name: str = answer.headers["x-batchway-request-id"]
    return name
