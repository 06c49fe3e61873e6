"""`batchway keys`: gateway keys made, listed and revoked in the store, where a running gateway finds them."""

from collections.abc import Mapping

import typer
from msgspec import structs

from batchway.assemble import LiveClock, load_settings, new_key_bytes
from batchway.assemble.storage import store_url
from batchway.cli.storing import with_store
from batchway.cli.tables import print_json, print_table, when
from batchway.core.errors import SettingsError
from batchway.settings import KeyEntry, Settings, format_key, hash_key, make_key, read_keys
from batchway.store import Database, Taken
from batchway.store import keys as stored
from batchway.store.keys import StoredKey


def create(flags: Mapping[str, object], given: Mapping[str, object], *, print_only: bool) -> None:
    """The key goes to standard output alone, so that it can be piped; the rest is said beside it."""
    key = make_key(new_key_bytes())
    try:
        (entry,) = read_keys(
            [{name: value for name, value in given.items() if value is not None} | {"hash": hash_key(key)}]
        )
    except ValueError as error:
        raise SettingsError(f"No key was made: {error}.") from error
    if print_only or store_url(load_settings(flags).settings) is None:
        limits = [name for name in entry.__struct_fields__[4:] if getattr(entry, name) is not None]
        if limits:
            raise SettingsError(
                f"No key was made: {', '.join(limits)} cannot stand in BATCHWAY_KEYS; have the key in the store, or "
                "write a [[keys]] table into the TOML file."
            )
        said = "The key is shown this once. For the settings (separate several by commas):\n"
        said += f"BATCHWAY_KEYS={format_key(entry)}"
    else:
        _add(flags, entry)
        said = f"The key is shown this once. It is in the store as '{entry.name}', and opens the gateway from now on."
    typer.echo(key)
    typer.echo(said, err=True)


def _add(flags: Mapping[str, object], entry: KeyEntry) -> None:
    key = StoredKey(**structs.asdict(entry), created_at=LiveClock().now())

    async def add(database: Database, settings: Settings) -> None:
        if entry.name in [known.name for known in settings.keys]:
            raise SettingsError(f"No key was made: the settings have a key named '{entry.name}'; choose another name.")
        try:
            await database.write(stored.create, key)
        except Taken as taken:
            raise SettingsError(f"No key was made: {taken}.") from taken

    with_store(flags, add, create=True)


def show(flags: Mapping[str, object], *, revoked: bool, json: bool) -> None:
    """The keys of the store; never the keys themselves, which are nowhere."""

    async def read(database: Database, _: Settings) -> list[StoredKey]:
        return await database.read(_listed, revoked)

    found = with_store(flags, read)
    shown = [structs.asdict(key) | {"hash": key.hash[:8]} for key in found]
    if json:
        print_json(shown)
        return
    columns = (
        "name",
        "tenant",
        "scope",
        "profile",
        "lanes",
        "deadline",
        "reuse",
        "packing",
        "retention",
        "made",
        "revoked",
    )
    rows = [
        (
            key.name, key.tenant, key.scope, key.profile, ",".join(key.lanes or ()), key.deadline, key.reuse,
            key.packing, key.retention, when(key.created_at), when(key.revoked_at),
        )
        for key in found
    ]  # fmt: skip
    print_table(columns, rows)


def _listed(connection: object, revoked: bool) -> list[StoredKey]:
    return stored.listed(connection, revoked=revoked)  # type: ignore[arg-type]


def revoke(flags: Mapping[str, object], name: str) -> None:
    """It opens nothing any more, as soon as running gateways look: within seconds."""

    async def end(database: Database, settings: Settings) -> bool:
        if name in [known.name for known in settings.keys]:
            raise SettingsError(f"'{name}' is a key of the settings; take it out of BATCHWAY_KEYS or [[keys]] there.")
        return await database.write(stored.revoke, name, LiveClock().now())

    if not with_store(flags, end):
        raise SettingsError(f"No valid key is named '{name}'; `batchway keys list` shows them.")
    typer.echo(f"'{name}' is revoked; running gateways refuse it within seconds.")


def seconds(text: str | None) -> float | str | None:
    """A number, where it is one; what is none is told as wrong where all fields are read."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text
