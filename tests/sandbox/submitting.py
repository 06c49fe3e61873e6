"""What the tests of batches do: upload lines, create a batch, move the clock, read results."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx2
import openai
from openai.types import Batch
from tests.sandbox.speaking import switch_on

from batchway.sandbox import Sandbox, app, serve
from batchway.sandbox.batch_contract import Schedule

CHAT: Final = "/v1/chat/completions"
START = 1_000_000.0

SLOW = Schedule(validating=10, running=100, finalizing=10, cancelling=10)
"""Ten lines: validated at 10, the nth done at 10 + 10 n, finalizing at 110, completed at 120."""

Line = dict[str, Any]


def request(name: str, **changes: Any) -> Line:
    """A line that asks for a repeatable answer; `body=…` replaces fields of its body."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": f"Ask {name}"}], "temperature": 0}
    body |= changes.pop("body", {})
    return {"custom_id": name, "method": "POST", "url": CHAT, "body": body} | changes


def requests(count: int = 10, **changes: Any) -> list[Line]:
    """So many of them: r-0, r-1, …"""
    return [request(f"r-{number}", **changes) for number in range(count)]


def written(lines: list[Line]) -> bytes:
    """As an input file."""
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


class World:
    """A sandbox whose clock is moved by hand, and the official SDK as its client."""

    def __init__(self, sandbox: Sandbox, clock: list[float], http: httpx2.AsyncClient, sdk: openai.AsyncOpenAI) -> None:
        self.sandbox = sandbox
        self._clock = clock
        self.http = http
        self.sdk = sdk

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self._clock[0] += seconds

    async def upload(self, content: bytes | list[Line], **options: Any) -> str:
        """Upload an input file; its id."""
        data = content if isinstance(content, bytes) else written(content)
        return (await self.sdk.files.create(file=("in.jsonl", data), purpose="batch", **options)).id

    async def submit(self, lines: bytes | list[Line] | None = None, **options: Any) -> Batch:
        """Upload (ten lines, if none are given) and create a batch."""
        wanted: dict[str, Any] = {"endpoint": CHAT, "completion_window": "24h"} | options
        content = requests() if lines is None else lines
        return await self.sdk.batches.create(input_file_id=await self.upload(content), **wanted)

    async def struck(self, rule: Mapping[str, Any], lines: list[Line] | None = None, **options: Any) -> Batch:
        """Submit a batch that a fault befalls."""
        await switch_on(self.http, dict(rule))
        return await self.submit(lines, **options)

    async def poll(self, batch: Batch, seconds: float = 0) -> Batch:
        """The batch so many seconds later."""
        self.move(seconds)
        return await self.sdk.batches.retrieve(batch.id)

    async def content(self, name: str | None) -> bytes:
        """A file; empty if there is none."""
        return (await self.sdk.files.content(name)).content if name else b""

    async def lines(self, name: str | None) -> list[Line]:
        """A file of results, each line read."""
        return [json.loads(line) for line in (await self.content(name)).split(b"\n")[:-1]]

    async def output(self, batch: Batch) -> dict[str, Line]:
        """The output file by custom_id; no id twice."""
        lines = await self.lines(batch.output_file_id)
        found = {line["custom_id"]: line for line in lines}
        assert len(found) == len(lines)
        return found

    async def errors(self, batch: Batch) -> dict[str, Line]:
        """The error file by custom_id."""
        return {line["custom_id"]: line for line in await self.lines(batch.error_file_id)}

    async def billed(self, **where: str) -> dict[str, int]:
        """How often each request was billed."""
        view = (await self.http.get("/sandbox/ledger/requests", params=where)).json()
        assert view["dropped"] == 0
        counts: dict[str, int] = view["billed"]
        return counts

    async def batches(self) -> list[dict[str, Any]]:
        """Every batch as it truly is."""
        found: list[dict[str, Any]] = (await self.http.get("/sandbox/batches")).json()["batches"]
        return found


@asynccontextmanager
async def a_world(provider: str = "openai", **settings: Any) -> AsyncIterator[World]:
    """A world of its own."""
    clock = [START]
    usual: dict[str, Any] = {"now": lambda: clock[0], "sleep": asyncio.sleep, "batch_schedule": SLOW}
    sandbox = Sandbox(**usual | settings)
    async with (
        serve(app(sandbox)) as address,
        httpx2.AsyncClient(base_url=address, headers={"authorization": "Bearer sk-test-9876"}) as http,
        openai.AsyncOpenAI(base_url=f"{address}/{provider}/v1", api_key="sk-test-9876", max_retries=0) as sdk,
    ):
        yield World(sandbox, clock, http, sdk)
