"""A store that fails acknowledges nothing, keeps the charges, and goes on when it is back."""

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection
from tests.clock import START, HandClock
from tests.postgres import Server
from tests.store.conftest import Opens
from tests.store.test_database import note_each, noted
from tests.store.things import charge, entry, request

from batchway.store import Database, StoreDown, charges, learnt, requests

LARGE = request().body + b" " * 100_000

Down = Callable[[Database], AbstractContextManager[None]]


@pytest.fixture
def down(kind: str, url: str, request: pytest.FixtureRequest) -> Down:
    """What makes a store fail while it lasts."""
    if kind == "sqlite":
        return _read_only

    server: Server = request.getfixturevalue("postgres")
    return lambda _: server.shut(url)


@contextmanager
def _read_only(database: Database) -> Iterator[None]:
    """Nothing can be written, as where a disk with errors was mounted again read-only."""
    _tell(database, "query_only = ON")
    try:
        yield
    finally:
        _tell(database, "query_only = OFF")


def _tell(database: Database, pragma: str) -> None:
    # The writer's own connection, beside its transactions.
    connection = database._writing.raw_connection()
    connection.cursor().execute(f"PRAGMA {pragma}")
    connection.close()


async def save(database: Database, ask: str) -> None:
    """Save a request that needs room."""
    await database.write_each(requests.save, entry(ask, body=LARGE))


async def test_nothing_is_acknowledged_while_it_is_down_and_all_after(opens: Opens, down: Down) -> None:
    database = await opens(retry_seconds=0.05)
    await save(database, "before")

    with down(database):
        failed = await asyncio.gather(*[save(database, f"a-{number}") for number in range(5)], return_exceptions=True)
        assert [type(error) for error in failed] == [StoreDown] * 5
        assert database.health().down is not None
    await save(database, "after")

    assert database.health().down is None
    asks = ["before", "after", *[f"a-{number}" for number in range(5)]]
    assert (await database.read(requests.load_many, asks)).keys() == {"before", "after"}


async def test_what_is_said_of_it_holds_no_values(opens: Opens, down: Down) -> None:
    database = await opens()
    with down(database), pytest.raises(StoreDown) as raised:
        await save(database, "a-1")

    fault = raised.value.fault
    assert (fault.status, fault.code, fault.passing, fault.billed) == (503, "store_down", True, "no")
    assert "INSERT" not in fault.message
    assert len(fault.message) < 400


async def test_charges_outlast_it_and_what_is_lost_is_written_down(opens: Opens, down: Down, clock: HandClock) -> None:
    database = await opens(retry_seconds=0.05)
    await save(database, "before")

    with down(database):
        with pytest.raises(StoreDown):
            await save(database, "a-1")
        database.post(requests.save, entry("record", body=LARGE), size=1)
        for number in range(3):
            database.post(charges.book, charge(f"call-{number}"), size=1, kept=True)
        # It is tried again and again.
        await _until(lambda: (gap := database.health().gap) is not None and gap.records == 1)
        clock.move(60)
        database.post(requests.save, entry("record-2", body=LARGE), size=1)
        await _until(lambda: (gap := database.health().gap) is not None and gap.records == 2)
        gap = database.health().gap
        assert gap is not None and gap.charges == 0

    await _until(lambda: database.health().behind_bytes == 0 and database.health().gap is None)
    assert len(await database.read(charges.of_request, "t", "a-1")) == 3
    assert (await database.read(requests.load_many, ["record", "record-2"])).keys() == set()
    gaps = await database.read(lambda connection: learnt.list_gaps(connection, since=0.0))
    assert [(gap.since, gap.until, gap.records, gap.charges) for gap in gaps] == [(START, START + 60, 2, 0)]


async def test_what_is_lost_at_the_end_is_told(opens: Opens, down: Down) -> None:
    database = await opens()
    await save(database, "before")

    with down(database):
        with pytest.raises(StoreDown):
            await save(database, "a-1")
        database.post(requests.save, entry("record", body=LARGE), size=1)
        database.post(charges.book, charge("call-1"), size=1, kept=True)
        gap = await _closed_while_down(database)

    assert gap == (1, 1)


async def _closed_while_down(database: Database) -> tuple[int, int]:
    gap = await database.close()
    assert gap is not None
    return gap.records, gap.charges


async def test_connections_that_were_cut_are_made_again(opens: Opens, kind: str, url: str, postgres: Server) -> None:
    if kind == "sqlite":
        pytest.skip("a file has no connections to cut")
    database = await opens()
    await save(database, "before")
    assert await database.read(noted) == set()

    postgres.disconnect(url)

    await save(database, "after")
    assert (await database.read(requests.load_many, ["before", "after"])).keys() == {"before", "after"}


async def test_a_connection_that_is_cut_in_a_transaction_fails_it_and_no_later_one(
    opens: Opens, kind: str, url: str, postgres: Server
) -> None:
    if kind == "sqlite":
        pytest.skip("a file has no connections to cut")
    database = await opens()

    def cut(connection: Connection) -> None:
        note_each(connection, ["x"])
        postgres.disconnect(url)
        note_each(connection, ["y"])

    with pytest.raises(StoreDown):
        await database.write(cut)
    await save(database, "after")

    assert await database.read(noted) == set()


async def test_a_file_that_is_full_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    await _fill(
        tmp_path / "store.db",
        begin=lambda database: _tell(database, "max_page_count = 250"),
        end=lambda database: _tell(database, "max_page_count = 1000000"),
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mounting, capture_output=True, check=False).returncode != 0:
        pytest.skip("nothing can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


async def test_a_disk_that_is_full_loses_nothing_that_was_acknowledged(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 1_000_000)
    await _fill(small_disk / "store.db", begin=lambda _: None, end=lambda _: ballast.unlink())


async def _fill(file: Path, *, begin: Callable[[Database], None], end: Callable[[Database], None]) -> None:
    """Save until no more fits, make room, and save again; then see what is there."""
    asks = [f"a-{number}" for number in range(100)]
    async with await Database.open(str(file), now=lambda: 0.0) as database:
        begin(database)
        outcomes = [await asyncio.gather(save(database, ask), return_exceptions=True) for ask in asks]
        end(database)
        await save(database, "after")
    acknowledged = [ask for ask, (outcome,) in zip(asks, outcomes, strict=True) if outcome is None]
    failed = [outcome for (outcome,) in outcomes if outcome is not None]

    assert acknowledged
    assert failed
    assert all(isinstance(error, StoreDown) and "full" in str(error) for error in failed)
    async with await Database.open(str(file), now=lambda: 0.0) as database:
        found = await database.read(requests.load_many, [*asks, "after"])
    assert found.keys() == {*acknowledged, "after"}


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.02)
