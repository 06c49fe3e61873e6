"""Rows by the thousand: what is inserted is what is read, whatever it holds."""

from itertools import product
from typing import Any

import pytest
from sqlalchemy import Connection, delete, select
from sqlalchemy.exc import IntegrityError

from batchway.store.rows import FORMS, TOGETHER, _together, insert_new_rows, insert_rows
from batchway.store.tables import charges, learnt, turnarounds

ODD = '100 % \'s "?" :x %(y)s \N{SNOWMAN}'


NAMES = ("provider", "model", "name", "value", "at")


def lesson(name: str, value: str, at: float = 0.5) -> tuple[Any, ...]:
    return "p", "m", name, value, at


def lessons(connection: Connection) -> dict[str, tuple[str, float]]:
    found = connection.execute(select(learnt.c.name, learnt.c.value, learnt.c.at))
    return {name: (value, at) for name, value, at in found}


def test_many_rows_and_one(connection: Connection) -> None:
    many = {str(number): (ODD * number, number / 8) for number in range(1000)}
    insert_rows(connection, learnt, NAMES, [lesson(name, *said) for name, said in many.items()])
    insert_rows(connection, learnt, NAMES, [lesson("one", ODD)])
    assert lessons(connection) == many | {"one": (ODD, 0.5)}


def test_what_rows_have_in_common_is_in_each_of_them(connection: Connection) -> None:
    """A column may be alike from end to end, or look so by its ends alone; so may all of them."""
    names = ("provider", "model", "at", "seconds", "n")
    middle = [("p", None, 1.0, 0.5, number) for number in range(TOGETHER)]
    odd = [(f"p{number}" if number == 7 else "p", ODD, 1.0, 0.5, 3) for number in range(2 * TOGETHER + 1)]
    for rows in ([("p", "m", 2.0, 0.0, 1)] * TOGETHER * 3, odd):
        insert_rows(connection, turnarounds, names, rows)
        found = connection.execute(select(*[turnarounds.c[name] for name in names]).order_by(turnarounds.c.id))
        assert [tuple(read) for read in found] == rows
        connection.execute(delete(turnarounds))
    with pytest.raises(IntegrityError), connection.begin_nested():
        insert_rows(connection, turnarounds, names, middle)


def test_whatever_rows_have_in_common_the_statements_are_few(connection: Connection) -> None:
    names = ("provider", "model", "at", "seconds", "n")
    before, rows = _together.cache_info().currsize, []
    for alike in product((True, False), repeat=len(names)):
        for number in range(TOGETHER):
            row = f"p{number}", f"m{number}", float(number), number / 2, number
            some = zip(("p", "m", -1.0, -0.5, -1), row, alike, strict=True)
            rows.append(tuple(common if same else own for common, own, same in some))
        insert_rows(connection, turnarounds, names, rows[-TOGETHER:])
    found = connection.execute(select(*[turnarounds.c[name] for name in names]).order_by(turnarounds.c.id))
    assert [tuple(read) for read in found] == rows
    assert _together.cache_info().currsize - before <= FORMS


def test_what_is_left_out_takes_its_default(connection: Connection) -> None:
    names = ("call_id", "tenant", "request_id", "key", "provider", "model", "via")
    counts = ("input", "output", "cached", "cache_written", "reasoning")
    insert_rows(connection, charges, (*names, *counts, "at", "day"), [(*names, 1, 2, 3, 4, 5, 0.5, 7)])
    (read,) = connection.execute(select(charges))
    assert (read.call_id, read.via, read.input, read.reasoning, read.day) == ("call_id", "via", 1, 5, 7)
    assert (read.tier, read.cost, read.cache_written_hour) == (None, None, 0)


def test_columns_are_named_in_the_order_of_their_table(connection: Connection) -> None:
    with pytest.raises(AssertionError, match="the columns stand in the table as"):
        insert_rows(connection, learnt, ("model", "provider", "name", "value", "at"), [lesson("a", "x")])


def test_what_may_not_be_there_twice_is_refused(connection: Connection) -> None:
    insert_rows(connection, learnt, NAMES, [lesson("a", "first")])
    with pytest.raises(IntegrityError), connection.begin_nested():
        insert_rows(connection, learnt, NAMES, [lesson("b", "new"), lesson("a", "again")])
    assert lessons(connection) == {"a": ("first", 0.5)}


def test_only_what_is_new_is_added(connection: Connection) -> None:
    insert_new_rows(connection, learnt, NAMES, [lesson("a", "first")])
    insert_new_rows(connection, learnt, NAMES, [lesson("a", "again", 9.0), lesson("b", ODD)])
    assert lessons(connection) == {"a": ("first", 0.5), "b": (ODD, 0.5)}


def test_no_rows_are_no_statement(connection: Connection) -> None:
    insert_rows(connection, learnt, NAMES, [])
    insert_new_rows(connection, learnt, NAMES, [])
    assert lessons(connection) == {}
