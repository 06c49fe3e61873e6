"""Replay: traffic that a real gateway recorded, without its bodies, as it was and as other policies had had it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path

import pytest
from msgspec import structs
from sqlalchemy import Connection
from tests.gate import Gate, open_gate, until

from batchway.assemble import load_settings
from batchway.core.types import PICODOLLARS, Hints, Outline
from batchway.simulate import replay
from batchway.simulate.lab import Lab, make_lab
from batchway.simulate.outcome import Outcome
from batchway.simulate.policies import Setup, named
from batchway.simulate.world import Conditions
from batchway.store import charges
from batchway.store.connections import make_engine, read_url
from batchway.store.traffic import overhead, passed, span

SYSTEM = "You sort letters to a shop into complaints, orders and questions. " * 60
MODEL = "gpt-4o-mini"


def letter(number: int) -> list[dict[str, str]]:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"My parcel {number} did not come."}]


async def live(gate: Gate) -> None:
    """Twins, repeats, company that nobody used, a stream, a request that is refused."""
    await asyncio.gather(*[gate.ask(text="Is it a complaint?", temperature=0) for _ in range(4)])
    await gate.ask(text="Is it a complaint?", temperature=0)
    await asyncio.gather(*[gate.ask(messages=letter(number), max_tokens=8) for number in range(24)])
    await gate.ask(text="Tell me a story.", stream=True)
    await gate.ask(text="Who are you?", model="does-not-exist")


@contextmanager
def reading(store: Path) -> Iterator[Connection]:
    engine = make_engine(read_url(str(store)), writes=False, size=2)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture(params=["metadata", "all"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Of a gateway that has stopped; it has bodies, or has none."""
    path = tmp_path / "store.db"
    async with open_gate(database_url=str(path), record=request.param) as gate:
        await live(gate)
        await until(lambda: gate.gateway.engine.load().waiting == 0)
    return path


def lab() -> Lab:
    return make_lab(load_settings({}, environment={}).settings)


def taken(connection: Connection) -> replay.Taken:
    return replay.take_in(lambda: passed(connection, 0, inf), overhead(connection, 0, inf), Conditions())


def again(connection: Connection, *setups: Setup) -> list[Outcome]:
    found = taken(connection)
    here = structs.replace(lab(), conditions=found.conditions)
    requests = replay.requests(lambda: passed(connection, 0, inf), here.catalog, Hints())
    return here.rehearse(setups, requests)


def test_what_was_is_what_was_booked(store: Path) -> None:
    with reading(store) as connection:
        was = taken(connection).was
        ledger = charges.ledger(connection, since_day=0, until_day=10**6)
        first, last = span(connection, inf) or (0.0, 0.0)
    assert was.paid == sum(line.cost for line in ledger) > 0
    assert was.worth - was.paid == sum(line.saved for line in ledger) > 0
    assert {via: way.requests for via, way in was.ways.items() if way.requests} == {
        "direct": 26,
        "coalesced": 3,
        "cache": 1,
    }
    assert was.refused == {"model_not_found": 1}
    assert 0 < last - first < 60
    assert 0 < was.waited.quantile(0.5) < 10


def test_the_same_policy_gives_what_was_to_the_picodollar(store: Path) -> None:
    with reading(store) as connection:
        was = taken(connection).was
        (same,) = again(connection, named("transparent"))
    assert (same.paid, same.worth) == (was.paid, was.worth)
    assert same.requests == was.requests == 31
    assert same.refused == was.refused
    assert same.waited.quantile(0.5) == pytest.approx(was.waited.quantile(0.5), rel=0.3, abs=0.05)


def test_another_policy_shares_calls_that_this_one_did_not_and_costs_less(store: Path) -> None:
    saver = named("saver")
    window = structs.replace(saver.policy.pack, max_wait=1.0)
    risking = structs.replace(saver, policy=structs.replace(saver.policy, pack_stake=PICODOLLARS, pack=window))
    batcher = named("batcher")
    with reading(store) as connection:
        was = taken(connection).was
        packed, batched = again(connection, risking, batcher)
    assert packed.packed >= 12 and packed.paid < 0.8 * was.paid
    # The letters at half the price; what came from a cache or a twin costs nothing either way.
    assert batched.ways["batch"].requests >= 24
    assert batched.paid == pytest.approx(was.paid / 2, rel=0.1)


def test_nothing_that_was_said_is_read(store: Path) -> None:
    with reading(store) as connection:
        requests = list(replay.requests(lambda: passed(connection, 0, inf), lab().catalog, Hints()))
    letters = [request for request in requests if request.prompt.max_output == 8]
    outlines = [request.prompt.outline for request in letters]
    assert len({outline.kin for outline in outlines if isinstance(outline, Outline)}) == 1
    assert all(request.prompt.texts == () and not any(request.body) for request in requests)
    assert all(5 <= (outline.item or 0) <= 20 for outline in outlines if outline is not None)


def test_the_pace_of_providers_is_learnt_from_calls_of_their_own() -> None:
    pace = replay._Pace()
    for output in range(100):
        pace.add(output, 0.4 + 0.02 * output)
    learnt = pace.learnt(Conditions())
    assert learnt.first_token == pytest.approx(0.4)
    assert learnt.per_token == pytest.approx(0.02)
    few = replay._Pace()
    few.add(10, 5.0)
    assert few.learnt(Conditions()) == Conditions()
