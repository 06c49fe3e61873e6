"""The official openai SDK, 3.x and 2.x, is walked through the gateway, with the sandbox behind it."""

import asyncio
import os
import sys

import pytest
from tests.gate import Gate, open_gate
from tests.sandbox import sdk_walk
from tests.sandbox.test_sdk import OPENAI2


async def walk(gate: Gate, path: str) -> str:
    """Run the walk in a process of its own; `path` goes first on its PYTHONPATH."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        sdk_walk.__file__,
        f"{gate.address}/v1",
        gate.upstream,
        env=os.environ | {"PYTHONPATH": path},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    return output


@pytest.mark.parametrize("major", ["3", "2"])
async def test_the_sdk_notices_nothing(major: str) -> None:
    if major == "2" and not OPENAI2.is_dir():
        pytest.skip(f"no openai 2.x at {OPENAI2.name}: `make .venv-openai2`, or name a folder in BATCHWAY_TEST_OPENAI2")
    # As the walk expects of a provider: its key is the caller's, and what the SDK is to retry reaches the SDK.
    async with open_gate(keyless=True, max_retries=0, reuse="off") as gate:
        output = await walk(gate, str(OPENAI2) if major == "2" else "")
        assert output.startswith(f"openai {major}."), output
        assert output.endswith("ok walked\n"), output
