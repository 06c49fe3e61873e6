"""Jobs on disk: forming them, taking one for a step, and writing the step if the job is still ours.

A job is taken by raising its fence; whoever writes with an older fence is refused, however late it wakes up. Leases go
by the database's clock. A job's rows are its requests, by position from 0.
"""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, case, func, insert, literal, or_, select, update

from batchway.core.job import Job, look_again
from batchway.core.job.facts import CancelAsked
from batchway.core.types import Prompt, Request
from batchway.ports import Held
from batchway.store.connections import db_now
from batchway.store.events import Told, tell
from batchway.store.lists import among, numbered
from batchway.store.tables import OPEN, PENDING, bodies, is_pending, job_rows, jobs, requests

ENQUEUED = ("submitting", "submit_unknown", "submitted")
"""States in which a job's tokens count at its provider, or may."""

PROMISING = ("submitted", "ingesting")
"""States in which a look may bring answers."""

REQUEUED = "requeued"

UNREADABLE = 3600.0
"""Seconds after which a job whose row cannot be read is tried again."""

_encode = msgspec.msgpack.Encoder().encode
_job = msgspec.msgpack.Decoder(Job)
_json = msgspec.json.Encoder()
_wish = msgspec.json.Decoder(CancelAsked)


class JobRow(Struct, frozen=True, kw_only=True, gc=False):
    """One request in a job."""

    position: int
    ask: str
    state: str = OPEN
    """open, done, failed or requeued."""


class Landing(Struct, frozen=True, gc=False):
    """A row without an outcome, and what of its request is needed to charge it and to write its answer."""

    position: int
    ask: str
    request_id: str
    tenant: str
    key: str
    status: str
    fingerprint: str
    shared: bool
    retention: float | None


class OpenRow(Struct, frozen=True, kw_only=True, gc=False):
    """A row without an outcome, and how large its request is."""

    position: int
    ask: str
    size: int
    tokens: int | None


def form(connection: Connection, job: Job, asks: Sequence[str], owner: str) -> list[str]:
    """Form a job of pending requests of this owner that are in no job. Returns those that are not that any more: then
    nothing is formed."""
    # `pending` as a bound value: by the index of all that is pending, that is what would be read for these few.
    free = requests.c.status == PENDING, requests.c.owner == owner, requests.c.job_id.is_(None)
    found = select(requests.c.ask).where(among(connection, requests.c.ask, asks), *free)
    locked = found.order_by(requests.c.ask).with_for_update()
    lost: list[str] = []
    if connection.scalar(select(func.count()).select_from(locked.subquery())) != len(asks):
        ours = frozenset(connection.scalars(locked))
        lost = [ask for ask in asks if ask not in ours]
    if not lost:
        _insert(connection, job, asks)
    return lost


def succeed(connection: Connection, job: Job, rows: Sequence[OpenRow], before: str) -> None:
    """Form a job of open rows of the job before it, which its holder is about to write."""
    end_rows(connection, before, rows, REQUEUED)
    _insert(connection, job, [row.ask for row in rows])


def claim(connection: Connection, owner: str, seconds: float, limit: int) -> list[Held]:
    """Take jobs whose time has come and that nobody holds, for so many seconds; the longest due first."""
    now = db_now(connection)
    its_time = or_(jobs.c.next_at <= now, jobs.c.cancel.is_not(None) & jobs.c.next_at.is_not(None))
    due = (
        select(jobs.c.id)
        .where(its_time, or_(jobs.c.owner.is_(None), jobs.c.lease_until < now))
        .order_by(jobs.c.next_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = list(connection.scalars(due))
    taken = (
        update(jobs).where(jobs.c.id.in_(ids)).values(owner=owner, fence=jobs.c.fence + 1, lease_until=now + seconds)
    )
    taking = taken.returning(jobs.c.id, jobs.c.data, jobs.c.fence, jobs.c.lease_until, jobs.c.cancel)
    held: dict[str, Held] = {}
    for read in connection.execute(taking).all() if ids else ():
        try:
            held[read.id] = _held(read, now)
        except msgspec.DecodeError as error:
            _put_aside(connection, read.id, str(error), now)
    return [held[job_id] for job_id in ids if job_id in held]


def _put_aside(connection: Connection, job_id: str, why: str, now: float) -> None:
    """A row that nobody can read (written by a newer batchway, or damaged) must not keep the others from their turn."""
    later = {"next_at": now + UNREADABLE, "owner": None, "lease_until": None}
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(later))
    tell(connection, [Told(at=now, tenant="", kind="job.unreadable", reason=why, job_id=job_id)])


def prolong(connection: Connection, held: Held, seconds: float) -> Held | None:
    """Hold it so much longer from now on. None: another has taken it."""
    now = db_now(connection)
    longer = _still(held).values(lease_until=now + seconds)
    if connection.execute(longer).rowcount == 0:
        return None
    return msgspec.structs.replace(held, lease_until=now + seconds)


def write(connection: Connection, held: Held, job: Job, *, release: bool = True) -> bool:
    """Write the job as it is now, and let go of it (`release`). False: another has taken it, and nothing is written."""
    values = _columns(job)
    if job.ended:
        values["finished_at"] = func.coalesce(jobs.c.finished_at, db_now(connection))
    if release:
        values |= {"owner": None, "lease_until": None}
    if held.cancel is not None:
        values["cancel"] = None
    return connection.execute(_still(held).values(values)).rowcount == 1


def is_held(connection: Connection, held: Held) -> bool:
    """Whether nobody else has taken it; nobody can until this transaction has ended."""
    mine = select(jobs.c.id).where(jobs.c.id == held.job.id, jobs.c.fence == held.fence).with_for_update()
    return connection.scalar(mine) is not None


def ask_to_cancel(connection: Connection, job_id: str, wish: CancelAsked) -> bool:
    """Leave a wish, whoever holds the job: it is claimed for it as soon as nobody does. False: it is done already."""
    unfinished = update(jobs).where(jobs.c.id == job_id, jobs.c.next_at.is_not(None))
    return connection.execute(unfinished.values(cancel=_json.encode(wish).decode())).rowcount == 1


def end_rows(connection: Connection, job_id: str, rows: Sequence[Landing | OpenRow], state: str) -> None:
    """Give open rows their end."""
    if rows:
        its = among(connection, job_rows.c.position, [row.position for row in rows])
        these = job_rows.c.job_id == job_id, its, job_rows.c.state == OPEN
        connection.execute(update(job_rows).where(*these).values(state=state))


def open_rows(connection: Connection, job_id: str, positions: Sequence[int]) -> list[Landing]:
    """Those of these rows that are open. Locked, in one order: until the end of the transaction nobody answers one."""
    these = job_rows.c.job_id == job_id, among(connection, job_rows.c.position, positions), job_rows.c.state == OPEN
    found = _LANDING.where(*these).order_by(requests.c.ask).with_for_update(of=requests)
    return [Landing(*read) for read in connection.execute(found).all()]


def rows(
    connection: Connection, job_id: str, *, after: int = -1, limit: int = 1000, state: str | None = None
) -> list[JobRow]:
    """Rows in their order, from behind a position on; `state`: of those alone."""
    found = select(job_rows.c.position, job_rows.c.ask, job_rows.c.state)
    found = found.where(job_rows.c.job_id == job_id, job_rows.c.position > after)
    if state is not None:
        found = found.where(job_rows.c.state == state)
    reads = connection.execute(found.order_by(job_rows.c.position).limit(limit)).all()
    return [JobRow(position=read.position, ask=read.ask, state=read.state) for read in reads]


def unanswered(connection: Connection, job_id: str) -> list[OpenRow]:
    """The open rows whose requests still wait, in their order: what another job would be for. Locked: until the end of
    the transaction nobody answers one."""
    columns = select(job_rows.c.position, requests.c.ask, requests.c.size, requests.c.tokens)
    waiting = columns.join(requests, requests.c.ask == job_rows.c.ask)
    found = waiting.where(job_rows.c.job_id == job_id, job_rows.c.state == OPEN, is_pending)
    locked = found.order_by(requests.c.ask).with_for_update(of=requests)
    reads = sorted(connection.execute(locked), key=lambda read: read.position)
    return [OpenRow(position=read.position, ask=read.ask, size=read.size, tokens=read.tokens) for read in reads]


def requests_of(connection: Connection, job: Job, *, after: int = -1, limit: int = 1000) -> list[tuple[int, Request]]:
    """Positions and requests whose bodies are there, piece by piece: what is uploaded. They are given as far as lines
    are made of them: where they go, and what they say."""
    found = select(job_rows.c.position, bodies.c.body).join(bodies, bodies.c.ask == job_rows.c.ask)
    found = found.where(job_rows.c.job_id == job.id, job_rows.c.position > after)
    reads = connection.execute(found.order_by(job_rows.c.position).limit(limit)).all()
    bound = bound_with(job)
    return [(position, msgspec.structs.replace(bound, body=body)) for position, body in reads]


def bound_with(job: Job) -> Request:
    """What all requests of a job have in common: where they go, not whose they are, nor what they say."""
    return Request(
        id="",
        ask="",
        tenant="",
        key="",
        caller="",
        provider=job.provider,
        endpoint=job.endpoint,
        body=b"",
        prompt=Prompt(model=job.model),
        fingerprint="",
        asked_at=job.created_at,
    )


def count_rows(connection: Connection, job_id: str) -> dict[str, int]:
    """How many rows are in each state."""
    counted = select(job_rows.c.state, func.count().label("n")).where(job_rows.c.job_id == job_id)
    return {read.state: read.n for read in connection.execute(counted.group_by(job_rows.c.state))}


def enqueued_tokens(connection: Connection, account: str, model: str, *, but: str = "") -> int:
    """Tokens of the account's other jobs for a model that are at its provider, or may be: what counts as enqueued."""
    running = jobs.c.account == account, jobs.c.model == model, jobs.c.state.in_(ENQUEUED), jobs.c.id != but
    return int(connection.scalar(select(func.coalesce(func.sum(jobs.c.tokens), 0)).where(*running)) or 0)


def count_in(connection: Connection, account: str, states: Collection[str], *, but: str) -> int:
    """How many other jobs of the account are in these states."""
    others = jobs.c.account == account, jobs.c.state.in_(states), jobs.c.id != but
    return int(connection.scalar(select(func.count()).where(*others)) or 0)


def lock_account(connection: Connection, account: str) -> None:
    """One at a time, until the transaction ends. On SQLite the transaction itself began by taking the write lock."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(account, 0))))


def seconds_to_next(connection: Connection) -> float | None:
    """Until a job is due; negative: it is overdue. None: there is none that nobody holds."""
    now = db_now(connection)
    held = jobs.c.owner.is_not(None) & (jobs.c.lease_until >= now)
    earliest = func.min(case((held, jobs.c.lease_until), (jobs.c.cancel.is_not(None), now), else_=jobs.c.next_at))
    at = connection.scalar(select(earliest).where(jobs.c.next_at.is_not(None)))
    return None if at is None else at - now


def hurry(connection: Connection, only: str | None = None) -> list[str]:
    """Have every job, or this one, looked at now if its rows may have their answers. Those that somebody is writing are
    being looked at."""
    there = select(jobs.c.id).where(jobs.c.state.in_(PROMISING), jobs.c.next_at.is_not(None))
    if only is not None:
        there = there.where(jobs.c.id == only)
    ids = list(connection.scalars(there.order_by(jobs.c.id).with_for_update(skip_locked=True)))
    connection.execute(update(jobs).where(among(connection, jobs.c.id, ids)).values(next_at=0.0))
    return ids


def have_looked_again(connection: Connection, job_id: str) -> bool:
    """Have its next holder look for batches beside its own. False: nothing was changed, it looks by itself or somebody
    holds it."""
    now = db_now(connection)
    idle = or_(jobs.c.owner.is_(None), jobs.c.lease_until < now)
    data = connection.scalar(select(jobs.c.data).where(jobs.c.id == job_id, idle).with_for_update())
    job = None if data is None else look_again(decode(data), now)
    if job is None:
        return False
    fenced_off = {"fence": jobs.c.fence + 1, "owner": None, "lease_until": None}
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(_columns(job) | fenced_off))
    return True


def let_go(connection: Connection, owner: str) -> None:
    """Hand back every job that the owner holds."""
    connection.execute(update(jobs).where(jobs.c.owner == owner).values(owner=None, lease_until=None))


def accounts(connection: Connection, since: float) -> list[str]:
    """Accounts at which jobs were formed since then."""
    return list(connection.scalars(select(jobs.c.account).where(jobs.c.created_at >= since).distinct()))


def recorded(connection: Connection, account: str, *, but: str) -> frozenset[str]:
    """The provider's ids of the account's batches that other jobs than this have."""
    others = jobs.c.account == account, jobs.c.id != but, jobs.c.provider_batch_id.is_not(None)
    return frozenset(connection.scalars(select(jobs.c.provider_batch_id).where(*others)))


def by_tags(connection: Connection, tags: Collection[str]) -> dict[str, Job]:
    """The jobs that have these tags."""
    found = connection.scalars(select(jobs.c.data).where(among(connection, jobs.c.submit_tag, list(tags)))).all()
    return {job.submit_tag: job for job in map(decode, found)}


def load(connection: Connection, job_id: str) -> Job | None:
    """The job of this id of ours."""
    data = connection.scalar(select(jobs.c.data).where(jobs.c.id == job_id))
    return None if data is None else decode(data)


def decode(data: bytes) -> Job:
    """A job from its column."""
    return _job.decode(data)


def _insert(connection: Connection, job: Job, asks: Sequence[str]) -> None:
    fixed = {"id": job.id, "submit_tag": job.submit_tag, "created_at": job.created_at, "hidden": False, "fence": 0}
    connection.execute(insert(jobs).values(_columns(job) | fixed))
    position, ask = numbered(connection, asks)
    members = select(literal(job.id), position, ask, literal(OPEN))
    connection.execute(insert(job_rows).from_select(["job_id", "position", "ask", "state"], members))
    joined = update(requests).where(among(connection, requests.c.ask, asks), is_pending)
    connection.execute(joined.values(job_id=job.id, attempts=job.attempt, lane="batch"))


_OF_REQUEST = [requests.c[name] for name in Landing.__struct_fields__[1:]]
_LANDING = select(job_rows.c.position, *_OF_REQUEST).join(requests, requests.c.ask == job_rows.c.ask)


def _still(held: Held) -> Any:
    return update(jobs).where(jobs.c.id == held.job.id, jobs.c.fence == held.fence)


def _columns(job: Job) -> dict[str, Any]:
    """What statements look at; not whose it is, nor what others decide about it."""
    return {
        "provider": job.provider,
        "account": job.account,
        "endpoint": job.endpoint,
        "model": job.model,
        "state": job.state,
        "status": job.shown,
        "n": job.n,
        "tokens": job.tokens,
        "provider_batch_id": job.provider_batch_id,
        "next_at": job.next_at,
        "data": _encode(job),
    }


def _held(read: Any, now: float) -> Held:
    return Held(
        job=decode(read.data),
        fence=read.fence,
        lease_until=read.lease_until,
        taken_at=now,
        cancel=None if read.cancel is None else _wish.decode(read.cancel),
    )
