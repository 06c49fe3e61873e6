"""A sandbox on a real port for each test, and a client that speaks to it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx2
import pytest

from batchway.sandbox import Sandbox, app, serve

Open = Callable[..., AbstractAsyncContextManager[httpx2.AsyncClient]]


@asynccontextmanager
async def open_sandbox(**settings: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """A sandbox with these settings on a port of its own, and a client with a key."""
    sandbox = Sandbox(**{"now": time.time, "sleep": asyncio.sleep} | settings)
    async with (
        serve(app(sandbox)) as address,
        httpx2.AsyncClient(base_url=address, headers={"authorization": "Bearer sk-test-9876"}) as client,
    ):
        yield client


@pytest.fixture
def opened() -> Open:
    """`async with opened(strict=True) as client`."""
    return open_sandbox


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a sandbox with its default settings."""
    async with open_sandbox() as opened:
        yield opened
