"""What the store's tests run as processes of their own: `python -m tests.store.process WHAT URL`."""

import asyncio
import sys
import time

from tests.store.things import entry, request

from batchway.store import Database, jobs, requests


async def open_only(url: str) -> None:
    """Open the store, as a gateway that starts does."""
    async with await Database.open(url, now=time.time):
        print("open", flush=True)


async def accept(url: str) -> None:
    """Save requests for ever, many at a time, and say which are acknowledged."""
    database = await Database.open(url, now=time.time)

    async def go_on(name: str) -> None:
        number = 0
        while True:
            ask = f"{name}-{number}"
            await database.write_each(requests.save, entry(ask, body=request().body + b" " * 2000))
            print(ask, flush=True)
            number += 1

    await asyncio.gather(*[go_on(f"w{worker}") for worker in range(20)])


async def claim(url: str) -> None:
    """Claim jobs, two at a time, until there are none."""
    async with await Database.open(url, now=time.time) as database:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        while held := await database.write(jobs.claim, str(id(database)), 3600.0, 2):
            print(*[each.job.id for each in held], sep="\n", flush=True)


if __name__ == "__main__":
    asyncio.run({"open": open_only, "accept": accept, "claim": claim}[sys.argv[1]](sys.argv[2]))
