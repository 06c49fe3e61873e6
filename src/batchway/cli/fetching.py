"""`batchway results`: what became of requests whose ids begin alike, streamed as it comes and never held whole."""

import asyncio
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import aiohttp
import typer
from msgspec import Struct
from rich.console import Console
from rich.progress import Progress

from batchway.cli import GATEWAY
from batchway.cli.remote import NAME_IT, PATIENCE, Unready, Where, ask, reach, read, why
from batchway.cli.tables import print_fields, print_json
from batchway.core.errors import InputError, SettingsError
from batchway.wire.lines import MEDIA_TYPE

SOON, LATE = 0.25, 10.0
"""Seconds between looks whether all are answered: the first, and the longest."""

FAILURES = 30
"""Looks in a row that may find no gateway, some five minutes: one that is started anew is waited for."""

IN_ORDER = ("completed", "failed", "cancelled", "pending", "refused")
"""Statuses as they are told of."""

ENDED_BADLY = ("failed", "cancelled")
"""Statuses of requests that get no answer any more."""


class Wanted(Struct, frozen=True, kw_only=True):
    """What is wanted of results."""

    statuses: str | None = None
    """Only these, with commas between."""
    requests: bool = False
    """What was asked, not what was answered."""
    out: str | None = None
    """The file that they go to; None: standard output."""
    wait: bool = False
    """Until none is pending."""
    json: bool = False
    """What is said beside them is for programs."""

    def expects(self, counts: Mapping[str, int]) -> bool:
        """Whether there is nothing among them but answers, what may still be answered, and what was asked for by
        name."""
        named = {word.strip() for word in (self.statuses or "").split(",")}
        return not any(counts.get(status) for status in ENDED_BADLY if status not in named)


def fetch(where: Where, prefix: str, wanted: Wanted) -> bool:
    """Write what became of requests. False: some failed or were cancelled, and it is said how many."""

    async def run() -> Mapping[str, int]:
        async with reach(where) as session:
            return await collect(session, prefix, wanted)

    counts = asyncio.run(run())
    if wanted.out is not None:
        say({**counts, "results": wanted.out}, json=wanted.json)
    return _judge(where, prefix, wanted, counts)


def count(where: Where, prefix: str, wanted: Wanted) -> bool:
    """Say how many requests there are of each status. False: as `fetch`."""
    if wanted.out is not None or wanted.statuses is not None or wanted.requests:
        raise SettingsError(
            "--counts: goes without --out, --status and --requests; it prints the number of each status."
        )

    async def run() -> Mapping[str, int]:
        async with reach(where) as session:
            return await _counted(session, prefix, wait=wanted.wait)

    counts = asyncio.run(run())
    say(counts, json=wanted.json)
    return _judge(where, prefix, wanted, counts)


def _judge(where: Where, prefix: str, wanted: Wanted, counts: Mapping[str, int]) -> bool:
    if wanted.expects(counts):
        return True
    typer.echo(f"batchway: {numbers(counts)}. {advise(where, prefix, counts)}", err=True)
    return False


def numbers(counts: Mapping[str, int]) -> str:
    """How many there are of what, but for those of which there is none."""
    return ", ".join(f"{counts[status]:,} {status}" for status in IN_ORDER if counts.get(status))


def advise(where: Where, prefix: str, counts: Mapping[str, int]) -> str:
    """What to do about those that failed or were cancelled; nothing, where there are none."""
    bad = ",".join(status for status in ENDED_BADLY if counts.get(status))
    if not bad:
        return ""
    said = command(where, "results", prefix, "--status", bad)
    return (
        f"`{said}` says why; with `--requests --out again.jsonl` it writes what they asked, to be mended if need be "
        "and submitted: what is completed is not asked again."
    )


def command(where: Where, *words: str) -> str:
    """A command to this gateway, as it is typed."""
    return shlex.join(["batchway", *words, *([] if where.url == GATEWAY else ["--url", where.url])])


async def collect(session: aiohttp.ClientSession, prefix: str, wanted: Wanted) -> dict[str, int]:
    """Write them, and give how many requests there are of each status. Raises InputError where there is none."""
    counts = await _counted(session, prefix, wait=wanted.wait)
    if not any(counts.values()):
        raise InputError(f"There is no request whose id begins with '{prefix}'.")
    query = {"prefix": prefix} | ({} if wanted.statuses is None else {"status": wanted.statuses})
    with _whole(wanted.out) as target:
        await _write(session, "/results/requests" if wanted.requests else "/results", query, target)
    return counts


async def count_now(session: aiohttp.ClientSession, prefix: str) -> dict[str, int]:
    """How many there are of each status."""
    return await ask(session, "GET", "/results/counts", {"prefix": prefix})


async def _counted(session: aiohttp.ClientSession, prefix: str, *, wait: bool) -> dict[str, int]:
    """The same, if they are to be waited for once none is pending any more."""
    # Who cannot be reached at all is told of at once; who answered once is waited for.
    counts = await count_now(session, prefix)
    if not (wait and counts["pending"]):
        return counts
    pause, failures = SOON, 0
    with progress("answered") as show:
        while counts["pending"]:
            total = sum(counts.values())
            show(total - counts["pending"], total)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LATE)
            try:
                counts = await count_now(session, prefix)
            except (aiohttp.ClientError, TimeoutError, Unready) as error:
                failures += 1
                if failures > FAILURES:
                    raise
                if failures == 1:
                    _note(f"The gateway does not answer ({why(error)}); waiting for it. What it took is on its disk.")
            else:
                if failures:
                    _note("The gateway answers again.")
                failures = 0
    return counts


def _note(message: str) -> None:
    typer.echo(f"batchway: {message}", err=True)


async def _write(session: aiohttp.ClientSession, path: str, query: Mapping[str, str], target: BinaryIO) -> None:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=PATIENCE, sock_read=PATIENCE)
    try:
        async with session.get(path, params=query, timeout=timeout, allow_redirects=False) as response:
            await expect_lines(response)
            async for piece in response.content.iter_any():
                target.write(piece)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ConnectionError(f"The results broke off ({why(error)}). They are kept; fetch them again.") from error


async def expect_lines(response: aiohttp.ClientResponse) -> None:
    """JSON Lines are to follow. Raises SettingsError with what the gateway says instead."""
    if response.content_type != MEDIA_TYPE:
        await read(response)
        raise SettingsError(f"What answers there is no batchway gateway; {NAME_IT}.")


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
        if sys.stdout is None:  # its descriptor was closed
            raise InputError("Standard output is closed; name a file by --out.")
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
