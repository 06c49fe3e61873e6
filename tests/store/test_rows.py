"""Rows by the thousand: what is inserted is what is read, whatever it holds and in whatever order its columns come."""

from typing import Any

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from batchway.store.rows import insert_new_rows, insert_rows
from batchway.store.tables import learnt

ODD = '100 % \'s "?" :x %(y)s \N{SNOWMAN}'


def lesson(name: str, value: str, at: float = 0.5) -> dict[str, Any]:
    return {"provider": "p", "model": "m", "name": name, "value": value, "at": at}


def lessons(connection: Connection) -> dict[str, tuple[str, float]]:
    found = connection.execute(select(learnt.c.name, learnt.c.value, learnt.c.at))
    return {name: (value, at) for name, value, at in found}


def test_many_rows_and_one(connection: Connection) -> None:
    many = {str(number): (ODD * number, number / 8) for number in range(1000)}
    insert_rows(connection, learnt, [lesson(name, *said) for name, said in many.items()])
    insert_rows(connection, learnt, [lesson("one", ODD)])
    assert lessons(connection) == many | {"one": (ODD, 0.5)}


def test_columns_go_by_their_names(connection: Connection) -> None:
    insert_rows(connection, learnt, [dict(reversed(lesson("a", "x", 1.0).items()))])
    insert_rows(connection, learnt, [lesson("b", "y", 2.0)])
    assert lessons(connection) == {"a": ("x", 1.0), "b": ("y", 2.0)}


def test_what_may_not_be_there_twice_is_refused(connection: Connection) -> None:
    insert_rows(connection, learnt, [lesson("a", "first")])
    with pytest.raises(IntegrityError), connection.begin_nested():
        insert_rows(connection, learnt, [lesson("b", "new"), lesson("a", "again")])
    assert lessons(connection) == {"a": ("first", 0.5)}


def test_only_what_is_new_is_added(connection: Connection) -> None:
    insert_new_rows(connection, learnt, [lesson("a", "first")])
    insert_new_rows(connection, learnt, [lesson("a", "again", 9.0), lesson("b", ODD)])
    assert lessons(connection) == {"a": ("first", 0.5), "b": (ODD, 0.5)}


def test_no_rows_are_no_statement(connection: Connection) -> None:
    insert_rows(connection, learnt, [])
    insert_new_rows(connection, learnt, [])
    assert lessons(connection) == {}
