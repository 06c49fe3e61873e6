"""Opening the store for a command: used as it is, without a gateway, or told that there is none."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
import typer
from sqlalchemy.exc import DBAPIError

from batchway.assemble import LiveClock, load_settings
from batchway.assemble.storage import store_place, store_url
from batchway.core.errors import SettingsError
from batchway.settings import Settings
from batchway.store import Database
from batchway.store.connections import read_url
from batchway.store.database import Upkeep
from batchway.store.migrations import NEWEST

Result = TypeVar("Result")

RENEW = "once no older gateway serves it, `batchway start` brings it up to date"


class NoStore(SettingsError):
    """There is none yet where the settings name one."""


def with_store(
    flags: Mapping[str, object], do: Callable[[Database, Settings], Awaitable[Result]], *, create: bool = False
) -> Result:
    """What this gives of the store that the settings name. `create`: make it where there is none yet.

    A store of an older version stays one: a gateway of that version may be at work on it.
    """
    settings = load_settings(flags).settings
    url = store_url(settings)
    if url is None:
        raise SettingsError("database_url: 'none' is no store; name the one of your gateway.")
    place = store_place(settings)
    if not create and _is_missing(url):
        raise _no_store(place)

    async def opened() -> Result:
        upkeep: Upkeep = "made" if create else "none"
        async with await Database.open(url, now=LiveClock().now, upkeep=upkeep) as database:
            if database.version is None:
                raise _no_store(place)
            if database.version < NEWEST:
                typer.echo(f"note: {_older(database.version, place)}. It is used as it is; {RENEW}.", err=True)
            with of_version(database.version, place):
                return await do(database, settings)

    return asyncio.run(opened())


@contextmanager
def of_version(version: int, place: str) -> Iterator[None]:
    """Says of statements that fail on an older store that this is why, and why a row cannot be read."""
    try:
        yield
    except msgspec.DecodeError as error:
        what = f"database_url: a row of the store at {place} cannot be read ({error})"
        raise SettingsError(f"{what}: a newer batchway has written it, or it is damaged.") from error
    except DBAPIError as error:
        if version == NEWEST:
            raise
        what = f"database_url: {_older(version, place)}, and has not all that this command needs"
        raise SettingsError(f"{what}; {RENEW}.") from error


def _older(version: int, place: str) -> str:
    return f"the store at {place} is of version {version}, of an older batchway; this one's is {NEWEST}"


def _no_store(place: str) -> NoStore:
    return NoStore(f"database_url: there is no store at {place} yet; start the gateway, or name another store.")


def _is_missing(url: str) -> bool:
    """SQLite would make the file."""
    address = read_url(url)
    return address.get_backend_name() == "sqlite" and not Path(address.database or "").exists()
