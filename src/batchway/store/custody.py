"""Custody over a store: this process's lease on its requests, and what it takes over from dead ones."""

from collections.abc import Callable, Sequence

from batchway.core.types import Lane
from batchway.ports import Orphans, Pending
from batchway.store import charges, owners, requests, retention
from batchway.store.database import Database

SWEPT = 500
"""Requests whose bodies are swept in one transaction."""


class Custodian:
    """`ports.Custody`. `owner` is the name under which this process has its requests at the moment."""

    def __init__(
        self, database: Database, ids: Callable[[], str], now: Callable[[], float], *, host: str, seconds: float
    ) -> None:
        """`seconds`: of a lease. `host`: where this process runs, for people."""
        self._database = database
        self._ids = ids
        self._now = now
        self._host = host
        self._seconds = seconds
        self.owner = ""

    async def enter(self) -> None:
        """See `ports.Custody`."""
        owner = self._ids()
        await self._database.write(owners.enter, owner, self._host, self._seconds)
        self.owner = owner

    async def beat(self) -> bool:
        """See `ports.Custody`."""
        return await self._database.write(owners.beat, self.owner, self._seconds)

    async def accompanied(self) -> bool:
        """See `ports.Custody`."""
        return bool(await self._database.read(owners.alive) - {self.owner})

    async def leave(self) -> None:
        """See `ports.Custody`."""
        await self._database.write(owners.leave, self.owner)

    async def orphaned(self) -> bool:
        """See `ports.Custody`."""
        return bool(await self._database.read(requests.dead_owners))

    async def take_over(self, limit: int) -> Orphans:
        """See `ports.Custody`."""
        return await self._database.write(requests.take_over, self.owner, limit)

    async def backlog(self, until: float) -> int:
        """See `ports.Custody`."""
        return await self._database.read(requests.backlog, self.owner, until)

    async def rescued(self, day: int) -> int:
        """See `ports.Custody`."""
        return await self._database.read(charges.rescued, day)

    async def due(self, now: float, until: float, limit: int) -> list[Pending]:
        """See `ports.Custody`."""
        return await self._database.read(requests.due, self.owner, now, until, limit)

    async def attend(self, asks: Sequence[str], lane: Lane) -> list[str]:
        """See `ports.Custody`."""
        return await self._database.write(requests.set_lane, asks, lane, self.owner)

    async def unseated(self, before: float) -> list[str]:
        """See `ports.Custody`."""
        return await self._database.read(requests.unseated, self.owner, before)

    async def load(self, asks: Sequence[str]) -> list[Pending]:
        """See `ports.Custody`."""
        found = await self._database.read(requests.load_many, asks)
        return [found[ask] for ask in asks if ask in found]

    async def sweep(self) -> int:
        """See `ports.Custody`."""
        return await self._database.write(retention.sweep, self._now(), SWEPT)
