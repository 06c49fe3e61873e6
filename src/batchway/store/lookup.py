"""Looking things up for the gateway's owner: requests of any tenant, newest first, and everything about one of them."""

from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import Connection, or_, select

from batchway.core.job import custom_id
from batchway.core.types import Charge
from batchway.store import charges, events
from batchway.store.answers import FOUND, Stored, read_stored
from batchway.store.events import Told
from batchway.store.tables import job_rows, jobs, requests


class Which(Struct, frozen=True, kw_only=True):
    """Which requests. What is None says nothing."""

    statuses: tuple[str, ...] | None = None
    provider: str | None = None
    model: str | None = None
    lane: str | None = None
    tenant: str | None = None
    job_id: str | None = None


class Story(Struct, frozen=True, kw_only=True):
    """All that is known of one request."""

    request: Stored
    told: tuple[Told, ...]
    """What happened to it and to the jobs that it was in, in order."""
    charges: tuple[Charge, ...]
    overhead: tuple[Charge, ...] = ()
    """What its rows cost that came back after another answer."""


def search(connection: Connection, which: Which, limit: int = 50) -> list[Stored]:
    """Requests, newest first."""
    found = FOUND if which.statuses is None else FOUND.where(requests.c.status.in_(which.statuses))
    for name in ("provider", "model", "lane", "tenant", "job_id"):
        value = getattr(which, name)
        if value is not None:
            found = found.where(getattr(requests.c, name) == value)
    newest = found.order_by(requests.c.asked_at.desc(), requests.c.ask.desc()).limit(limit)
    return [read_stored(read) for read in connection.execute(newest)]


def stories(connection: Connection, request_id: str) -> Sequence[Story]:
    """Of every request that has this id, whoever's it is: ids are unique within a tenant alone."""
    named = or_(requests.c.request_id == request_id, requests.c.ask == request_id)
    tenants = connection.execute(select(requests.c.tenant, requests.c.request_id).where(named)).all()
    return [_story(connection, read.tenant, read.request_id) for read in tenants]


def _story(connection: Connection, tenant: str, request_id: str) -> Story:
    mine = requests.c.tenant == tenant, requests.c.request_id == request_id
    stored = read_stored(connection.execute(FOUND.where(*mine)).one())
    return Story(
        request=stored,
        told=tuple(events.of_request(connection, tenant, request_id)),
        charges=tuple(charges.of_request(connection, tenant, request_id)),
        overhead=tuple(charges.of_rows(connection, tenant, _custom_ids(connection, stored.ask))),
    )


def _custom_ids(connection: Connection, ask: str) -> list[str]:
    """By which it went, in every batch that it was in."""
    rows = select(jobs.c.submit_tag, job_rows.c.position).join(jobs, jobs.c.id == job_rows.c.job_id)
    return [custom_id(tag, position) for tag, position in connection.execute(rows.where(job_rows.c.ask == ask))]
