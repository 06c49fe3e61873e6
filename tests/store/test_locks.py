"""Two writers of the same requests never wait for each other: all of them take their rows in one order (PostgreSQL; a
SQLite file has one writer at a time)."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, Engine, delete, select, text
from tests.store.things import OWNER, entry, result

from batchway.store import answers, requests, tables
from batchway.store.tables import requests as rows

ASKS = [f"a-{number:03}" for number in range(500)]

Writes = Callable[[Connection, Sequence[str]], object]

WRITERS: dict[str, Writes] = {
    "rescues leave the batch lane": lambda connection, asks: requests.set_lane(connection, asks, "direct", OWNER),
    "answers land": lambda connection, asks: answers.add(connection, [result(ask) for ask in asks]),
}


@pytest.fixture
def store(postgres_store: Engine) -> Engine:
    """Requests that lie on the disk in the other order: whoever takes them as they lie begins with the last."""
    with postgres_store.begin() as connection:
        for table in reversed(tables.metadata.sorted_tables):
            connection.execute(delete(table))
        requests.save(connection, [entry(ask) for ask in reversed(ASKS)])
    return postgres_store


@pytest.mark.parametrize("writer", WRITERS)
def test_who_waits_for_the_first_row_holds_no_later_one(store: Engine, writer: str) -> None:
    """Else somebody who has the first, and comes to a later one, waits for ever."""

    def write() -> None:
        with store.begin() as connection:
            WRITERS[writer](connection, ASKS)

    with ThreadPoolExecutor(1) as thread:
        with store.begin() as first:
            first.execute(select(rows.c.ask).where(rows.c.ask == ASKS[0]).with_for_update())
            writing = thread.submit(write)
            try:
                _wait_until_one_waits(store)
                with store.begin() as other:
                    free = select(rows.c.ask).with_for_update(skip_locked=True)
                    assert sorted(other.scalars(free)) == ASKS[1:]
            finally:
                first.rollback()
        writing.result()


def _wait_until_one_waits(store: Engine) -> None:
    """For a row that another has."""
    waits = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with store.begin() as connection:
            if connection.scalar(waits):
                return
        time.sleep(0.02)
    pytest.fail("it does not wait for the row")
