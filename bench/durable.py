"""How many requests a second are accepted durably: `python -m bench.durable`. Read, decided on, and on disk.

Each request is taken as the server takes one that nobody waits for (`Prefer: respond-async`), without HTTP: its body is
read and hashed, the planner chooses the batch lane, the store commits it, and only then it is acknowledged. Once while
the windows stay open, and once while jobs are formed, read back and written to files for a provider that is not there.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop
from msgspec import Struct

from batchway.assemble import Gateway, gateway, load_settings
from batchway.cli.starting import configure_logging
from batchway.core.commands import Acknowledge
from batchway.engine.intake import Identity
from batchway.server.serving import spare_the_collector
from batchway.wire.endpoints import FRONTS

BODY_BYTES = 2000
NOBODY = Identity(tenant="default", key="default")
CLOSED = "http://127.0.0.1:9/v1"
"""Where nobody listens."""


class Measured(Struct, frozen=True, kw_only=True):
    """One run."""

    requests: int
    seconds: float
    cpu_seconds: float
    """Of this process, all threads."""

    def line(self) -> str:
        """For the table."""
        rate, cpu = self.requests / self.seconds, self.cpu_seconds / self.requests * 1000
        return f"{self.requests:>8,} requests {rate:>9,.0f} requests/s {cpu:>8.4f} CPU s per 1,000"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.durable", description=__doc__)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--waiting", type=int, default=1000, help="requests under way at a time (1000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the store lies: the disk that is measured")
    options = parser.parse_args()
    for _ in range(options.rounds):
        for name, size in (("windows open", 10 * options.requests), ("jobs formed of 1,000", 1000)):
            with tempfile.TemporaryDirectory(prefix="bench-durable-", dir=options.folder) as folder:
                measured = measure(f"{folder}/store.db", options.requests, options.waiting, size)
                print(f"{name:<24}{measured.line()}", flush=True)


def measure(database_url: str, number: int, waiting: int, batch_size: int) -> Measured:
    """Accept so many, whose windows close at a size."""
    flags = {"database_url": database_url, "batch_size": batch_size, "unsafe_store": True, "log_level": "error"}
    environment = {"OPENAI_BASE_URL": CLOSED, "OPENAI_API_KEY": "bench"}
    settings = load_settings(flags, environment=environment).settings
    configure_logging(settings)

    async def accept_all() -> Measured:
        async with gateway(settings) as made:
            left = iter(list(bodies(number)))
            spare_the_collector()

            async def accept_some() -> None:
                for body in left:
                    await _accept(made, body)

            began, began_cpu = time.perf_counter(), time.process_time()
            await asyncio.gather(*[accept_some() for _ in range(waiting)])
            return Measured(
                requests=number,
                seconds=time.perf_counter() - began,
                cpu_seconds=time.process_time() - began_cpu,
            )

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(accept_all())


async def _accept(made: Gateway, body: bytes) -> None:
    taken = made.intake.take(FRONTS["chat"], body, {}, NOBODY, time.time(), detached=True)
    outcome = await made.engine.ask(taken.request)
    assert isinstance(outcome, Acknowledge), outcome


def bodies(number: int) -> Iterator[bytes]:
    """Chats of low priority, each another."""
    for each in range(number):
        content = (f"{each:09} " + "What is the answer? " * (BODY_BYTES // 20))[: BODY_BYTES - 110]
        chat = {"model": "some-model", "messages": [{"role": "user", "content": content}], "priority": "low"}
        yield json.dumps(chat).encode()


if __name__ == "__main__":
    main()
