"""Writing in groups, behind and beside: what is promised to whom, and when."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, func, insert, select
from tests.clock import START, HandClock
from tests.store.conftest import Opens
from tests.store.things import NOW, charge, entry

from batchway.core.errors import SettingsError
from batchway.core.turnaround import Turnaround
from batchway.store import Database, Gap, Room, StoreDown, Taken, charges, learnt, requests
from batchway.store.tables import owners, turnarounds


def note(connection: Connection, name: str) -> Any:
    """Write a row. Returns the transaction that it is in."""
    values = {"owner_id": name, "lease_until": 0.0, "started_at": 0.0, "host": ""}
    connection.execute(insert(owners).values(values))
    return connection.get_transaction()


def note_and_fail(connection: Connection, name: str) -> None:
    """Write a row, and fail."""
    note(connection, name)
    raise ValueError(name)


def note_each(connection: Connection, names: Sequence[str]) -> list[int]:
    """Write rows. Returns how many came together."""
    for name in names:
        note(connection, name)
    return [len(names)] * len(names)


def noted(connection: Connection) -> set[str]:
    """The rows that are there."""
    return set(connection.scalars(select(owners.c.owner_id)))


@pytest.fixture
async def held(database: Database) -> AsyncIterator[Callable[[], None]]:
    """The writer is in the middle of a transaction, until this is called."""
    began, release = threading.Event(), threading.Event()

    def block(_: Connection) -> None:
        began.set()
        release.wait(20)

    blocking = asyncio.create_task(database.write(block))
    await asyncio.to_thread(began.wait)
    yield release.set
    release.set()
    await blocking


async def test_an_operation_gives_what_it_returns_or_raises(database: Database) -> None:
    assert await database.write(lambda _, value: value * 2, 21) == 42
    assert await database.read(lambda _, value: value * 2, 21) == 42
    with pytest.raises(ValueError, match="x"):
        await database.write(note_and_fail, "x")
    assert await database.read(noted) == set()


async def test_what_comes_during_a_commit_is_committed_together(database: Database, held: Callable[[], None]) -> None:
    writing = [asyncio.create_task(database.write(note, f"n-{number}")) for number in range(50)]
    await asyncio.sleep(0)
    held()

    assert len(set(await asyncio.gather(*writing))) == 1
    assert len(await database.read(noted)) == 50


async def test_items_that_wait_become_one_call(database: Database, held: Callable[[], None]) -> None:
    writing = [asyncio.create_task(database.write_each(note_each, f"n-{number}")) for number in range(50)]
    await asyncio.sleep(0)
    held()

    assert await asyncio.gather(*writing) == [50] * 50
    assert await database.write_each(note_each, "alone") == 1


async def test_nothing_is_acknowledged_before_the_commit(opens: Opens) -> None:
    database, beside = await opens(), await opens()
    began, release = threading.Event(), threading.Event()

    def block(_: Connection) -> None:
        began.set()
        release.wait(20)

    first = asyncio.create_task(database.write(note, "first"))
    last = asyncio.create_task(database.write(block))
    await asyncio.to_thread(began.wait)
    if not first.done():
        # In one transaction with the one that blocks: done, but not on disk.
        assert await beside.read(noted) == set()
        await asyncio.sleep(0.05)
        assert not first.done()
    release.set()
    await asyncio.gather(first, last)
    assert await beside.read(noted) == {"first"}


@pytest.mark.parametrize("each", [False, True])
async def test_one_that_fails_does_not_harm_its_neighbours(
    database: Database, held: Callable[[], None], each: bool
) -> None:
    def writes(name: str, fails: bool) -> Any:
        if each:
            return database.write_each(requests.save, entry(name, id="same" if fails else name))
        return database.write(note_and_fail if fails else note, name)

    await_all = asyncio.gather(
        *[writes(f"n-{number}", number in (3, 7)) for number in range(10)], return_exceptions=True
    )
    await asyncio.sleep(0)
    held()
    outcomes = await await_all

    failed = {number for number, outcome in enumerate(outcomes) if isinstance(outcome, Exception)}
    if each:
        # Of two requests with one id the first is there.
        assert failed == {7}
        assert isinstance(outcomes[7], Taken)
        found = await database.read(requests.load_many, [f"n-{number}" for number in range(10)])
        assert len(found) == 9
    else:
        assert failed == {3, 7}
        assert await database.read(noted) == {f"n-{number}" for number in range(10) if number not in failed}


async def test_who_is_cancelled_does_not_stop_the_others(database: Database, held: Callable[[], None]) -> None:
    one, other = (asyncio.create_task(database.write(note, name)) for name in ("one", "other"))
    await asyncio.sleep(0)
    one.cancel()
    held()

    await other
    with pytest.raises(asyncio.CancelledError):
        await one
    assert await database.read(noted) == {"one", "other"}


async def test_posts_are_written_behind_and_before_the_end(opens: Opens) -> None:
    database = await opens()
    for number in range(2500):
        assert database.post(charges.book, charge(f"call-{number}"), size=100)
    assert await database.close() is None

    assert len(await (await opens()).read(charges.of_request, "t", "a-1")) == 2500


async def test_posts_beyond_the_room_are_lost_and_said(opens: Opens, clock: HandClock) -> None:
    database = await opens(room=Room(records=250, charges=100))
    began, release = threading.Event(), threading.Event()

    def block(_: Connection) -> None:
        began.set()
        release.wait(20)

    blocking = asyncio.create_task(database.write(block))
    await asyncio.to_thread(began.wait)
    accepted = [database.post(note_each, f"n-{number}", size=100) for number in range(3)]
    clock.move(5)
    accepted += [database.post(note_each, "n-4", size=100), database.post(charges.book, charge(), size=100, kept=True)]
    health = database.health()
    release.set()
    await blocking
    await database.close()

    assert accepted == [True, True, False, False, True]
    assert health.gap is not None
    assert (health.behind_bytes, health.gap.records + health.gap.charges) == (300, 2)
    again = await opens()
    assert await again.read(noted) == {"n-0", "n-1"}
    (gap,) = await again.read(lambda connection: learnt.list_gaps(connection, since=0.0))
    assert gap == Gap(since=START, until=START + 5, records=2, charges=0, reason="the store did not keep up")


async def test_the_room_is_free_again_when_posts_are_written(opens: Opens) -> None:
    database = await opens(room=Room(records=100, charges=100))
    for number in range(20):
        assert database.post(note_each, f"n-{number}", size=100)
        await database.write(lambda _: None)
        await database.write(lambda _: None)
    assert database.health().behind_bytes == 0


async def test_a_post_that_the_store_will_not_have_is_counted(opens: Opens) -> None:
    database = await opens()
    database.post(note_each, "twice", size=1)
    database.post(note_each, "twice", size=1)
    database.post(note_each, "once", size=1)
    await database.close()

    again = await opens()
    assert await again.read(noted) == {"twice", "once"}
    (gap,) = await again.read(lambda connection: learnt.list_gaps(connection, since=0.0))
    assert (gap.records, gap.reason) == (1, "IntegrityError")


async def test_reading_cannot_write(database: Database) -> None:
    with pytest.raises(StoreDown):
        await database.read(note, "x")
    await database.write(note, "y")
    assert await database.read(noted) == {"y"}


async def test_many_read_at_once(database: Database) -> None:
    await database.write(note, "x")
    assert await asyncio.gather(*[database.read(noted) for _ in range(50)]) == [{"x"}] * 50


async def test_closing_writes_what_was_asked_for_before(opens: Opens) -> None:
    database = await opens()
    writing = [asyncio.create_task(database.write(note, f"n-{number}")) for number in range(20)]
    await asyncio.sleep(0)
    await database.close()
    await asyncio.gather(*writing)
    await database.close()

    with pytest.raises(StoreDown):
        await database.write(note, "late")
    with pytest.raises(StoreDown):
        await database.read(noted)
    with pytest.raises(StoreDown):
        database.post(note_each, "late", size=1)
    assert len(await (await opens()).read(noted)) == 20


async def test_a_store_opens_again_with_what_was_in_it(opens: Opens) -> None:
    async with await opens() as database:
        await database.write_each(requests.save, entry())
    again = await opens()

    assert await again.read(requests.load, "a-1") == entry().request
    measured = Turnaround(provider="openai", model="m", at=NOW, seconds=1.0, n=1)
    await again.write(learnt.add_turnarounds, [measured])
    assert await again.read(lambda connection: connection.scalar(select(func.count()).select_from(turnarounds))) == 1


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("mysql://localhost/x", "'mysql' is not offered"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("://", "not a URL"),
        ("/proc/nothing/store.db", "cannot be written"),
    ],
)
async def test_an_address_that_cannot_be_used_is_said(address: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        await Database.open(address, now=lambda: 0.0)
