"""`batchway submit`: a file of requests handed to a running gateway, piece by piece, however large it is."""

import asyncio
import os
import shlex
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import aiohttp
import msgspec
import typer
from msgspec import UNSET, Struct, UnsetType, field

from batchway.cli.fetching import (
    Wanted,
    advise,
    collect,
    command,
    count_now,
    expect_lines,
    find_place,
    numbers,
    progress,
    say,
)
from batchway.cli.remote import PATIENCE, Where, reach, why
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

LAST_WORD = 5.0
"""Seconds that a gateway has to say what it has taken, to whoever wants to leave."""

STOPPED = 130
"""The exit code after a Ctrl-C, as shells have it: 128 and the signal's number."""

ALLOWED = "give JSON Lines: on each line the body of a chat, or a line as OpenAI's Batch API takes them"


class _Error(Struct):
    message: Any = None
    """A text, unless a provider says otherwise."""


class _Told(Struct):
    """What the gateway says of one line."""

    line: int
    status: str
    error: _Error | None = None
    retry_after: float | UnsetType | None = UNSET
    """It is there (as seconds, or null) where the line may be taken later as it is."""


class _Receipt(Struct):
    """What it said of all."""

    counts: dict[str, int] = field(default_factory=dict)
    """By status."""
    first: list[_Told] = field(default_factory=list)
    """The first that were refused."""
    wrong: int = 0
    """How many of the refused are to be mended: the others may be taken later as they are."""
    dear: str | None = None
    """Why some of them cost what they would cost directly."""

    @property
    def refused(self) -> int:
        """How many were refused."""
        return self.counts.get("refused", 0)

    @property
    def taken(self) -> int:
        """How many were not."""
        return sum(self.counts.values()) - self.refused

    def note(self, told: _Told) -> None:
        self.counts[told.status] = self.counts.get(told.status, 0) + 1
        if told.status != "refused":
            return
        self.wrong += told.retry_after is UNSET
        if len(self.first) < SHOWN:
            self.first.append(told)


_decode = msgspec.json.Decoder(_Told).decode


def submit(where: Where, file: str, prefix: str | None, wanted: Wanted) -> bool:
    """Hand in every request of a file (`-`: standard input). False: some were refused or failed, and it is said how
    many, and what to do. A Ctrl-C ends it with 130.

    `prefix`: begins their ids; None: it is made of the file's bytes.
    """
    if wanted.out is not None and find_place(wanted.out) == Path(file).resolve():
        raise InputError(f"--out {wanted.out}: is the file of the requests; name another.")
    with _opened(file) as content:
        _check(file, content)
        prefix = prefix or _prefix_of(content)
        try:
            return asyncio.run(_submit(where, content, prefix, wanted))
        except KeyboardInterrupt:
            _tell_stopped(where, file, prefix)
            raise typer.Exit(STOPPED) from None


async def _submit(where: Where, content: BinaryIO, prefix: str, wanted: Wanted) -> bool:
    async with reach(where) as session:
        # Whoever may not ask hears so before gigabytes are sent.
        await count_now(session, prefix)
        receipt = await _hand_in(session, content, prefix)
        _show(receipt)
        counts: Mapping[str, int] = receipt.counts
        said: dict[str, object] = {"prefix": prefix, "taken": receipt.taken, "refused": receipt.refused}
        if receipt.taken and wanted.wait:
            counts = await collect(session, prefix, wanted)
            said |= counts
            said |= {} if wanted.out is None else {"results": wanted.out}
        elif receipt.taken:
            said["results"] = command(where, "results", prefix)
    # Where the results are, nothing else is.
    with redirect_stdout(sys.stderr if wanted.wait and wanted.out is None else sys.stdout):
        say(said, json=wanted.json)
    return _judge(where, prefix, receipt, counts)


def _judge(where: Where, prefix: str, receipt: _Receipt, counts: Mapping[str, int]) -> bool:
    """Whether nothing was refused and nothing has failed; else it says how many, and what to do, in a line."""
    advice = advise(where, prefix, counts)
    if not (receipt.refused or advice):
        return True
    said = f"{numbers({**counts, 'refused': receipt.refused})}."
    if receipt.refused and not receipt.wrong:
        said += " Submit the same again in a while: what was taken is not asked twice."
    elif not receipt.taken:
        said += " Mend the lines and submit them again."
    elif receipt.refused:
        # By itself a mended file has another prefix, under which all of it would be asked and paid again.
        said += (
            f" Mend what was refused in its place and submit again with {shlex.join(['--prefix', prefix])}: what was "
            "taken is not asked twice."
        )
    typer.echo(f"batchway: {said} {advice}".rstrip(), err=True)
    return False


def _tell_stopped(where: Where, file: str, prefix: str) -> None:
    """What was taken so far, as far as the gateway can say it, and how to go on."""

    async def so_far() -> int:
        async with reach(where) as session, asyncio.timeout(LAST_WORD):
            return sum((await count_now(session, prefix)).values())

    try:
        taken = f"{asyncio.run(so_far()):,} requests are with the gateway and go on"
    except (SettingsError, TimeoutError) as error:
        taken = f"what the gateway has taken goes on ({why(error)})"
    again = command(where, "submit", file, "--prefix", prefix)
    typer.echo(
        f"batchway: Stopped; {taken}. The same file with the same prefix attaches to them, and hands in the rest: "
        f"`{again}`. Nothing is asked twice.",
        err=True,
    )


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
                receipt.dear = response.headers.get("x-batchway-at-full-price")
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


def _show(receipt: _Receipt) -> None:
    """Which lines were refused, and why; and why what was taken saves nothing."""
    for told in receipt.first:
        typer.echo(f"line {told.line}: {told.error.message if told.error else 'refused'}", err=True)
    if receipt.refused > SHOWN:
        typer.echo(f"… and {receipt.refused - SHOWN:,} more lines.", err=True)
    if receipt.dear is not None:
        typer.echo(
            f"batchway: What can wait does not go by batch, but directly and at the full price: {receipt.dear}.",
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
    if file == "-" and sys.stdin is None:  # its descriptor was closed
        raise InputError("-: standard input is closed; name a file, or pipe one in.")
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
