"""The processes under measurement, started as a user would start them, and the upstream behind them."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from itertools import count
from pathlib import Path
from time import monotonic

from msgspec import Struct

from bench.bodies import varied
from bench.load import Address, connect
from bench.processes import Running, free_port, process
from bench.response import Response
from bench.upstream import Upstream, serving
from bench.yardstick import UPSTREAM

ROOT = Path(__file__).parent.parent
"""The checkout."""

SECONDS_TO_START = 120.0
"""LiteLLM imports for ten seconds and more where the machine is busy."""


class Place(Struct, frozen=True, kw_only=True):
    """Where a run takes place. `url`: the upstream's base URL, empty until it runs."""

    folder: Path
    subject_core: int
    url: str = ""


class StartFailed(Exception):
    """A process did not come up; the message holds what it said."""


@asynccontextmanager
async def upstream(application: Upstream) -> AsyncIterator[Running]:
    """The upstream, in the process of the load."""
    port = free_port()
    async with serving(application, port):
        yield Running(name="upstream", pid=os.getpid(), address=Address(port=port, bearer=""), log=Path(os.devnull))


def yardstick(place: Place) -> AbstractContextManager[Running]:
    """uvicorn, aiohttp and orjson."""
    return _uvicorn(place, "yardstick")


def bare(place: Place) -> AbstractContextManager[Running]:
    """uvicorn, aiohttp and orjson, as batchway uses them."""
    return _uvicorn(place, "bare")


def unchosen(place: Place) -> AbstractContextManager[Running]:
    """uvicorn, pyreqwest and orjson."""
    return _uvicorn(place, "unchosen")


def gateway(place: Place) -> AbstractContextManager[Running]:
    """batchway with everything that it does for each request: key, limits, events, metrics, prices; but no store."""
    return _batchway(place, "gateway", "none")


def recording(place: Place) -> AbstractContextManager[Running]:
    """batchway as it comes: it writes down every request as well, in a store of its own."""
    return _batchway(place, "recording", str(place.folder / f"{free_port()}.db"))


def _batchway(place: Place, name: str, store: str) -> AbstractContextManager[Running]:
    key, line = _new_key(place.folder)
    port = free_port()
    return process(
        name,
        [sys.executable, "-m", "batchway", "start", "--port", str(port)],
        address=Address(port=port, bearer=key),
        core=place.subject_core,
        folder=place.folder,
        environment={
            "BATCHWAY_DATABASE_URL": store,
            "BATCHWAY_KEYS": line,
            "BATCHWAY_LOG_LEVEL": "warning",
            "BATCHWAY_PACK_STAKE_USD": "1",
            "OPENAI_API_KEY": "sk-upstream",
            "OPENAI_BASE_URL": place.url,
        },
    )


def _new_key(folder: Path) -> tuple[str, str]:
    """A gateway key, and its entry for BATCHWAY_KEYS."""
    made = subprocess.run(
        [sys.executable, "-m", "batchway", "keys", "create", "bench", "--print"],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={},
    )
    lines = (made.stdout + made.stderr).splitlines()
    key = next(line for line in lines if line.startswith("bw-"))
    return key, next(line.partition("=")[2] for line in lines if line.startswith("BATCHWAY_KEYS="))


def _uvicorn(place: Place, application: str) -> AbstractContextManager[Running]:
    """One of our own applications, under uvicorn with the options that the gateway gives it."""
    port = free_port()
    options = ["--loop", "uvloop", "--http", "httptools", "--ws", "none", "--timeout-keep-alive", "75"]
    quiet = ["--no-access-log", "--no-server-header", "--no-date-header", "--log-level", "warning"]
    return process(
        application,
        [sys.executable, "-m", "uvicorn", f"bench.{application}:app", "--port", str(port), *options, *quiet],
        address=Address(port=port, bearer="unused"),
        core=place.subject_core,
        folder=place.folder,
        environment={"PYTHONPATH": str(ROOT), UPSTREAM: place.url},
    )


async def wait_until_ready(running: Running) -> None:
    """Wait until it answers a chat request. Raises StartFailed with what it said."""
    give_up = monotonic() + SECONDS_TO_START
    said = "nothing listens"
    while monotonic() < give_up and not running.ended():
        try:
            response = await _ask_once(running.address)
        except OSError as error:
            said = str(error)
        else:
            if response.status == 200:
                return
            said = f"status {response.status}: {response.body[:400]!r}"
        await asyncio.sleep(0.1)
    raise StartFailed(f"{running.name} did not come up ({said}). It wrote: {running.log.read_text()[-2000:]}")


async def _ask_once(address: Address) -> Response:
    connection = await connect(address.port)
    try:
        return await connection.ask(address.request(next(varied(count()))))
    finally:
        connection.close()
