"""Tables for people, JSON for programs: how commands print what they found."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

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
    """One thing, a field a line; what is nested is set out with dots."""
    lines = list(_flat(fields))
    width = max((len(name) for name, _ in lines), default=0)
    for name, value in lines:
        typer.echo(f"{name:{width}}  {'' if value is None else value}")


def when(seconds: float | None) -> str:
    """A time as people read it, UTC."""
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def money(picodollars: int | None) -> str:
    """US dollars."""
    return "unknown" if picodollars is None else f"${dollars(picodollars)}"


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
