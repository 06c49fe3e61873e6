"""Tables for people, JSON for programs: how commands print what they found."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeGuard

import msgspec
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from batchway.core.cost import dollars

WIDE = 240
"""Characters that a table may be wide."""


def print_json(value: object) -> None:
    """One value, indented; in UTF-8, whatever the terminal's encoding is."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value)))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
    """Rows under their columns; numbers to the right."""
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for place, name in enumerate(columns):
        numeric = all(isinstance(row[place], int | float) or _is_money(row[place]) for row in rows) and bool(rows)
        table.add_column(name, justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        table.add_row(*["" if cell is None else str(cell) for cell in row])
    console = Console(highlight=False)
    # A cell broken over lines cannot be copied; a terminal that is narrower wraps whole lines.
    console.width = max(console.width, WIDE)
    console.print(table)
    if not rows:
        typer.echo("none")


def print_fields(fields: Mapping[str, object]) -> None:
    """One thing, a field a line; what is nested is set out with dots, and things of a kind in a table below."""
    flat = _flat(fields)
    lines = [(name, value) for name, value in flat if not _is_rows(value)]
    width = max((len(name) for name, _ in lines), default=0)
    for name, value in lines:
        typer.echo(f"{name:{width}}  {_in_words(value)}".rstrip())
    for name, value in flat:
        if _is_rows(value):
            typer.echo(f"\n{name}")
            print_table(list(value[0]), [[_in_words(cell) for cell in row.values()] for row in value])


def when(seconds: float | None) -> str:
    """A time as people read it, UTC."""
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def money(picodollars: int | None) -> str:
    """US dollars."""
    return "unknown" if picodollars is None else f"${dollars(picodollars)}"


def _is_rows(value: object) -> TypeGuard[list[Mapping[str, object]]]:
    return isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _in_words(value: object) -> object:
    """As people say it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join([str(_in_words(each)) for each in value]) or "none"
    return "" if value is None else value


def _is_money(cell: object) -> bool:
    return isinstance(cell, str) and cell.startswith("$")


def _flat(fields: Mapping[str, object], before: str = "") -> list[tuple[str, object]]:
    lines: list[tuple[str, object]] = []
    for name, value in fields.items():
        if isinstance(value, Mapping):
            lines += _flat(value, f"{before}{name}.")
        else:
            lines.append((f"{before}{name}", value))
    return lines
