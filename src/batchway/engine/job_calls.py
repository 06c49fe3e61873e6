"""What a job wants done at its provider, done: each action becomes HTTP calls, and what came of them a fact."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import BinaryIO

from msgspec import Struct, structs

from batchway.core.errors import BadRequest, NoRoom, Refusal, Unreachable
from batchway.core.job import Job, ProviderBatch, custom_id, facts
from batchway.core.job.commands import CancelBatch, DeleteFiles, List, Poll, Upload
from batchway.core.types import Fault, Request
from batchway.engine.scratch import scratch
from batchway.ports import BatchDialect, Incoming, JobStore, Outgoing, OutgoingRows, Sender

PAGE = 1000
"""Rows that are read and written into an upload at a time, at most."""

HEAVY = 4 << 20
"""Bytes of rows of middling size that are read at a time."""

PAGES = 100
"""Pages of a listing, at most: ten thousand batches."""

_NOT_CLEAR = Fault(
    whose="ours",
    status=503,
    type="overloaded",
    code="lease_too_short",
    message="The lease would not have outlasted the call.",
    retry_after=0.1,
)


class _NotClear(Exception):
    """Nothing may be sent now."""


class Account(Struct, frozen=True, kw_only=True):
    """One key of one provider: where a job was made, and where alone it is looked for (failures.md #26)."""

    id: str
    provider: str
    dialect: BatchDialect


class JobCalls:
    """Talks to providers for jobs. It decides nothing, and tries nothing again."""

    def __init__(self, store: JobStore, sender: Sender) -> None:
        self._store = store
        self._sender = sender

    async def upload(self, job: Job, dialect: BatchDialect, _action: Upload) -> facts.JobFact:
        """All rows as a file."""
        try:
            started = await self._start_upload(job, dialect)
            if isinstance(started, Fault):
                return facts.UploadFailed(started)
            file_id = dialect.decode_upload(await self._send_rows(job, dialect, dialect.encode_upload(job, started)))
        except Refusal as refusal:
            return facts.UploadFailed(refusal.fault)
        return facts.UploadFailed(file_id) if isinstance(file_id, Fault) else facts.Uploaded(file_id)

    async def _start_upload(self, job: Job, dialect: BatchDialect) -> Incoming | Fault | None:
        if dialect.terms.announces:
            job = structs.replace(job, size=await self._measure(job, dialect))
        start = dialect.encode_upload_start(job)
        if start is None:
            return None
        started = await self._sender.send(start)
        return started if started.status < 300 else dialect.fault(started)

    async def _measure(self, job: Job, dialect: BatchDialect) -> int:
        """Bytes of all lines, exactly: what is formed knows a bound only."""
        return sum([len(line) async for lines in self._pages(job, dialect) for line in lines])

    async def submit(
        self, job: Job, dialect: BatchDialect, timeout: float, clear: Callable[[], Awaitable[bool]]
    ) -> facts.JobFact:
        """Create the batch, once. `timeout`: seconds for the answer, where the rows are not in the call itself.
        `clear` is asked before the first byte goes: False, and none does."""
        try:
            outgoing = dialect.encode_create(job)
            if isinstance(outgoing, OutgoingRows):
                incoming = await self._send_rows(job, dialect, outgoing, clear)
            elif await clear():
                incoming = await self._sender.send(outgoing, timeout)
            else:
                raise _NotClear
        except _NotClear:
            return facts.SubmitFailed(_NOT_CLEAR, sent=False)
        except (Unreachable, BadRequest, NoRoom) as error:
            return facts.SubmitFailed(error.fault, sent=False)
        except Refusal as refusal:
            return facts.SubmitFailed(refusal.fault)
        batch = dialect.decode_batch(incoming)
        return facts.SubmitFailed(batch) if isinstance(batch, Fault) else facts.Submitted(batch)

    async def _send_rows(
        self,
        job: Job,
        dialect: BatchDialect,
        outgoing: OutgoingRows,
        clear: Callable[[], Awaitable[bool]] | None = None,
    ) -> Incoming:
        """Through a file of no name: its length must be known before the first byte goes, and it may be 200 MB."""
        with scratch() as file:
            await self._write_rows(file, job, dialect, outgoing)
            if clear is not None and not await clear():
                raise _NotClear
            length = file.tell()
            file.seek(0)
            head = Outgoing(method=outgoing.method, url=outgoing.url, headers=outgoing.headers, body=b"")
            return await self._sender.send_file(head, file, length)

    async def _write_rows(self, file: BinaryIO, job: Job, dialect: BatchDialect, outgoing: OutgoingRows) -> None:
        file.write(outgoing.before)
        between = b""
        async for lines in self._pages(job, dialect):
            file.write(between + outgoing.between.join(lines))
            between = outgoing.between
        file.write(outgoing.after)

    async def _pages(self, job: Job, dialect: BatchDialect) -> AsyncIterator[Sequence[bytes]]:
        """All lines, some at a time."""
        some, after = max(1, min(PAGE, HEAVY * job.n // max(1, job.size))), -1
        while lines := await self._store.rows(job, after, some, _liner(dialect, job)):
            yield [line for _, line in lines]
            after = lines[-1][0]

    async def list(self, job: Job, dialect: BatchDialect, action: List) -> facts.JobFact:
        """Batches of the account back to a time."""
        try:
            found = await list_batches(self._sender, dialect, action.tag, action.since)
        except Refusal as refusal:
            return facts.ListFailed(refusal.fault)
        if isinstance(found, Fault):
            return facts.ListFailed(found)
        batches, complete = found
        claimed = await self._store.recorded(job.account, job.id)
        return facts.Listed(batches=tuple(batches), complete=complete, claimed=claimed)

    async def poll(self, _job: Job, dialect: BatchDialect, action: Poll) -> facts.JobFact:
        """How a batch is."""
        try:
            batch = dialect.decode_batch(await self._sender.send(dialect.encode_get(action.batch_id)))
        except Refusal as refusal:
            batch = refusal.fault
        return facts.PollFailed(action.batch_id, batch) if isinstance(batch, Fault) else facts.Polled(batch)

    async def cancel(self, _job: Job, dialect: BatchDialect, action: CancelBatch) -> facts.JobFact:
        """End a batch."""
        try:
            shown = dialect.decode_cancel(await self._sender.send(dialect.encode_cancel(action.batch_id)))
        except Refusal as refusal:
            shown = refusal.fault
        if isinstance(shown, Fault):
            return facts.CancelFailed(action.batch_id, shown)
        return facts.Cancelled(action.batch_id, shown)

    async def delete(self, _job: Job, dialect: BatchDialect, action: DeleteFiles) -> facts.JobFact:
        """Delete our files. The first that cannot be deleted is told of; the others are tried all the same."""
        faults = [fault for file_id in action.file_ids if (fault := await self._delete(dialect, file_id)) is not None]
        return facts.DeleteFailed(faults[0]) if faults else facts.FilesDeleted()

    async def _delete(self, dialect: BatchDialect, file_id: str) -> Fault | None:
        outgoing = dialect.encode_delete(file_id)
        if outgoing is None:
            return None
        try:
            return dialect.decode_delete(await self._sender.send(outgoing))
        except Refusal as refusal:
            return refusal.fault


async def list_batches(
    sender: Sender, dialect: BatchDialect, tag: str | None, since: float
) -> tuple[Sequence[ProviderBatch], bool] | Fault:
    """Batches, newest first, until one is older than `since`; and whether nothing younger can be missing."""
    batches: list[ProviderBatch] = []
    after: str | None = None
    for _ in range(PAGES):
        page = dialect.decode_list(await sender.send(dialect.encode_list(tag, after)))
        if isinstance(page, Fault):
            return page
        batches += page.batches
        after = page.after
        if after is None or any(batch.created_at is not None and batch.created_at < since for batch in page.batches):
            return batches, True
    return batches, False


def _liner(dialect: BatchDialect, job: Job) -> Callable[[int, Request], bytes]:
    def line(position: int, request: Request) -> bytes:
        return dialect.line(request, custom_id(job.submit_tag, position))

    return line
