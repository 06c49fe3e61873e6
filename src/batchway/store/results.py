"""Results: what became of a tenant's requests whose ids begin alike, page by page, however many there are."""

from collections.abc import Sequence

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, false, func, select

from batchway.store.answers import FOUND, Stored, read_stored
from batchway.store.lists import among
from batchway.store.tables import answers, requests

STATUSES = ("pending", "completed", "failed", "cancelled")

LAST = "\x7f"
"""After every character that an id may have."""


class Alike(Struct, frozen=True, kw_only=True):
    """Which requests: their tenant, how their ids begin, and what became of them (None: whatever)."""

    tenant: str
    prefix: str = ""
    statuses: tuple[str, ...] | None = None


class Entry(Struct, frozen=True):
    """One of them, without its answer."""

    request_id: str
    ask: str
    size: int
    """Bytes of its answer."""
    stateful: bool
    """It may have left something at its provider."""


def page(connection: Connection, which: Alike, after: str | None, limit: int) -> list[Entry]:
    """Some of them by their ids, those after this one."""
    found = (
        select(
            requests.c.request_id,
            requests.c.ask,
            func.coalesce(func.length(answers.c.body), 0).label("size"),
            func.coalesce(requests.c.traits, "").contains('"stateful"').label("stateful"),
        )
        .outerjoin(answers, answers.c.ask == requests.c.ask)
        .where(*_meant(connection, which))
    )
    if after is not None:
        found = found.where(requests.c.request_id > after)
    return [Entry(*read) for read in connection.execute(found.order_by(requests.c.request_id).limit(limit))]


def load(connection: Connection, asks: Sequence[str]) -> dict[str, Stored]:
    """These requests with their answers, by their `ask`."""
    found = map(read_stored, connection.execute(FOUND.where(among(connection, requests.c.ask, asks))))
    return {stored.ask: stored for stored in found}


def count(connection: Connection, which: Alike) -> dict[str, int]:
    """How many there are, by status."""
    by_status = (
        select(requests.c.status, func.count().label("number"))
        .where(*_meant(connection, which))
        .group_by(requests.c.status)
    )
    return {read.status: read.number for read in connection.execute(by_status)}


def _meant(connection: Connection, which: Alike) -> list[ColumnElement[bool]]:
    meant = [requests.c.tenant == which.tenant]
    if which.statuses is not None:
        meant.append(requests.c.status.in_(which.statuses))
    if not (which.prefix.isascii() and which.prefix.isprintable()):
        # No id begins so, and PostgreSQL is not even asked of a NUL.
        meant.append(false())
    elif which.prefix and connection.dialect.name == "sqlite":
        # By its bytes, so that the index finds the range.
        meant += [requests.c.request_id >= which.prefix, requests.c.request_id < which.prefix + LAST]
    elif which.prefix:
        # Other databases sort by the rules of a language, in which what begins alike need not stand together.
        meant.append(func.starts_with(requests.c.request_id, which.prefix))
    return meant
