"""What must outlast a restart: how long batches take, what was learnt of a provider, and what went unrecorded."""

from collections.abc import Sequence
from typing import get_args

import msgspec
from sqlalchemy import Connection, delete, insert, select

from batchway.core.job.commands import Learnt
from batchway.core.turnaround import Turnaround
from batchway.ports import Lesson
from batchway.store.connections import insert_new
from batchway.store.posts import Gap
from batchway.store.tables import gaps, learnt, turnarounds

_json = msgspec.json.Encoder()


def add_turnarounds(connection: Connection, measured: Sequence[Turnaround]) -> None:
    """Add what was measured."""
    connection.execute(insert(turnarounds), [msgspec.structs.asdict(each) for each in measured])


def list_turnarounds(connection: Connection, *, since: float) -> list[Turnaround]:
    """Everything measured since then, oldest first: what the quantiles are learnt from again after a start."""
    found = select(turnarounds).where(turnarounds.c.at >= since).order_by(turnarounds.c.at, turnarounds.c.id)
    return [
        Turnaround(provider=read.provider, model=read.model, at=read.at, seconds=read.seconds, n=read.n)
        for read in connection.execute(found)
    ]


def forget_turnarounds(connection: Connection, *, before: float) -> None:
    """Forget what is too old to say anything."""
    connection.execute(delete(turnarounds).where(turnarounds.c.at < before))


def learn(connection: Connection, provider: str, model: str, name: str, value: object, at: float) -> None:
    """Remember the newest value of something about a provider, or one model of it (else ''). JSON values."""
    row = {"provider": provider, "model": model, "name": name, "value": _json.encode(value).decode(), "at": at}
    key = (learnt.c.provider, learnt.c.model, learnt.c.name)
    newest = insert_new(connection.dialect, learnt).values(row)
    connection.execute(
        newest.on_conflict_do_update(
            index_elements=key, set_={"value": row["value"], "at": at}, where=learnt.c.at <= at
        )
    )


def list_learnt(connection: Connection) -> dict[tuple[str, str, str], object]:
    """Everything remembered, by provider, model and name."""
    return {
        (read.provider, read.model, read.name): msgspec.json.decode(read.value)
        for read in connection.execute(select(learnt))
    }


def list_lessons(connection: Connection) -> list[Lesson]:
    """What providers taught about their Batch APIs, oldest first."""
    of_jobs = select(learnt).where(learnt.c.name.in_(get_args(Learnt))).order_by(learnt.c.at)
    return [
        Lesson(
            provider=read.provider,
            model=read.model,
            name=read.name,
            value=msgspec.json.decode(read.value, type=float),
            at=read.at,
        )
        for read in connection.execute(of_jobs)
    ]


def add_gap(connection: Connection, gap: Gap) -> None:
    """Write down that something was not recorded."""
    connection.execute(insert(gaps).values(msgspec.structs.asdict(gap)))


def list_gaps(connection: Connection, *, since: float) -> list[Gap]:
    """The gaps that end after that time, oldest first."""
    found = select(gaps).where(gaps.c.until >= since).order_by(gaps.c.since, gaps.c.id)
    return [
        Gap(since=read.since, until=read.until, records=read.records, charges=read.charges, reason=read.reason)
        for read in connection.execute(found)
    ]
