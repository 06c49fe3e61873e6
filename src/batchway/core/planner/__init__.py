"""The planner decides everything about a request before it becomes a call, and everything after its answer.

Its whole face is `receive(fact, now) -> commands` and `deadline()`. It does no I/O, reads no clock and keeps one
thought per request:

            Asked                                Finished
    caller ───────▶ seat ──▶ (look) ──▶ (fit) ──▶ lane ──▶ (save) ──▶ window ──▶ held ──▶ flight ──▶ reply
                     ▲ twins join                                        │         ▲         │ Failed
                     │                                                   └─────────┴─────────┘ retry

A *seat* is one question on its way to an answer and everyone who waits for it; a *flight* is one call under way for
one seat (or several: packed). `asking` seats a request, `routing` finds its lane and window, `sending` passes it
through the gate, `answering` takes what comes back, `ending` tells the callers, `leaving` lets them go, `withdrawing`
takes a request back.

Invariants, held by tests/core/test_planner_property.py:

1. Every accepted request gets exactly one Reply or Refuse, unless its caller left; one that nobody waits for from the
   beginning gets an Acknowledge in its place, once it is on disk.
2. A window never breaks its limits of size, tokens or wait; only like goes with like.
3. Whatever waits for time to pass is covered by `deadline()`; whatever waits for a slot is covered by a flight.
4. Only requests of one tenant share an answer, and only by the rules of `core.fingerprint`.
5. The same facts give the same commands, byte for byte.
6. A call is cancelled only when nobody waits for it, nor was told that it goes on; a paid answer nobody waits for is
   kept for the caller's retry.
7. Nothing durable enters a window before it is saved, and nobody hears how it ended before that is on disk.
8. A job is formed and forgotten: what its requests become comes back by `Landed`, `Resumed` and `Rescue`, and a seat
   stays only while somebody waits for it.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct

from batchway.core import facts
from batchway.core.catalog import Catalog
from batchway.core.commands import Command
from batchway.core.facts import Fact
from batchway.core.limits import Dice
from batchway.core.memory import Memory
from batchway.core.packer import Tally
from batchway.core.planner import answering, asking, ending, leaving, routing, sending, withdrawing
from batchway.core.planner.plan import Plan, Timer, Watch
from batchway.core.planner.routing import Window
from batchway.core.policy import Policy
from batchway.core.router import Offers
from batchway.core.tokens import TokenCounts
from batchway.core.turnaround import Turnarounds


class Load(Struct, frozen=True, kw_only=True):
    """How much is under way: for health, metrics and draining."""

    waiting: int
    """Requests whose callers wait."""
    queued: int
    """Requests in windows or held back for a slot."""
    flights: int


class Planner:
    """See the module. One per process, touched only by the loop that drives it."""

    def __init__(
        self,
        policy: Policy,
        *,
        catalog: Catalog,
        offers: Mapping[str, Offers],
        counts: TokenCounts,
        ids: Callable[[], str],
        dice: Dice,
        watch: Watch | None = None,
        turnarounds: Turnarounds | None = None,
    ) -> None:
        """`watch` is shown each window that closes; it only looks on. `turnarounds`: how long batches took so far."""
        self._plan = Plan(policy, catalog, offers, counts, ids, dice, watch, turnarounds or Turnarounds())

    @property
    def memory(self) -> Memory:
        """The answers kept in memory."""
        return self._plan.memory

    @property
    def policy(self) -> Policy:
        """What it keeps to."""
        return self._plan.policy

    def receive(self, fact: Fact, now: float) -> list[Command]:
        """What to do, in order, now that this has happened."""
        plan = self._plan
        plan.now, plan.out = now, []
        HANDLERS[type(fact)](plan, fact)
        return plan.out

    def deadline(self) -> float | None:
        """When to send TimePassed, if nothing else happens before. It may be early, never late."""
        plan = self._plan
        if not (plan.timers or plan.batcher or plan.gate.held):
            return None
        earliest = plan.batcher.deadline()
        for time in (plan.next_timer(), plan.gate.deadline()):
            if time is not None and (earliest is None or time < earliest):
                earliest = time
        return earliest

    def awaited(self, *, in_jobs: bool) -> list[str]:
        """Requests that another process has and somebody here waits for; `in_jobs`: those in jobs too, which any
        process may see to."""
        return self._plan.seats.awaited(in_jobs=in_jobs)

    def holds(self, tenant: str, request_id: str) -> bool:
        """Whether a tenant's request that was given no id of its own is under way here: the disk may not have it."""
        seat = self._plan.seats.of(request_id) or self._plan.seats.led_by(request_id)
        return seat is not None and seat.request.tenant == tenant

    def packing(self, now: float) -> list[Tally]:
        """What has come of packing, by model."""
        return self._plan.packer.tallies(now)

    def windows(self) -> list[Window]:
        """The open windows: what waits for company before it goes."""
        return list(routing.windows(self._plan))

    def seated(self, ask: str) -> bool:
        """Whether a request that is on disk is on its way here, or has ended and is being written down."""
        seat = self._plan.seats.led_by(ask)
        return ask in self._plan.ended or (seat is not None and not seat.away)

    def crowded(self) -> bool:
        """Whether as many are held back for a slot as may be: what is durable is held all the same, so whoever brings
        many of it should wait."""
        return self._plan.gate.held >= self._plan.policy.max_queue

    def load(self) -> Load:
        """How much is under way."""
        plan = self._plan
        return Load(waiting=len(plan.seats), queued=plan.gate.held + len(plan.batcher), flights=len(plan.flights))


def _time_passed(plan: Plan, _fact: facts.TimePassed) -> None:
    while due := plan.due_timer():
        kind, what = due
        ON_TIMER[kind](plan, what)
    routing.leave_window(plan, plan.batcher.due(plan.now))
    for party in plan.gate.due(plan.now):
        sending.call(plan, party)


def _stop(plan: Plan, _fact: facts.Stopping) -> None:
    plan.stopping = True
    routing.leave_window(plan, plan.batcher.flush(plan.now))
    leaving.hand_over(plan)


def _end(plan: Plan, _fact: facts.TimeUp) -> None:
    leaving.end(plan)


HANDLERS: Mapping[type, Callable[..., None]] = {
    facts.Asked: asking.asked,
    facts.Looked: asking.looked,
    facts.Fitted: routing.fitted,
    facts.Saved: routing.saved,
    facts.NotSaved: routing.not_saved,
    facts.Unbatchable: routing.unbatchable,
    facts.Resumed: routing.resumed,
    facts.Flush: routing.flush,
    facts.Started: answering.started,
    facts.Finished: answering.finished,
    facts.Failed: answering.failed,
    facts.Landed: answering.landed,
    facts.Rescue: answering.rescue,
    facts.Kept: ending.kept,
    facts.Left: leaving.left,
    facts.Withdrawn: withdrawing.withdrawn,
    facts.Offered: routing.offered,
    facts.Measured: routing.measured,
    facts.TimePassed: _time_passed,
    facts.Stopping: _stop,
    facts.TimeUp: _end,
}
"""What each fact means."""

ON_TIMER: Mapping[Timer, Callable[..., None]] = {
    "retry": answering.retry,
    "abandoned": leaving.grace_over,
    "deadline": leaving.deadline_passed,
}
"""What is done when a timer has run out."""
