"""Jobs driven live: formed, claimed when their time has come, worked on, and looked for where they should not be."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress

import structlog

from batchway.core.commands import FormJob
from batchway.core.errors import Refusal
from batchway.core.facts import Offered
from batchway.core.job import JobPolicy
from batchway.core.limits import Dice
from batchway.core.types import Request
from batchway.engine.ingest import Fenced
from batchway.engine.job_calls import Account
from batchway.engine.job_forming import Forming, Naming
from batchway.engine.job_steps import Desk, Steps
from batchway.engine.job_terms import Learning
from batchway.engine.rounds import rounds
from batchway.engine.strays import ROUND, Strays
from batchway.ports import Clock, Held, JobStore, Sender

AT_ONCE = 16
"""Jobs that are worked on at a time."""

LOOK = 5.0
"""Seconds after which the store is asked again for jobs that are due: other processes form them too."""

AGAIN = 1.0
"""Seconds to the next try while the store is down."""

RELEARN = 60.0
"""Seconds between two looks at what other processes have learnt."""

GRACE = 5.0
"""Seconds that what is under way may take to end when the gateway stops: a create call that is cut off is in doubt."""

_log = structlog.get_logger()


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
        looked: Callable[[str, float], bool] = lambda *_: True,
        reached: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`accounts` by id; `window`: the completion window that is asked for; `metadata`: put on every batch;
        `lease`: seconds that a job is held; `looked` is told of each job that was seen to, and when that began; False:
        look at it again."""
        self._store = store
        self._desk = desk
        self._clock = clock
        self._lease = lease
        self._looked = looked
        self._learning = learning
        self._forming = Forming(
            store,
            {account.provider: account for account in accounts.values()},
            desk,
            self.now,
            window=window,
            metadata=metadata,
            learning=learning,
            naming=naming,
            wake=self.wake,
            reached=reached,
        )
        self._steps = Steps(
            store,
            sender,
            accounts,
            desk,
            self.now,
            policy=policy,
            lease=lease,
            learning=learning,
            naming=naming,
            dice=dice,
            wake=self.wake,
            reached=reached,
        )
        self._strays = Strays(store, sender, accounts, learning, self.now, settle=policy.settle, wake=self.wake)
        self._round = max(AGAIN, policy.settle * ROUND)
        self._woken = asyncio.Event()
        self._working: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._offset = 0.0

    async def __aenter__(self) -> "Jobs":
        failed = self._desk.store_failed
        look = rounds(self._strays.look, self._round, at_once=False, refused=failed)
        relearn = rounds(self._relearn, RELEARN, refused=failed)
        self._loops = [asyncio.create_task(loop) for loop in (self._run(), look, relearn)]
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Nothing is begun any more; windows that closed on the way out are still formed, and what is under way may
        end, for a moment."""
        await _cancel(self._loops)
        await self._forming.close(GRACE)
        if self._working:
            await asyncio.wait(self._working, timeout=GRACE)
        await _cancel(list(self._working))
        with suppress(Refusal):
            await self._store.let_go()

    def now(self) -> float:
        """By the database's clock, as far as the last claim told."""
        return self._clock.now() + self._offset

    def wake(self) -> None:
        """There may be something due."""
        self._woken.set()

    def check(self, request: Request) -> None:
        """Raises BadRequest, naming what is wrong, for what its provider's Batch API cannot take (failures.md #16)."""
        self._forming.check(request)

    def form(self, command: FormJob) -> None:
        """Form the job, or as many as its provider's limits make of it."""
        self._forming.form(command)

    # Claiming

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                self._tell_lanes()
                full = await self._claim()
                pause = None if full else min(LOOK, max(0.0, await self._until_next()))
            except Refusal as refusal:
                self._desk.store_failed(refusal.fault)
                pause = AGAIN
            except Exception:  # noqa: BLE001  # A defect: whatever it is, other jobs must not wait for ever.
                _log.exception("claiming met a defect")
                pause = AGAIN
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()

    async def _relearn(self) -> None:
        self._learning.adopt(await self._store.learnt())
        self._tell_lanes()

    def _tell_lanes(self) -> None:
        """What the planner has not been told of Batch APIs that are not there, or may be tried again."""
        for provider, model, closed in self._learning.lanes(self.now()):
            self._desk.tell(Offered(provider, model, "batch", closed))

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
        begun = self._clock.now()
        try:
            await self._steps.work(held)
            if not self._looked(held.job.id, begun):
                await self._store.hurry(held.job.id)
        except Fenced:
            _log.warning("a job was taken by another while it was worked on", job_id=held.job.id)
        except Refusal as refusal:
            self._desk.store_failed(refusal.fault)
        except Exception:  # noqa: BLE001  # A defect: it may hold up this job until its lease is over, never another.
            _log.exception("a job met a defect", job_id=held.job.id)


async def _cancel(tasks: "list[asyncio.Task[None]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
