"""The caretaker: keeps this process's lease, takes over from dead ones, sees that rescues are made, and tidies up."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Protocol

import structlog
from msgspec import Struct

from batchway.core.errors import Refusal, Unauthorized
from batchway.core.events import Event
from batchway.core.facts import Fact, Landed, Rescue, Resumed
from batchway.core.rescue import overdue
from batchway.core.types import Fault
from batchway.engine.rescuing import TOO_LATE, Rescuing, refuse
from batchway.engine.rounds import rounds
from batchway.ports import Clock, Custody, JobStore, Journal, Pending

MANY = 5000
"""Requests that are taken over, or asked after, at a time."""

TURN = 100
"""Of those, so many are seen to before others have their turn."""

JUMP = 30.0
"""Seconds, or a lease if that is less, that the clock may be ahead of itself before it counts as a gap: a laptop that
slept."""

CAUGHT_UP = 60.0
"""Seconds, at most, that rescues wait for jobs to be looked at after a start or a gap."""

_log = structlog.get_logger()


class Desk(Protocol):
    """Whom the caretaker tells: the engine."""

    def tell(self, fact: Fact) -> None: ...
    def publish(self, event: Event) -> None: ...
    def awaited(self, *, in_jobs: bool) -> Sequence[str]:
        """Requests on disk that somebody waits for here, and that other processes may answer."""
        ...

    def adrift(self, asks: Iterable[str]) -> list[str]:
        """Those of these requests that nobody here is about to send."""
        ...

    def reaches(self, provider: str) -> bool:
        """Whether the provider is configured here."""
        ...

    def store_failed(self, fault: Fault) -> None: ...
    def store_worked(self) -> None: ...


class Pace(Struct, frozen=True, kw_only=True):
    """How often things are seen to. Seconds."""

    lease: float
    """That this process is taken for alive after a beat."""
    tick: float = 1.0
    """Between two looks at what is due."""
    sweep: float = 60.0
    """Between two rounds of tidying up."""


class CatchUp:
    """Which jobs have not been looked at since a start, or since this process stood still."""

    def __init__(self) -> None:
        self._unseen: set[str] = set()
        self._since = 0.0

    def looked(self, job_id: str, begun: float) -> bool:
        """This one was, by a look that began then, and what there was of its results is read. False: that is what was
        there before this process stood still; it has to be looked at again."""
        if job_id in self._unseen and begun < self._since:
            return False
        self._unseen.discard(job_id)
        return True

    def begin(self, job_ids: Iterable[str], since: float) -> None:
        """These are to be looked at, from now on; nothing waits for them for ever."""
        self._unseen, self._since = set(job_ids), since

    def over(self, now: float) -> bool:
        """Whether all were looked at, or long enough was waited."""
        return not self._unseen or now >= self._since + CAUGHT_UP


class Caretaker:
    """Use as an async context manager: entering begins the lease, leaving ends it."""

    def __init__(
        self,
        custody: Custody,
        journal: Journal,
        jobs: JobStore,
        desk: Desk,
        clock: Clock,
        catch_up: CatchUp,
        rescuing: Rescuing,
        *,
        pace: Pace,
        shared: bool,
        wake: Callable[[], None],
        reached: Callable[[str], None],
    ) -> None:
        """`shared`: other processes are expected to use the same store; those that do are found out in any case. `wake`
        has the jobs looked at. `reached` is told of places in this code, for proofs."""
        self._custody = custody
        self._journal = journal
        self._jobs = jobs
        self._desk = desk
        self._clock = clock
        self._caught = catch_up
        self._rescuing = rescuing
        self._pace = pace
        self._shared = shared
        self._company_until = 0.0
        self._heard = 0
        """Up to which of those that are awaited it was asked what others made of them."""
        self._wake = wake
        self._reached = reached
        self._tasks: list[asyncio.Task[None]] = []
        self._last_tick = 0.0

    async def __aenter__(self) -> "Caretaker":
        await self._custody.enter()
        await self._catch_up()
        paces = ((self._beat, self._pace.lease / 3), (self._tick, self._pace.tick), (self._sweep, self._pace.sweep))
        self._tasks = [
            asyncio.create_task(rounds(see_to, seconds, refused=self._desk.store_failed)) for see_to, seconds in paces
        ]
        return self

    async def __aexit__(self, *exception: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(Refusal):
            await self._custody.leave()

    async def _beat(self) -> None:
        if await self._custody.accompanied():
            # One that ends goes on counting for a while: what it did last has to be heard.
            self._company_until = self._clock.now() + 2 * self._pace.lease
        if not await self._custody.beat():
            # This process stood still for longer than its lease: others may have taken what was its own.
            _log.warning("the lease was over; going on under a new name")
            await self._custody.enter()
            await self._catch_up()
        self._desk.store_worked()

    async def _tick(self) -> None:
        now = self._clock.now()
        if self._last_tick and now - self._last_tick > self._pace.tick + min(JUMP, self._pace.lease):
            await self._catch_up()
        self._last_tick = now
        # First what has a deadline: nothing that goes wrong may come before it.
        if self._caught.over(now):
            await self._rescuing.see_to(now)
        await self._hear_of_others()
        await self._take_over()

    async def _sweep(self) -> None:
        while await self._custody.sweep():
            await asyncio.sleep(0)
        await self._look_after_own()

    async def _look_after_own(self) -> None:
        """What is ours on disk and nobody's here, because saving it ended in doubt, gets its way after all."""
        waiting = await self._custody.unseated(self._clock.now() - self._pace.sweep)
        adrift = [each for each in await self._custody.load(self._desk.adrift(waiting)) if each.job_id is None]
        if adrift:
            _log.warning("requests were on disk only", requests=len(adrift))
        await self._see_to_all(adrift, "it was on disk, and nobody was about to send it")

    async def _catch_up(self) -> None:
        """Every job is looked at before anything is rescued: most of what seems late is there already."""
        since = self._clock.now()
        self._caught.begin(await self._jobs.hurry(), since)
        self._wake()

    # Other processes

    async def _take_over(self) -> None:
        """All that dead processes had, some at a time, less what others are taking over."""
        while await self._custody.orphaned():
            self._reached("takeover.before")
            orphans = await self._custody.take_over(MANY)
            if not orphans.taken:
                return
            self._reached("takeover.after")
            _log.info("requests of dead processes were taken over", requests=orphans.taken)
            await self._see_to_all(orphans.adrift, "the process that had it is gone")

    async def _see_to_all(self, some: Sequence[Pending], why: str) -> None:
        """One that goes wrong harms no other."""
        gone = Counter(each.request.provider for each in some if not self._desk.reaches(each.request.provider))
        for provider, number in gone.items():
            # The gateway may have been restarted without its key by mistake: that ends no request.
            _log.warning("requests wait for a provider that is not configured", provider=provider, requests=number)
        for number, pending in enumerate(each for each in some if each.request.provider not in gone):
            try:
                await self._see_to(pending, why)
            except Refusal:
                raise
            except Exception:  # noqa: BLE001  # A defect.
                _log.exception("a request met a defect", request_id=pending.request.id)
            if number % TURN == TURN - 1:
                await asyncio.sleep(0)

    async def _see_to(self, pending: Pending, why: str) -> None:
        if pending.forwarded:
            await refuse(self._journal, self._desk, pending, _BEARER_GONE, "its caller's own key is not kept")
        elif overdue(pending.request, self._clock.now()):
            await refuse(self._journal, self._desk, pending, TOO_LATE, "its deadline passed while nobody had it")
        elif pending.lane == "direct":
            # It was on its way, or just about to be.
            self._desk.tell(Rescue(pending.request, pending.job_id or "", why))
        else:
            self._desk.tell(Resumed(pending.request, why))

    async def _hear_of_others(self) -> None:
        """Of many, some at each beat."""
        awaited = self._desk.awaited(in_jobs=self._shared or self._clock.now() < self._company_until)
        self._heard = 0 if self._heard >= len(awaited) else self._heard
        some = awaited[self._heard : self._heard + MANY]
        self._heard += MANY
        if not some:
            return
        for ask, (job_id, result) in (await self._journal.outcomes(some)).items():
            self._desk.tell(Landed(ask, job_id, result, heard=True))


_BEARER_GONE = Unauthorized(
    "The gateway restarted before this was sent, and the key that came with it is not kept; ask again.",
    code="bearer_gone",
).fault
