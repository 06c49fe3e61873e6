"""Several processes on one PostgreSQL, killed and stopped at random: every request is answered once, none is lost, and
no batch lives twice."""

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random

import httpx2
import pytest
from sqlalchemy import Connection, create_engine, func, select
from tests.postgres import postgres, postgres_url  # noqa: F401  # Fixtures.
from tests.proofs.running import PROOF, World, ask, client, world
from tests.server.process import Process

from batchway.store.connections import read_url
from batchway.store.owners import alive
from batchway.store.tables import is_pending, requests

SECONDS = 120.0 if PROOF else 6.0
PROCESSES = 4 if PROOF else 2
LEASE = 1.0
SETTINGS = {"lease": LEASE, "settle": 0.5, "vanish_grace": 5.0, "batch_size": 10, "log_level": "info"}
PROVIDERS = ("openai", "mistral", "gemini")


class Fleet:
    """Processes on one store, each in a place of its own: who dies is followed by another."""

    def __init__(self, made: World, size: int) -> None:
        self._world = made
        self._stack = contextlib.AsyncExitStack()
        self.places: list[Process | None] = [None] * size
        self.kills = self.stops = 0

    async def __aenter__(self) -> "Fleet":
        await self._stack.__aenter__()
        await asyncio.gather(*[self.start(place) for place in range(len(self.places))])
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()

    async def start(self, place: int) -> None:
        """Another process in this place."""
        process = await self._stack.enter_async_context(self._world.gateway(**SETTINGS))
        await process.ready()
        self.places[place] = process

    async def kill(self, place: int) -> None:
        """End the one in this place as a power cut would."""
        process, self.places[place] = self.places[place], None
        if process is not None:
            process.process.kill()
            self.kills += 1

    async def stop(self, place: int, seconds: float) -> None:
        """Let it stand still for so long."""
        process = self.places[place]
        if process is not None and process.process.returncode is None:
            process.process.send_signal(signal.SIGSTOP)
            self.stops += 1
            await asyncio.sleep(seconds)
            with contextlib.suppress(ProcessLookupError):
                process.process.send_signal(signal.SIGCONT)

    def some(self, dice: Random) -> Process | None:
        """One that may be alive."""
        return dice.choice(self.places)


async def storm(fleet: Fleet, dice: Random, until: Callable[[], bool]) -> None:
    """Kill and stop at random. At most one place at a time is dead or still, so that work goes on."""
    while not until():
        await asyncio.sleep(dice.uniform(0.2, 1.5))
        place = dice.randrange(len(fleet.places))
        if dice.random() < 0.5:
            await fleet.kill(place)
            await asyncio.sleep(dice.uniform(0.0, LEASE * 2))
            await fleet.start(place)
        else:
            await fleet.stop(place, dice.uniform(0.1, LEASE * 3))


async def traffic(made: World, fleet: Fleet, dice: Random, until: Callable[[], bool]) -> None:
    """New questions all the time, each asked until somebody takes it on."""
    while not until():
        provider = dice.choice(PROVIDERS)
        for question in made.new_questions(dice.randint(1, 8), provider, f"model-of-{provider}"):
            for _ in range(3):
                process = fleet.some(dice)
                if process is None or question.acknowledged:
                    continue
                with contextlib.suppress(httpx2.HTTPError):
                    async with httpx2.AsyncClient(base_url=process.address, timeout=1.0) as http:
                        await ask(http, question)
        await asyncio.sleep(dice.uniform(0.05, 0.3))


@pytest.mark.proof
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2, 3] if PROOF else [1])
async def test_processes_that_are_killed_and_stopped_answer_every_request_once(
    seed: int,
    tmp_path: Path,
    postgres_url: str,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    dice, loop = Random(seed), asyncio.get_running_loop()
    ends = loop.time() + SECONDS

    def until() -> bool:
        return loop.time() >= ends

    async with world(tmp_path, postgres_url, seconds=0.5) as made:
        async with Fleet(made, PROCESSES) as fleet:
            ends = loop.time() + SECONDS
            await asyncio.gather(storm(fleet, dice, until), traffic(made, fleet, dice, until))
            process = next(process for process in fleet.places if process is not None)
            async with client(process) as http:
                await made.finish(http, seconds=120)
                while made.live_batches():
                    await asyncio.sleep(0.1)
        batches = made.batches_by_tag()
        ended = {batch.order.id: batch.ended for batch in made.sandbox.batches.every()}
        doubled = {tag: Counter(ended[each] for each in ids) for tag, ids in batches.items() if len(ids) > 1}
        twice = sum(made.billed_twice(f"model-of-{provider}") for provider in PROVIDERS)
        with capsys.disabled():
            print(
                f"\nstorm {seed}: {SECONDS:.0f} s, {PROCESSES} processes, {fleet.kills} kills, {fleet.stops} stops, "
                f"{len(made.questions)} requests, {len(ended)} batches, {len(doubled)} doubled and ended, {twice} rows "
                "billed twice"
            )
        assert [question.id for question in made.questions if not question.answered] == []
        # A process that stood still while it created a batch may make one beside its successor's: it is ended.
        for states in doubled.values():
            assert states["completed"] <= 1, doubled


@contextlib.asynccontextmanager
async def looking(url: str) -> AsyncIterator[Callable[[], tuple[int, int]]]:
    """Pending requests of the living and of the dead."""
    engine = create_engine(read_url(url))

    def look(connection: Connection) -> tuple[int, int]:
        living = requests.c.owner.in_(alive(connection))
        count = select(func.count()).select_from(requests)
        return (
            connection.scalar(count.where(is_pending, living)) or 0,
            connection.scalar(count.where(is_pending, ~living)) or 0,
        )

    def now() -> tuple[int, int]:
        with engine.connect() as connection:
            return look(connection)

    yield now
    engine.dispose()


@pytest.mark.proof
@pytest.mark.timeout(120)
async def test_what_a_dead_process_had_is_taken_over_within_its_lease_and_five_seconds(
    tmp_path: Path,
    postgres_url: str,  # noqa: F811
) -> None:
    loop = asyncio.get_running_loop()
    async with world(tmp_path, postgres_url) as made, looking(postgres_url) as pending:
        async with Fleet(made, 1) as fleet, made.gateway(**SETTINGS | {"flush_interval": 600}) as victim:
            await victim.ready()
            asked = made.new_questions(9, "openai", "some-model")
            async with client(victim) as http:
                await asyncio.gather(*[ask(http, question) for question in asked])
            assert await asyncio.to_thread(pending) == (9, 0)

            victim.process.kill()
            died = loop.time()
            await asyncio.sleep(LEASE)
            async with asyncio.timeout(60):
                while (await asyncio.to_thread(pending))[1]:
                    await asyncio.sleep(0.02)
            took = loop.time() - died

            (other,) = fleet.places
            assert other is not None
            async with client(other) as http:
                await made.finish(http)
        assert all(question.answered for question in asked)
        assert made.billed_twice("some-model") == 0
        assert took <= LEASE + 5
