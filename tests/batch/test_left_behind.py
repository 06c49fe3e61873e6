"""Requests on disk that cannot be taken on: they wait as they are, and hold up no other."""

import asyncio
import time
from pathlib import Path

from sqlalchemy import select, update
from tests.batch.lane import open_lane
from tests.store.things import entry

from batchway.store import Database, requests
from batchway.store.tables import bodies
from batchway.store.tables import requests as table

GONE = {"a-0", "a-3"}
UNREADABLE = {"a-5"}


async def leave_behind(file: Path) -> None:
    """What a gateway had that is dead: some goes to a provider that this one does not know, one is damaged."""
    now = time.time()
    left = [
        entry(
            f"a-{number}",
            owner="dead",
            lane="batch" if number % 2 else "direct",
            asked_at=now - 10,
            durable=True,
            detached=True,
            provider="gone" if f"a-{number}" in GONE else "openai",
        )
        for number in range(8)
    ]
    async with await Database.open(str(file), now=time.time) as database:
        await database.write_all(requests.save, left)
        damaged = update(bodies).where(bodies.c.ask.in_(UNREADABLE)).values(rest=b"\x81\xa2id\x07")
        await database.write(lambda connection: connection.execute(damaged))


async def test_what_cannot_be_taken_on_waits_and_holds_up_nobody(tmp_path: Path) -> None:
    await leave_behind(tmp_path / "batchway.db")
    async with open_lane(tmp_path) as lane:
        storage = lane.gate.gateway.storage
        assert storage is not None

        async def pending() -> set[str]:
            waiting = select(table.c.ask).where(table.c.status == "pending")
            return set(await storage.database.read(lambda connection: connection.scalars(waiting).all()))

        async with asyncio.timeout(30):
            while await pending() != GONE | UNREADABLE:
                await asyncio.sleep(0.05)
        assert lane.gate.gateway.engine.load().flights == 0
