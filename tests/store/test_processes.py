"""Real processes on one store: killed ones lose nothing that they acknowledged, and several share without a fight."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.store.conftest import Opens
from tests.store.things import OWNER, entry, job

from batchway.store import jobs, migrations, requests

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def running(what: str, url: str) -> AsyncIterator[Process]:
    """A process of tests.store.process; what is left of it at the end is killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *("-m", "tests.store.process", what, url), cwd=ROOT, stdin=PIPE, stdout=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def lines(process: Process, most: int) -> list[str]:
    """The next lines that it says, fewer at its end."""
    assert process.stdout is not None
    said: list[str] = []
    while len(said) < most and (line := await process.stdout.readline()):
        said.append(line.decode().strip())
    return said


async def test_what_was_acknowledged_survives_a_kill(url: str, opens: Opens) -> None:
    async with running("accept", url) as process:
        acknowledged = await lines(process, 300)
        process.kill()
        acknowledged += await lines(process, 1_000_000)

    assert len(acknowledged) >= 300
    database = await opens()
    found = await database.read(requests.load_many, acknowledged)
    assert found.keys() == set(acknowledged)


async def test_several_who_start_on_an_empty_store_all_start(url: str, opens: Opens) -> None:
    starting = [running("open", url) for _ in range(4)]
    entered = await asyncio.gather(*[each.__aenter__() for each in starting])
    said = await asyncio.gather(*[lines(process, 1) for process in entered])
    codes = [await process.wait() for process in entered]
    for each in starting:
        await each.__aexit__(None, None, None)

    assert (said, codes) == ([["open"]] * 4, [0] * 4)
    assert await (await opens()).read(migrations.read_version) == len(migrations.STEPS) + 1


async def test_no_two_processes_claim_the_same_job(url: str, opens: Opens) -> None:
    database = await opens()
    for number in range(60):
        await database.write(requests.save, [entry(f"a-{number}")])
        assert await database.write(jobs.form, job(number), [f"a-{number}"], OWNER) == []

    async with running("claim", url) as one, running("claim", url) as other:
        for process in (one, other):
            assert await lines(process, 1) == ["ready"]
        for process in (one, other):
            assert process.stdin is not None
            process.stdin.write(b"go\n")
        claimed = await asyncio.gather(lines(one, 100), lines(other, 100))

    assert sorted(claimed[0] + claimed[1]) == sorted(f"j-{number}" for number in range(60))
