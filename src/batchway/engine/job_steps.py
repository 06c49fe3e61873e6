"""The steps of one claimed job: what `core.job.advance` says is stored, then done, and what came of it is told.

A step is stored in one fenced transaction before its action is begun. This process may die anywhere in between; whoever
claims the job next goes on from what is stored.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import structlog
from msgspec import structs

from batchway.core.errors import Refusal
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
    Reroute,
    Submit,
    Upload,
)
from batchway.core.job.moment import told
from batchway.core.limits import Dice
from batchway.core.turnaround import Turnaround
from batchway.core.types import Fault
from batchway.engine.ingest import Fenced, Reading
from batchway.engine.job_calls import Account, JobCalls
from batchway.engine.job_forming import Naming
from batchway.engine.job_terms import Learning
from batchway.ports import Berth, Held, JobStore, Landing, Lesson, Occupied, Sender, Stepped

OCCUPIED = 5.0
"""Seconds, at most, that a job waits for others of its account before it asks again."""

ACTIONS = (Upload, Submit, List, Poll, Ingest, CancelBatch, DeleteFiles)

_log = structlog.get_logger()


class Desk(Protocol):
    """Whom the steps tell: the engine."""

    def tell(self, fact: Fact) -> None: ...
    def tell_all(self, told: Iterable[Fact]) -> None: ...
    def publish(self, event: Event) -> None: ...
    def store_failed(self, fault: Fault) -> None: ...


class Steps:
    """Takes jobs from step to step, many at a time."""

    def __init__(
        self,
        store: JobStore,
        sender: Sender,
        accounts: Mapping[str, Account],
        desk: Desk,
        now: Callable[[], float],
        *,
        policy: JobPolicy,
        lease: float,
        learning: Learning,
        naming: Naming,
        dice: Dice,
        wake: Callable[[], None],
        reached: Callable[[str], None],
    ) -> None:
        """`accounts` by id; `now`: by the database's clock; `lease`: seconds that a job is held; `wake`: there is
        something due; `reached` is told of places in this code, for proofs."""
        self._store = store
        self._sender = sender
        self._calls = JobCalls(store, sender)
        self._accounts = accounts
        self._desk = desk
        self._now = now
        self._policy = policy
        self._lease = lease
        self._learning = learning
        self._naming = naming
        self._dice = dice
        self._wake = wake
        self._reached = reached

    async def work(self, held: Held) -> None:
        """One claim, until nothing is left to do; the lease is prolonged meanwhile. Raises Fenced, and Refusal while
        the store is down."""
        walking = asyncio.create_task(self._walk(held))
        holding = asyncio.create_task(self._hold(held))
        try:
            done, _ = await asyncio.wait((walking, holding), return_when=asyncio.FIRST_COMPLETED)
            if walking not in done:
                raise Fenced
            walking.result()
        finally:
            for task in (walking, holding):
                task.cancel()
            await asyncio.gather(walking, holding, return_exceptions=True)

    async def _hold(self, held: Held) -> None:
        """Ends when another has the job."""
        while True:
            await asyncio.sleep(self._lease / 3)
            try:
                if await self._store.prolong(held, self._lease) is None:
                    return
            except Refusal as refusal:
                self._desk.store_failed(refusal.fault)

    async def _walk(self, held: Held) -> None:
        account = self._accounts.get(held.job.account)
        if account is None:
            await self._wait_for_account(held)
            return
        if held.cancel is not None:
            job, _ = advance(held.job, held.cancel, self._now(), self._rules(account, held.job))
            held = structs.replace(held, job=job)
        fact: facts.JobFact | None = facts.Claimed()
        while fact is not None:
            held, action = await self._step(account, held, fact)
            fact = None if action is None else await self._act(held, account, action)

    def _rules(self, account: Account, job: Job) -> Rules:
        return Rules(policy=self._policy, terms=self._learning.terms(account, job.model), dice=self._dice)

    # Storing

    async def _step(self, account: Account, held: Held, fact: facts.JobFact) -> tuple[Held, JobAction | None]:
        """Take one fact. Returns the job as it is held now, and what it wants done; None: it is let go of."""
        job, commands = advance(held.job, fact, self._now(), self._rules(account, held.job))
        action, writes = _sorted(commands)
        berth = self._berth(account, job) if isinstance(action, Submit) else None
        try:
            stored = self._store_step(held, job, writes, berth, _reason(commands, fact), release=action is None)
            return await stored, action
        except Occupied as occupied:
            return await self._put_off(account, held, job, writes, str(occupied)), None
        except Fenced:
            if isinstance(fact, facts.Submitted):
                await self._tell_of_duplicate(job)
            raise

    async def _put_off(self, account: Account, held: Held, job: Job, writes: Sequence[JobWrite], why: str) -> Held:
        """As if the create call had not got away: what was reached before it, such as an upload, is kept."""
        wait = min(OCCUPIED, self._policy.poll_interval)
        not_sent = facts.SubmitFailed(_ours("account_occupied", why, wait), sent=False)
        waiting, commands = advance(job, not_sent, self._now(), self._rules(account, job))
        waiting = structs.replace(waiting, submissions=held.job.submissions)
        return await self._store_step(held, waiting, (*writes, *_sorted(commands)[1]), None, why, release=True)

    def _berth(self, account: Account, job: Job) -> Berth:
        serial = self._learning.terms(account, job.model).serial
        return Berth(serial=serial, enqueued=self._learning.enqueued(account.provider, job.model))

    async def _store_step(
        self, held: Held, job: Job, writes: Sequence[JobWrite], berth: Berth | None, reason: str, *, release: bool
    ) -> Held:
        """Store it, and tell what it did. Raises Fenced and Occupied."""
        parts = sum([write.parts for write in writes if isinstance(write, Requeue)])
        names = [self._naming.successor() for _ in range(parts)]
        moved = held.job.state != job.state or held.job.status != job.status
        events: list[tuple[str, str]] = [(write.kind, write.why) for write in writes if isinstance(write, Note)]
        events += [(f"job.{job.state}", reason)] if moved else []
        places = [f"{job.state}.store", *["reroute" for write in writes if isinstance(write, Reroute)]]
        self._reach(places, "before")
        stepped = await self._store.step(held, job, writes, names, berth, events, release=release)
        if stepped is None:
            raise Fenced
        self._reach(places, "after")
        self._tell(held.job, stepped, writes, reason)
        return stepped.held

    def _reach(self, places: Sequence[str], when: str) -> None:
        for place in places:
            self._reached(f"{place}.{when}")

    async def _wait_for_account(self, held: Held) -> None:
        """Its key was taken away: other accounts do not know its batch."""
        why = f"the account {held.job.account} is not configured any more"
        later = structs.replace(held.job, next_at=self._now() + self._policy.hold, last_error=why)
        await self._store_step(held, later, (Note(kind="held", why=why),), None, why, release=True)

    async def _tell_of_duplicate(self, job: Job) -> None:
        """The call went through while the job was taken by another, who may have made a batch as well."""
        _log.warning("a batch was created for a job that another has taken", job_id=job.id)
        await self._store.look_again(job.id)
        self._wake()

    # Telling

    def _tell(self, before: Job, stepped: Stepped, writes: Sequence[JobWrite], reason: str) -> None:
        job, now = stepped.held.job, self._now()
        if before != job:
            self._desk.publish(JobMoved(at=now, job=job, before=before, reason=reason))
        for write in writes:
            if isinstance(write, Note):
                self._desk.publish(JobNoted(at=now, job=job, kind=write.kind, reason=write.why))
            if isinstance(write, Learn):
                self._learn(job, write, now)
        self._landed(job, stepped.landed)
        for pending in stepped.rerouted:
            self._desk.tell(Resumed(pending.request, reason, "batch"))
        for formed in stepped.formed:
            self._desk.publish(JobMoved(at=now, job=formed, before=None, reason=reason))
            self._wake()

    def _landed(self, job: Job, landings: Sequence[Landing]) -> None:
        """Rows have their outcomes on disk."""
        self._desk.tell_all([Landed(each.ask, job.id, each.result, each.charge, each.first) for each in landings])

    def _learn(self, job: Job, write: Learn, now: float) -> None:
        lesson = Lesson(provider=job.provider, model=job.model, name=write.name, value=write.value, at=now)
        self._learning.adopt([lesson])
        for provider, model, closed in self._learning.lanes(now):
            self._desk.tell(Offered(provider, model, "batch", closed))

    # Acting

    async def _act(self, held: Held, account: Account, action: JobAction) -> facts.JobFact:
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
        timeout = self._lease / 2

        async def clear() -> bool:
            asked_at = self._now()
            if await self._store.prolong(held, self._lease) is None:
                raise Fenced
            return self._now() < asked_at + self._lease - timeout

        return await self._calls.submit(held.job, account.dialect, timeout=timeout, clear=clear)

    async def _ingest(self, held: Held, account: Account, action: Ingest) -> facts.JobFact:
        reading = Reading(
            self._store,
            self._sender,
            account.dialect,
            held,
            action,
            now=self._now,
            landed=lambda landings: self._landed(held.job, landings),
            reached=self._reached,
        )
        fact = await reading.read()
        if isinstance(fact, facts.Ingested):
            await self._measure(held.job)
        return fact

    async def _measure(self, job: Job) -> None:
        """A batch came back: how long it took says how long others will."""
        if job.submitted_at is None or job.over_at is None or job.status != "completed" or job.downloads:
            return
        seconds = max(0.0, job.over_at - job.submitted_at)
        measured = Turnaround(provider=job.provider, model=job.model, at=job.over_at, seconds=seconds, n=job.n)
        await self._store.add_turnaround(measured)
        self._desk.tell(Measured(measured))


def _sorted(commands: Sequence[JobCommand]) -> tuple[JobAction | None, tuple[JobWrite, ...]]:
    """The action, if there is one, and what is written."""
    actions = [command for command in commands if isinstance(command, ACTIONS)]
    writes = tuple([command for command in commands if not isinstance(command, ACTIONS)])
    return (actions[0] if actions else None), writes


def _reason(commands: Sequence[JobCommand], fact: facts.JobFact) -> str:
    """Why it is as it is now: what the first command says, else what happened."""
    if commands:
        return commands[0].why
    fault = getattr(fact, "fault", None)
    if fault is not None:
        return told(fault)
    describe = _HAPPENED.get(type(fact))
    return type(fact).__name__.lower() if describe is None else describe(fact)


_HAPPENED: Mapping[type, Callable[[Any], str]] = {
    facts.Submitted: lambda fact: f"the provider made it: {fact.batch.id}",
    facts.Polled: lambda fact: f"the provider says: {fact.batch.said}",
    facts.Ingested: lambda fact: f"{fact.done} answers and {fact.failed} faults were read",
    facts.FilesDeleted: lambda _: "our files at the provider are deleted",
}
"""What happened, in words for people, where it leads to nothing that says why."""


def _ours(code: str, why: str, retry_after: float) -> Fault:
    return Fault(whose="ours", status=503, type="overloaded", code=code, message=why, retry_after=retry_after)
