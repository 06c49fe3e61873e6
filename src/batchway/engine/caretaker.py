"""The caretaker: keeps this process's lease, takes over from dead ones, rescues what would be late, and tidies up."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import structlog
from msgspec import Struct

from batchway.core.catalog import Catalog
from batchway.core.commands import Keep
from batchway.core.errors import DeadlinePassed, Refusal, Unauthorized
from batchway.core.events import Event, JobMoved, Rescued
from batchway.core.facts import Fact, Landed, Rescue, Resumed
from batchway.core.rescue import RescueRule, head_start, measure
from batchway.core.router import direct_cost
from batchway.core.types import Fault, Lane, Request
from batchway.ports import Clock, Custody, JobStore, Journal, Pending

MANY = 500
"""Requests that are taken over, or rescued, at a time."""

SWEEP = 60.0
"""Seconds between two sweeps of bodies whose time is over."""

JUMP = 30.0
"""Seconds that the clock may be ahead of itself before it counts as a gap: a laptop that slept."""

CAUGHT_UP = 60.0
"""Seconds, at most, that rescues wait for jobs to be looked at after a start or a gap."""

DAY = 86_400.0

_log = structlog.get_logger()


class Desk(Protocol):
    """Whom the caretaker tells: the engine."""

    def tell(self, fact: Fact) -> None: ...
    def publish(self, event: Event) -> None: ...
    def awaited(self, *, in_jobs: bool) -> Sequence[str]:
        """Requests on disk that somebody waits for here, and that other processes may answer."""
        ...


class Pace(Struct, frozen=True, kw_only=True):
    """How often things are seen to. Seconds."""

    lease: float
    """That this process is taken for alive after a beat."""
    tick: float = 1.0
    """Between two looks at what is due."""


class CatchUp:
    """A listener: which jobs have not been looked at since a start, or since this process stood still."""

    def __init__(self) -> None:
        self._unseen: set[str] = set()
        self._by = 0.0

    @property
    def hears(self) -> Mapping[type, Callable[..., None]]:
        """A job that changed was looked at: each look counts itself."""
        return {JobMoved: lambda event: self._unseen.discard(event.job.id)}

    def begin(self, job_ids: Iterable[str], by: float) -> None:
        """These are to be looked at; by then nothing waits for them any longer."""
        self._unseen, self._by = set(job_ids), by

    def over(self, now: float) -> bool:
        """Whether all were looked at, or long enough was waited."""
        return not self._unseen or now >= self._by


class Caretaker:
    """Use as an async context manager: entering begins the lease, leaving ends it."""

    def __init__(
        self,
        custody: Custody,
        journal: Journal,
        jobs: JobStore,
        desk: Desk,
        clock: Clock,
        catalog: Catalog,
        catch_up: CatchUp,
        *,
        pace: Pace,
        rescue: RescueRule,
        shared: bool,
        wake: Callable[[], None],
    ) -> None:
        """`shared`: other processes may use the same store. `wake` has the jobs looked at."""
        self._shared = shared
        self._custody = custody
        self._journal = journal
        self._jobs = jobs
        self._desk = desk
        self._clock = clock
        self._catalog = catalog
        self._pace = pace
        self._rule = rescue
        self._wake = wake
        self._tasks: list[asyncio.Task[None]] = []
        self._spent = 0
        self._day = 0.0
        self._caught = catch_up
        self._last_tick = 0.0

    async def __aenter__(self) -> "Caretaker":
        await self._custody.enter()
        await self._catch_up()
        for seconds, see_to in (
            (self._pace.lease / 3, self._beat),
            (self._pace.tick, self._tick),
            (SWEEP, self._sweep),
        ):
            self._tasks.append(asyncio.create_task(self._every(seconds, see_to)))
        return self

    async def __aexit__(self, *exception: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(Refusal):
            await self._custody.leave()

    async def _every(self, seconds: float, see_to: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await see_to()
            except Refusal as refusal:
                _log.warning("not seen to: the store is down", what=see_to.__name__, reason=refusal.fault.message)
            await asyncio.sleep(seconds)

    async def _beat(self) -> None:
        if not await self._custody.beat():
            # This process stood still for longer than its lease: others may have taken what was its own.
            _log.warning("the lease was over; going on under a new name")
            await self._custody.enter()
            await self._catch_up()

    async def _tick(self) -> None:
        now = self._clock.now()
        if self._last_tick and now - self._last_tick > self._pace.tick + JUMP:
            await self._catch_up()
        self._last_tick = now
        await self._take_over()
        await self._hear_of_others()
        if self._caught.over(now):
            await self._rescue(now)

    async def _sweep(self) -> None:
        while await self._custody.sweep():
            await asyncio.sleep(0)

    # After a start, or a gap

    async def _catch_up(self) -> None:
        """Every job is looked at before anything is rescued: most of what seems late is there already."""
        self._caught.begin(await self._jobs.hurry(), by=self._clock.now() + CAUGHT_UP)
        self._wake()

    async def _take_over(self) -> None:
        for pending in await self._custody.take_over(MANY):
            if pending.forwarded:
                await self._refuse(pending, _BEARER_GONE, "its caller's own key is not kept")
            elif pending.job_id is None:
                self._desk.tell(Resumed(pending.request, "the process that had it is gone"))
            elif pending.lane == "direct":
                self._desk.tell(Rescue(pending.request, pending.job_id, "the process that rescued it is gone"))

    async def _hear_of_others(self) -> None:
        awaited = self._desk.awaited(in_jobs=self._shared)
        if not awaited:
            return
        for ask, (job_id, result) in (await self._journal.outcomes(awaited)).items():
            self._desk.tell(Landed(ask, job_id, result))

    # Rescue

    async def _rescue(self, now: float) -> None:
        horizon = now + self._rule.call_seconds * 10
        near = await self._custody.due(horizon, MANY)
        until = now + head_start(len(near), self._rule)
        for pending in near:
            if pending.rescue_at is not None and pending.rescue_at <= until:
                await self._take_measure(pending, now)

    async def _take_measure(self, pending: Pending, now: float) -> None:
        request, job_id = pending.request, pending.job_id or ""
        if now // DAY != self._day:
            self._day, self._spent = now // DAY, 0
        expected = direct_cost(request, self._catalog)
        what = measure(request, expected=expected, spent=self._spent, rule=self._rule)
        why = _WHY[what]
        self._desk.publish(Rescued(at=now, request=request, job_id=job_id, measure=what, reason=why))
        await self._custody.attend([request.ask], "direct" if what == "send" else "batch")
        if what == "fail":
            await self._refuse(pending, _TOO_LATE, why)
        elif what == "send":
            self._spent += expected or 0
            self._desk.tell(Rescue(request, job_id, why))

    async def _refuse(self, pending: Pending, fault: Fault, why: str) -> None:
        """Write its fault down, and tell whoever waits for it here."""
        request = pending.request
        await self._journal.keep(_fault_of(request, fault, pending.lane, why))
        self._desk.tell(Landed(request.ask, pending.job_id or "", fault))


_WHY = {
    "send": "its deadline comes before its batch: asked directly as well",
    "fail": "its deadline passed before its batch came back (on_deadline=fail)",
    "leave": "its deadline comes, but rescues have cost what they may cost today (rescue_cap_usd)",
}

_TOO_LATE = DeadlinePassed("The deadline passed before the answer came (on_deadline=fail).").fault
_BEARER_GONE = Unauthorized(
    "The gateway restarted before this was sent, and the key that came with it is not kept; ask again.",
    code="bearer_gone",
).fault


def _fault_of(request: Request, fault: Fault, lane: Lane, why: str) -> Keep:
    return Keep(
        request=request, result=fault, via=lane, call_id="", packed=1, charges=(), cost=None, saved=None, why=why
    )
