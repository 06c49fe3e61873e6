"""`batchway submit` and `results`: a file of requests handed to a running gateway, and what became of them.

Neither is ever held whole: a file goes out and results come in piece by piece, however large they are.
"""

import asyncio
import hashlib
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import aiohttp
import msgspec
import typer
from msgspec import Struct, field
from rich.console import Console
from rich.progress import Progress

from batchway.cli import GATEWAY
from batchway.cli.remote import PATIENCE, Where, ask, reach, read, why
from batchway.cli.tables import print_fields, print_json
from batchway.core.errors import InputError, SettingsError
from batchway.wire.lines import MEDIA_TYPE, Cutter

PIECE = 256 << 10

LONGEST = 64 << 20
"""Bytes of a line that are looked at here; a longer one is the gateway's to judge."""

SHOWN = 20
"""Refused lines that are shown; of more, their number."""

DIGITS = 12
"""Of a file's SHA-256 in its prefix: no two files of one tenant will share them."""

HELD_BACK = 3600.0
"""Seconds that a gateway may take for the end of a file: it takes lines as its queue has room for them."""

SOON, LATE = 0.25, 10.0
"""Seconds between looks whether all are answered: the first, and the longest."""

FAILURES = 30
"""Looks in a row that may find no gateway, some five minutes: one that is started anew is waited for."""

WHAT = "give JSON Lines: on each line the body of a chat, or a line as OpenAI's Batch API takes them"


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


class _Error(Struct):
    message: str = ""


class _Told(Struct):
    """What the gateway says of one line."""

    line: int
    status: str
    error: _Error = field(default_factory=_Error)


class _Receipt(Struct):
    """What it said of all."""

    taken: int = 0
    refused: int = 0
    first: list[_Told] = field(default_factory=list)
    """The first that were refused."""

    def note(self, told: _Told) -> None:
        if told.status != "failed":
            self.taken += 1
            return
        self.refused += 1
        if len(self.first) < SHOWN:
            self.first.append(told)


_decode = msgspec.json.Decoder(_Told).decode


def submit(where: Where, file: str, prefix: str | None, wanted: Wanted) -> bool:
    """Hand in every request of a file (`-`: standard input). False: some were refused, and it is said which and why.

    `prefix`: begins their ids; None: it is made of the file's bytes.
    """
    with _opened(file) as content:
        _check(file, content)
        if wanted.out is not None:
            _place(wanted.out)
        return asyncio.run(_submit(where, content, prefix or f"{_digest(content)}-", wanted))


def fetch(where: Where, prefix: str, wanted: Wanted) -> None:
    """Write what became of requests."""

    async def run() -> None:
        async with reach(where) as session:
            counts = await _collect(session, prefix, wanted)
        if wanted.out is not None:
            _say(counts | {"results": wanted.out}, wanted)

    asyncio.run(run())


def count(where: Where, prefix: str, wanted: Wanted) -> None:
    """Say how many requests there are of each status."""
    if wanted.out is not None or wanted.statuses is not None:
        raise SettingsError("--counts: goes without --out and --status; it prints the number of each status.")

    async def run() -> None:
        async with reach(where) as session:
            _say(await _counted(session, prefix, wanted), wanted)

    asyncio.run(run())


# Handing in


async def _submit(where: Where, content: BinaryIO, prefix: str, wanted: Wanted) -> bool:
    async with reach(where) as session:
        # Whoever may not ask hears so before gigabytes are sent.
        await _counts(session, prefix)
        receipt = await _hand_in(session, content, prefix)
        _show_refused(receipt, prefix)
        said: dict[str, object] = {"prefix": prefix, "taken": receipt.taken, "refused": receipt.refused}
        if not wanted.wait:
            said["results"] = f"batchway results {prefix}" + ("" if where.url == GATEWAY else f" --url {where.url}")
        elif receipt.taken:
            said |= await _collect(session, prefix, wanted)
            said["results"] = wanted.out
    with redirect_stdout(sys.stderr if wanted.wait and wanted.out is None else sys.stdout):
        _say(said, wanted)
    return not receipt.refused


async def _hand_in(session: aiohttp.ClientSession, content: BinaryIO, prefix: str) -> _Receipt:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=PATIENCE, sock_read=HELD_BACK)
    headers = {"content-type": MEDIA_TYPE}
    receipt, cutter = _Receipt(), Cutter(LONGEST)
    try:
        with _progress("handed in") as show:
            async with session.post(
                "/submit",
                params={"prefix": prefix},
                data=_sent(content, show),
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                await _expect_lines(response)
                async for piece in response.content.iter_any():
                    for _, line in cutter.feed(piece):
                        receipt.note(_decode(line))
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ConnectionError(
            f"the connection to the gateway broke ({why(error)}). Submit the same again: what was taken is not asked "
            "twice."
        ) from error
    return receipt


async def _sent(content: BinaryIO, show: Callable[[int, int], None]) -> AsyncIterator[bytes]:
    size = content.seek(0, os.SEEK_END)
    for piece in _pieces(content):
        yield piece
        show(content.tell(), size)


def _show_refused(receipt: _Receipt, prefix: str) -> None:
    for told in receipt.first:
        typer.echo(f"line {told.line}: {told.error.message}", err=True)
    if receipt.refused > SHOWN:
        typer.echo(f"… and {receipt.refused - SHOWN:,} more.", err=True)
    if receipt.refused:
        # A file that was mended has another prefix, under which all of it would be asked and paid again.
        typer.echo(
            f"{receipt.refused:,} refused. Mend them where they stand and submit the file again with --prefix {prefix} "
            "so that no other line is asked twice.",
            err=True,
        )


# Results


async def _collect(session: aiohttp.ClientSession, prefix: str, wanted: Wanted) -> dict[str, object]:
    """Write them, and give how many requests there are of each status."""
    counts = await _counted(session, prefix, wanted)
    if not any(counts.values()):
        raise InputError(f"there is no request whose id begins with '{prefix}'.")
    query = {"prefix": prefix} | ({} if wanted.statuses is None else {"status": wanted.statuses})
    with _whole(wanted.out) as target:
        await _write(session, query, target)
    return dict(counts)


async def _write(session: aiohttp.ClientSession, query: Mapping[str, str], target: BinaryIO) -> None:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=PATIENCE, sock_read=PATIENCE)
    try:
        async with session.get("/results", params=query, timeout=timeout, allow_redirects=False) as response:
            await _expect_lines(response)
            async for piece in response.content.iter_any():
                target.write(piece)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ConnectionError(f"the results broke off ({why(error)}); they are kept, fetch them again.") from error


async def _counted(session: aiohttp.ClientSession, prefix: str, wanted: Wanted) -> Mapping[str, int]:
    """How many there are of each status; if that is wanted, once none is pending any more."""
    if not wanted.wait:
        return await _counts(session, prefix)
    pause, failures = SOON, 0
    with _progress("answered") as show:
        while True:
            try:
                counts = await _counts(session, prefix)
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


async def _counts(session: aiohttp.ClientSession, prefix: str) -> dict[str, int]:
    return await ask(session, "GET", "/results/counts", {"prefix": prefix})


async def _expect_lines(response: aiohttp.ClientResponse) -> None:
    """Raises SettingsError with what the gateway says instead."""
    if response.content_type != MEDIA_TYPE:
        await read(response)
        raise SettingsError("What answers there is no batchway gateway; name it by --url.")


# Files


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    """A file that can be read from its beginning again; what cannot (a pipe) is kept in a temporary one."""
    try:
        source = sys.stdin.buffer if file == "-" else Path(file).open("rb")
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); {WHAT}.") from error
    with source:
        if file != "-" and source.seekable():
            yield source
            return
        with TemporaryFile() as kept:
            shutil.copyfileobj(source, kept)
            yield kept


def _pieces(content: BinaryIO) -> Iterator[bytes]:
    """All of it, from its beginning."""
    content.seek(0)
    while piece := content.read(PIECE):
        yield piece


def _check(file: str, content: BinaryIO) -> None:
    """Whether it is JSON Lines at all, by its first line; the gateway judges each. Raises InputError."""
    cutter = Cutter(LONGEST)
    lines = chain(chain.from_iterable(map(cutter.feed, _pieces(content))), cutter.end())
    number, line = next(lines, (0, b""))
    if not number:
        raise InputError(f"{file}: there is no request in it; {WHAT}.")
    if len(line) > LONGEST:
        return
    try:
        msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError as error:
        raise InputError(f"{file}: line {number}: is no JSON object ({error}); {WHAT}.") from error


def _digest(content: BinaryIO) -> str:
    content.seek(0)
    return hashlib.file_digest(content, "sha256").hexdigest()[:DIGITS]


def _place(out: str) -> Path:
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
    path = _place(out)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as begun:
            yield begun
            begun.flush()
            os.fsync(begun.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


# What is said


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Tell it how much of how much is done; a terminal shows it, and nothing else does."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def _say(fields: Mapping[str, object], wanted: Wanted) -> None:
    (print_json if wanted.json else print_fields)(fields)
