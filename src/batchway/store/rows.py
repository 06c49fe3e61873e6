"""Inserting rows by the thousand: their values are what the driver takes, so nothing looks at each on its way.

SQLAlchemy writes the statement, once; going through every value of every row as well would be a third of what it costs
to write down a request (bench/store.py).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Dialect, Insert, Table, insert

from batchway.store.connections import insert_new

Rows = Sequence[Mapping[str, Any]]

TOGETHER = 32
"""Rows in one statement of SQLite: beginning and ending one costs as much as a row of ten values. The values of so many
stay below the 999 that its old versions take."""


class _Statement(Struct, frozen=True):
    """An INSERT of a row in the words of one database, and what it takes of that."""

    text: str
    values: Callable[[Mapping[str, Any]], Any]
    by_place: bool
    """In SQLite; PostgreSQL's driver takes values by their names, and many rows by itself."""


def insert_rows(connection: Connection, table: Table, rows: Rows) -> None:
    """Add rows, all of the same columns. Raises sqlalchemy.exc.IntegrityError where one may not be there twice."""
    if rows:
        _execute(connection, table, rows, new=False)


def insert_new_rows(connection: Connection, table: Table, rows: Rows) -> None:
    """Add rows, all of the same columns; those that are there already stay as they are."""
    if rows:
        _execute(connection, table, rows, new=True)


def _execute(connection: Connection, table: Table, rows: Rows, *, new: bool) -> None:
    kind = connection.dialect, table, tuple(rows[0]), new
    one = _one(*kind)
    values = list(map(one.values, rows))
    if one.by_place and len(values) >= TOGETHER:
        groups = [values[start : start + TOGETHER] for start in range(0, len(values), TOGETHER)]
        values = groups.pop() if len(values) % TOGETHER else []
        connection.exec_driver_sql(_many(*kind), [tuple(chain.from_iterable(group)) for group in groups])
    if values:
        connection.exec_driver_sql(one.text, values)


@lru_cache(maxsize=64)
def _one(dialect: Dialect, table: Table, names: tuple[str, ...], new: bool) -> _Statement:
    compiled = _insert(dialect, table, new).compile(dialect=dialect, column_keys=list(names))
    order: Sequence[str] | None = getattr(compiled, "positiontup", None)
    return _Statement(str(compiled), dict if order is None else itemgetter(*order), order is not None)


@lru_cache(maxsize=64)
def _many(dialect: Dialect, table: Table, names: tuple[str, ...], new: bool) -> str:
    return str(_insert(dialect, table, new).values([dict.fromkeys(names)] * TOGETHER).compile(dialect=dialect))


def _insert(dialect: Dialect, table: Table, new: bool) -> Insert:
    return insert_new(dialect, table).on_conflict_do_nothing() if new else insert(table)
