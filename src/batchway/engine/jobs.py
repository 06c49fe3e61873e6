"""Jobs driven live: forms them, claims those whose time has come, and takes each from step to step by `core.job`.

A step is: what `advance` says is stored in one fenced transaction, its action is done, and the fact that comes of it is
told. This process may die anywhere in between; whoever claims the job next goes on from what is stored.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

import structlog
from msgspec import Struct, structs

from batchway.core.commands import FormJob
from batchway.core.errors import BadRequest, Refusal
from batchway.core.events import Event, JobMoved, JobNoted
from batchway.core.facts import Fact, Landed, Measured, Offered, Resumed
from batchway.core.job import Job, JobPolicy, Rules, advance, facts
from batchway.core.job.commands import (
    CancelBatch,
    DeleteFiles,
    Ingest,
    JobAction,
    JobCommand,
    JobWrite,
    Learn,
    List,
    Note,
    Poll,
    Requeue,
    Submit,
    Upload,
)
from batchway.core.job.forming import Share, deal, limits_of
from batchway.core.limits import Dice
from batchway.core.turnaround import Turnaround
from batchway.core.types import Request
from batchway.engine.ingest import Fenced, Reading
from batchway.engine.job_calls import Account, JobCalls
from batchway.engine.job_terms import Learning
from batchway.ports import Berth, Clock, Held, JobStore, Landing, Occupied, Sender, Stepped, Successor

AT_ONCE = 16
"""Jobs that are worked on at a time."""

LOOK = 5.0
"""Seconds after which the store is asked again for jobs that are due: other processes form them too."""

AGAIN = 1.0
"""Seconds to the next try while the store is down."""

OCCUPIED = 5.0
"""Seconds that a job waits for others of its account, before it asks again."""

LONGEST_ID = "b" * 40
"""As long as a custom_id can be."""

ACTIONS = (Upload, Submit, List, Poll, Ingest, CancelBatch, DeleteFiles)

_log = structlog.get_logger()


class Desk(Protocol):
    """Whom the driver tells: the engine."""

    def tell(self, fact: Fact) -> None: ...
    def publish(self, event: Event) -> None: ...


class Naming(Struct, frozen=True):
    """Makes ids of jobs, and tags that are unique for ever and go into every custom_id."""

    ids: Callable[[], str]

    def successor(self) -> Successor:
        """An id and its tag."""
        job_id = self.ids()
        return Successor(id=job_id, tag=tag_of(job_id))


def tag_of(job_id: str) -> str:
    """The tag of a job: its id without dashes, in fewer digits, so that a custom_id stays short."""
    number, digits = int(job_id.replace("-", ""), 16), []
    while number:
        number, digit = divmod(number, 36)
        digits.append("0123456789abcdefghijklmnopqrstuvwxyz"[digit])
    return "bw-" + "".join(reversed(digits)).rjust(25, "0")


class Jobs:
    """Use as an async context manager: entering starts the work, leaving hands back what is held."""

    def __init__(
        self,
        store: JobStore,
        sender: Sender,
        accounts: Mapping[str, Account],
        desk: Desk,
        clock: Clock,
        *,
        policy: JobPolicy,
        window: str,
        metadata: tuple[tuple[str, str], ...],
        lease: float,
        learning: Learning,
        naming: Naming,
        dice: Dice,
        reached: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`accounts` by id; `window`: the completion window that is asked for; `metadata`: put on every batch;
        `lease`: seconds that a job is held."""
        self._store = store
        self._sender = sender
        self._calls = JobCalls(store, sender)
        self._accounts = accounts
        self._by_provider = {account.provider: account for account in accounts.values()}
        self._desk = desk
        self._clock = clock
        self._policy = policy
        self._window = window
        self._metadata = metadata
        self._lease = lease
        self._learning = learning
        self._naming = naming
        self._dice = dice
        self._reached = reached
        self._woken = asyncio.Event()
        self._working: set[asyncio.Task[None]] = set()
        self._forming: set[asyncio.Task[None]] = set()
        self._offset = 0.0
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Jobs":
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Windows that closed on the way out are still formed; what is under way is let go of as it is stored."""
        await asyncio.gather(*self._forming, return_exceptions=True)
        tasks = [task for task in (self._running, *self._working) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def now(self) -> float:
        """By the database's clock, as far as the last claim told."""
        return self._clock.now() + self._offset

    def wake(self) -> None:
        """There may be something due."""
        self._woken.set()

    # Forming

    def check(self, request: Request) -> None:
        """Raises BadRequest, naming what is wrong, for what its provider's Batch API cannot take (failures.md #16)."""
        account = self._by_provider[request.provider]
        terms = self._learning.terms(account, request.prompt.model)
        if request.endpoint not in terms.endpoints:
            allowed = ", ".join(terms.endpoints)
            raise BadRequest(
                f"strategy: the Batch API of '{account.provider}' takes {allowed}, and no {request.endpoint}; leave "
                "strategy out, or use 'direct'.",
                param="strategy",
                code="not_batchable",
            )
        size = len(account.dialect.line(request, LONGEST_ID))
        if terms.max_bytes is not None and size > terms.max_bytes:
            raise BadRequest(
                f"The request has {size} bytes as a line of a batch, and '{account.provider}' takes "
                f"{terms.max_bytes} of all lines; send it directly.",
                code="not_batchable",
            )

    def form(self, command: FormJob) -> None:
        """Form the job, or as many as its provider's limits make of it."""
        task = asyncio.get_running_loop().create_task(self._form(command))
        self._forming.add(task)
        task.add_done_callback(self._forming.discard)

    async def _form(self, command: FormJob) -> None:
        first = command.requests[0]
        account = self._by_provider[first.provider]
        terms = self._learning.terms(account, first.prompt.model)
        limits = limits_of(terms, self._learning.enqueued(account.provider, first.prompt.model))
        for number, share in enumerate(deal(command.requests, limits)):
            # The planner knows the first by the id it gave; the others are found by their requests.
            job_id = command.job_id if number == 0 else self._naming.ids()
            await self._form_share(account, job_id, share, terms.window(self._window), command.why)
        self.wake()

    async def _form_share(self, account: Account, job_id: str, share: Share, window: str, why: str) -> None:
        """Until it is stored: its requests are on disk, and a crash before leads back to their windows."""
        left = share
        while left.requests:
            job = self._job(account, job_id, left, window)
            self._reached("form.before")
            try:
                lost = await self._store.form(job, [request.ask for request in left.requests])
            except Refusal as refusal:
                _log.error("a job cannot be stored yet", job_id=job_id, reason=refusal.fault.message)
                await asyncio.sleep(AGAIN)
                continue
            if not lost:
                self._reached("form.after")
                self._desk.publish(JobMoved(at=self._clock.now(), job=job, before=None, reason=why))
                return
            gone = frozenset(lost)
            left = structs.replace(left, requests=tuple([each for each in left.requests if each.ask not in gone]))

    def _job(self, account: Account, job_id: str, share: Share, window: str) -> Job:
        first = share.requests[0]
        now = self.now()
        return Job(
            id=job_id,
            submit_tag=tag_of(job_id),
            provider=account.provider,
            account=account.id,
            endpoint=first.endpoint,
            model=first.prompt.model,
            window=window,
            n=len(share.requests),
            size=share.size,
            tokens=share.tokens,
            metadata=self._metadata,
            created_at=now,
            next_at=now,
        )

    # Claiming

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                full = await self._claim()
                pause = None if full else min(LOOK, max(0.0, await self._until_next()))
            except Refusal as refusal:
                _log.error("jobs cannot be claimed", reason=refusal.fault.message)
                pause = AGAIN
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()

    async def _claim(self) -> bool:
        """Take what is due. True: no more can be worked on before one of those is done."""
        room = AT_ONCE - len(self._working)
        if room > 0:
            for held in await self._store.claim(room, self._lease):
                self._offset = held.taken_at - self._clock.now()
                task = asyncio.create_task(self._work(held))
                self._working.add(task)
                task.add_done_callback(self._worked)
        return len(self._working) >= AT_ONCE

    async def _until_next(self) -> float:
        seconds = await self._store.next_at()
        # What is held by ourselves is due again when it is let go of, and that wakes.
        return LOOK if seconds is None else max(seconds, 0.01)

    def _worked(self, task: "asyncio.Task[None]") -> None:
        self._working.discard(task)
        self.wake()

    async def _work(self, held: Held) -> None:
        """One claim. One job that goes wrong harms no other (failures.md #24)."""
        try:
            await _Work(self, held).run()
        except Fenced:
            _log.warning("a job was taken by another while it was worked on", job_id=held.job.id)
        except Refusal as refusal:
            _log.error("a job cannot be seen to now", job_id=held.job.id, reason=refusal.fault.message)
        except Exception:  # noqa: BLE001  # A defect: it may hold up this job until its lease is over, never another.
            _log.exception("a job met a defect", job_id=held.job.id)

    # What a step is made of; `_Work` puts it together.

    def account(self, job: Job) -> Account | None:
        """Where it was made, if that is still configured."""
        return self._accounts.get(job.account)

    def rules(self, account: Account, job: Job) -> Rules:
        """What decides about the job besides its row."""
        return Rules(policy=self._policy, terms=self._learning.terms(account, job.model), dice=self._dice)

    def berth(self, account: Account, job: Job) -> Berth:
        """What must be free before it is submitted."""
        serial = self._learning.terms(account, job.model).serial
        return Berth(serial=serial, enqueued=self._learning.enqueued(account.provider, job.model))

    async def store_step(
        self, held: Held, job: Job, writes: Sequence[JobWrite], berth: Berth | None, reason: str, *, release: bool
    ) -> Stepped:
        """Store it, and tell what it did. Raises Fenced and Occupied."""
        parts = sum(write.parts for write in writes if isinstance(write, Requeue))
        names = [self._naming.successor() for _ in range(parts)]
        moved = held.job.state != job.state or held.job.status != job.status
        told: list[tuple[str, str]] = [(write.kind, write.why) for write in writes if isinstance(write, Note)]
        told += [(f"job.{job.state}", reason)] if moved else []
        self._reached(f"{job.state}.store.before")
        stepped = await self._store.step(held, job, writes, names, berth, told, release=release)
        if stepped is None:
            raise Fenced
        self._reached(f"{job.state}.store.after")
        self._tell(held.job, stepped, writes, reason)
        return stepped

    def _tell(self, before: Job, stepped: Stepped, writes: Sequence[JobWrite], reason: str) -> None:
        job, now = stepped.held.job, self._clock.now()
        if before != job:
            self._desk.publish(JobMoved(at=now, job=job, before=before, reason=reason))
        for write in writes:
            if isinstance(write, Note):
                self._desk.publish(JobNoted(at=now, job=job, kind=write.kind, reason=write.why))
            if isinstance(write, Learn):
                self._learn(job, write)
        for landing in stepped.landed:
            self.landed(job, landing)
        for pending in stepped.rerouted:
            self._desk.tell(Resumed(pending.request, reason))
        for formed in stepped.formed:
            self._desk.publish(JobMoved(at=now, job=formed, before=None, reason=reason))
            self.wake()

    def landed(self, job: Job, landing: Landing) -> None:
        """A row has its outcome on disk."""
        self._desk.tell(Landed(landing.ask, job.id, landing.result, landing.charge, landing.first))

    def _learn(self, job: Job, write: Learn) -> None:
        closed = self._learning.learn(job.provider, job.model, write.name, write.value)
        if closed is not None:
            self._desk.tell(Offered(job.provider, job.model, "batch", closed))

    async def measure(self, job: Job) -> None:
        """A batch came back: how long it took says how long others will."""
        if job.submitted_at is None or job.over_at is None or job.status != "completed":
            return
        seconds = max(0.0, job.over_at - job.submitted_at)
        measured = Turnaround(provider=job.provider, model=job.model, at=job.over_at, seconds=seconds, n=job.n)
        await self._store.add_turnaround(measured)
        self._desk.tell(Measured(measured))

    async def act(self, held: Held, account: Account, action: JobAction) -> facts.JobFact:
        """Do what the job wants at its provider."""
        job, dialect = held.job, account.dialect
        name = type(action).__name__.lower()
        self._reached(f"{name}.before")
        fact: facts.JobFact
        match action:
            case Upload():
                fact = await self._calls.upload(job, dialect, action)
            case Submit():
                fact = await self._submit(held, account)
            case List():
                fact = await self._calls.list(job, dialect, action)
            case Poll():
                fact = await self._calls.poll(job, dialect, action)
            case Ingest():
                fact = await self._ingest(held, account, action)
            case CancelBatch():
                fact = await self._calls.cancel(job, dialect, action)
            case DeleteFiles():
                fact = await self._calls.delete(job, dialect, action)
        self._reached(f"{name}.after")
        return fact

    async def _submit(self, held: Held, account: Account) -> facts.JobFact:
        """Only if the lease outlasts the call: else another may create the same while this one is on its way."""
        longer = await self._store.prolong(held, self._lease)
        if longer is None:
            raise Fenced
        return await self._calls.submit(held.job, account.dialect, timeout=self._lease / 2)

    async def _ingest(self, held: Held, account: Account, action: Ingest) -> facts.JobFact:
        reading = Reading(
            self._store,
            self._sender,
            account.dialect,
            held,
            action,
            now=self._clock.now,
            landed=lambda landing: self.landed(held.job, landing),
            reached=self._reached,
        )
        return await reading.read()

    async def prolong_for_ever(self, held: Held) -> None:
        """Keep the lease while the work goes on; ends when another has the job."""
        while True:
            await asyncio.sleep(self._lease / 3)
            try:
                if await self._store.prolong(held, self._lease) is None:
                    return
            except Refusal as refusal:
                _log.warning("a lease could not be prolonged", job_id=held.job.id, reason=refusal.fault.message)


class _Work:
    """One claim of one job: from step to step until nothing is left to do."""

    def __init__(self, jobs: Jobs, held: Held) -> None:
        self._jobs = jobs
        self._held = held

    async def run(self) -> None:
        working = asyncio.create_task(self._steps())
        holding = asyncio.create_task(self._jobs.prolong_for_ever(self._held))
        try:
            done, _ = await asyncio.wait((working, holding), return_when=asyncio.FIRST_COMPLETED)
            if working not in done:
                raise Fenced
            working.result()
        finally:
            for task in (working, holding):
                task.cancel()
            await asyncio.gather(working, holding, return_exceptions=True)

    async def _steps(self) -> None:
        account = self._jobs.account(self._held.job)
        if account is None:
            await self._wait_for_account()
            return
        job, fact = self._held.job, facts.Claimed()
        if self._held.cancel is not None:
            job, _ = advance(job, self._held.cancel, self._jobs.now(), self._jobs.rules(account, job))
        following: facts.JobFact | None = fact
        while following is not None:
            following = await self._step(account, job, following)
            job = self._held.job

    async def _step(self, account: Account, job: Job, fact: facts.JobFact) -> facts.JobFact | None:
        """Take one fact. Returns the next; None: it is let go of."""
        after, commands = advance(job, fact, self._jobs.now(), self._jobs.rules(account, job))
        action, writes = _sorted(commands)
        reason = _reason(commands, fact)
        berth = self._jobs.berth(account, after) if isinstance(action, Submit) else None
        try:
            stepped = await self._jobs.store_step(self._held, after, writes, berth, reason, release=action is None)
        except Occupied as occupied:
            later = structs.replace(job, next_at=self._jobs.now() + OCCUPIED)
            await self._jobs.store_step(self._held, later, (), None, str(occupied), release=True)
            return None
        self._held = stepped.held
        if after.state == "done":
            await self._jobs.measure(after)
        return None if action is None else await self._jobs.act(self._held, account, action)

    async def _wait_for_account(self) -> None:
        """Its key was taken away: other accounts do not know its batch."""
        job, why = self._held.job, f"the account {self._held.job.account} is not configured any more"
        later = structs.replace(job, next_at=self._jobs.now() + JobPolicy().hold, last_error=why)
        note = Note(kind="held", why=why)
        await self._jobs.store_step(self._held, later, (note,), None, why, release=True)


def _sorted(commands: Sequence[JobCommand]) -> tuple[JobAction | None, tuple[JobWrite, ...]]:
    """The action, if there is one, and what is written."""
    actions = [command for command in commands if isinstance(command, ACTIONS)]
    writes = tuple([command for command in commands if not isinstance(command, ACTIONS)])
    return (actions[0] if actions else None), writes


def _reason(commands: Sequence[JobCommand], fact: facts.JobFact) -> str:
    """Why it is as it is now: what the first command says, else what happened."""
    if commands:
        return commands[0].why
    told = _TOLD.get(type(fact))
    return type(fact).__name__.lower() if told is None else told(fact)


_TOLD: Mapping[type, Callable[[Any], str]] = {
    facts.Submitted: lambda fact: f"the provider made it: {fact.batch.id}",
    facts.Polled: lambda fact: f"the provider says: {fact.batch.said}",
    facts.PollFailed: lambda fact: f"it could not be looked at: {fact.fault.message}",
    facts.Ingested: lambda fact: f"{fact.done} answers and {fact.failed} faults were read",
    facts.FilesDeleted: lambda _: "our files at the provider are deleted",
}
