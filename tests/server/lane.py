"""A gateway with a store and a quick batch lane, whose windows close when a test says so, and what comes of it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from tests.gate import PATIENCE, Gate, open_gate

from batchway.sandbox.batch_contract import Schedule, lasting

ASYNC = {"prefer": "respond-async"}
ENDLESS = Schedule(validating=0.0, running=1e9, finalizing=0.0, cancelling=0.1)


@asynccontextmanager
async def open_lane(folder: Path, *, endless: bool = False, **flags: Any) -> AsyncIterator[Gate]:
    """Its store is in this folder. `endless`: batches at the provider run until they are cancelled."""
    schedule = ENDLESS if endless else lasting(0.1)
    given: dict[str, Any] = {"flush_interval": 600, "idle_timeout": 600, "poll_interval": 0.05, "settle": 0.05}
    given |= {"lease": 3, "database_url": str(folder / "batchway.db"), "sandbox": {"batch_schedule": schedule}}
    async with open_gate(**given | flags) as gate:
        yield gate


async def flush(gate: Gate, number: int) -> None:
    """Close the windows of openai once so many requests are in them."""
    async with asyncio.timeout(PATIENCE):
        while sum(window.size for window in gate.gateway.planner.windows()) < number:
            await asyncio.sleep(0.005)
    answer = await gate.http.post("/queue/flush/openai")
    assert answer.json()["flushed"] == number, answer.text


async def ended(gate: Gate, request_id: str, headers: Mapping[str, str] | None = None) -> httpx2.Response:
    """What is found under an id once it is there and not pending any more."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = await gate.http.get(f"/requests/{request_id}", headers=headers)
            if found.status_code != 404 and found.json().get("status") != "pending":
                return found
            await asyncio.sleep(0.01)


async def batches(gate: Gate, number: int = 1, status: str = "all") -> list[dict[str, Any]]:
    """The gateway's batches, once there are so many."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found: list[dict[str, Any]] = (await gate.http.get("/batches", params={"status": status})).json()["batches"]
            if len(found) >= number:
                return found
            await asyncio.sleep(0.01)
