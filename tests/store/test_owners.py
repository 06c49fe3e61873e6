"""A lease holds by the database's clock, or not at all."""

import time

from sqlalchemy import Connection, update

from batchway.store import owners
from batchway.store.connections import db_now
from batchway.store.tables import owners as table


def test_the_database_tells_the_time(connection: Connection) -> None:
    before = time.time()
    told = db_now(connection)

    # SQLite's clock counts milliseconds.
    assert before - 0.002 <= told <= time.time() + 0.002


def test_a_lease_that_is_prolonged_holds(connection: Connection) -> None:
    owners.enter(connection, "me", "host", 0.001 + 3600)

    assert owners.beat(connection, "me", 3600)
    assert owners.alive(connection) == {"me"}


def test_a_lease_that_is_over_cannot_be_prolonged(connection: Connection) -> None:
    owners.enter(connection, "me", "host", 3600)
    connection.execute(update(table).values(lease_until=db_now(connection) - 0.01))

    assert not owners.beat(connection, "me", 3600)
    assert owners.alive(connection) == frozenset()
    assert not owners.beat(connection, "never-entered", 3600)


def test_who_leaves_is_dead_at_once(connection: Connection) -> None:
    owners.enter(connection, "me", "host", 3600)
    owners.enter(connection, "other", "host", 3600)

    owners.leave(connection, "me")

    assert owners.alive(connection) == {"other"}


def test_the_dead_are_forgotten(connection: Connection) -> None:
    owners.enter(connection, "dead", "host", 3600)
    connection.execute(update(table).values(lease_until=0.0))

    owners.enter(connection, "me", "host", 3600)

    assert list(connection.scalars(table.select().with_only_columns(table.c.owner_id))) == ["me"]
