"""Jobs over a store: every operation of `ports.JobStore` as one transaction, and what a row costs as it lands."""

from collections.abc import Callable, Collection, Sequence

from sqlalchemy import Connection

from batchway.core.catalog import Catalog
from batchway.core.cost import charged, counterfactual
from batchway.core.job import Job, custom_id
from batchway.core.job.commands import JobWrite
from batchway.core.job.facts import CancelAsked
from batchway.core.settlement import UNTOLD
from batchway.core.turnaround import Turnaround
from batchway.core.types import Answer, Charge, Fault, Request, Usage
from batchway.ports import Berth, Held, Landing, Lesson, Made, Stepped, Successor
from batchway.store import answers, jobs, learnt, steps
from batchway.store.answers import Result
from batchway.store.custody import Custodian
from batchway.store.database import Database
from batchway.store.events import Told
from batchway.store.steps import JobStep


class StoreJobs:
    """`ports.JobStore`."""

    def __init__(self, database: Database, custodian: Custodian, catalog: Catalog, now: Callable[[], float]) -> None:
        """`now` dates what landed, for people; leases go by the database's clock."""
        self._database = database
        self._custodian = custodian
        self._catalog = catalog
        self._now = now

    async def form(self, job: Job, asks: Sequence[str]) -> list[str]:
        """See `ports.JobStore`."""
        return await self._database.write(jobs.form, job, asks, self._custodian.owner)

    async def claim(self, limit: int, seconds: float) -> list[Held]:
        """See `ports.JobStore`."""
        return await self._database.write(jobs.claim, self._custodian.owner, seconds, limit)

    async def next_at(self) -> float | None:
        """See `ports.JobStore`."""
        return await self._database.read(jobs.seconds_to_next)

    async def prolong(self, held: Held, seconds: float) -> Held | None:
        """See `ports.JobStore`."""
        return await self._database.write(jobs.prolong, held, seconds)

    async def step(
        self,
        held: Held,
        job: Job,
        writes: Sequence[JobWrite],
        names: Sequence[Successor],
        berth: Berth | None,
        told: Sequence[tuple[str, str]],
        *,
        release: bool,
    ) -> Stepped | None:
        """See `ports.JobStore`."""
        now = self._now()
        step = JobStep(
            held=held,
            job=job,
            release=release,
            writes=tuple(writes),
            names=tuple(names),
            reroute_to=self._custodian.owner,
            berth=berth,
            told=tuple([Told(at=now, tenant="", kind=kind, reason=why, job_id=job.id) for kind, why in told]),
        )
        taken = await self._database.write(steps.take, step, now)
        if taken is None:
            return None
        landed = [Landing(ask=result.ask, result=result.outcome, first=True) for result in taken.ended]
        still = Held(job=job, fence=held.fence, lease_until=held.lease_until, taken_at=held.taken_at)
        return Stepped(held=still, landed=tuple(landed), rerouted=taken.rerouted, formed=taken.formed)

    async def rows(
        self, job: Job, after: int, limit: int, make: Callable[[int, Request], Made]
    ) -> list[tuple[int, Made]]:
        """See `ports.JobStore`."""
        return await self._database.read(_rows, job, after, limit, make)

    async def land(self, held: Held, outcomes: Sequence[tuple[int, Answer | Fault]]) -> list[Landing] | None:
        """See `ports.JobStore`."""
        now, why = self._now(), f"its batch {held.job.provider_batch_id}"
        bound = jobs.bound_with(held.job)

        def settle(job: Job, row: jobs.Landing, outcome: Answer | Fault) -> Result:
            return self._result(job, bound, row, outcome, now, why)

        landed = await self._database.write(steps.land, held, outcomes, settle)
        if landed is None:
            return None
        return [
            Landing(ask=result.ask, result=result.outcome, first=first, charge=_charge(result, first=first))
            for result, first in landed
        ]

    async def count(self, job_id: str) -> tuple[int, int]:
        """See `ports.JobStore`."""
        counted = await self._database.read(jobs.count_rows, job_id)
        return counted.get("done", 0), counted.get("failed", 0)

    async def recorded(self, account: str, but: str) -> frozenset[str]:
        """See `ports.JobStore`."""
        return await self._database.read(_recorded, account, but)

    async def by_tags(self, tags: Collection[str]) -> dict[str, Job]:
        """See `ports.JobStore`."""
        return await self._database.read(jobs.by_tags, tags)

    async def hurry(self, only: str | None = None) -> list[str]:
        """See `ports.JobStore`."""
        return await self._database.write(jobs.hurry, only)

    async def cancel(self, job_id: str, wish: CancelAsked) -> bool:
        """See `ports.JobStore`."""
        return await self._database.write(jobs.ask_to_cancel, job_id, wish)

    async def look_again(self, job_id: str) -> bool:
        """See `ports.JobStore`."""
        return await self._database.write(jobs.have_looked_again, job_id)

    async def let_go(self) -> None:
        """See `ports.JobStore`."""
        await self._database.write(jobs.let_go, self._custodian.owner)

    async def accounts(self, since: float) -> list[str]:
        """See `ports.JobStore`."""
        return await self._database.read(jobs.accounts, since)

    async def learnt(self) -> list[Lesson]:
        """See `ports.JobStore`."""
        return await self._database.read(learnt.list_lessons)

    async def turnarounds(self, since: float) -> list[Turnaround]:
        """See `ports.JobStore`."""
        return await self._database.read(_turnarounds, since)

    async def add_turnaround(self, measured: Turnaround) -> None:
        """See `ports.JobStore`."""
        await self._database.write(learnt.add_turnarounds, [measured])

    def _result(
        self, job: Job, bound: Request, row: jobs.Landing, outcome: Answer | Fault, now: float, why: str
    ) -> Result:
        """The outcome of a row as it is written. `bound`: what it has in common with all of its job."""
        usage = None if isinstance(outcome, Fault) else outcome.usage
        cost, worth = charged(usage, bound, "batch", self._catalog), counterfactual(usage, bound, self._catalog)
        return Result(
            ask=row.ask,
            outcome=outcome,
            via="batch",
            finished_at=now,
            batch_id=job.id,
            cost=cost,
            saved=None if cost is None or worth is None else worth - cost,
            charges=() if isinstance(outcome, Fault) else (_charged(job, row, usage or UNTOLD, cost, worth, now),),
            # Each row that may be paid twice has a call id of its own.
            late_call=custom_id(job.submit_tag, row.position),
            why=why,
        )


def _charged(job: Job, row: jobs.Landing, usage: Usage, cost: int | None, worth: int | None, now: float) -> Charge:
    return Charge(
        call_id=job.id,
        request_id=row.request_id,
        tenant=row.tenant,
        key=row.key,
        provider=job.provider,
        model=job.model,
        via="batch",
        usage=usage,
        cost=cost,
        counterfactual=worth,
        at=now,
    )


def _charge(result: Result, *, first: bool) -> Charge | None:
    return next(iter(answers.booked(result, first=first)), None)


def _rows(
    connection: Connection, job: Job, after: int, limit: int, make: Callable[[int, Request], Made]
) -> list[tuple[int, Made]]:
    found = jobs.requests_of(connection, job, after=after, limit=limit)
    return [(position, make(position, request)) for position, request in found]


def _recorded(connection: Connection, account: str, but: str) -> frozenset[str]:
    return jobs.recorded(connection, account, but=but)


def _turnarounds(connection: Connection, since: float) -> list[Turnaround]:
    return learnt.list_turnarounds(connection, since=since)
