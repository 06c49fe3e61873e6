"""A gateway before a sandbox, both on free ports in the test's loop, and what tests say to them and read of them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from batchway import sandbox as simulated
from batchway.assemble import Gateway, load_settings
from batchway.ports import Clock
from batchway.sandbox import Sandbox, faults
from batchway.sandbox.ledger import Line
from batchway.server import serving
from batchway.server.connections import KEEP_ALIVE
from batchway.server.connections import PATIENCE as IDLE
from batchway.settings import Settings

MODEL = "gpt-4o-mini"
CHAT = "/v1/chat/completions"
PATIENCE = 10.0
"""Seconds that a condition may take to become true before a test gives up."""


def settings_of(environment: Mapping[str, str] | None = None, **flags: Any) -> Settings:
    """Settings of these flags and variables alone, on a free port."""
    return load_settings({"port": 0, "database_url": "none"} | flags, environment=environment or {}).settings


def chat(text: str = "What is a fjord?", **fields: Any) -> dict[str, Any]:
    """A chat body. Without a temperature its answers are sampled, so that nothing is shared unasked."""
    return {"model": MODEL, "messages": [{"role": "user", "content": text}]} | fields


async def until(condition: Callable[[], Any]) -> None:
    """Wait until this is true."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


class Gate:
    """A running gateway as its callers see it, and the provider behind it."""

    def __init__(
        self, address: str, gateway: Gateway, sandbox: Sandbox, upstream: str, http: httpx2.AsyncClient
    ) -> None:
        self.address = address
        self.gateway = gateway
        self.sandbox = sandbox
        self.upstream = upstream
        self.http = http

    @property
    def host(self) -> str:
        """Host and port."""
        return self.address.removeprefix("http://")

    async def ask(self, path: str = CHAT, headers: Mapping[str, str] | None = None, **fields: Any) -> httpx2.Response:
        """A chat."""
        return await self.http.post(path, json=chat(**fields), headers=headers)

    def start(self, path: str = CHAT, headers: Mapping[str, str] | None = None, **fields: Any) -> "Asking":
        """A chat on its way."""
        return asyncio.create_task(self.ask(path, headers, **fields))

    async def post(self, content: bytes, path: str = CHAT, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        """These very bytes."""
        return await self.http.post(path, content=content, headers=headers)

    async def direct(self, content: bytes | dict[str, Any], path: str = CHAT) -> httpx2.Response:
        """The same past the gateway, straight to the provider."""
        body = content if isinstance(content, bytes) else json.dumps(content, separators=(",", ":")).encode()
        return await self.http.post(self.upstream + path, content=body, headers={"authorization": "Bearer sandbox-key"})

    def fault(self, *rules: dict[str, Any]) -> None:
        """Switch faults on."""
        self.sandbox.faults.switch_on(faults.read(json.dumps(rules).encode()))

    @property
    def lines(self) -> list[Line]:
        """The provider's ledger: the calls that have ended."""
        return list(self.sandbox.ledger.view({}, 100_000).lines)

    @property
    def calls(self) -> int:
        """How many calls the provider saw end."""
        return len(self.lines)

    @property
    def outcomes(self) -> list[str]:
        """How they ended."""
        return [line.outcome for line in self.lines]

    def under_way(self, number: int = 1) -> Callable[[], bool]:
        """Whether so many calls are under way."""
        return lambda: self.gateway.engine.load().flights == number

    def waiting(self, number: int) -> Callable[[], bool]:
        """Whether so many callers wait."""
        return lambda: self.gateway.engine.load().waiting == number


Asking = asyncio.Task[httpx2.Response]


@asynccontextmanager
async def open_gate(
    *,
    sandbox: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
    environment: Mapping[str, str] | None = None,
    keyless: bool = False,
    patience: float = IDLE,
    keep_alive: float = KEEP_ALIVE,
    **flags: Any,
) -> AsyncIterator[Gate]:
    """A gateway with these settings. `keyless`: it has no provider keys, and openai's base URL is the sandbox's."""
    world = Sandbox(**{"now": time.time, "sleep": asyncio.sleep} | dict(sandbox or {}))
    async with simulated.serve(simulated.app(world)) as upstream:
        given = dict(environment or {})
        if keyless:
            given["OPENAI_BASE_URL"] = f"{upstream}/v1"
        settings = settings_of(given, **flags)
        stand_in = None if keyless or "OPENAI_BASE_URL" in given else upstream
        serve = serving.serve(settings, sandbox=stand_in, clock=clock, patience=patience, keep_alive=keep_alive)
        async with (
            serve as (address, gateway),
            httpx2.AsyncClient(base_url=address, timeout=30) as http,
        ):
            yield Gate(address, gateway, world, upstream, http)


def frames(text: str) -> list[Any]:
    """The data of a stream; `[DONE]` as it is."""
    data = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    return [each if each == "[DONE]" else json.loads(each) for each in data]


def words(found: list[Any]) -> str:
    """What a streamed chat says."""
    deltas = [chunk["choices"][0]["delta"] for chunk in found if chunk != "[DONE]" and chunk.get("choices")]
    return "".join(delta.get("content") or "" for delta in deltas)


def said(answer: httpx2.Response) -> str:
    """What a whole chat says."""
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


def via(answer: httpx2.Response) -> str:
    """How it was answered."""
    return str(answer.headers["x-batchway-routed-via"])


def check_fault(
    answer: httpx2.Response, status: int, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """A fault in OpenAI's shape, with our fields beside it. Gives the error object."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error", "status", "request_id", "content"}, body
    assert body["status"] == "failed"
    assert body["content"] is None
    error: dict[str, Any] = body["error"]
    assert {"message", "type", "param", "code"} <= set(error), error
    assert error["message"]
    assert error["type"]
    assert error["code"] == code, error
    assert error["param"] == param, error
    assert answer.headers["content-type"] == "application/json"
    assert "no-store" in answer.headers["cache-control"]
    return error
