"""`batchway submit`: a file of requests handed to a running gateway, piece by piece, however large it is."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import aiohttp
import msgspec
import typer
from msgspec import Struct, field

from batchway.cli import GATEWAY
from batchway.cli.fetching import Wanted, collect, count_now, expect_lines, find_place, progress, say
from batchway.cli.remote import PATIENCE, Where, reach, why
from batchway.core.errors import InputError
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

ALLOWED = "give JSON Lines: on each line the body of a chat, or a line as OpenAI's Batch API takes them"


class _Error(Struct):
    message: Any = None
    """A text, unless a provider says otherwise."""


class _Told(Struct):
    """What the gateway says of one line."""

    line: int
    status: str
    error: _Error | None = None


class _Receipt(Struct):
    """What it said of all."""

    taken: int = 0
    refused: int = 0
    first: list[_Told] = field(default_factory=list)
    """The first that were refused."""

    def note(self, told: _Told) -> None:
        if told.status != "refused":
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
    if wanted.out is not None and find_place(wanted.out) == Path(file).resolve():
        raise InputError(f"--out {wanted.out}: is the file of the requests; name another.")
    with _opened(file) as content:
        _check(file, content)
        return asyncio.run(_submit(where, content, prefix or _prefix_of(content), wanted))


async def _submit(where: Where, content: BinaryIO, prefix: str, wanted: Wanted) -> bool:
    async with reach(where) as session:
        # Whoever may not ask hears so before gigabytes are sent.
        await count_now(session, prefix)
        receipt = await _hand_in(session, content, prefix)
        _show_refused(receipt, prefix)
        said: dict[str, object] = {"prefix": prefix, "taken": receipt.taken, "refused": receipt.refused}
        if receipt.taken and wanted.wait:
            said |= await collect(session, prefix, wanted)
            said |= {} if wanted.out is None else {"results": wanted.out}
        elif receipt.taken:
            said["results"] = f"batchway results {prefix}" + ("" if where.url == GATEWAY else f" --url {where.url}")
    # Where the results are, nothing else is.
    with redirect_stdout(sys.stderr if wanted.wait and wanted.out is None else sys.stdout):
        say(said, json=wanted.json)
    return not receipt.refused


async def _hand_in(session: aiohttp.ClientSession, content: BinaryIO, prefix: str) -> _Receipt:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=PATIENCE, sock_read=HELD_BACK)
    query, headers = {"prefix": prefix}, {"content-type": MEDIA_TYPE}
    receipt, cutter = _Receipt(), Cutter(LONGEST)
    try:
        with progress("handed in") as show:
            lines = _sent(content, show)
            async with session.post(
                "/submit", params=query, data=lines, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                await expect_lines(response)
                async for piece in response.content.iter_any():
                    for _, line in cutter.feed(piece):
                        receipt.note(_decode(line))
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ConnectionError(
            f"The connection to the gateway broke ({why(error)}). Submit the same again: what was taken is not asked "
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
        typer.echo(f"line {told.line}: {told.error.message if told.error else 'refused'}", err=True)
    if receipt.refused > SHOWN:
        typer.echo(f"… and {receipt.refused - SHOWN:,} more lines.", err=True)
    if receipt.refused and receipt.taken:
        # By itself a mended file has another prefix, under which all of it would be asked and paid again.
        typer.echo(
            f"{receipt.refused:,} refused. Mend them in their places and submit again with --prefix {prefix}: what was "
            "taken is not asked twice.",
            err=True,
        )


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    """A file that can be read from its beginning again; what cannot (a pipe) is kept in a temporary one."""
    with _open(file) as source:
        if source.seekable() and file != "-":
            yield source
            return
        with TemporaryFile() as kept:
            shutil.copyfileobj(source, kept)
            yield kept


def _open(file: str) -> BinaryIO:
    try:
        return sys.stdin.buffer if file == "-" else Path(file).open("rb")
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); {ALLOWED}.") from error


def _pieces(content: BinaryIO) -> Iterator[bytes]:
    """All of it, from its beginning."""
    content.seek(0)
    while piece := content.read(PIECE):
        yield piece


def _lines(content: BinaryIO) -> Iterator[tuple[int, bytes]]:
    cutter = Cutter(LONGEST)
    for piece in _pieces(content):
        yield from cutter.feed(piece)
    yield from cutter.end()


def _check(file: str, content: BinaryIO) -> None:
    """Whether it can be JSON Lines at all, by its first one; the gateway judges each. Raises InputError."""
    number, line = next(_lines(content), (0, b""))
    if not number:
        raise InputError(f"{file}: there is no request in it; {ALLOWED}.")
    begins, ends = line.lstrip().startswith(b"{"), line.rstrip().endswith(b"}")
    if not (begins and (ends or len(line) > LONGEST)):
        raise InputError(f"{file}: line {number}: is no JSON object; {ALLOWED}.")


def _prefix_of(content: BinaryIO) -> str:
    digest = sha256()
    for piece in _pieces(content):
        digest.update(piece)
    return f"{digest.hexdigest()[:DIGITS]}-"
