"""A laptop that slept: a process that stood still for longer than its lease goes on under a new name, looks at its
batches before it rescues anything, and neither loses nor repeats what it had under way."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from tests.gate import CHAT, Gate, open_gate, said, until, via
from tests.server.process import Process, batchway, body

from batchway.sandbox.batch_contract import lasting
from batchway.store import Database, owners
from batchway.store.charges import ledger

LEASE = 1.0
ASLEEP = 7.0
"""Seconds: longer than its lease, than its batches, and than its deadlines."""

QUICK = {
    "FLUSH_INTERVAL": "0.1", "POLL_INTERVAL": "0.2", "SETTLE": "0.2", "LEASE": str(LEASE), "UNSAFE_STORE": "true",
    "RESCUE_MARGIN": "0.2", "RESCUE_CALL_SECONDS": "0.2", "MAX_IN_FLIGHT": "1",
}  # fmt: skip


@asynccontextmanager
async def opened(provider: Gate, folder: Path, **settings: str) -> AsyncIterator[tuple[Process, httpx2.AsyncClient]]:
    """A gateway in a process of its own, and who asks it."""
    environment = {f"BATCHWAY_{name}": value for name, value in (QUICK | settings).items()} | {
        "OPENAI_BASE_URL": f"{provider.upstream}/v1",
        "OPENAI_API_KEY": "sk-x",
        "BATCHWAY_DATABASE_URL": str(folder / "batchway.db"),
    }
    async with batchway("start", "--port", "0", environment=environment, folder=str(folder)) as gateway:
        await gateway.ready()
        async with httpx2.AsyncClient(base_url=gateway.address, timeout=60) as client:
            yield gateway, client


async def sleep(gateway: Process) -> None:
    """It stands still for a while."""
    gateway.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(ASLEEP)
    gateway.process.send_signal(signal.SIGCONT)


async def ask(client: httpx2.AsyncClient, text: str, **fields: Any) -> httpx2.Response:
    return await client.post(CHAT, content=body(text, **fields))


async def test_batches_are_looked_at_before_anything_is_rescued(tmp_path: Path) -> None:
    async with open_gate(sandbox={"batch_schedule": lasting(1.2)}) as provider, opened(provider, tmp_path) as (
        gateway, client,
    ):  # fmt: skip
        texts = [f"batched {number} please" for number in range(10)]
        waiting = [asyncio.create_task(ask(client, text, strategy="batch", deadline=6.0)) for text in texts]
        # While it is not certain that there is a batch, nothing is there to be looked at.
        while [batch["state"] for batch in (await client.get("/batches")).json()["batches"]] != ["submitted"]:
            await asyncio.sleep(0.02)
        await sleep(gateway)
        answers = await asyncio.gather(*waiting)

        assert [via(answer) for answer in answers] == ["batch"] * 10, f"they were there:\n{gateway.said}"
        assert [text in said(answer) for text, answer in zip(texts, answers, strict=True)] == [True] * 10
        assert "the lease was over; going on under a new name" in gateway.said
        assert sum(bool(line.output) for line in provider.lines) == 10, "nothing was asked directly as well"
        assert len(provider.sandbox.batches.every()) == 1


async def test_a_look_from_before_the_gap_is_none(tmp_path: Path) -> None:
    """What a poll brings that began before the process stood still is old: the batch is over since."""
    async with (
        open_gate(sandbox={"batch_schedule": lasting(1.2)}) as provider,
        opened(provider, tmp_path, POLL_INTERVAL="1", LEASE="3") as (gateway, client),
    ):
        # Its body says that the batch runs, and is on its way from before the process stops until it goes on.
        provider.fault({"kind": "slow_body", "bytes_per_second": 90, "match": {"endpoint": "batches.retrieve"}})
        waiting = asyncio.create_task(ask(client, "batched please", strategy="batch", deadline=6.0))
        await until(lambda: provider.sandbox.faults.armed[0].applied)
        await sleep(gateway)

        assert via(await waiting) == "batch", f"it was there:\n{gateway.said}"
        assert sum(bool(line.output) for line in provider.lines) == 1


async def test_what_was_under_way_is_neither_lost_nor_sent_twice(tmp_path: Path) -> None:
    """A call in flight, one that waits for its slot, and requests in a window that has not closed."""
    async with open_gate(sandbox={"batch_schedule": lasting(0.3)}) as provider, opened(provider, tmp_path) as (
        gateway, client,
    ):  # fmt: skip
        provider.fault({"kind": "delay", "seconds": 1.0, "count": 1, "match": {"text": "in flight"}})
        texts = {"in flight": "direct", "at the gate": "direct", "in a window": "batch"}
        waiting = {}
        for text, lane in texts.items():
            hints = {"priority": "low"} if lane == "batch" else {}
            waiting[text] = asyncio.create_task(ask(client, text, request_id=text.replace(" ", "-"), **hints))
            await asyncio.sleep(0.05)
        await sleep(gateway)
        answers = {text: await asked for text, asked in waiting.items()}

        assert {text: via(answer) for text, answer in answers.items()} == texts
        assert [text in said(answer) for text, answer in answers.items()] == [True] * 3
        # A few of its rounds on, nothing has gone again.
        await asyncio.sleep(3 * LEASE)
        assert sum(bool(line.output) for line in provider.lines) == 3
        gateway.stop()
        assert await gateway.ended() == 0
    async with await Database.open(str(tmp_path / "batchway.db"), now=lambda: 0.0) as database:
        assert await database.read(owners.alive) == set(), "neither name is left behind"
        lines = await database.read(lambda connection: ledger(connection, since_day=0, until_day=10**6))
        assert sum(line.charges for line in lines) == 3
