"""Inserting rows by the thousand: their values are what the driver takes, so nothing looks at each on its way.

SQLAlchemy writes the statement, once; going through every value of every row as well would be a third of what it costs
to write down a request (bench/store.py).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Dialect, Insert, Table, insert

from batchway.store.connections import insert_new

Rows = Sequence[Mapping[str, Any]]


class _Statement(Struct, frozen=True):
    """An INSERT in the words of one database, and what it takes of a row."""

    text: str
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
    connection.exec_driver_sql(statement.text, list(map(statement.values, rows)))


@lru_cache(maxsize=64)
def _any(dialect: Dialect, table: Table, names: tuple[str, ...]) -> _Statement:
    return _written(insert(table), dialect, names)


@lru_cache(maxsize=64)
def _new(dialect: Dialect, table: Table, names: tuple[str, ...]) -> _Statement:
    return _written(insert_new(dialect, table).on_conflict_do_nothing(), dialect, names)


def _written(statement: Insert, dialect: Dialect, names: tuple[str, ...]) -> _Statement:
    compiled = statement.compile(dialect=dialect, column_keys=list(names))
    order: Sequence[str] | None = getattr(compiled, "positiontup", None)
    # Values go by their places in SQLite, by their names in PostgreSQL.
    return _Statement(str(compiled), dict if order is None else itemgetter(*order))
