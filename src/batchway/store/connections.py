"""Connections to SQLite and PostgreSQL, each set so that a commit means `on disk`, and the few words they say apart."""

import os
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Dialect,
    Double,
    Engine,
    Table,
    cast,
    create_engine,
    event,
    extract,
    func,
    make_url,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError

from batchway.core.errors import SettingsError

BUSY_SECONDS = 10
"""How long a write waits for another process that writes the same SQLite file."""

PAGE_BYTES = 8192
"""Of a SQLite file that is new; one that is there keeps its own. Of SQLite's 4096, a body of 2 kB leaves half empty."""

CHECKPOINT_PAGES = 2000
"""Pages in SQLite's log before they are moved into the database: fewer, larger moves than its 1000."""

CONNECT_SECONDS = 5
LOST_MILLISECONDS = 10_000
"""After which unacknowledged data means that the PostgreSQL server is gone."""

EPOCH_JULIAN_DAY = 2440587.5
DAY_SECONDS = 86_400.0


def read_url(url: str) -> URL:
    """The database that a URL names. A path is a SQLite file. Raises SettingsError."""
    if "://" not in url:
        return URL.create("sqlite+pysqlite", database=str(Path(url).expanduser().absolute()))
    try:
        read = make_url(url)
    except ArgumentError as error:
        raise SettingsError(
            "database_url: not a URL; allowed are a path, sqlite:/// and postgresql:// URLs."
        ) from error
    backend = read.get_backend_name()
    if backend in ("postgresql", "postgres"):
        return read.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise SettingsError(
            f"database_url: '{backend}' is not offered; allowed are a path, sqlite:/// and postgresql://."
        )
    if not read.database or read.database == ":memory:":
        raise SettingsError("database_url: a store in memory loses everything; name a file.")
    return read.set(drivername="sqlite+pysqlite", database=str(Path(read.database).absolute()))


def make_engine(url: URL, *, writes: bool, size: int) -> Engine:
    """Up to `size` connections. Those that do not write cannot."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, writes=writes, size=size)
    return _postgresql(url, writes=writes, size=size)


def db_now(connection: Connection) -> float:
    """Seconds since the epoch by the database's clock: the one that all processes share, so that leases compare."""
    return connection.execute(select(_CLOCKS[connection.dialect.name])).scalar_one()


def insert_new(dialect: Dialect, table: Table) -> Any:
    """An INSERT that leaves alone what is there already (or says otherwise by `on_conflict_do_update`)."""
    return _INSERTS[dialect.name](table)


_CLOCKS: dict[str, ColumnElement[float]] = {
    "sqlite": (func.julianday("now", type_=Double) - EPOCH_JULIAN_DAY) * DAY_SECONDS,
    "postgresql": cast(extract("epoch", func.clock_timestamp()), Double),
}
_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def _sqlite(url: URL, *, writes: bool, size: int) -> Engine:
    if writes:
        _make_private(Path(url.database or ""))
    _spare_adapting()
    engine = create_engine(
        url, pool_size=size, max_overflow=0, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}
    )
    pragmas = ["foreign_keys = ON", "synchronous = FULL", "fullfsync = ON", "checkpoint_fullfsync = ON"]
    # A size is taken before there are pages. secure_delete: zeros are written over what is swept, so that it is gone.
    writing = [f"page_size = {PAGE_BYTES}", "journal_mode = WAL", "secure_delete = ON"]
    writing.append(f"wal_autocheckpoint = {CHECKPOINT_PAGES}")
    pragmas += writing if writes else ["query_only = ON"]

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        # Python's driver would begin transactions by itself, and only before some statements.
        connection.isolation_level = None
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    if writes:
        # IMMEDIATE: a transaction that began by reading could not be turned into a writing one while others write.
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        # Said aloud: SQLite ends a transaction by itself when the disk is full, and the driver's commit of no
        # transaction passes without a word.
        event.listen(engine, "commit", lambda connection: connection.exec_driver_sql("COMMIT"))
    return engine


def _spare_adapting() -> None:
    """Let None, bools and bytes be written as they are. Python's driver looks for a way to adapt each of them, and to
    find none costs more than to write the value. What this process has for them already stays."""
    itself = {each: each for each in (None, False, True)}.__getitem__
    for kind, adapt in ((type(None), itself), (bool, itself), (bytes, bytes)):
        sqlite3.adapters.setdefault((kind, sqlite3.PrepareProtocol), adapt)


def _make_private(file: Path) -> None:
    """The file, for its owner alone: it holds what people ask. SQLite gives its log the same permissions."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise SettingsError(f"database_url: {file} cannot be written: {error.strerror}; name another file.") from error


def _postgresql(url: URL, *, writes: bool, size: int) -> Engine:
    defaults = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": LOST_MILLISECONDS}
    options = {name: value for name, value in defaults.items() if name not in url.query}
    engine = create_engine(
        url,
        pool_size=size,
        max_overflow=0,
        pool_pre_ping=True,
        paramstyle="format",
        connect_args=options,
        **({} if writes else {"isolation_level": "AUTOCOMMIT"}),
    )
    parameters = {"synchronous_commit": "on"} if writes else {"default_transaction_read_only": "on"}

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        autocommit, connection.autocommit = connection.autocommit, True
        for name, value in parameters.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        connection.autocommit = autocommit

    return engine
