"""Connections are set so that what is acknowledged is on disk, and nobody else reads it."""

import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError, InvalidRequestError, OperationalError

from batchway.store import StoreDown
from batchway.store.connections import make_engine, read_url
from batchway.store.failures import as_raised, is_down


def ask(connection: Connection, statement: str) -> Any:
    """The one value that it gives."""
    return connection.scalar(text(statement))


def test_a_commit_means_on_disk(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        asked = [ask(connection, f"PRAGMA {name}") for name in ("journal_mode", "synchronous", "foreign_keys")]
        assert asked == ["wal", 2, 1]
    else:
        assert ask(connection, "SHOW synchronous_commit") == "on"


def test_sqlites_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "store.db"
    engine = make_engine(read_url(str(file)), writes=True, size=1)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE x (y)"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
    engine.dispose()

    assert modes.keys() == {"store.db", "store.db-wal", "store.db-shm"}
    assert set(modes.values()) == {0o600}


def test_sqlites_pages_hold_bodies_and_a_file_of_before_keeps_its_own(tmp_path: Path) -> None:
    before = sqlite3.connect(tmp_path / "before.db")
    before.executescript("PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; CREATE TABLE x (y)")
    before.close()
    sizes = []
    for name in ("before.db", "new.db"):
        engine = make_engine(read_url(str(tmp_path / name)), writes=True, size=1)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE z (y)"))
            sizes.append(ask(connection, "PRAGMA page_size"))
        engine.dispose()

    assert sizes == [4096, 8192]


def test_how_others_in_this_process_write_a_bool_stays(tmp_path: Path) -> None:
    bools = (bool, sqlite3.PrepareProtocol)
    before = sqlite3.adapters.pop(bools, None)
    sqlite3.register_adapter(bool, str)
    try:
        make_engine(read_url(str(tmp_path / "store.db")), writes=True, size=1).dispose()
        assert sqlite3.adapters[bools] is str
    finally:
        del sqlite3.adapters[bools]
        if before is not None:
            sqlite3.adapters[bools] = before


@pytest.mark.parametrize(
    ("given", "driver", "database"),
    [
        ("/var/lib/x.db", "sqlite+pysqlite", "/var/lib/x.db"),
        ("sqlite:////var/lib/x.db", "sqlite+pysqlite", "/var/lib/x.db"),
        ("x.db", "sqlite+pysqlite", str(Path.cwd() / "x.db")),
        ("postgresql://me@host/db", "postgresql+psycopg", "db"),
        ("postgres://me@host/db", "postgresql+psycopg", "db"),
    ],
)
def test_an_address_is_a_path_or_a_url(given: str, driver: str, database: str) -> None:
    read = read_url(given)

    assert (read.drivername, read.database) == (driver, database)


def sqlite_error(code: int) -> OperationalError:
    """What SQLAlchemy makes of an error of SQLite's."""
    error = sqlite3.OperationalError("said")
    error.sqlite_errorcode = code
    return OperationalError("INSERT …", {}, error)


@pytest.mark.parametrize(
    ("error", "down"),
    [
        (sqlite_error(sqlite3.SQLITE_FULL), True),
        (sqlite_error(sqlite3.SQLITE_IOERR_FSYNC), True),
        (sqlite_error(sqlite3.SQLITE_BUSY_SNAPSHOT), True),
        (sqlite_error(sqlite3.SQLITE_ERROR), False),
        (IntegrityError("INSERT …", {}, sqlite3.IntegrityError("UNIQUE")), False),
        (InvalidRequestError("a mistake in a statement"), False),
        (ValueError("of an operation"), False),
        (StoreDown("down"), True),
    ],
)
def test_errors_of_the_store_are_told_from_those_of_an_operation(error: Exception, down: bool) -> None:
    assert is_down(error) is down
    assert isinstance(as_raised(error), StoreDown) is down


def test_a_mistake_in_a_statement_is_a_mistake(engine: Engine) -> None:
    with pytest.raises(Exception) as raised, engine.begin() as connection:
        connection.execute(text("SELECT * FROM no_such_table"))

    assert not is_down(raised.value)
    assert as_raised(raised.value) is raised.value
