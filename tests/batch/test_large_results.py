"""A result of any size is taken in little memory: downloaded, read and stored by a real gateway process."""

import asyncio
import re
import sys
from pathlib import Path

import pytest
from tests.proofs.running import PROOF, ask, client, look_up, world
from tests.server.process import Process

ROWS = 2000 if PROOF else 300
WORDS = 14_000
"""Of an answer: a hundred kilobytes."""

MEGABYTES = ROWS // 10
"""Of the result, or a few less."""

GROWTH = 25
"""Megabytes: what is read and written at a time, several times over."""


def memory(process: Process, what: str) -> int:
    """Megabytes of a process: `VmRSS` now, `VmHWM` the most since it was told to forget."""
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    found = re.search(rf"{what}:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) // 1024


@pytest.mark.proof
@pytest.mark.skipif(sys.platform != "linux", reason="reads how much memory a process has from /proc")
@pytest.mark.timeout(900)
async def test_memory_is_flat_however_large_the_result(tmp_path: Path) -> None:
    async with (
        world(tmp_path, str(tmp_path / "store.db"), seconds=1.0, words=WORDS) as made,
        made.gateway(batch_size=ROWS, flush_interval=60, lease=30) as process,
    ):
        await process.ready()
        async with client(process) as http, asyncio.timeout(600):
            for question in made.new_questions(ROWS, "openai", "gpt-4o-mini", max_tokens=None):
                await ask(http, question)
            while not made.live_batches():
                await asyncio.sleep(0.01)
            before = memory(process, "VmRSS")
            Path(f"/proc/{process.process.pid}/clear_refs").write_text("5")

            # Rows are stored in their order: with the last one all are there.
            while not made.questions[-1].answered:
                await look_up(http, made.questions[-1])
                await asyncio.sleep(0.1)

            growth = memory(process, "VmHWM") - before
            await made.finish(http)
            assert all(question.answered for question in made.questions)
            assert sum(len(question.outcome or "") for question in made.questions) > 0.9e6 * MEGABYTES
            assert growth < GROWTH
