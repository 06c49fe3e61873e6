"""A batch dialect and a simulated provider with real HTTP between them: what the engine does with a job, in small."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from msgspec.structs import replace
from tests.core.asking import request
from tests.core.test_job import TAG, job
from tests.sandbox.submitting import World, a_world

from batchway.core.job import Job, ProviderBatch, RowResult, custom_id
from batchway.core.types import Answer, Fault, Request
from batchway.ports import BatchDialect, Dialect, Incoming, Outgoing, OutgoingRows
from batchway.providers.http import HttpSender
from batchway.providers.registry import BATCH_DIALECTS, DIALECTS, Account, row_of

KEY = "sk-test-9876"


def account(name: str, address: str) -> Account:
    """A provider as `assemble` makes it of a sandbox's address."""
    row = row_of(name)
    return Account(name=name, base_url=f"{address}/{name}{row.sandbox_path if row else '/v1'}", key=KEY)


def dialects(name: str, address: str) -> tuple[Dialect, BatchDialect]:
    """How a provider is spoken to, directly and in batches."""
    row = row_of(name)
    spoken = row.dialect if row else "openai"
    return DIALECTS[spoken](account(name, address)), BATCH_DIALECTS[spoken](account(name, address))


def chat(text: str, model: str = "gpt-4o-mini", **fields: Any) -> Request:
    """A chat request that asks for a repeatable answer."""
    content = {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0} | fields

    return request(body=json.dumps(content, ensure_ascii=False).encode(), model=model)


class Round:
    """One provider in a world whose clock is moved by hand."""

    def __init__(self, world: World, direct: Dialect, batches: BatchDialect, sender: HttpSender) -> None:
        self.world = world
        self.direct = direct
        self.batches = batches
        self._sender = sender

    async def send(self, outgoing: Outgoing) -> Incoming:
        """One call, as the engine makes it."""
        return await self._sender.send(outgoing)

    async def send_rows(self, outgoing: OutgoingRows, lines: Sequence[bytes]) -> Incoming:
        """One call that carries rows."""
        body = outgoing.before + outgoing.between.join(lines) + outgoing.after
        assert len(body) == outgoing.length(len(lines), sum(map(len, lines)))
        return await self.send(Outgoing(method=outgoing.method, url=outgoing.url, headers=outgoing.headers, body=body))

    async def submit(self, requests: Sequence[Request], **fields: Any) -> tuple[Job, ProviderBatch]:
        """Upload where rows travel so, and create."""
        lines = [self.batches.line(each, custom_id(TAG, position)) for position, each in enumerate(requests)]
        given = {"n": len(lines), "size": sum(map(len, lines)), "model": requests[0].prompt.model} | fields
        wanted = job(**given, window=self.batches.terms.window("24h"))
        if self.batches.terms.uploads:
            wanted = replace(wanted, input_file_id=await self.upload(wanted, lines))
        create = self.batches.encode_create(wanted)
        answer = await (self.send_rows(create, lines) if isinstance(create, OutgoingRows) else self.send(create))
        made = self.batches.decode_batch(answer)
        assert isinstance(made, ProviderBatch), made
        return wanted, made

    async def upload(self, wanted: Job, lines: Sequence[bytes]) -> str:
        """Upload, after what has to be sent before; the file's id."""
        exact = replace(wanted, size=sum(map(len, lines)))
        start = self.batches.encode_upload_start(exact)
        started = None if start is None else await self.send(start)
        file = self.batches.decode_upload(await self.send_rows(self.batches.encode_upload(wanted, started), lines))
        assert isinstance(file, str), file
        return file

    async def poll(self, batch: ProviderBatch, seconds: float = 0) -> ProviderBatch:
        """The batch so many seconds later."""
        self.world.move(seconds)
        found = self.batches.decode_batch(await self.send(self.batches.encode_get(batch.id)))
        assert isinstance(found, ProviderBatch), found
        return found

    async def listed(self, tag: str | None = None) -> list[ProviderBatch]:
        """All pages of the listing."""
        found: list[ProviderBatch] = []
        after: str | None = None
        for _ in range(100):
            page = self.batches.decode_list(await self.send(self.batches.encode_list(tag, after)))
            assert not isinstance(page, Fault), page
            found += page.batches
            after = page.after
            if after is None:
                return found
        raise AssertionError("the listing has no end")

    async def lines(self, batch: ProviderBatch) -> list[bytes]:
        """Every line of every page of every source."""
        found: list[bytes] = []
        for source in batch.sources:
            after: str | None = None
            for _ in range(100):
                answer = await self.send(self.batches.encode_results(source, after))
                assert answer.status == 200, answer
                reader = self.batches.result_reader(answer.headers)
                for start in range(0, len(answer.body), 1000):
                    found += reader.feed(answer.body[start : start + 1000])
                found += reader.end()
                if reader.after is None:
                    break
                assert reader.after != after, "the next page is this one"
                after = reader.after
        return found

    async def results(self, batch: ProviderBatch, wanted: Job) -> list[RowResult]:
        """What the lines say; each must be readable."""
        return [self.batches.read_result(line, wanted, 5.0) for line in await self.lines(batch)]

    async def answers(self, batch: ProviderBatch, wanted: Job) -> dict[int, bytes]:
        """The bodies of all answers by their rows; nothing but answers, none twice."""
        found: dict[int, bytes] = {}
        for result in await self.results(batch, wanted):
            assert isinstance(result.outcome, Answer), result
            assert result.outcome.finished_at == 5.0
            position = int(result.custom_id.removeprefix(f"{TAG}-"))
            assert position not in found
            found[position] = result.outcome.body
        return found

    async def asked(self, wanted: Request) -> bytes:
        """The answer to a direct call."""
        answer = self.direct.decode(wanted, await self.send(self.direct.encode(wanted)), 5.0)
        assert isinstance(answer, Answer), answer
        return answer.body


@asynccontextmanager
async def a_round(name: str, **settings: Any) -> AsyncIterator[Round]:
    """A world of its own; a batch of ten rows takes 120 seconds in it."""
    async with (
        a_world(name, **settings) as world,
        HttpSender(connect_timeout=5, request_timeout=20, max_body=50_000_000) as sender,
    ):
        yield Round(world, *dialects(name, str(world.http.base_url).rstrip("/")), sender)
