"""Real `batchway start` processes before a sandbox: started, asked, killed, and asked again for what they took on."""

import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from sqlalchemy import select
from tests.server.process import Process, batchway

from batchway import sandbox as simulated
from batchway.providers.registry import ROWS
from batchway.sandbox import Sandbox, faults
from batchway.sandbox.batch_contract import lasting
from batchway.store.connections import make_engine, read_url
from batchway.store.tables import jobs, requests

PROOF = bool(os.environ.get("BATCHWAY_PROOF"))
"""Whether proofs run at full size."""

QUICK: Mapping[str, object] = {
    "batch_size": 20,
    "flush_interval": 0.1,
    "poll_interval": 0.05,
    "settle": 0.2,
    "vanish_grace": 0.2,
    "lease": 0.2,
    "rescue_margin": 0.0,
    "rescue_call_seconds": 0.1,
    "request_timeout": 10,
    "drain_timeout": 1,
}
"""Settings under which the life of a job is a matter of a second."""


class Question:
    """A request that is asked until it is acknowledged, and looked up until it has its end."""

    def __init__(self, number: int, provider: str, model: str, **fields: Any) -> None:
        self.id = f"q-{number}"
        self.text = f"question-{number:05} please"
        self.model = model
        self.body = {
            "model": model,
            "messages": [{"role": "user", "content": self.text}],
            "provider": provider,
            "request_id": self.id,
            "temperature": 0,
            "max_tokens": 60,
            "priority": "low",
            **fields,
        }
        self.acknowledged = False
        self.outcome: str | None = None
        """The text of its answer, or the code of its fault."""

    @property
    def answered(self) -> bool:
        """Whether it has its own answer."""
        return self.outcome is not None and f": {self.text} " in self.outcome


async def ask(http: httpx2.AsyncClient, question: Question) -> None:
    """Ask, not to wait. What is not acknowledged may be asked again."""
    answer = await http.post("/v1/chat/completions", json=question.body, headers={"prefer": "respond-async"})
    assert answer.status_code in (200, 202), (question.id, answer.text)
    question.acknowledged = True


async def look_up(http: httpx2.AsyncClient, question: Question) -> None:
    """See whether it has its end."""
    answer = await http.get(f"/requests/{question.id}")
    assert answer.status_code == 200 or not question.acknowledged, f"lost: {question.id} {answer.text}"
    found = answer.json()
    if found["status"] == "completed":
        question.outcome = found["response"]["choices"][0]["message"]["content"]
    if found["status"] == "failed" and answer.status_code == 200:
        question.outcome = found["error"]["code"]


class World:
    """A sandbox that outlives the gateways before it, and all that is asked of them."""

    def __init__(self, sandbox: Sandbox, upstream: str, folder: Path, database_url: str) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self._engine = make_engine(read_url(database_url), writes=False, size=1)
        self.questions: list[Question] = []
        self._variables = {"PATH": os.environ["PATH"], "HOME": str(folder), "BATCHWAY_DATABASE_URL": database_url}
        for row in ROWS:
            self._variables[row.url_variables[0]] = f"{upstream}/{row.name}{row.sandbox_path}"
            self._variables[row.key_variables[0]] = "sandbox-key"

    def close(self) -> None:
        """Look into the store no more."""
        self._engine.dispose()

    @asynccontextmanager
    async def gateway(self, **settings: object) -> AsyncIterator[Process]:
        """A process that is starting. It may die at any time; what is left of it is killed."""
        given = {f"BATCHWAY_{name.upper()}": str(value) for name, value in (dict(QUICK) | settings).items()}
        environment = self._variables | given
        async with batchway("start", "--port", "0", environment=environment, folder=str(self.folder)) as process:
            yield process

    def fault(self, rules: Iterable[Mapping[str, Any]]) -> None:
        """Switch these faults on, and all others off."""
        self.sandbox.faults.switch_off()
        self.sandbox.faults.switch_on(faults.read(msgspec.json.encode(list(rules))))

    def new_questions(self, number: int, provider: str, model: str, **fields: Any) -> list[Question]:
        """Questions that nobody asked yet."""
        first = len(self.questions)
        self.questions += [Question(first + each, provider, model, **fields) for each in range(number)]
        return self.questions[first:]

    async def finish(self, http: httpx2.AsyncClient, seconds: float = 60) -> None:
        """Ask what was not acknowledged, and wait until everything has its end."""
        async with asyncio.timeout(seconds):
            for question in self.questions:
                if not question.acknowledged:
                    await ask(http, question)
            while waiting := [question for question in self.questions if question.outcome is None]:
                for question in waiting:
                    await look_up(http, question)
                await asyncio.sleep(0.05)

    def states(self, asked: Iterable[Question]) -> set[str]:
        """The states of the jobs that these questions ride in, as the store has them."""
        mine = requests.c.request_id.in_([question.id for question in asked])
        with self._engine.connect() as connection:
            return set(
                connection.scalars(select(jobs.c.state).join(requests, requests.c.job_id == jobs.c.id).where(mine))
            )

    # What the provider knows at the end

    def batches_by_tag(self) -> dict[str, set[str]]:
        """For each of our tags the batches that did rows under it."""
        found: dict[str, set[str]] = defaultdict(set)
        for line in self.sandbox.ledger.view({}, 1_000_000).lines:
            if line.custom_id is not None and line.batch_id is not None:
                found[line.custom_id.rpartition("-")[0]].add(line.batch_id)
        return found

    def billed_twice(self, model: str) -> int:
        """How many completions of a model were billed beyond the first for their question."""
        billed = self.sandbox.ledger.billed("request_hash", {"model": model}).billed
        return sum(Counter(billed).values()) - len(billed)

    def live_batches(self) -> int:
        """Batches that have not ended."""
        return len(self.sandbox.batches.live())


@asynccontextmanager
async def world(folder: Path, database_url: str, *, seconds: float = 0.3, **options: Any) -> AsyncIterator[World]:
    """A sandbox (of these options) whose batches take so long."""
    import time

    sandbox = Sandbox(now=time.time, sleep=asyncio.sleep, batch_schedule=lasting(seconds), **options)
    async with simulated.serve(simulated.app(sandbox)) as upstream:
        made = World(sandbox, upstream, folder, database_url)
        yield made
        made.close()


@asynccontextmanager
async def client(process: Process) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a process that is ready."""
    async with httpx2.AsyncClient(base_url=process.address, timeout=20) as http:
        yield http
