"""Long lists as one value of a statement: its text does not grow with them, and no list is too long for one."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import ARRAY, Column, ColumnElement, Connection, Text, any_, func, literal, select

_encode = msgspec.json.Encoder().encode


def among(connection: Connection, column: Column[Any], values: Sequence[object]) -> ColumnElement[bool]:
    """The column has one of these values."""
    if connection.dialect.name == "sqlite":
        listed = func.json_each(_encode(values).decode()).table_valued("value")
        return column.in_(select(listed.c.value))
    return column == any_(literal(list(values), ARRAY(column.type)))


def numbered(connection: Connection, values: Sequence[str]) -> tuple[ColumnElement[int], ColumnElement[str]]:
    """The values, each with its place from 0 on, as columns to select."""
    if connection.dialect.name == "sqlite":
        listed = func.json_each(_encode(values).decode()).table_valued("key", "value")
        return listed.c.key, listed.c.value
    unnested = func.unnest(literal(list(values), ARRAY(Text)))
    listed = unnested.table_valued("value", with_ordinality="number").render_derived()
    return listed.c.number - 1, listed.c.value
