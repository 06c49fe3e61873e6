"""Inserting rows by the thousand: their values are what the driver takes, so nothing looks at each on its way.

SQLAlchemy writes the statement, once; going through every value of every row as well would be a third of what it costs
to write down a request (bench/store.py).
"""

import sys
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, count
from typing import Any

from sqlalchemy import Connection, Dialect, Insert, Table, insert

from batchway.store.connections import insert_new

Names = tuple[str, ...]
"""Columns, in the order of their table; those that are left out take their defaults."""

Rows = Sequence[tuple[Any, ...]]
"""Values in the order of the names."""


TOGETHER = 50
"""Rows that SQLite adds by one statement: a fifth less work than one by one. More of them gain nothing."""

Once = tuple[bool, ...]
"""Of each column, whether its value is given once for all rows of a statement."""

FORMS = 8
"""Forms of a statement that differ in what is given once: SQLite keeps each, at an eighth of a MB."""

NUMBERED = not (3, 12) <= sys.version_info < (3, 12, 4)
"""Whether Python's driver takes `?1`. Those versions took it for a name, and warned of each value (cpython#117995)."""

SMALL = 32 << 10
"""Bytes of a row of which so many may be in memory twice: SQLite copies what a statement is given."""


def insert_rows(connection: Connection, table: Table, names: Names, rows: Rows, *, largest: int = 0) -> None:
    """Add rows. Raises sqlalchemy.exc.IntegrityError where one may not be there twice. `largest`: bytes of the largest
    body among them, where they hold bodies."""
    _insert(connection, _any(connection.dialect, table, names), rows, largest)


def insert_new_rows(connection: Connection, table: Table, names: Names, rows: Rows) -> None:
    """Add rows, none of which holds a body; those that are there already stay as they are."""
    _insert(connection, _new(connection.dialect, table, names), rows, 0)


def _insert(connection: Connection, statement: str, rows: Rows, largest: int) -> None:
    by_many = largest <= SMALL and connection.dialect.name == "sqlite"
    whole = len(rows) // TOGETHER * TOGETHER if by_many else 0
    if whole:
        columns = list(zip(*rows[:whole], strict=True))
        once = _given_once(statement, columns)
        common = [column[0] for column, same in zip(columns, once, strict=True) if same]
        others = [column for column, same in zip(columns, once, strict=True) if not same]
        each = list(zip(*others, strict=True))
        groups = [(*common, *chain.from_iterable(each[at : at + TOGETHER])) for at in range(0, whole, TOGETHER)]
        connection.exec_driver_sql(_together(statement, once), groups)
    if whole < len(rows):
        connection.exec_driver_sql(statement, list(rows[whole:]))


def _given_once(statement: str, columns: Sequence[tuple[Any, ...]]) -> Once:
    """The columns whose value is the same in all rows, or as many of them as the statements allow that there are."""
    alike = tuple([column[0] == column[-1] and column.count(column[0]) == len(column) for column in columns])
    known = _known(statement, len(columns))
    if NUMBERED and len(known) < FORMS and alike not in known:
        known.append(alike)
    fitting = [once for once in known if all(same or not given for same, given in zip(alike, once, strict=True))]
    return max(fitting, key=sum)


@lru_cache(maxsize=64)
def _known(_statement: str, columns: int) -> list[Once]:
    """In which forms it was written so far; in the first, nothing is given once."""
    return [(False,) * columns]


@lru_cache(maxsize=64 * FORMS)
def _together(statement: str, once: Once) -> str:
    """The statement for so many rows. What they have in common is given once, before the rest: SQLite copies each text
    that it is given, and most of what is known of a request it has in common with those beside it."""
    head, values, rest = statement.partition(" VALUES ")
    first, other = count(1), count(sum(once) + 1)
    common = [f"?{next(first)}" if same else None for same in once]
    each = "?{}" if any(once) else "?"
    rows = [", ".join([place or each.format(next(other)) for place in common]) for _ in range(TOGETHER)]
    return head + values + ", ".join([f"({row})" for row in rows]) + rest[rest.index(")") + 1 :]


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
