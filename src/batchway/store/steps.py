"""A step in the life of a job, written as one: the row, what becomes of its requests, what it cost and what is told.

What a job wants of "the rows without an outcome" is worked out here, inside the transaction that writes it: a rescue
may answer one of them at any other moment.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection

from batchway.core.job import Job, shares, successor
from batchway.core.job.commands import Fail, JobWrite, Learn, Note, Requeue, Reroute
from batchway.core.job.forming import FRAMING
from batchway.core.types import Answer, Fault
from batchway.ports import Berth, Held, Occupied, Pending, Successor
from batchway.store import answers, events, jobs, learnt, requests
from batchway.store.answers import Result
from batchway.store.events import Told
from batchway.store.jobs import Landing, OpenRow
from batchway.store.tables import PENDING

UNCERTAIN = ("submitting", "submit_unknown")
"""States in which a create call is under way, or may have been accepted."""


Settle = Callable[[Job, Landing, Answer | Fault], Result]
"""Makes the result of a row of its outcome."""


class JobStep(Struct, frozen=True, kw_only=True):
    """What a step changes."""

    held: Held
    job: Job
    """As it is now."""
    release: bool = True
    writes: tuple[JobWrite, ...] = ()
    names: tuple[Successor, ...] = ()
    """For the jobs that a Requeue may form; those that are too many stay unused."""
    reroute_to: str = ""
    """The owner that finds rerouted requests another lane."""
    berth: Berth | None = None
    told: tuple[Told, ...] = ()


class Taken(Struct, frozen=True, kw_only=True):
    """What became of the requests."""

    ended: tuple[Result, ...] = ()
    """Those that were ended by this step, with a fault."""
    formed: tuple[Job, ...] = ()
    rerouted: tuple[Pending, ...] = ()


class _Draft:
    """What is done within one step, from one write to the next."""

    def __init__(self, connection: Connection, step: JobStep, now: float) -> None:
        self.connection = connection
        self.step = step
        self.now = now
        self.names = iter(step.names)
        self.ended: list[Result] = []
        self.formed: list[Job] = []
        self.rerouted: list[Pending] = []
        self._open: list[OpenRow] | None = None

    @property
    def open(self) -> list[OpenRow]:
        """The rows whose requests still wait, less those that a write before this one has seen to."""
        if self._open is None:
            self._open = jobs.unanswered(self.connection, self.step.job.id)
        return self._open

    def take(self, positions: Sequence[int] | None = None) -> list[OpenRow]:
        """These of them, or all: what follows finds the others."""
        wanted = None if positions is None else frozenset(positions)
        taken = [row for row in self.open if wanted is None or row.position in wanted]
        self._open = [] if wanted is None else [row for row in self.open if row.position not in wanted]
        return taken


def take(connection: Connection, step: JobStep, now: float) -> Taken | None:
    """Write the step. None: another has taken the job, and nothing is written. Raises Occupied."""
    if step.berth is not None:
        _require_berth(connection, step.job, step.berth)
    if not jobs.write(connection, step.held, step.job, release=step.release):
        return None
    draft = _Draft(connection, step, now)
    for write in step.writes:
        _WRITES[type(write)](draft, write)
    events.tell(connection, step.told)
    return Taken(ended=tuple(draft.ended), formed=tuple(draft.formed), rerouted=tuple(draft.rerouted))


def land(
    connection: Connection, held: Held, outcomes: Sequence[tuple[int, Answer | Fault]], settle: Settle
) -> list[tuple[Result, bool]] | None:
    """Write outcomes of rows, by position; their job stays as it is. Returns the results of those that ended a row, and
    whether each is its request's answer now; what comes for a row that has its end is ignored. None: another has taken
    the job."""
    if not jobs.is_held(connection, held):
        return None
    one_each: dict[int, Answer | Fault] = {}
    for position, outcome in outcomes:
        one_each.setdefault(position, outcome)
    rows = jobs.open_rows(connection, held.job.id, list(one_each))
    results = [settle(held.job, row, one_each[row.position]) for row in rows]
    _end_rows(connection, held.job.id, rows, results)
    waiting = {row.ask: row for row in rows if row.status == PENDING}
    return list(zip(results, answers.end(connection, results, waiting), strict=True))


def _fail(draft: _Draft, write: Fail) -> None:
    rows = draft.take(write.positions)
    results = [_faulty(row.ask, draft.step.job.id, write.fault, write.why, draft.now) for row in rows]
    _end_rows(draft.connection, draft.step.job.id, rows, results)
    first = answers.add(draft.connection, results)
    draft.ended += [result for result, was in zip(results, first, strict=True) if was]


def _faulty(ask: str, job_id: str, fault: Fault, why: str, now: float) -> Result:
    return Result(ask=ask, outcome=fault, via="batch", finished_at=now, batch_id=job_id, why=why)


def _requeue(draft: _Draft, write: Requeue) -> None:
    rows = draft.take()
    for places in shares(len(rows), write.parts) if rows else ():
        some = [rows[place] for place in places]
        name = next(draft.names)
        formed = successor(
            draft.step.job,
            write,
            id=name.id,
            submit_tag=name.tag,
            n=len(some),
            size=sum(row.size + FRAMING for row in some),
            tokens=sum(row.tokens or 0 for row in some),
            now=draft.now,
        )
        jobs.succeed(draft.connection, formed, some, draft.step.job.id)
        draft.formed.append(formed)


def _reroute(draft: _Draft, _write: Reroute) -> None:
    rows = draft.take()
    jobs.end_rows(draft.connection, draft.step.job.id, rows, jobs.REQUEUED)
    asks = [row.ask for row in rows]
    requests.requeue(draft.connection, asks, draft.step.reroute_to)
    found = requests.load_many(draft.connection, asks)
    draft.rerouted += [found[ask] for ask in asks if ask in found]


def _learn(draft: _Draft, write: Learn) -> None:
    job = draft.step.job
    learnt.learn(draft.connection, job.provider, job.model, write.name, write.value, draft.now)


_WRITES: Mapping[type, Callable[[_Draft, Any], None]] = {
    Fail: _fail,
    Requeue: _requeue,
    Reroute: _reroute,
    Learn: _learn,
    Note: lambda _draft, _write: None,  # Told as an event.
}


def _require_berth(connection: Connection, job: Job, berth: Berth) -> None:
    """Raises Occupied. One job of an account passes at a time, so that two cannot both find it free."""
    jobs.lock_account(connection, job.account)
    others = jobs.count_in(connection, job.account, UNCERTAIN, but=job.id)
    if berth.serial and others:
        raise Occupied(f"{others} other create calls of the account are under way or in doubt")
    if berth.enqueued is None:
        return
    enqueued = jobs.enqueued_tokens(connection, job.account, job.model, but=job.id)
    # A job that is larger than the limit by itself is told so by the provider, and divided.
    if enqueued and enqueued + job.tokens > berth.enqueued:
        raise Occupied(f"{enqueued} tokens of the model are enqueued, {berth.enqueued} may be")


def _end_rows(
    connection: Connection, job_id: str, rows: Sequence[Landing | OpenRow], results: Sequence[Result]
) -> None:
    """Of each row, how it ended."""
    ended: dict[bool, list[Landing | OpenRow]] = {True: [], False: []}
    for row, result in zip(rows, results, strict=True):
        ended[isinstance(result.outcome, Answer)].append(row)
    jobs.end_rows(connection, job_id, ended[True], "done")
    jobs.end_rows(connection, job_id, ended[False], "failed")
