"""Whose the objects are that a provider keeps under one key of ours for all tenants: files, batches, stored answers."""

from collections.abc import Collection, Sequence
from typing import Any

from cachetools import LRUCache
from sqlalchemy import Connection, delete, func, select

from batchway.ports import Belonging, Span
from batchway.store.connections import insert_new
from batchway.store.database import Database
from batchway.store.lists import among
from batchway.store.tables import belongings
from batchway.wire.objects import Kind

RECENT = 10_000
"""Belongings that were noted behind and are remembered here until they are surely on disk."""

SIZE = 400
"""Bytes that one counts for while it waits to be written behind."""


class StoreBelongings:
    """`ports.Belongings` over a store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._recent: LRUCache[tuple[str, Kind, str], Belonging] = LRUCache(RECENT)

    async def add(self, found: Sequence[Belonging]) -> None:
        """See `ports.Belongings`."""
        await self._database.write(add, found)

    def note(self, belonging: Belonging) -> None:
        """See `ports.Belongings`."""
        self._recent.setdefault((belonging.provider, belonging.kind, belonging.id), belonging)
        self._database.post(keep, belonging, size=SIZE)

    async def owned(self, tenant: str, provider: str, kind: Kind, ids: Collection[str]) -> frozenset[str]:
        """See `ports.Belongings`."""
        found = await self._database.read(owners, provider, kind, list(ids))
        # What is on disk counts: it was somebody's before it was noted here.
        noted = {name: each.tenant for name in ids if (each := self._recent.get((provider, kind, name))) is not None}
        return frozenset([name for name, owner in (noted | found).items() if owner == tenant])

    async def span(self, tenant: str, provider: str, kind: Kind) -> Span | None:
        """See `ports.Belongings`."""
        kept, whose = await self._database.read(span, tenant, provider, kind), (provider, kind, tenant)
        noted = [each.created_at for key, each in self._recent.items() if (*key[:2], each.tenant) == whose]
        moments = [*noted, *(() if kept is None else (kept.oldest, kept.newest))]
        return Span(oldest=min(moments), newest=max(moments)) if moments else None

    async def forget(self, provider: str, kind: Kind, name: str) -> None:
        """See `ports.Belongings`."""
        self._recent.pop((provider, kind, name), None)
        await self._database.write(forget, provider, kind, name)


def add(connection: Connection, found: Sequence[Belonging]) -> None:
    """Write them down. The provider has just said that it made them: whoever had one of the same name before has it no
    more."""
    if found:
        new = insert_new(connection.dialect, belongings)
        changes = {"tenant": new.excluded.tenant, "created_at": new.excluded.created_at}
        connection.execute(new.on_conflict_do_update(index_elements=_KEY, set_=changes), [_row(each) for each in found])


def keep(connection: Connection, found: Sequence[Belonging]) -> None:
    """Write those down that are nobody's yet."""
    new = insert_new(connection.dialect, belongings).on_conflict_do_nothing()
    connection.execute(new, [_row(each) for each in found])


def owners(connection: Connection, provider: str, kind: Kind, ids: Sequence[str]) -> dict[str, str]:
    """The tenants of those of these that are somebody's."""
    these = belongings.c.provider == provider, belongings.c.kind == kind, among(connection, belongings.c.id, ids)
    known = connection.execute(select(belongings.c.id, belongings.c.tenant).where(*these))
    return {read.id: read.tenant for read in known}


def span(connection: Connection, tenant: str, provider: str, kind: Kind) -> Span | None:
    """Between which moments the tenant's objects of a kind were made; None: it has none."""
    mine = belongings.c.tenant == tenant, belongings.c.provider == provider, belongings.c.kind == kind
    made = belongings.c.created_at
    oldest, newest = connection.execute(select(func.min(made), func.max(made)).where(*mine)).one()
    return None if oldest is None else Span(oldest=oldest, newest=newest)


def forget(connection: Connection, provider: str, kind: Kind, name: str) -> None:
    """It is there no more."""
    key = belongings.c.provider == provider, belongings.c.kind == kind, belongings.c.id == name
    connection.execute(delete(belongings).where(*key))


_KEY = ("provider", "kind", "id")


def _row(belonging: Belonging) -> dict[str, Any]:
    return {
        "provider": belonging.provider,
        "kind": belonging.kind,
        "id": belonging.id,
        "tenant": belonging.tenant,
        "created_at": belonging.created_at,
    }
