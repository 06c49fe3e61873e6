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
    """An INSERT in the words of one database, and what it takes of a row."""

    one: str
    many: str | None
    """Of `TOGETHER` rows, where values go by their places."""
    values: Callable[[Mapping[str, Any]], Any]


def insert_rows(connection: Connection, table: Table, rows: Rows) -> None:
    """Add rows, all of the same columns. Raises sqlalchemy.exc.IntegrityError where one may not be there twice."""
    if rows:
        _execute(connection, _any(connection.dialect, table, tuple(rows[0])), rows)


def insert_new_rows(connection: Connection, table: Table, rows: Rows) -> None:
    """Add rows, all of the same columns; those that are there already stay as they are."""
    if rows:
        _execute(connection, _new(connection.dialect, table, tuple(rows[0])), rows)


def _execute(connection: Connection, statement: _Statement, rows: Rows) -> None:
    values = list(map(statement.values, rows))
    if statement.many is not None:
        groups = [values[start : start + TOGETHER] for start in range(0, len(values), TOGETHER)]
        values = groups.pop() if len(values) % TOGETHER else []
        if groups:
            connection.exec_driver_sql(statement.many, [tuple(chain.from_iterable(group)) for group in groups])
    if values:
        connection.exec_driver_sql(statement.one, values)


@lru_cache(maxsize=64)
def _any(dialect: Dialect, table: Table, names: tuple[str, ...]) -> _Statement:
    return _written(insert(table), dialect, names)


@lru_cache(maxsize=64)
def _new(dialect: Dialect, table: Table, names: tuple[str, ...]) -> _Statement:
    return _written(insert_new(dialect, table).on_conflict_do_nothing(), dialect, names)


def _written(statement: Insert, dialect: Dialect, names: tuple[str, ...]) -> _Statement:
    one = statement.compile(dialect=dialect, column_keys=list(names))
    order: Sequence[str] | None = getattr(one, "positiontup", None)
    if order is None:
        # PostgreSQL's driver takes values by their names, and many rows by itself.
        return _Statement(str(one), None, dict)
    many = statement.values([dict.fromkeys(names)] * TOGETHER).compile(dialect=dialect)
    return _Statement(str(one), str(many), itemgetter(*order))
