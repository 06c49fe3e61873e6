"""`batchway config` and `batchway keys create`: what is printed, never a secret but the new key, once."""

from collections.abc import Mapping

import typer

from batchway.assemble import PROVIDERS, load_settings, new_key_bytes
from batchway.core.errors import SettingsError
from batchway.settings import describe, format_key, hash_key, make_key, read_keys, render_template


def show_config(flags: Mapping[str, object], *, template: bool) -> None:
    """One line a setting: name, value, origin."""
    if template:
        typer.echo(render_template(PROVIDERS), nl=False)
        return
    rows = [tuple(str(cell) for cell in row) for row in describe(load_settings(flags))]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for name, value, origin in rows:
        typer.echo(f"{name:{widths[0]}}  {value:{min(widths[1], 48)}}  {origin}")


def create_key(name: str, scope: str, tenant: str | None) -> None:
    """The key goes to standard output alone, so that it can be piped; the rest is said beside it."""
    key = make_key(new_key_bytes())
    try:
        (entry,) = read_keys([{"name": name, "hash": hash_key(key), "scope": scope, "tenant": tenant or name}])
    except ValueError as error:
        raise SettingsError(f"No key was made: {error}.") from error
    typer.echo(key)
    hint = "The key is shown this once. For the settings (separate several by commas):"
    typer.echo(f"{hint}\nBATCHWAY_KEYS={format_key(entry)}", err=True)
