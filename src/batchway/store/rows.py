"""Inserting rows by the thousand: their values are what the driver takes, so nothing looks at each on its way.

SQLAlchemy writes the statement, once; going through every value of every row as well would be a third of what it costs
to write down a request (bench/store.py).
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Dialect, Insert, Table, insert

from batchway.store.connections import insert_new

Rows = Sequence[Mapping[str, Any]]


def insert_rows(connection: Connection, table: Table, rows: Rows) -> None:
    """Add rows, all of the same columns. Raises sqlalchemy.exc.IntegrityError where one may not be there twice."""
    if rows:
        _execute(connection, *_plain(connection.dialect, table, tuple(rows[0])), rows)


def insert_new_rows(connection: Connection, table: Table, rows: Rows) -> None:
    """Add rows, all of the same columns; those that are there already stay as they are."""
    if rows:
        _execute(connection, *_new(connection.dialect, table, tuple(rows[0])), rows)


@lru_cache(maxsize=64)
def _plain(dialect: Dialect, table: Table, names: tuple[str, ...]) -> tuple[str, Sequence[str] | None]:
    return _written(insert(table), dialect, names)


@lru_cache(maxsize=64)
def _new(dialect: Dialect, table: Table, names: tuple[str, ...]) -> tuple[str, Sequence[str] | None]:
    return _written(insert_new(dialect, table).on_conflict_do_nothing(), dialect, names)


def _written(statement: Insert, dialect: Dialect, names: tuple[str, ...]) -> tuple[str, Sequence[str] | None]:
    """The statement for this database, and the order of its values; None: it goes by their names."""
    compiled = statement.compile(dialect=dialect, column_keys=list(names))
    order: Sequence[str] | None = getattr(compiled, "positiontup", None)
    return str(compiled), order


def _execute(connection: Connection, statement: str, order: Sequence[str] | None, rows: Rows) -> None:
    given = [dict(row) for row in rows] if order is None else [tuple([row[name] for name in order]) for row in rows]
    connection.exec_driver_sql(statement, given)
