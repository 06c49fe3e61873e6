"""The batches of one provider, whatever it calls them: made from an order, found again by who gave it, counted."""

import math
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from msgspec import structs

from batchway.sandbox.batch_contract import Order, Sight, Work
from batchway.sandbox.batch_faults import BatchRule
from batchway.sandbox.batching import Batch
from batchway.sandbox.contract import Refused, Visit
from batchway.sandbox.offers import HOUR
from batchway.sandbox.state import Sandbox


class Ordered(Protocol):
    """A batch as a dialect knows it: the machine, and what was said at its creation."""

    @property
    def batch(self) -> Batch: ...


T = TypeVar("T", bound=Ordered)


class Desk(Generic[T]):
    """Only its owner, an API key, sees a batch."""

    def __init__(self, sandbox: Sandbox, missing: Callable[[str], Refused]) -> None:
        """`missing`: how the provider says that it knows no batch of that id."""
        self._sandbox = sandbox
        self._missing = missing
        self._taken: dict[str, T] = {}
        self._created: dict[str, deque[float]] = {}

    def begin(self, visit: Visit, identity: str, tags: Any, work: Work, window: float, *, sound: bool = False) -> Batch:
        """The machine for a new order, with the faults that struck its creation. `window`: seconds; `sound`: its lines
        were checked already."""
        order = Order(id=identity, provider=visit.provider, key=visit.key, at=visit.at, tags=tags)
        schedule = structs.replace(
            self._sandbox.batch_schedule,
            window=min(self._sandbox.batch_schedule.window, window),
            fails_if_all_fail=self._sandbox.offer(visit.provider).fails_if_all_fail,
        )
        troubles = tuple(fault for fault in visit.faults if isinstance(fault, BatchRule))
        return Batch(order, work, schedule, troubles, self._sandbox.ledger, sound=sound)

    def take(self, ordered: T) -> None:
        """It is ordered, and lives."""
        self._taken[ordered.batch.order.id] = ordered
        self._sandbox.batches.add(ordered.batch)

    def poll(self, identity: str, visit: Visit) -> tuple[T, Sight]:
        """The batch of that id as it looks now. Raises Refused."""
        ordered = self._own(identity, visit)
        sight = ordered.batch.sight(visit.at)
        if not sight.found:
            raise self._missing(identity)
        return ordered, sight

    def find(self, identity: str, visit: Visit) -> T:
        """The same, without its being a poll."""
        ordered = self._own(identity, visit)
        if not ordered.batch.sight(visit.at, polled=False).found:
            raise self._missing(identity)
        return ordered

    def listed(self, visit: Visit) -> list[tuple[T, Sight]]:
        """The visitor's batches, the newest first."""
        own = [each for each in reversed(self._taken.values()) if each.batch.order.key == visit.key]
        seen = [(each, each.batch.sight(visit.at, polled=False)) for each in own]
        return [(each, sight) for each, sight in seen if sight.listed]

    def live(self, visit: Visit) -> list[T]:
        """The visitor's batches that have not ended."""
        own = [each for each in self._taken.values() if each.batch.order.key == visit.key]
        return [each for each in own if each.batch.ended is None]

    def drop(self, identity: str, visit: Visit) -> None:
        """It is not shown any more. Raises Refused."""
        del self._taken[self.find(identity, visit).batch.order.id]

    def allow(self, visit: Visit) -> None:
        """Take one creation of this hour's. Raises Refused if there is none left."""
        most = self._sandbox.offer(visit.provider).creations_per_hour
        if most is None:
            return
        created = self._created.setdefault(visit.key, deque())
        while created and created[0] <= visit.at - HOUR:
            created.popleft()
        if len(created) >= most:
            left = math.ceil(created[len(created) - most] + HOUR - visit.at)
            message = f"Batch creation rate limit reached. Limit: {most} / hour. Please try again in {left}s."
            raise Refused(429, message, kind="requests", code="rate_limit_exceeded", retry_after=left)
        created.append(visit.at)

    def _own(self, identity: str, visit: Visit) -> T:
        found = self._taken.get(identity)
        if found is None or found.batch.order.key != visit.key:
            raise self._missing(identity)
        return found
