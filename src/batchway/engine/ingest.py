"""Ingest: reads the results of a batch, and stores what they settle in small transactions, in the order of the rows."""

from collections.abc import Callable, Sequence

import structlog

from batchway.core.errors import NoRoom, Refusal, UpstreamMalformed
from batchway.core.job import Tally, facts
from batchway.core.job.commands import Ingest
from batchway.core.types import Answer, Fault
from batchway.engine.scratch import scratch
from batchway.engine.spool import Spool
from batchway.ports import BatchDialect, Held, Incoming, JobStore, Landing, Outgoing, Sender

GROUP = 1000
"""Rows written in one transaction, at most: acceptance never waits long for one."""

HEAVY = 4 << 20
"""Bytes of results that are written at once, or little more: however large they are, they take little memory."""

LONGEST = 256 << 20
"""Bytes that one result line may have."""

_log = structlog.get_logger()


class Fenced(Exception):
    """Another has taken the job: nothing that is read now may be written."""


class Reading:
    """One reading of the results of a job, by its holder."""

    def __init__(
        self,
        store: JobStore,
        sender: Sender,
        dialect: BatchDialect,
        held: Held,
        action: Ingest,
        *,
        now: Callable[[], float],
        landed: Callable[[Sequence[Landing]], None],
        reached: Callable[[str], None],
    ) -> None:
        """`landed` is told of the rows that were written; `reached` of places in this code, for proofs."""
        self._store = store
        self._sender = sender
        self._dialect = dialect
        self._held = held
        self._action = action
        self._now = now
        self._landed = landed
        self._reached = reached
        self._tally = Tally(held.job, last=action.last)
        self._waiting: list[tuple[int, Answer | Fault]] = []
        self._weight = 0

    async def read(self) -> facts.Ingested | facts.IngestFailed:
        """Read all sources to their end; what was read until one broke is stored too. Raises Fenced."""
        try:
            with scratch() as file:
                fault = await self._read_into(Spool(file, self._held.job.submit_tag))
        except NoRoom as full:
            fault = full.fault
        done, failed = await self._store.count(self._held.job.id)
        if fault is not None:
            return facts.IngestFailed(fault=fault, done=done, failed=failed)
        return self._tally.ingested(done=done, failed=failed)

    async def _read_into(self, spool: Spool) -> Fault | None:
        try:
            fault = await self._read_sources(spool)
        except Refusal as refusal:
            fault = refusal.fault
        try:
            await self._store_lines(spool)
        except Refusal as refusal:
            fault = refusal.fault
        return fault

    async def _read_sources(self, spool: Spool) -> Fault | None:
        for source in self._action.sources:
            after: str | None = None
            while True:
                read = await self._read_page(self._dialect.encode_results(source, after), spool)
                if isinstance(read, Fault):
                    return read
                if read is None or read == after:
                    # A server that does not know where a page begins would give the first one for ever.
                    break
                after = read
        return None

    async def _read_page(self, outgoing: Outgoing, spool: Spool) -> str | Fault | None:
        """What the next page is asked by; None: that was all."""
        async with self._sender.stream(outgoing) as incoming:
            if incoming.status >= 300:
                whole = Incoming(status=incoming.status, headers=incoming.headers, body=await incoming.body())
                return self._dialect.fault(whole)
            reader = self._dialect.result_reader(incoming.headers)
            unread = 0
            async for piece in incoming.chunks():
                lines = reader.feed(piece)
                unread = 0 if lines else unread + len(piece)
                if unread > LONGEST:
                    raise UpstreamMalformed(f"A result line is longer than {LONGEST} bytes.")
                for line in lines:
                    spool.put(line)
            for line in reader.end():
                spool.put(line)
            return reader.after

    async def _store_lines(self, spool: Spool) -> None:
        for line in spool.lines():
            self._take(line)
            if len(self._waiting) >= GROUP or self._weight >= HEAVY:
                await self._write()
        await self._write()

    def _take(self, line: bytes) -> None:
        """A line that cannot be read harms only itself: its row is missing, and asked for again."""
        try:
            result = self._dialect.read_result(line, self._held.job, self._now())
        except ValueError as error:
            self._tally.bad += 1
            _log.warning("a result line cannot be read", job_id=self._held.job.id, error=str(error)[:200])
            return
        meaning, position = self._tally.take(result)
        if meaning == "settles" and result.outcome is not None:
            self._waiting.append((position, result.outcome))
            self._weight += len(line)

    async def _write(self) -> None:
        if not self._waiting:
            return
        group, self._waiting, self._weight = self._waiting, [], 0
        self._reached("land.before")
        landings = await self._store.land(self._held, group)
        if landings is None:
            raise Fenced
        self._reached("land.after")
        self._landed(landings)
