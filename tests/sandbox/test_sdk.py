"""The official openai SDK, 3.x and 2.x, is walked through the sandbox; 3.x in this process as well."""

import asyncio
import os
import sys
from pathlib import Path

import httpx2
import openai
import pytest
from tests.sandbox import sdk_walk

REPOSITORY = Path(__file__).parents[2]
OPENAI2 = Path(os.environ.get("BATCHWAY_TEST_OPENAI2", REPOSITORY / ".venv-openai2"))
"""A folder made by `pip install --target`: the SDK before it changed from httpx to httpx2."""


async def walk(client: httpx2.AsyncClient, path: str) -> str:
    """Run the walk in a process of its own; `path` goes first on its PYTHONPATH."""
    address = str(client.base_url).rstrip("/")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        sdk_walk.__file__,
        f"{address}/v1",
        address,
        env=os.environ | {"PYTHONPATH": path},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    return output


async def test_openai_3(client: httpx2.AsyncClient) -> None:
    output = await walk(client, "")
    assert output.startswith("openai 3."), output
    assert output.endswith("ok walked\n"), output


async def test_openai_2(client: httpx2.AsyncClient) -> None:
    if not OPENAI2.is_dir():
        pytest.skip(f"no openai 2.x at {OPENAI2.name}: `make .venv-openai2`, or name a folder in BATCHWAY_TEST_OPENAI2")
    output = await walk(client, str(OPENAI2))
    assert output.startswith("openai 2."), output
    assert output.endswith("ok walked\n"), output


async def test_openai_3_in_process(client: httpx2.AsyncClient) -> None:
    base = f"{str(client.base_url).rstrip('/')}/v1"
    await sdk_walk.open_and_walk_async(base)
    with openai.OpenAI(base_url=base, api_key="sk-walk", max_retries=0) as sync:
        await asyncio.to_thread(sdk_walk.walk_chat, sync)
