"""Batches as the gateway's people look at them: listed, hidden, purged, and counted beside what still waits.

A job may hold requests of several tenants, so all of this is for those who may see them all (admin scope).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, case, func, or_, select, tuple_, update

from batchway.core.job import OVER, Job
from batchway.store.jobs import decode
from batchway.store.lists import among
from batchway.store.tables import is_pending, jobs, requests

IN_JOB = "in_job"

STATUSES = (
    "formed", "uploading", "uploaded", "submitting", "submit_unknown",
    "validating", "running", "finalizing", "cancelling", "unknown",
    "completed", "failed", "expired", "cancelled",
)  # fmt: skip
"""What a batch can be: before the provider has it, there, and over (`Job.shown`)."""

ALIASES = {"in_progress": "running", "canceled": "cancelled"}
"""Other words for them."""

GROUPS = {"active": False, "finished": True, "all": None}
"""Words that stand for many of them, and whether those batches are finished."""


class Batch(Struct, frozen=True, kw_only=True):
    """A job, and what only its row knows of it."""

    job: Job
    finished_at: float | None
    """When its last row had its end."""
    hidden: bool
    owner: str | None
    """Who holds it at the moment."""


class Filter(Struct, frozen=True, kw_only=True):
    """Which jobs. What is None says nothing."""

    ids: tuple[str, ...] | None = None
    """Ours."""
    provider: str | None = None
    states: tuple[str, ...] | None = None
    """Of ours, `core.job` has them."""
    statuses: tuple[str, ...] | None = None
    """As people see them (`Job.shown`): completed, failed, expired, cancelled and so on."""
    finished: bool | None = None
    created_before: float | None = None
    hidden: bool | None = False


class Count(Struct, frozen=True, kw_only=True):
    """How many there are of one provider and model in one state."""

    provider: str
    model: str
    state: str
    n: int
    tokens: int
    oldest_at: float | None = None
    """When the first of them came."""
    status: str | None = None
    """Of jobs: as people see it."""


def read_statuses(text: str, *, over: bool = False) -> tuple[tuple[str, ...] | None, bool | None]:
    """What a person's words ask for: a group, or statuses with commas between, as the `statuses` and `finished` of a
    filter. `over`: of batches that are over. ValueError names a word that is neither, and those that are."""
    groups = [group for group, finished in GROUPS.items() if not over or finished is not False]
    statuses = [status for status in STATUSES if not over or status in OVER]
    words = [word.strip() for word in text.split(",")]
    if len(words) == 1 and words[0] in groups:
        return None, GROUPS[words[0]]
    named = tuple([ALIASES.get(word, word) for word in words])
    unknown = [word for word in named if word not in statuses]
    if unknown:
        raise ValueError(f"'{unknown[0][:50]}' is not one of {', '.join((*groups, *statuses))}")
    return named, None


def find(connection: Connection, batch_id: str) -> Batch | None:
    """The job of this id, ours or the provider's, hidden or not."""
    known = _BATCH.where(or_(jobs.c.id == batch_id, jobs.c.provider_batch_id == batch_id))
    read = connection.execute(known.order_by(jobs.c.created_at).limit(1)).one_or_none()
    return None if read is None else _batch(read)


PassOver = Callable[[str, msgspec.DecodeError], None]
"""Is told of a job, and why it cannot be read."""


def search(
    connection: Connection,
    which: Filter,
    *,
    limit: int = 100,
    after: str | None = None,
    pass_over: PassOver | None = None,
) -> list[Batch]:
    """Jobs, newest first; `after`: those that follow the job of that id. With `pass_over` what nobody can read (a newer
    batchway wrote it, or it is damaged) hides no other; without, it is raised."""
    found: list[Batch] = []
    while len(found) < limit and (reads := _following(connection, which, limit - len(found), after)):
        for read in reads:
            try:
                found.append(_batch(read))
            except msgspec.DecodeError as error:
                if pass_over is None:
                    raise
                pass_over(read.id, error)
        after = reads[-1].id
    return found


def _following(connection: Connection, which: Filter, limit: int, after: str | None) -> Sequence[Any]:
    found = _BATCH.where(*_conditions(which))
    if after is not None:
        place = select(jobs.c.created_at, jobs.c.id).where(jobs.c.id == after)
        read = connection.execute(place).one_or_none()
        if read is None:
            return ()
        found = found.where(tuple_(jobs.c.created_at, jobs.c.id) < tuple_(read.created_at, read.id))
    return connection.execute(found.order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(limit)).all()


def hide(connection: Connection, batch_id: str) -> bool:
    """Show it no more. Its charges, its requests and what `explain` says of it stay."""
    return connection.execute(update(jobs).where(jobs.c.id == batch_id).values(hidden=True)).rowcount == 1


def purge(connection: Connection, which: Filter, *, dry_run: bool = False) -> list[str]:
    """Hide the finished ones of these. Returns their ids, the oldest first; `dry_run`: without doing it."""
    finished = jobs.c.finished_at.is_not(None), jobs.c.hidden.is_(False)
    ids = list(connection.scalars(select(jobs.c.id).where(*_conditions(which), *finished).order_by(jobs.c.created_at)))
    if not dry_run:
        connection.execute(update(jobs).where(among(connection, jobs.c.id, ids)).values(hidden=True))
    return ids


def count_jobs(connection: Connection) -> list[Count]:
    """The jobs that are not hidden, by provider, model, state and status."""
    group = jobs.c.provider, jobs.c.model, jobs.c.state, jobs.c.status
    found = select(*group, *_sums(jobs.c.tokens, jobs.c.created_at)).where(jobs.c.hidden.is_(False))
    return [_count(read) for read in connection.execute(found.group_by(*group).order_by(*group))]


def count_active(connection: Connection) -> int:
    """The jobs that are not finished and not hidden."""
    # What is not finished is looked at again, and `next_at` has an index.
    active = jobs.c.next_at.is_not(None), jobs.c.finished_at.is_(None), jobs.c.hidden.is_(False)
    return int(connection.scalar(select(func.count()).select_from(jobs).where(*active)) or 0)


def count_waiting(connection: Connection) -> list[Count]:
    """The requests without an answer, by provider, model and state: the lane they are to take, or `in_job`."""
    state = case((requests.c.job_id.is_not(None), IN_JOB), else_=requests.c.lane).label("state")
    sums = _sums(requests.c.tokens, requests.c.asked_at)
    found = select(requests.c.provider, requests.c.model, state, *sums).where(is_pending)
    names = "provider", "model", "state"
    return [_count(read) for read in connection.execute(found.group_by(*names).order_by(*names))]


_BATCH = select(jobs.c.id, jobs.c.data, jobs.c.finished_at, jobs.c.hidden, jobs.c.owner)


def _batch(read: Any) -> Batch:
    return Batch(job=decode(read.data), finished_at=read.finished_at, hidden=read.hidden, owner=read.owner)


def _sums(tokens: ColumnElement[Any], came_at: ColumnElement[Any]) -> tuple[ColumnElement[Any], ...]:
    return func.count().label("n"), func.sum(tokens).label("tokens"), func.min(came_at).label("oldest_at")


def _count(read: Any) -> Count:
    fields = dict(read._mapping)
    # PostgreSQL sums big integers to decimals; nothing known sums to NULL.
    return Count(**fields | {"tokens": int(fields["tokens"] or 0)})


_MEANS: Mapping[str, Callable[[Any], ColumnElement[bool]]] = {
    "ids": jobs.c.id.in_,
    "provider": jobs.c.provider.__eq__,
    "states": jobs.c.state.in_,
    "statuses": jobs.c.status.in_,
    "finished": lambda finished: jobs.c.finished_at.is_not(None) if finished else jobs.c.finished_at.is_(None),
    "created_before": jobs.c.created_at.__lt__,
    "hidden": jobs.c.hidden.is_,
}
"""What each field of a filter asks of a job."""


def _conditions(which: Filter) -> list[ColumnElement[bool]]:
    asked = msgspec.structs.asdict(which)
    return [means(asked[name]) for name, means in _MEANS.items() if asked[name] is not None]
