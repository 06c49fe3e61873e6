"""`batchway status`, `flush` and `purge`: asked of a gateway that is running, over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import typer
from msgspec import Struct

from batchway.assemble import LiveClock
from batchway.cli.bookkeeping import hide_batches
from batchway.cli.filters import batches_of
from batchway.cli.tables import print_fields, print_json, print_table
from batchway.core.errors import SettingsError

PATIENCE = 30.0
"""Seconds that a gateway has to answer."""


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


def status(where: Where, *, json: bool) -> None:
    """What the gateway says of itself."""
    paths = "/health", "/stats", "/queue/stats", "/batches/stats"
    health, stats, queues, jobs = asyncio.run(_ask_all(where, [("GET", path, {}) for path in paths]))
    if json:
        print_json({"health": health, "stats": stats, "queues": queues, "batches": jobs})
        return
    print_fields(health | stats)
    for title, found in (("Waiting", queues), ("Batches", jobs)):
        typer.echo("")
        typer.echo(title)
        print_fields(found)


def flush(where: Where, provider: str, *, json: bool) -> None:
    """Close the open windows of a provider now."""
    (said,) = asyncio.run(_ask_all(where, [("POST", f"/queue/flush/{provider}", {})]))
    print_json(said) if json else print_fields(said)


def purge(where: Where, which: Purge, *, json: bool) -> None:
    """Hide finished batches; their charges and answers stay."""
    if which.batch_id is not None:
        _refuse_dry_run(which)
        (said,) = asyncio.run(_ask_all(where, [("DELETE", f"/batches/{which.batch_id}", {})]))
    else:
        query = {"older_than_seconds": which.older_than, "status": which.status, "dry_run": which.dry_run or None}
        given = {name: str(value).lower() for name, value in query.items() if value is not None}
        (said,) = asyncio.run(_ask_all(where, [("POST", "/batches/purge", given)]))
    print_json(said) if json else print_fields(said)


def purge_local(flags: Mapping[str, object], which: Purge, *, json: bool) -> None:
    """The same in the store itself, where no gateway runs. An active batch is not cancelled: that takes a gateway."""
    older = None if which.older_than is None else LiveClock().now() - which.older_than
    wanted = batches_of(which.status, ids=(which.batch_id,) if which.batch_id else None, created_before=older)
    hidden = hide_batches(flags, wanted, dry_run=which.dry_run)
    if json:
        print_json({"purged": len(hidden), "batch_ids": hidden, "dry_run": which.dry_run})
        return
    print_table(("would be purged" if which.dry_run else "purged",), [(batch_id,) for batch_id in hidden])


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
        raise SettingsError(f"--url '{where.url}': {error}; give an address such as http://127.0.0.1:8080.") from error
    try:
        async with session:
            yield session
    except (aiohttp.ClientError, TimeoutError) as error:
        raise SettingsError(
            f"No gateway answers at {where.url} ({why(error)}); start one, or name it by --url."
        ) from error


def why(error: BaseException) -> str:
    """What it says, or what it is."""
    return str(error) or type(error).__name__


async def ask(session: aiohttp.ClientSession, method: str, path: str, query: Mapping[str, str]) -> dict[str, Any]:
    """One call that is answered by an object. Raises SettingsError with what the gateway says against it."""
    async with session.request(method, path, params=query, allow_redirects=False) as response:
        return await read(response)


async def read(response: aiohttp.ClientResponse) -> dict[str, Any]:
    """The object that an answer is. Raises SettingsError where it is a fault, or not a gateway's."""
    content = await response.read()
    try:
        said = msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise SettingsError("What answers there is no batchway gateway; name it by --url.") from error
    if response.status >= 400:
        fault = said.get("error")
        message = fault.get("message") if isinstance(fault, dict) else fault
        raise SettingsError(f"{response.method} {response.url.path}: {message}")
    return said
