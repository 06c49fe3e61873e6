"""Owners: the processes that share a store, each alive while its lease lasts, by the database's clock.

An owner id is fresh for each start. Who finds its lease over must stop, or begin again under a new id: others may have
taken what was its own.
"""

from collections.abc import Set as AbstractSet

from msgspec import Struct
from sqlalchemy import Connection, delete, insert, select, update

from batchway.store.connections import db_now
from batchway.store.tables import owners


def enter(connection: Connection, owner: str, host: str, seconds: float) -> float:
    """Begin a lease of so many seconds. Returns the database's time. Leases that are over are forgotten: nobody has to
    know of an owner to know that it is dead."""
    now = db_now(connection)
    connection.execute(delete(owners).where(owners.c.lease_until < now))
    values = {"owner_id": owner, "lease_until": now + seconds, "started_at": now, "host": host}
    connection.execute(insert(owners).values(values))
    return now


def beat(connection: Connection, owner: str, seconds: float) -> bool:
    """Prolong the lease. False: it is over already."""
    now = db_now(connection)
    held = update(owners).where(owners.c.owner_id == owner, owners.c.lease_until >= now)
    return connection.execute(held.values(lease_until=now + seconds)).rowcount == 1


def leave(connection: Connection, owner: str) -> None:
    """End the lease: what was its own may be taken at once."""
    connection.execute(delete(owners).where(owners.c.owner_id == owner))


class Process(Struct, frozen=True, kw_only=True):
    """One that shares the store, for people."""

    host: str
    started_at: float


def listed(connection: Connection) -> list[Process]:
    """Those whose lease holds, the oldest first."""
    alive = select(owners.c.host, owners.c.started_at).where(owners.c.lease_until >= db_now(connection))
    return [Process(**read._mapping) for read in connection.execute(alive.order_by(owners.c.started_at))]


def alive(connection: Connection) -> AbstractSet[str]:
    """The owners whose lease holds."""
    return set(connection.scalars(select(owners.c.owner_id).where(owners.c.lease_until >= db_now(connection))))
