"""`batchway flush` and `purge`: asked of a gateway that is running, over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
from msgspec import Struct

from batchway.assemble import LiveClock
from batchway.cli.bookkeeping import hide_batches
from batchway.cli.filters import batches_of
from batchway.cli.tables import print_fields, print_json, print_table
from batchway.core.errors import SettingsError

PATIENCE = 30.0
"""Seconds that a gateway has to answer."""

PASSING = frozenset({429, 502, 503, 504})
"""Statuses of a gateway that is full, stopping or without its store, and of a proxy that does not reach it."""

NAME_IT = "name it by --url or BATCHWAY_URL"


class Unready(SettingsError):
    """A gateway that cannot answer now, and may later."""


class Where(Struct, frozen=True):
    """A gateway, and the key that opens its management."""

    url: str
    key: str | None


class Purge(Struct, frozen=True, kw_only=True):
    """Which batches are to be hidden."""

    older_than: float | None = None
    status: str | None = None
    batch_id: str | None = None
    dry_run: bool = False


def flush(where: Where, provider: str, *, json: bool) -> None:
    """Close the open windows of a provider now."""
    (said,) = asyncio.run(_ask_all(where, [("POST", f"/queue/flush/{quote(provider, safe='')}", {})]))
    print_json(said) if json else print_fields(said)


def purge(where: Where, which: Purge, *, json: bool) -> None:
    """Hide finished batches; their charges and answers stay."""
    if which.batch_id is not None:
        _refuse_dry_run(which)
        (said,) = asyncio.run(_ask_all(where, [("DELETE", f"/batches/{quote(which.batch_id, safe='')}", {})]))
        print_json(said) if json else print_fields(said)
    else:
        query = {"older_than_seconds": which.older_than, "status": which.status, "dry_run": which.dry_run or None}
        given = {name: str(value).lower() for name, value in query.items() if value is not None}
        (said,) = asyncio.run(_ask_all(where, [("POST", "/batches/purge", given)]))
        print_json(said) if json else _print_purged(said)


def purge_local(flags: Mapping[str, object], which: Purge, *, json: bool) -> None:
    """The same in the store itself, where no gateway runs. An active batch is not cancelled: that takes a gateway."""
    older = None if which.older_than is None else LiveClock().now() - which.older_than
    wanted = batches_of(which.status, over=True, created_before=older)
    hidden = hide_batches(flags, wanted, which.batch_id, dry_run=which.dry_run)
    said = {"purged": len(hidden), "batch_ids": hidden, "dry_run": which.dry_run}
    print_json(said) if json else _print_purged(said)


def _print_purged(said: Mapping[str, Any]) -> None:
    print_table(("would be purged" if said["dry_run"] else "purged",), [(batch_id,) for batch_id in said["batch_ids"]])


def _refuse_dry_run(which: Purge) -> None:
    if which.dry_run:
        raise SettingsError("--dry-run: goes with --older-than and --status; `batchway batches` shows one batch.")


async def _ask_all(where: Where, calls: list[tuple[str, str, Mapping[str, str]]]) -> list[dict[str, Any]]:
    async with reach(where) as session:
        return [await ask(session, method, path, query) for method, path, query in calls]


@asynccontextmanager
async def reach(where: Where) -> AsyncIterator[aiohttp.ClientSession]:
    """A session with the gateway. Raises SettingsError where none answers."""
    key = (where.key or "").strip()
    if not key.isprintable():
        raise SettingsError("--key (BATCHWAY_API_KEY): there is a control character in it; give the key alone.")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    try:
        session = aiohttp.ClientSession(where.url, headers=headers, timeout=timeout)
    except ValueError as error:
        raise SettingsError(
            f"--url (BATCHWAY_URL) '{where.url}': {error}; give an address such as http://127.0.0.1:8080."
        ) from error
    try:
        async with session:
            yield session
    except (aiohttp.ClientError, TimeoutError) as error:
        raise SettingsError(f"No gateway answers at {where.url} ({why(error)}); start one, or {NAME_IT}.") from error


def why(error: BaseException) -> str:
    """What it says, or what it is."""
    return str(error) or type(error).__name__


async def ask(session: aiohttp.ClientSession, method: str, path: str, query: Mapping[str, str]) -> dict[str, Any]:
    """One call that is answered by an object. Raises SettingsError with what the gateway says against it."""
    async with session.request(method, path, params=query, allow_redirects=False) as response:
        return await read(response)


async def read(response: aiohttp.ClientResponse) -> dict[str, Any]:
    """The object that an answer is. Raises SettingsError where it is a fault, or not a gateway's; Unready where it may
    be another one later."""
    content = await response.read()
    wrong = Unready if response.status in PASSING else SettingsError
    try:
        said = msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise wrong(f"What answers there ({response.status}) is no batchway gateway; {NAME_IT}.") from error
    if response.status >= 400:
        fault = said.get("error")
        message = fault.get("message") if isinstance(fault, dict) else fault
        raise wrong(f"{response.method} {response.url.path}: {message}")
    return said
