"""Events on disk: what happened to a request or a job, in the order in which it was told. `explain` reads them."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, insert, or_, select

from batchway.store.tables import events, job_rows, requests

_json = msgspec.json.Encoder()


class Told(Struct, frozen=True, kw_only=True, gc=False):
    """One thing that happened."""

    at: float
    tenant: str
    kind: str
    reason: str
    ask: str | None = None
    job_id: str | None = None
    data: Mapping[str, object] = {}
    picodollars: int | None = None


def tell(connection: Connection, told: Sequence[Told]) -> None:
    """Add events."""
    if told:
        connection.execute(insert(events), [_row(each) for each in told])


def of_request(connection: Connection, tenant: str, request_id: str) -> list[Told]:
    """What happened to a tenant's request, and to the jobs that it was in, in order."""
    mine = select(requests.c.ask).where(requests.c.tenant == tenant, requests.c.request_id == request_id)
    ask = connection.scalar(mine)
    if ask is None:
        return []
    its_jobs = select(job_rows.c.job_id).where(job_rows.c.ask == ask)
    concerns = or_(events.c.ask == ask, events.c.job_id.in_(its_jobs) & events.c.ask.is_(None))
    return [_told(read) for read in connection.execute(select(events).where(concerns).order_by(events.c.id))]


def of_job(connection: Connection, job_id: str) -> list[Told]:
    """What happened to a job, in order; not what happened to single requests of it."""
    its_own = events.c.job_id == job_id, events.c.ask.is_(None)
    return [_told(read) for read in connection.execute(select(events).where(*its_own).order_by(events.c.id))]


def _row(told: Told) -> dict[str, Any]:
    return msgspec.structs.asdict(told) | {"data": _json.encode(told.data).decode()}


def _told(read: Any) -> Told:
    fields = dict(read._mapping)
    del fields["id"]
    return Told(**fields | {"data": msgspec.json.decode(fields["data"])})
