"""A store gets to the newest version from every earlier one, once, however many start at the same time."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from msgspec import structs
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, func, insert, inspect, select
from sqlalchemy.schema import CreateTable
from tests.store import shapes
from tests.store.things import charge

from batchway.core.errors import SettingsError
from batchway.core.types import Usage
from batchway.store import Database
from batchway.store.charges import book, of_request
from batchway.store.connections import make_engine, read_url
from batchway.store.database import Upkeep
from batchway.store.migrations import STEPS, migrate, read_version

PLACE = Table("place", MetaData(), Column("number", Integer))


def add_place(connection: Connection) -> None:
    """A step: a table more, with a row in it."""
    connection.execute(CreateTable(PLACE))
    connection.execute(insert(PLACE).values(number=1))


def fail(connection: Connection) -> None:
    """A step that does something and then fails."""
    connection.execute(insert(PLACE).values(number=2))
    raise RuntimeError("the step is wrong")


@pytest.fixture
def empty(url: str) -> Any:
    """A database without tables."""
    engine = make_engine(read_url(url), writes=True, size=8)
    yield engine
    engine.dispose()


def describe(connection: Connection) -> dict[str, Any]:
    """All that makes two stores alike."""
    found = inspect(connection)
    return {
        table: {
            "columns": [
                (column["name"], str(column["type"]), column["nullable"]) for column in found.get_columns(table)
            ],
            "key": found.get_pk_constraint(table)["constrained_columns"],
            "unique": sorted(str(unique["column_names"]) for unique in found.get_unique_constraints(table)),
            "foreign": sorted(str(key["referred_table"]) for key in found.get_foreign_keys(table)),
            "indexes": sorted((str(index["name"]), str(index["column_names"])) for index in found.get_indexes(table)),
        }
        for table in found.get_table_names()
    }


def make_earlier(empty: Engine, version: int) -> None:
    """The tables that a store of this version had."""
    with empty.begin() as connection:
        for statement in shapes.written(connection.dialect.name, version):
            connection.exec_driver_sql(statement)
        stamp = Table("schema_version", MetaData(), Column("version", Integer, nullable=False))
        stamp.create(connection)
        connection.execute(insert(stamp).values(version=version))


def test_an_empty_store_gets_todays_tables(empty: Engine) -> None:
    with empty.begin() as connection:
        migrate(connection)

    with empty.begin() as connection:
        assert read_version(connection) == shapes.NEWEST
        assert {"requests", "jobs", "charges"} < describe(connection).keys()


def test_todays_tables_are_written_down(kind: str) -> None:
    """If this fails, the tables were changed: append a step to STEPS, then run `python -m tests.store.shapes`."""
    today = [" ".join(statement.split()) for statement in shapes.shape(kind)]

    assert today == [" ".join(statement.split()) for statement in shapes.written(kind, shapes.NEWEST)]


@pytest.mark.parametrize("version", range(1, shapes.NEWEST + 1))
def test_every_earlier_store_becomes_one_of_today(empty: Engine, version: int) -> None:
    with empty.begin() as connection:
        migrate(connection)
        fresh = describe(connection)
        connection.rollback()
    make_earlier(empty, version)

    with empty.begin() as connection:
        migrate(connection)

    with empty.begin() as connection:
        assert describe(connection) == fresh
        assert read_version(connection) == shapes.NEWEST


def test_charges_from_before_hours_were_kept_are_what_they_were(empty: Engine) -> None:
    make_earlier(empty, 1)
    old = charge(usage=Usage(input=9, output=1, cached=2, cache_written=3, reasoning=1))
    usage = {name: getattr(old.usage, name) for name in ("input", "output", "cached", "cache_written", "reasoning")}
    row = {name: getattr(old, name) for name in old.__struct_fields__ if name != "usage"} | usage
    with empty.begin() as connection:
        charges = Table("charges", MetaData(), autoload_with=connection)
        connection.execute(insert(charges).values(row | {"day": 1}))

    with empty.begin() as connection:
        migrate(connection)
        book(connection, [old, structs.replace(old, call_id="new")])

    with empty.begin() as connection:
        assert of_request(connection, old.tenant, old.request_id) == [old, structs.replace(old, call_id="new")]


def test_steps_run_once_and_in_order(empty: Engine) -> None:
    for _ in range(2):
        with empty.begin() as connection:
            migrate(connection)
    for _ in range(2):
        with empty.begin() as connection:
            migrate(connection, [*STEPS, add_place])

    with empty.begin() as connection:
        assert read_version(connection) == shapes.NEWEST + 1
        assert connection.scalar(select(func.count()).select_from(PLACE)) == 1


def test_a_step_that_fails_leaves_the_store_as_it_was(empty: Engine) -> None:
    with empty.begin() as connection:
        migrate(connection)
        before = describe(connection)

    with pytest.raises(RuntimeError), empty.begin() as connection:
        migrate(connection, [*STEPS, add_place, fail])

    with empty.begin() as connection:
        assert describe(connection) == before
        assert read_version(connection) == shapes.NEWEST


def test_a_store_of_a_newer_batchway_is_refused(empty: Engine) -> None:
    with empty.begin() as connection:
        migrate(connection, [*STEPS, add_place])

    with pytest.raises(SettingsError, match=f"of version {shapes.NEWEST + 1}"), empty.begin() as connection:
        migrate(connection)


def test_many_who_start_at_once_migrate_once(empty: Engine) -> None:
    def start(_: int) -> None:
        with empty.begin() as connection:
            migrate(connection, [*STEPS, add_place])

    with empty.begin() as connection:
        migrate(connection)
    with ThreadPoolExecutor(8) as starters:
        list(starters.map(start, range(8)))

    with empty.begin() as connection:
        assert connection.scalar(select(func.count()).select_from(PLACE)) == 1


async def opened(url: str, upkeep: Upkeep) -> int | None:
    """The version that is found there, once it was opened so."""
    async with await Database.open(url, now=lambda: 0.0, upkeep=upkeep) as database:
        return database.version


@pytest.mark.parametrize("upkeep", ["none", "made"])
async def test_an_older_store_is_left_to_whoever_serves_it(empty: Engine, url: str, upkeep: Upkeep) -> None:
    make_earlier(empty, 1)
    with empty.begin() as connection:
        before = describe(connection)

    assert await opened(url, upkeep) == 1

    with empty.begin() as connection:
        assert describe(connection) == before
    assert await opened(url, "newest") == shapes.NEWEST


async def test_no_tables_are_made_where_one_only_looks(empty: Engine, url: str) -> None:
    assert await opened(url, "none") is None
    with empty.begin() as connection:
        assert inspect(connection).get_table_names() == []
    assert await opened(url, "made") == shapes.NEWEST


@pytest.mark.parametrize("upkeep", ["none", "made", "newest"])
async def test_a_store_that_cannot_be_understood_does_not_open(empty: Engine, url: str, upkeep: Upkeep) -> None:
    with empty.begin() as connection:
        migrate(connection, [*STEPS, add_place])

    with pytest.raises(SettingsError):
        await Database.open(url, now=lambda: 0.0, upkeep=upkeep)
