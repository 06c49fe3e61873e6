"""`batchway results`: what became of requests whose ids begin alike, streamed as it comes and never held whole."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import aiohttp
from msgspec import Struct
from rich.console import Console
from rich.progress import Progress

from batchway.cli.remote import PATIENCE, Where, ask, reach, read, why
from batchway.cli.tables import print_fields, print_json
from batchway.core.errors import InputError, SettingsError
from batchway.wire.lines import MEDIA_TYPE

SOON, LATE = 0.25, 10.0
"""Seconds between looks whether all are answered: the first, and the longest."""

FAILURES = 30
"""Looks in a row that may find no gateway, some five minutes: one that is started anew is waited for."""


class Wanted(Struct, frozen=True, kw_only=True):
    """What is wanted of results."""

    statuses: str | None = None
    """Only these, with commas between."""
    out: str | None = None
    """The file that they go to; None: standard output."""
    wait: bool = False
    """Until none is pending."""
    json: bool = False
    """What is said beside them is for programs."""


def fetch(where: Where, prefix: str, wanted: Wanted) -> None:
    """Write what became of requests."""

    async def run() -> Mapping[str, int]:
        async with reach(where) as session:
            return await collect(session, prefix, wanted)

    counts = asyncio.run(run())
    if wanted.out is not None:
        say({**counts, "results": wanted.out}, json=wanted.json)


def count(where: Where, prefix: str, wanted: Wanted) -> None:
    """Say how many requests there are of each status."""
    if wanted.out is not None or wanted.statuses is not None:
        raise SettingsError("--counts: goes without --out and --status; it prints the number of each status.")

    async def run() -> Mapping[str, int]:
        async with reach(where) as session:
            return await _counted(session, prefix, wait=wanted.wait)

    say(asyncio.run(run()), json=wanted.json)


async def collect(session: aiohttp.ClientSession, prefix: str, wanted: Wanted) -> dict[str, int]:
    """Write them, and give how many requests there are of each status. Raises InputError where there is none."""
    counts = await _counted(session, prefix, wait=wanted.wait)
    if not any(counts.values()):
        raise InputError(f"There is no request whose id begins with '{prefix}'.")
    query = {"prefix": prefix} | ({} if wanted.statuses is None else {"status": wanted.statuses})
    with _whole(wanted.out) as target:
        await _write(session, query, target)
    return counts


async def count_now(session: aiohttp.ClientSession, prefix: str) -> dict[str, int]:
    """How many there are of each status."""
    return await ask(session, "GET", "/results/counts", {"prefix": prefix})


async def _counted(session: aiohttp.ClientSession, prefix: str, *, wait: bool) -> dict[str, int]:
    """The same, if they are to be waited for once none is pending any more."""
    if not wait:
        return await count_now(session, prefix)
    pause, failures = SOON, 0
    with progress("answered") as show:
        while True:
            try:
                counts = await count_now(session, prefix)
            except (aiohttp.ClientError, TimeoutError):
                failures += 1
                if failures > FAILURES:
                    raise
            else:
                if not counts["pending"]:
                    return counts
                failures, total = 0, sum(counts.values())
                show(total - counts["pending"], total)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LATE)


async def _write(session: aiohttp.ClientSession, query: Mapping[str, str], target: BinaryIO) -> None:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=PATIENCE, sock_read=PATIENCE)
    try:
        async with session.get("/results", params=query, timeout=timeout, allow_redirects=False) as response:
            await expect_lines(response)
            async for piece in response.content.iter_any():
                target.write(piece)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ConnectionError(f"The results broke off ({why(error)}). They are kept; fetch them again.") from error


async def expect_lines(response: aiohttp.ClientResponse) -> None:
    """JSON Lines are to follow. Raises SettingsError with what the gateway says instead."""
    if response.content_type != MEDIA_TYPE:
        await read(response)
        raise SettingsError("What answers there is no batchway gateway; name it by --url.")


def find_place(out: str) -> Path:
    """Where a file will be. Raises InputError if it cannot be there."""
    path = Path(out).resolve()
    if path.exists() and not path.is_file():
        raise InputError(f"--out {out}: is no regular file; leave it away for standard output.")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"--out {out}: {path.parent} is no folder that can be written to.")
    return path


@contextmanager
def _whole(out: str | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that goes by its name only once it is whole and on disk."""
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    path = find_place(out)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as begun:
            yield begun
            begun.flush()
            os.fsync(begun.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Tell it how much of how much is done; a terminal shows it, and nothing else does."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def say(fields: Mapping[str, object], *, json: bool) -> None:
    """Some fields, for people or for programs."""
    print_json(fields) if json else print_fields(fields)
