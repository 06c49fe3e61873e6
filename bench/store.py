"""What it costs to accept a request durably: `python -m bench.store`. Requests are saved as the engine saves them.

Many tasks on one loop await `write_each(requests.save, …)`; each is done when its request is on disk. The yardstick is
the same number of rows of the same size by Python's driver alone, as many in a transaction.
"""

import argparse
import asyncio
import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import uvloop
from msgspec import Struct

from batchway.core.types import Request
from batchway.store import Database, requests
from batchway.store.requests import Entry
from batchway.wire import chat

BODY_BYTES = 2000


class Measured(Struct, frozen=True, kw_only=True):
    """One run."""

    name: str
    requests: int
    seconds: float
    cpu_seconds: float
    """Of this process, all threads."""

    def line(self) -> str:
        """For the table."""
        rate, cpu = self.requests / self.seconds, self.cpu_seconds / self.requests * 1000
        return f"{self.name:<44} {rate:>9,.0f} requests/s {cpu:>8.4f} CPU s per 1,000"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.store", description=__doc__)
    parser.add_argument("--requests", type=int, default=30_000)
    parser.add_argument("--waiting", type=int, default=500, help="requests under way at a time (500)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the files lie: the disk that is measured")
    parser.add_argument("--postgresql", metavar="URL", help="an empty database, measured as well")
    options = parser.parse_args()
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="bench-store-", dir=options.folder) as folder:
            print(_bare(f"{folder}/bare.db", options.requests, options.waiting).line(), flush=True)
            print(_accept("SQLite", f"{folder}/store.db", options.requests, options.waiting).line(), flush=True)
            print(_accept("SQLite, one at a time", f"{folder}/one.db", options.requests // 20, 1).line(), flush=True)
        if options.postgresql:
            print(_accept("PostgreSQL", options.postgresql, options.requests, options.waiting).line(), flush=True)


def _accept(name: str, url: str, number: int, waiting: int) -> Measured:
    entries = [Entry(request=request, lane="batch", owner="bench") for request in _requests(number)]

    async def save_all() -> tuple[float, float]:
        async with await Database.open(url, now=time.time) as database:
            left = iter(entries)

            async def save_some() -> None:
                for entry in left:
                    await database.write_each(requests.save, entry)

            began, began_cpu = time.perf_counter(), time.process_time()
            await asyncio.gather(*[save_some() for _ in range(waiting)])
            return time.perf_counter() - began, time.process_time() - began_cpu

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        seconds, cpu_seconds = runner.run(save_all())
    return Measured(
        name=f"batchway, {name}, {waiting} waiting", requests=number, seconds=seconds, cpu_seconds=cpu_seconds
    )


def _bare(path: str, number: int, together: int) -> Measured:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL"):
        connection.execute(statement)
    connection.execute("CREATE TABLE bodies (ask TEXT PRIMARY KEY, body BLOB)")
    rows = [(request.ask, request.body) for request in _requests(number)]
    began, began_cpu = time.perf_counter(), time.process_time()
    for start in range(0, number, together):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO bodies VALUES (?, ?)", rows[start : start + together])
        connection.execute("COMMIT")
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
    connection.close()
    return Measured(
        name=f"sqlite3 alone, {together} in a commit", requests=number, seconds=seconds, cpu_seconds=cpu_seconds
    )


_asks = count(int.from_bytes(os.urandom(5)) << 20)


def _requests(number: int) -> Iterator[Request]:
    for _ in range(number):
        ask = f"{next(_asks):036x}"
        content = f"{ask} " + "What is the answer? " * (BODY_BYTES // 20)
        body = json.dumps(
            {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": content[: BODY_BYTES - 90]}]}
        )
        yield Request(
            id=ask,
            ask=ask,
            tenant="default",
            key="default",
            caller="default",
            provider="openai",
            endpoint="chat",
            body=body.encode(),
            prompt=chat.read(body.encode()).prompt,
            fingerprint=f"{ask}{'0' * 28}",
            asked_at=time.time(),
        )


if __name__ == "__main__":
    main()
