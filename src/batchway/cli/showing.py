"""`batchway config`: every setting in force and where it came from, secrets masked."""

from collections.abc import Mapping

import typer

from batchway.assemble import PROVIDERS, load_settings
from batchway.settings import describe, render_template


def show_config(flags: Mapping[str, object], *, template: bool) -> None:
    """One line a setting: name, value, origin."""
    if template:
        typer.echo(render_template(PROVIDERS), nl=False)
        return
    rows = [tuple(str(cell) for cell in row) for row in describe(load_settings(flags))]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for name, value, origin in rows:
        typer.echo(f"{name:{widths[0]}}  {value:{min(widths[1], 48)}}  {origin}")
