"""Inserting rows by the thousand: their values are what the driver takes, so nothing looks at each on its way.

SQLAlchemy writes the statement, once; going through every value of every row as well would be a third of what it costs
to write down a request (bench/store.py).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Dialect, Insert, Table, insert

from batchway.store.connections import insert_new

Names = tuple[str, ...]
"""Columns, in the order of their table; those that are left out take their defaults."""

Rows = Sequence[tuple[Any, ...]]
"""Values in the order of the names."""


def insert_rows(connection: Connection, table: Table, names: Names, rows: Rows) -> None:
    """Add rows. Raises sqlalchemy.exc.IntegrityError where one may not be there twice."""
    if rows:
        connection.exec_driver_sql(_any(connection.dialect, table, names), list(rows))


def insert_new_rows(connection: Connection, table: Table, names: Names, rows: Rows) -> None:
    """Add rows; those that are there already stay as they are."""
    if rows:
        connection.exec_driver_sql(_new(connection.dialect, table, names), list(rows))


@lru_cache(maxsize=64)
def _any(dialect: Dialect, table: Table, names: Names) -> str:
    return _written(insert(table), dialect, names)


@lru_cache(maxsize=64)
def _new(dialect: Dialect, table: Table, names: Names) -> str:
    return _written(insert_new(dialect, table).on_conflict_do_nothing(), dialect, names)


def _written(statement: Insert, dialect: Dialect, names: Names) -> str:
    compiled = statement.compile(dialect=dialect, column_keys=list(names))
    order = tuple(compiled.positiontup or ())
    assert order == names, f"the columns stand in the table as {order}, and were named as {names}"
    return str(compiled)
