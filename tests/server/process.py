"""A real `batchway` process: started, asked, told to stop."""

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

_ADDRESS = re.compile(r"listens on (http://\S+)")


class Process:
    """The process, its address and what it has said so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said = ""
        self.printed = ""
        self.address = ""
        self._ready = asyncio.Event()
        self._listening = asyncio.create_task(self._listen())
        self._reading = asyncio.create_task(self._read())

    async def _listen(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.said += line.decode()
            found = _ADDRESS.search(line.decode())
            if found:
                self.address = found[1]
                self._ready.set()
        self._ready.set()

    async def _read(self) -> None:
        assert self.process.stdout is not None
        self.printed = (await self.process.stdout.read()).decode()

    async def ready(self) -> None:
        """Wait until it listens."""
        async with asyncio.timeout(30):
            await self._ready.wait()
        assert self.address, self.said

    def stop(self) -> None:
        """Ask it to end."""
        self.process.send_signal(signal.SIGTERM)

    async def ended(self) -> int:
        """Its exit code."""
        async with asyncio.timeout(30):
            code = await self.process.wait()
            await self._listening
            await self._reading
        return code


@asynccontextmanager
async def batchway(*arguments: str, environment: Mapping[str, str], folder: str) -> AsyncIterator[Process]:
    """A process with these variables alone, whose user's data are in this folder. What is left of it is killed."""
    process = Process(
        await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "batchway", *arguments),
            env={"XDG_DATA_HOME": folder, **environment},
            cwd=folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    )
    try:
        yield process
    finally:
        if process.process.returncode is None:
            process.process.kill()
        await process.ended()


def body(text: str, **fields: Any) -> bytes:
    """A chat."""
    return json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]} | fields).encode()
