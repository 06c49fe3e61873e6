"""`batchway status`: what a running gateway says of itself; where none answers, what its store can tell."""

import asyncio
from collections.abc import Mapping
from typing import Any

import typer
from msgspec import Struct, structs
from sqlalchemy import Connection

from batchway.assemble import load_settings
from batchway.assemble.storage import store_place
from batchway.cli.remote import Unready, Where, ask, reach
from batchway.cli.storing import with_store
from batchway.cli.tables import print_fields, print_json, when
from batchway.core.errors import BatchwayError
from batchway.settings import Settings
from batchway.store import Database, batches, owners

PATHS = {"health": "/health", "stats": "/stats", "queues": "/queue/stats", "batches": "/batches/stats"}

Found = dict[str, Any]


class Standing(Struct, kw_only=True):
    """What was found out, and what is wrong."""

    said: dict[str, Found | None]
    """By the names of `PATHS`; None: it was not said."""
    store: Found | None = None
    """What its store tells, where no gateway answers."""
    problems: list[str]


def status(where: Where, flags: Mapping[str, object], *, json: bool) -> bool:
    """Print what can be found out. False: something does not work."""
    found = asyncio.run(_ask(where))
    if found.said["health"] is None:
        found.store = _look(flags, found.problems)
    if json:
        print_json(found.said | {"store": found.store, "problems": found.problems})
    else:
        _print(found)
    for problem in found.problems:
        typer.echo(f"batchway: {problem}", err=True)
    return not found.problems


def _print(found: Standing) -> None:
    said, store = found.said, found.store
    first = (said["health"] or {}) | (said["stats"] or {})
    for title, fields in (("", first), ("Waiting", said["queues"]), ("Batches", said["batches"]), ("Store", store)):
        if fields:
            if title:
                typer.echo(f"\n{title}")
            print_fields(fields)


# The gateway


async def _ask(where: Where) -> Standing:
    """What one path cannot tell now, another may: a store that is down has no batches, and its gateway goes on."""
    found = Standing(said=dict.fromkeys(PATHS), problems=[])
    try:
        async with reach(where) as session:
            for name, path in PATHS.items():
                try:
                    found.said[name] = await ask(session, "GET", path, {})
                except Unready as error:
                    found.problems.append(str(error))
    except BatchwayError as error:
        found.problems.append(str(error))
    found.problems[:0] = _troubles(found.said["health"] or {}, found.said["stats"] or {})
    return found


def _troubles(health: Found, stats: Found) -> list[str]:
    """What a gateway says is wrong with it."""
    found = []
    if health.get("status", "healthy") != "healthy":
        found.append(f"The gateway is {health['status']}: it takes no new requests.")
    if health.get("store") == "down":
        found.append(_down(stats))
    return found


def _down(stats: Found) -> str:
    down = stats.get("store_down")
    if down is None:
        return "The gateway's store is down."
    since = f" since {down['since']}" if down["since"] else ""
    return f"The gateway's store {stats['store_at']} is down{since}: {down['reason']}"


# The store


def _look(flags: Mapping[str, object], problems: list[str]) -> Found | None:
    """What the store that the settings name can tell; nothing where they name none."""
    try:
        place = store_place(load_settings(flags).settings)
        told = with_store(flags, _tell)
    except BatchwayError as error:
        problems.append(str(error))
        return None
    return {"store_at": place} | told


async def _tell(database: Database, _: Settings) -> Found:
    return await database.read(_read)


def _read(connection: Connection) -> Found:
    """Who is at work on it, and what is not done."""
    processes = owners.listed(connection)
    return {
        "active_batches": batches.count_active(connection),
        "requests_without_an_answer": sum(count.n for count in batches.count_waiting(connection)),
        "processes": [structs.asdict(each) | {"started_at": when(each.started_at)} for each in processes],
    }
