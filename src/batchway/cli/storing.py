"""Opening the store for a command: read where it is, without a gateway, or told that there is none."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

from batchway.assemble import LiveClock, load_settings
from batchway.assemble.storage import store_url
from batchway.core.errors import SettingsError
from batchway.settings import Settings
from batchway.store import Database
from batchway.store.connections import read_url

Result = TypeVar("Result")


def with_store(
    flags: Mapping[str, object], do: Callable[[Database, Settings], Awaitable[Result]], *, create: bool = False
) -> Result:
    """What this gives of the store that the settings name. `create`: make it where there is none yet."""
    settings = load_settings(flags).settings
    url = store_url(settings)
    if url is None:
        raise SettingsError("database_url: 'none' is no store; name the one of your gateway.")
    _require(url, create)

    async def opened() -> Result:
        async with await Database.open(url, now=LiveClock().now) as database:
            return await do(database, settings)

    return asyncio.run(opened())


def _require(url: str, create: bool) -> None:
    address = read_url(url)
    if address.get_backend_name() == "sqlite" and not create and not Path(address.database or "").exists():
        raise SettingsError(
            f"database_url: there is no store at {address.database} yet; start the gateway, or name another store."
        )
