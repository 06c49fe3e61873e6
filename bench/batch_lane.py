"""What the batch lane costs: `python -m bench.batch_lane`. Requests by 202 through the real server, until all are done.

The gateway and the simulated provider are processes of their own. The load asks with `Prefer: respond-async`, one by
one, and then with JSON Lines, in one call; a run ends when the gateway's store has an answer for every request. What it
costs to fetch the answers is measured after it. Beside it, in the same run, autobatcher 0.7.0 in an environment of its
own, with nothing on disk: the same chats through the same provider by its server, whose callers have to wait, and by
its client, in the process that asks. That one and ours in one call take turns, there and back, since a machine has its
moods: what counts is the ratio of two turns that follow each other.
"""

import argparse
import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import msgspec
import uvloop
from msgspec import Struct

from bench.load import Address, closed_loop, connections, expect
from bench.processes import Running, free_port, process
from bench.response import Response
from bench.subjects import ROOT, StartFailed

PEER = ROOT / ".bench" / "autobatcher"
VERSION = "0.7.0"

BODY_BYTES = 2000
BATCH = 5000
WINDOW = 1.0
POLL = 1.0
CONNECTIONS = 64
LOOK = 0.25
"""Seconds between two looks at memory, and at what is left."""


Submit = Callable[[Address, int], Awaitable[None]]
"""Has the gateway take so many requests."""


class Measured(Struct, kw_only=True):
    """One run: of the gateway's process, or of the peer's."""

    requests: int
    seconds: float
    cpu_seconds: float
    peak_mb: float
    answered: int
    accepted: float | None = None
    """Seconds until the last was acknowledged, and what the process had used by then of its CPU time."""
    cpu_accepting: float | None = None
    cpu_telling: float | None = None
    """CPU seconds that it took, after all were answered, to fetch the answers in one call."""

    def line(self, name: str) -> str:
        """For the table."""
        each = 1000 / self.requests
        found = (
            f"{name:<28}{self.requests:>8,} requests{self.cpu_seconds * each:>7.3f} CPU s per 1,000"
            f"{self.peak_mb:>6.0f} MB peak{self.seconds:>7.1f} s, {self.answered:,} answered"
        )
        if self.accepted is None or self.cpu_accepting is None:
            return found
        found += f"; accepted in {self.accepted:.1f} s at {self.cpu_accepting * each:.3f} CPU s per 1,000"
        return found if self.cpu_telling is None else f"{found}; results fetched at {self.cpu_telling * each:.3f}"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.batch_lane", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--batch-size", type=int, default=BATCH, help="requests in a window")
    parser.add_argument("--flush-interval", type=float, default=WINDOW, help="seconds that a window waits")
    parser.add_argument("--rounds", type=int, default=3, help="turns beside the peer's client")
    parser.add_argument("--peer", action=argparse.BooleanOptionalAction, default=True, help="autobatcher as well")
    parser.add_argument("--folder", type=Path, help="where the store lies: the disk that is measured")
    options = parser.parse_args()
    window = {"BATCHWAY_BATCH_SIZE": options.batch_size, "BATCHWAY_FLUSH_INTERVAL": options.flush_interval}
    run = _Run(options.folder, options.requests, window)
    run.one_by_one()
    if not options.peer:
        run.in_one_call()
        return
    _install()
    run.peer_server()
    ratios = []
    for turn in range(options.rounds):
        if turn % 2 == 0:
            ours, theirs = run.in_one_call(), run.peer_client()
        else:
            theirs, ours = run.peer_client(), run.in_one_call()
        ratios.append(ours.cpu_seconds / theirs.cpu_seconds)
    if ratios:
        print(
            f"in one call beside the client: {median(ratios):.2f} x its CPU time "
            f"({min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)} rounds)"
        )


class _Run:
    """The cases, each in a folder of its own that is gone after it; what was measured is printed at once."""

    def __init__(self, folder: Path | None, requests: int, window: Mapping[str, float]) -> None:
        self._folder = folder
        self._requests = requests
        self._window = window

    def one_by_one(self) -> Measured:
        return self._gateway("one by one", _one_by_one)

    def in_one_call(self) -> Measured:
        return self._gateway("in one call", _in_one_call)

    def peer_server(self) -> Measured:
        with self._place() as place:
            return self._print("autobatcher, serve", _run(peer_server(Path(place), self._requests)))

    def peer_client(self) -> Measured:
        with self._place() as place:
            return self._print("autobatcher, client", peer(Path(place), self._requests))

    def _gateway(self, name: str, submit: Submit) -> Measured:
        with self._place() as place:
            measured = _run(gateway(Path(place), self._requests, self._window, submit))
            return self._print(f"batchway, {name}", measured)

    def _place(self) -> AbstractContextManager[str]:
        return tempfile.TemporaryDirectory(prefix="bench-lane-", dir=self._folder)

    def _print(self, name: str, measured: Measured) -> Measured:
        print(measured.line(name), flush=True)
        return measured


def _run(measuring: Coroutine[Any, Any, Measured]) -> Measured:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measuring)


async def gateway(place: Path, number: int, window: Mapping[str, float], submit: Submit) -> Measured:
    """The gateway, asked for so many. `window`: the settings of its windows."""
    with _sandbox(place) as provider, _gateway(place, provider, window) as running:
        await _listening(provider)
        await _listening(running)
        began, before = time.perf_counter(), running.cpu_seconds()
        peaks: list[float] = []
        watching = asyncio.create_task(_watch(running, peaks))
        await submit(running.address, number)
        accepted, accepting = time.perf_counter() - began, running.cpu_seconds() - before
        with closing(sqlite3.connect(f"file:{place}/store.db?mode=ro", uri=True)) as store:
            while _count(store, "pending"):
                await asyncio.sleep(LOOK)
            seconds, cpu = time.perf_counter() - began, running.cpu_seconds() - before
            answered = _count(store, "completed")
        await _fetch(running.address, number)
        telling = running.cpu_seconds() - before - cpu
        watching.cancel()
        return Measured(
            requests=number,
            seconds=seconds,
            cpu_seconds=cpu,
            peak_mb=max(peaks),
            answered=answered,
            accepted=accepted,
            cpu_accepting=accepting,
            cpu_telling=telling,
        )


async def _one_by_one(address: Address, number: int) -> None:
    async with connections(address.port, CONNECTIONS) as opened:
        await closed_loop(opened, address, _bodies(number, priority="low"), _accepted)


async def _in_one_call(address: Address, number: int) -> None:
    async def body() -> AsyncIterator[bytes]:
        for some in _together(_bodies(number)):
            yield some

    headers = {"content-type": "application/x-ndjson"}
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{address.port}", timeout=aiohttp.ClientTimeout(None)) as session,
        session.post("/submit", data=body(), headers=headers) as response,
    ):
        said = await response.read()
        if response.headers.get("x-batchway-taken") != str(number):
            raise ValueError(f"not all were taken: {response.status}, {said[:400]!r}")


async def _fetch(address: Address, number: int) -> None:
    session = aiohttp.ClientSession(f"http://127.0.0.1:{address.port}", timeout=aiohttp.ClientTimeout(None))
    async with session, session.get("/results", params={"status": "completed"}) as response:
        lines = 0
        async for piece in response.content.iter_any():
            lines += piece.count(b"\n")
    if lines != number:
        raise ValueError(f"{lines} results were fetched, not {number}")


async def _watch(running: Running, peaks: list[float]) -> None:
    while True:
        peaks.append(running.rss())
        await asyncio.sleep(LOOK)


def _count(store: sqlite3.Connection, status: str) -> int:
    found: int = store.execute("SELECT count(*) FROM requests WHERE status = ?", (status,)).fetchone()[0]
    return found


async def peer_server(place: Path, number: int) -> Measured:
    """The peer's server, asked for as many. It has no 202: as many callers wait at a time as two batches hold."""
    with _sandbox(place) as provider, _peer_server(place, provider) as running:
        await _listening(provider)
        await _listening(running)
        began, before = time.perf_counter(), running.cpu_seconds()
        peaks: list[float] = []
        watching = asyncio.create_task(_watch(running, peaks))
        async with connections(running.address.port, min(number, 2 * BATCH)) as opened:
            run = await closed_loop(opened, running.address, _bodies(number), expect(b"choices"))
        watching.cancel()
        return Measured(
            requests=number,
            seconds=time.perf_counter() - began,
            cpu_seconds=running.cpu_seconds() - before,
            peak_mb=max(peaks),
            answered=run.requests,
        )


def peer(place: Path, number: int) -> Measured:
    """The peer's client, asked for as many by the process that it runs in."""
    with _sandbox(place) as provider:
        asyncio.run(_listening(provider))
        url = f"http://127.0.0.1:{provider.address.port}/openai/v1"
        sizes = [str(each) for each in (number, BODY_BYTES, BATCH, WINDOW, POLL)]
        command = [str(PEER / "bin" / "python"), str(ROOT / "bench" / "batch_peer.py"), url, *sizes]
        said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=place).stdout
    return msgspec.json.decode(said, type=Measured)


def _install() -> None:
    if (PEER / "bin" / "python").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", PEER], check=True)
    pip = [PEER / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*map(str, pip), f"autobatcher[serve]=={VERSION}"], check=True)


def _peer_server(place: Path, provider: Running) -> AbstractContextManager[Running]:
    port = free_port()
    url = f"http://127.0.0.1:{provider.address.port}/openai/v1"
    options = ["--base-url", url, "--api-key", "sandbox-key", "--port", str(port), "--completion-window", "24h"]
    options += ["--batch-size", str(BATCH), "--batch-window", str(WINDOW), "--poll-interval", str(POLL)]
    return process(
        "autobatcher",
        [str(PEER / "bin" / "python"), "-m", "autobatcher", "serve", *options],
        address=Address(port=port, bearer=""),
        core=sorted(os.sched_getaffinity(0))[0],
        folder=place,
        environment={},
    )


def _sandbox(place: Path) -> AbstractContextManager[Running]:
    return _batchway(place, "sandbox", {})


def _gateway(place: Path, provider: Running, window: Mapping[str, float]) -> AbstractContextManager[Running]:
    settings = {
        "OPENAI_API_KEY": "sandbox-key",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{provider.address.port}/openai/v1",
        "BATCHWAY_DATABASE_URL": str(place / "store.db"),
        "BATCHWAY_UNSAFE_STORE": "true",
        "BATCHWAY_LOG_LEVEL": "warning",
        "BATCHWAY_POLL_INTERVAL": str(POLL),
        "BATCHWAY_SETTLE": "1",
    }
    settings |= {name: str(value) for name, value in window.items()}
    return _batchway(place, "start", settings)


def _batchway(place: Path, what: str, environment: dict[str, str]) -> AbstractContextManager[Running]:
    port = free_port()
    # Where there are cores enough, each has its own.
    core = sorted(os.sched_getaffinity(0))[0 if what == "start" else -1]
    return process(
        what,
        [sys.executable, "-m", "batchway", what, "--port", str(port)],
        address=Address(port=port, bearer="", header="prefer: respond-async"),
        core=core,
        folder=place,
        environment=environment,
    )


async def _listening(running: Running) -> None:
    """Wait until it takes connections."""
    for _ in range(600):
        try:
            async with connections(running.address.port, 1):
                return
        except OSError:
            await asyncio.sleep(0.1)
    raise StartFailed(f"{running.name} did not come up. It wrote: {running.log.read_text()[-2000:]}")


def _accepted(response: Response) -> None:
    if response.status != 202:
        raise ValueError(f"expected a 202, got {response.status}: {response.body[:400]!r}")


def _bodies(number: int, **hints: str) -> Iterator[bytes]:
    filler = "What is the answer? " * (BODY_BYTES // 20)
    for each in range(number):
        content = f"{each:09} {filler}"[: BODY_BYTES - 110]
        chat = {"model": "some-model", "messages": [{"role": "user", "content": content}]} | hints
        yield json.dumps(chat).encode()


def _together(bodies: Iterator[bytes]) -> Iterator[bytes]:
    """Some lines at a time."""
    while some := list(islice(bodies, 100)):
        yield b"\n".join(some) + b"\n"


if __name__ == "__main__":
    main()
