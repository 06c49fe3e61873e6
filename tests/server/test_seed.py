"""The batching middleware's README, line by line: its command, its curl and each of its variables, on a real
process. (Its cache served everything; ours serves what is repeatable, or everything with BATCHWAY_REUSE=all.)"""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.gate import CHAT
from tests.server.process import Process

from batchway import sandbox as simulated
from batchway.data.vocabulary import Vocabularies
from batchway.sandbox import Sandbox

ROOT = Path(__file__).parent.parent.parent
HELLO = (
    '{"model":"gpt-4o-mini","messages":[{"role":"system","content":"You are helpful."},'
    '{"role":"user","content":"Say hello"}]}'
)
"""The body of its curl."""


class Middleware:
    """A process that was started as its README says, and the provider behind it."""

    def __init__(self, process: Process, world: Sandbox, http: httpx2.AsyncClient) -> None:
        self.process = process
        self.world = world
        self.http = http

    @property
    def lines(self) -> list[Any]:
        """The provider's ledger."""
        return list(self.world.ledger.view({}, 1000).lines)

    async def ask(self, text: str = "Say hello", **fields: Any) -> httpx2.Response:
        """A chat, by default without a model."""
        turns = [{"role": "system", "content": "You are helpful."}, {"role": "user", "content": text}]
        return await self.http.post(CHAT, json={"messages": turns} | fields)


@asynccontextmanager
async def middleware(folder: Path, variables: Mapping[str, str]) -> AsyncIterator[Middleware]:
    """`python run.py` with these variables; `UPSTREAM` in them stands for the provider's address."""
    counted = Vocabularies().counter("o200k_base")
    world = Sandbox(now=time.time, sleep=asyncio.sleep, count=counted, words=1)
    async with simulated.serve(simulated.app(world)) as upstream:
        given = {name: value.replace("UPSTREAM", upstream) for name, value in variables.items()}
        process = Process(
            await asyncio.create_subprocess_exec(
                sys.executable,
                *(str(ROOT / "run.py"), "--port", "0"),
                env={"PATH": os.environ["PATH"], "HOME": str(folder)} | given,
                cwd=folder,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        )
        try:
            await process.ready()
            async with httpx2.AsyncClient(base_url=process.address, timeout=30) as http:
                yield Middleware(process, world, http)
        finally:
            process.stop()
            await process.ended()


OPENAI = {"OPENAI_API_KEY": "sk-of-the-owner", "OPENAI_BASE_URL": "UPSTREAM/v1"}


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
async def test_its_curl(tmp_path: Path) -> None:
    async with middleware(tmp_path, OPENAI) as running:
        command = (
            "curl",
            "-s",
            f"{running.process.address}{CHAT}",
            "-H",
            "Content-Type: application/json",
            "-d",
            HELLO,
        )
        curl = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        printed, _ = await curl.communicate()
        assert b'"object":"chat.completion"' in printed and b"Say hello" in printed
        assert [(line.provider, line.model, line.key) for line in running.lines] == [("openai", "gpt-4o-mini", "wner")]


async def test_its_env_file(tmp_path: Path) -> None:
    """Step 1: `.env` from the example, with the key set."""
    example = (ROOT / ".env.example").read_text()
    (tmp_path / ".env").write_text(example.replace("#OPENAI_API_KEY=", "OPENAI_API_KEY=sk-in-the-file"))
    async with middleware(tmp_path, {"OPENAI_BASE_URL": "UPSTREAM/v1"}) as running:
        assert (await running.ask(model="gpt-4o-mini")).status_code == 200
        assert running.lines[0].key == "file"


async def test_a_generic_provider(tmp_path: Path) -> None:
    variables = {"DOWNSTREAM_PROVIDER": "generic", "DOWNSTREAM_URL": "UPSTREAM/generic/v1/chat/completions"}
    async with middleware(tmp_path, variables | {"DOWNSTREAM_API_KEY": "sk-some"}) as running:
        assert (await running.ask(model="my-model")).status_code == 200
        assert [(line.provider, line.model) for line in running.lines] == [("generic", "my-model")]


async def test_its_window_its_size_and_its_defaults(tmp_path: Path) -> None:
    """Compatible requests share a call: same model, temperature, top_p and system prompt."""
    variables = {
        "BATCH_WINDOW_MS": "1000",
        "MAX_BATCH_SIZE": "3",
        "DEFAULT_MODEL": "gpt-4o-mini",
        "DEFAULT_MAX_OUTPUT_TOKENS": "77",
        "DEFAULT_TEMPERATURE": "0.3",
        "DEFAULT_TOP_P": "0.9",
    }
    async with middleware(tmp_path, OPENAI | variables) as running:
        answers = await asyncio.gather(*(running.ask(f"Say {word}.") for word in ("agate", "beryl", "citrine")))
        for word, answer in zip(("agate", "beryl", "citrine"), answers, strict=True):
            assert answer.headers["x-batchway-packed"] == "3"
            assert f"Say {word}." in answer.json()["choices"][0]["message"]["content"]
        assert len(running.lines) == 1
        begun = time.monotonic()
        other = await asyncio.gather(running.ask("a", temperature=1), running.ask("b"), running.ask("c", top_p=0.1))
        assert not any("x-batchway-packed" in answer.headers for answer in other)
        assert time.monotonic() - begun > 0.9, "each waited its window"


async def test_its_cache(tmp_path: Path) -> None:
    variables = {"CACHE_TTL_SEC": "60", "CACHE_MAX_ENTRIES": "1", "BATCHWAY_REUSE": "all"}
    async with middleware(tmp_path, OPENAI | variables) as running:
        vias = [
            (await running.ask(text, model="gpt-4o-mini")).headers["x-batchway-routed-via"]
            for text in ("a", "a", "b", "a")
        ]
        assert vias == ["direct", "cache", "direct", "direct"], "one entry: the older one was put out"


async def test_its_token_budgets(tmp_path: Path) -> None:
    variables = {"DEFAULT_CONTEXT_TOKENS": "600", "META_OVERHEAD_TOKENS": "100"}
    story = " ".join(f"On day {at} the ferry left {at % 7} minutes late." for at in range(300))
    async with middleware(tmp_path, OPENAI | variables) as running:
        turns = [{"role": "user", "content": story}, {"role": "user", "content": "When did the ferry leave?"}]
        answer = await running.ask(model="gpt-4o-mini", messages=turns)
        assert "extraction" in answer.headers["x-batchway-fitted"]
        assert 400 < running.lines[0].input <= 500


async def test_its_timeout(tmp_path: Path) -> None:
    async with middleware(tmp_path, OPENAI | {"REQUEST_TIMEOUT_SEC": "0.3", "BATCHWAY_MAX_RETRIES": "0"}) as running:
        running.world.faults.switch_on([simulated.faults.Delay(count=None, seconds=5.0)])
        answer = await running.ask(model="gpt-4o-mini")
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "upstream_timeout")
