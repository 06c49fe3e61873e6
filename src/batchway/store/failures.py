"""What goes wrong in a store: errors that say that all of it is down, and those of one operation alone."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from batchway.core.errors import BatchwayError, Ours

SQLITE_DOWN = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
"""Primary result codes that say something about the file, not about the statement (sqlite.org/rescode.html)."""

POSTGRESQL_DOWN = ("08", "25006", "53", "57P", "58", "F0", "XX")
"""Beginnings of SQLSTATEs that say something about the server: connection, read-only (a standby), resources (disk full
is 53100), shutdown, system, configuration, internal (postgresql.org/docs/current/errcodes-appendix.html)."""

POSTGRESQL_PASSING = ("40", "55P03")
"""Serialisation failure, deadlock, lock time-out: the same operation may pass when tried again."""


class StoreDown(Ours):
    """The store cannot be written or read now (disk full, server gone): nothing was acknowledged; try again later."""

    status = 503
    code = "store_down"
    passing = True


class Taken(BatchwayError):
    """Another row has this id already (a request_id of the same tenant, a name of a key): look it up instead."""


def is_down(error: BaseException) -> bool:
    """Whether the error concerns the store as a whole: what else is under way would fail the same way."""
    if isinstance(error, StoreDown):
        return True
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        # Extended codes hold the primary one in their low byte.
        return code & 0xFF in SQLITE_DOWN
    return _begins(error, POSTGRESQL_DOWN, unknown=type(error.orig).__name__ in ("OperationalError", "InterfaceError"))


def as_raised(error: Exception) -> Exception:
    """The error as the one who asked for the operation gets it."""
    if isinstance(error, StoreDown):
        return error
    if is_down(error) or (isinstance(error, DBAPIError) and _begins(error, POSTGRESQL_PASSING, unknown=False)):
        # The driver's own words: SQLAlchemy's would quote the statement and its values.
        down = StoreDown(f"The store cannot be used now: {_words(error)}. Nothing was acknowledged; try again.")
        down.__cause__ = error
        return down
    return error


@contextmanager
def translated() -> Iterator[None]:
    """What the database raises within, as its asker gets it."""
    try:
        yield
    except DBAPIError as error:
        raised = as_raised(error)
        if raised is error:
            raise
        raise raised from error


@contextmanager
def opening(url: URL) -> Iterator[None]:
    """The same at the start, when somebody reads it who can see to it."""
    try:
        yield
    except DBAPIError as error:
        if not is_down(error):
            raise
        place = (
            url.database
            if url.get_backend_name() == "sqlite"
            else url.set(drivername="postgresql", query={}).render_as_string()
        )
        raise StoreDown(
            f"database_url: {place} cannot be opened: {_words(error)}. Mend it, or name another store."
        ) from error


def _begins(error: DBAPIError, states: tuple[str, ...], *, unknown: bool) -> bool:
    """Whether its SQLSTATE begins so; `unknown`: what holds where it has none, since no server answered."""
    state = getattr(error.orig, "sqlstate", None)
    return unknown if state is None else state.startswith(states)


def _words(error: Exception) -> str:
    said = str(error.orig) if isinstance(error, DBAPIError) else str(error)
    return " ".join(said.split())[:200].rstrip(".?") or type(error).__name__
