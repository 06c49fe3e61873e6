"""A gateway whose batch lane is quick, before a sandbox whose batches are: questions, their answers, and the bill."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from tests.gate import Gate, open_gate, said

from batchway.sandbox.batch_contract import lasting
from batchway.sandbox.batching import Batch
from batchway.store import batches as kept
from batchway.store.batches import Batch as Kept
from batchway.store.batches import Filter

QUICK: Mapping[str, Any] = {
    "flush_interval": 0.1,
    "poll_interval": 0.05,
    "settle": 0.2,
    "vanish_grace": 1.0,
    "lease": 2.0,
}
"""Settings under which a batch of the sandbox's is a matter of a second."""

ONE_JOB: Mapping[str, Any] = {"batch_size": 20, "flush_interval": 5}
"""Of twenty requests one job is made, however slowly they come."""

SECONDS = 0.4
"""From a batch's creation to its end."""


class Lane:
    """The gate, and what tests of the batch lane ask of it."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    async def ask(self, text: str, **fields: Any) -> httpx2.Response:
        """A question of low priority, waited for."""
        given: dict[str, Any] = {"priority": "low", "temperature": 0, "reuse": "off"} | fields
        return await self.gate.ask(text=text, **given)

    async def ask_all(self, texts: Iterable[str], **fields: Any) -> list[httpx2.Response]:
        """Many of them at once."""
        return list(await asyncio.gather(*[self.ask(text, **fields) for text in texts]))

    def fault(self, kind: str, **fields: Any) -> None:
        """Switch a fault of the sandbox on; `endpoint`, `text` and `larger` say which calls it befalls."""
        match = dict(fields.pop("match", {}))
        match |= {name: fields.pop(name) for name in ("endpoint", "text", "larger") if name in fields}
        self.gate.fault({"kind": kind, "match": match} | fields)

    def applied(self) -> int:
        """How often faults were applied."""
        return sum(armed.applied for armed in self.gate.sandbox.faults.armed)

    @property
    def batches(self) -> tuple[Batch, ...]:
        """The provider's batches, as they truly are."""
        return self.gate.sandbox.batches.every()

    @property
    def billed(self) -> int:
        """Completions that the provider bills, by whatever lane."""
        return sum(1 for line in self.gate.lines if line.input + line.output)

    @property
    def paid(self) -> dict[str, int]:
        """How often each question was billed."""
        return dict(self.gate.sandbox.ledger.billed("request_hash", {}).billed)

    async def jobs(self) -> list[Kept]:
        """Our jobs, oldest first."""
        storage = self.gate.gateway.storage
        assert storage is not None
        return list(reversed(await storage.database.read(kept.search, Filter(hidden=None))))

    async def done(self) -> list[Kept]:
        """Our jobs, when all of them are done."""
        async with asyncio.timeout(20):
            while any(batch.finished_at is None for batch in await self.jobs()):
                await asyncio.sleep(0.02)
        return await self.jobs()


def questions(number: int = 50) -> list[str]:
    """So many questions, told apart by any answer that repeats them."""
    return [f"question-{each:04} please" for each in range(number)]


def own_answer(text: str, answer: httpx2.Response) -> bool:
    """Whether this is the answer to this question."""
    return answer.status_code == 200 and f": {text} " in said(answer)


@asynccontextmanager
async def open_lane(folder: Path, *, seconds: float = SECONDS, **flags: Any) -> AsyncIterator[Lane]:
    """A gateway with a store in this folder."""
    world = {"batch_schedule": lasting(seconds)} | flags.pop("sandbox", {})
    settings: dict[str, Any] = {"database_url": str(folder / "batchway.db"), "batch_size": 50} | dict(QUICK) | flags
    async with open_gate(sandbox=world, **settings) as gate:
        yield Lane(gate)
