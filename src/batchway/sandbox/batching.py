"""A batch as a machine over time, whichever dialect made it: what it is at any moment follows from the clock alone.

    validating ─▶ running ─▶ finalizing ─▶ completed        the work's own way
    validating ─▶ failed                                    the input is wrong, or a limit is hit
    validating, running, finalizing ─▶ expired              the window has passed
    validating, running, finalizing ─▶ cancelling ─▶ cancelled

1. Nothing runs in the background. `advance` brings a batch from the last moment it was looked at to the present, in
   slices, so that whoever drives it can let others have a turn between two of them.
2. Each moment in `times` is when the step was due, not when somebody looked.
3. A line is done once, at its own moment, and billed once, then. Its result is on disk; the batch holds counts only.
4. What has ended does not change any more.
"""

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence

from batchway.sandbox.batch_contract import (
    Done,
    Ending,
    Look,
    Order,
    Problem,
    Schedule,
    Sight,
    State,
    Trouble,
    Work,
)
from batchway.sandbox.blobs import Pile
from batchway.sandbox.ledger import Ledger, Line

SLICE = 64
"""Lines between two turns for others: some milliseconds."""

TOLERANCE = 1e-6
"""Seconds (a float has seven digits left to those of today), so that a clock moved to the moment of a line finds it
done."""


class Batch:
    """One batch. The moments it is told never go back."""

    def __init__(
        self,
        order: Order,
        work: Work,
        schedule: Schedule,
        troubles: Sequence[Trouble],
        ledger: Ledger,
        *,
        sound: bool = False,
    ) -> None:
        """`sound`: its lines were checked before it was made, so that it runs from the beginning."""
        for trouble in troubles:
            schedule = trouble.reschedule(schedule)
        self.order = order
        self.work = work
        self.schedule = schedule
        self.output = Pile()
        self.errors = Pile()
        self.times: dict[State, float] = {}
        self.problems: tuple[Problem, ...] = ()
        self.ended: Ending | None = None
        self.done = self.failed = self.billed = 0
        self.input = self.generated = self.cached = 0
        self.polls = self._polls_since_end = 0
        self.troubles = tuple(troubles)
        self._ledger = ledger
        self._checked = self._sound = sound
        self._opens_at = order.at + schedule.validating

    @property
    def expires_at(self) -> float:
        """When the window has passed; may be infinite."""
        return self.order.at + self.schedule.window

    @property
    def size(self) -> int:
        """Lines, known once validation has found them sound."""
        return self.work.size if self._sound else 0

    def state(self, now: float) -> State:
        """What it is, having been advanced to `now`."""
        if self.ended is not None:
            return self.ended
        if "cancelling" in self.times:
            return "cancelling"
        if not self._checked:
            return "validating"
        return "running" if now < self._finished_at else "finalizing"

    def live(self, at: float) -> bool:
        """Whether it had not ended at a moment that it has been advanced to."""
        return self.ended is None or self.times[self.ended] > at

    def sight(self, now: float, *, polled: bool = True) -> Sight:
        """What it looks like from outside, having been advanced to `now`."""
        if polled:
            self.polls += 1
            self._polls_since_end += self.ended is not None
        look = Look(age=now - self.order.at, polls=self.polls, polls_since_end=self._polls_since_end)
        sight = Sight(state=self.state(now), tags=self.order.tags)
        for trouble in self.troubles:
            sight = trouble.look(sight, look)
        return sight

    def cancel(self, now: float) -> None:
        """Ask for its end, having been advanced to `now`. Once is enough."""
        if self.ended is None:
            self.times.setdefault("cancelling", now)

    def advance(self, now: float) -> Iterator[None]:
        """Bring it to the present, a slice of work at a time."""
        if self.ended is not None:
            return
        if not self._checked and self._opens_at <= min(now, self._end()[0]):
            yield from self._check()
        at, ending = self._end()
        if self.size and self._opens_at < at:
            self.times.setdefault("running", self._opens_at)
        yield from self._work(self._due(min(now, at)))
        if self.size and self._finished_at <= min(now, at):
            self.times.setdefault("finalizing", self._finished_at)
        if at <= now:
            yield from self._finish(at, ending)

    def _check(self) -> Iterator[None]:
        self.problems = yield from self.work.check(self._opens_at)
        verdict = self.schedule.verdict
        if verdict is not None and verdict.state == "failed" and verdict.lines == 0 and verdict.problem is not None:
            self.problems = (verdict.problem,)
        self._checked, self._sound = True, not self.problems

    @property
    def _finished_at(self) -> float:
        pause = self.schedule.pause
        return self._opens_at + self.schedule.pace(self.size) * self.size + (pause.seconds if pause else 0.0)

    def _end(self) -> tuple[float, Ending]:
        """When and how it will end, as far as is known."""
        schedule, verdict = self.schedule, self.schedule.verdict
        ends: list[tuple[float, Ending]] = [(self.expires_at, "expired")]
        if self.problems:
            ends.append((self._opens_at, "failed"))
        elif self._checked:
            if not self._stopped:
                ends.append((self._finished_at + schedule.finalizing, "completed"))
            if verdict is not None:
                lines = min(verdict.lines, self.size)
                ends.append((self._opens_at + lines * schedule.pace(self.size), verdict.state))
        if "cancelling" in self.times and schedule.cancel != "ignored":
            ends.append((self.times["cancelling"] + schedule.cancelling, "cancelled"))
        return min(ends, key=lambda end: end[0])

    @property
    def _stopped(self) -> bool:
        """A cancel has come in time to leave lines undone."""
        cancelled = self.times.get("cancelling", math.inf)
        return self.schedule.cancel == "heeded" and cancelled < self._finished_at

    def _due(self, until: float) -> int:
        """How many lines are done by then."""
        if self.schedule.cancel == "heeded":
            until = min(until, self.times.get("cancelling", until))
        if until >= self._finished_at:
            return self.size  # To the second of today a float has seven digits left: too few to divide by.
        worked, pace, most = until - self._opens_at, self.schedule.pace(self.size), self.size
        if worked < 0:
            return 0
        if self.schedule.pause is not None:
            rest = max(0.0, worked - self.schedule.pause.lines * pace)
            most = min(most, self.schedule.pause.lines) if rest < self.schedule.pause.seconds else most
            worked -= min(rest, self.schedule.pause.seconds)
        return min(most, math.floor((worked + TOLERANCE) / pace))

    def _moment(self, nth: int) -> float:
        """When the nth line is done."""
        pause = self.schedule.pause
        rested = pause.seconds if pause is not None and nth >= pause.lines else 0.0
        return self._opens_at + (nth + 1) * self.schedule.pace(self.size) + rested

    def _work(self, until: int) -> Iterator[None]:
        turn = turns(self.work.size, self.work.in_order)
        for nth in range(self.done, until):
            at = self._moment(nth)
            failure = next((found for trouble in self.troubles if (found := trouble.fail(nth))), None)
            done = self.work.do(turn(nth), at, failure)
            self._keep(nth, done)
            self._book(done, at)
            if nth % SLICE == SLICE - 1:
                yield

    def _keep(self, nth: int, done: Done) -> None:
        lines: tuple[bytes, ...] = (done.data,)
        for trouble in self.troubles:
            lines = trouble.write(nth, done, lines)
        pile = self.output if done.place == "output" else self.errors
        for line in lines:
            pile.add(line)
        self.done += 1
        self.failed += done.failed

    def _book(self, done: Done, at: float) -> None:
        well = done.status is not None and 200 <= done.status < 300
        self.billed += well
        self.input += done.bill.input
        self.generated += done.bill.output
        self.cached += done.bill.cached
        self._ledger.append(
            Line(
                n=self._ledger.next,
                at=at,
                provider=self.order.provider,
                endpoint=done.endpoint,
                model=done.bill.model,
                key=self.order.key[-4:],
                lane="batch",
                tier=done.bill.tier,
                status=done.status,
                outcome="completed" if well else "refused",
                input=done.bill.input,
                output=done.bill.output,
                cached=done.bill.cached,
                written=done.bill.written,
                written_hour=done.bill.written_hour,
                stream=False,
                request_id=done.request_id,
                request_hash=done.request_hash,
                idempotency_key=None,
                faults=tuple(trouble.kind for trouble in self.troubles),
                batch_id=self.order.id,
                custom_id=done.custom_id,
            )
        )

    def _finish(self, at: float, ending: Ending) -> Iterator[None]:
        if self.schedule.fails_if_all_fail and ending == "completed" and self.failed == self.size:
            ending = "failed"
        verdict = self.schedule.verdict
        if verdict is not None and verdict.problem is not None and ending == verdict.state:
            self.problems = (verdict.problem,)
        yield from self._give_up(ending)
        for trouble in self.troubles:
            trouble.close(self.output)
        self.times[ending] = at
        self.ended = ending
        self.work.close(self.output, self.errors, at)

    def _give_up(self, ending: Ending) -> Iterator[None]:
        turn = turns(self.work.size, self.work.in_order)
        for nth in range(self.done, self.size):
            line = self.work.give_up(turn(nth), ending)
            if line is not None:
                self.errors.add(line)
            if nth % SLICE == SLICE - 1:
                yield


def turns(size: int, in_order: bool) -> Callable[[int], int]:
    """Which line is the nth to be done: the nth itself, or a fixed shuffle that needs no memory."""
    if in_order or size < 2:
        return lambda nth: nth
    stride = next(step for step in range(int(size * 0.618) or 1, 2 * size) if math.gcd(step, size) == 1)
    return lambda nth: (nth * stride + size // 2) % size


class Batches:
    """All batches of a sandbox, oldest first."""

    def __init__(self) -> None:
        self._all: dict[str, Batch] = {}
        self._live: list[Batch] = []
        self._turn = asyncio.Lock()

    def add(self, batch: Batch) -> None:
        """Take in a new one."""
        self._all[batch.order.id] = batch
        self._live.append(batch)

    def every(self) -> tuple[Batch, ...]:
        """All that there ever were."""
        return tuple(self._all.values())

    def live(self) -> tuple[Batch, ...]:
        """Those that had not ended when they were last settled."""
        return tuple(self._live)

    async def settle(self, now: float) -> None:
        """Bring all batches to the present, letting others have a turn between slices of work."""
        async with self._turn:
            for batch in self.live():
                for _ in batch.advance(now):
                    await asyncio.sleep(0)
            self._live = [batch for batch in self._live if batch.ended is None]
