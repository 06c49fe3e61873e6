"""Rescuing: requests in the batch lane whose deadline comes are asked directly as well, or refused."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from batchway.core.catalog import Catalog
from batchway.core.commands import Keep
from batchway.core.errors import DeadlinePassed
from batchway.core.events import Event, Rescued
from batchway.core.facts import Fact, Landed, Rescue
from batchway.core.rescue import Measure, RescueRule, head_start, may_go_directly, measure
from batchway.core.router import direct_cost
from batchway.core.types import Fault, Lane
from batchway.ports import Custody, Journal, Pending

MANY = 500
"""Requests that are seen to at a time."""

HORIZON = 10
"""Direct calls one after another by which a backlog is looked ahead."""

DAY = 86_400.0


class Desk(Protocol):
    """Whom rescues are told: the engine."""

    def tell(self, fact: Fact) -> None: ...
    def publish(self, event: Event) -> None: ...


class Rescuing:
    """Sees to what is due, and keeps to what rescues may cost a day."""

    def __init__(
        self,
        custody: Custody,
        journal: Journal,
        desk: Desk,
        catalog: Catalog,
        rule: RescueRule,
        reached: Callable[[str], None],
    ) -> None:
        """`reached` is told of places in this code, for proofs."""
        self._custody = custody
        self._journal = journal
        self._desk = desk
        self._catalog = catalog
        self._rule = rule
        self._reached = reached
        self._spent = 0
        self._day = 0.0

    async def see_to(self, now: float) -> None:
        """All whose time has come; they share the direct lane, so that many must leave earlier than one."""
        near = await self._custody.backlog(now + self._rule.call_seconds * HORIZON)
        until = now + head_start(near, self._rule)
        while due := await self._custody.due(now, until, MANY):
            await self._take_stock(now)
            await self._see_to_some(due, now)

    async def _take_stock(self, now: float) -> None:
        """What rescues have cost today: as expected of those sent from here, or as booked, by whatever process."""
        if now // DAY != self._day:
            self._day, self._spent = now // DAY, 0
        if self._rule.cap is not None:
            self._spent = max(self._spent, await self._custody.rescued(int(self._day)))

    async def _see_to_some(self, due: Sequence[Pending], now: float) -> None:
        measures = [(pending, self._measure(pending, now)) for pending in due]
        self._reached("rescue.before")
        for what, lane in _LANES.items():
            some = {pending.request.ask: pending for pending, measured in measures if measured == what}
            attended = await self._custody.attend(list(some), lane) if some else ()
            self._reached("rescue.after")
            if what == "send":
                # At once: from here on nothing on disk asks for them again, and what follows may fail.
                for ask in attended:
                    self._desk.tell(Rescue(some[ask].request, some[ask].job_id or "", _WHY[what]))
        late = [
            refuse(self._journal, self._desk, pending, TOO_LATE, _WHY["fail"])
            for pending, what in measures
            if what == "fail"
        ]
        await asyncio.gather(*late)

    def _measure(self, pending: Pending, now: float) -> Measure:
        request = pending.request
        expected = direct_cost(request, self._catalog)
        what = measure(request, expected=expected, spent=self._spent, rule=self._rule)
        if what == "send":
            self._spent += expected or 0
        job_id = pending.job_id or ""
        why = _WHY[what] if what != "leave" or may_go_directly(request, self._rule) else _MAY_NOT
        self._desk.publish(Rescued(at=now, request=request, job_id=job_id, measure=what, reason=why))
        return what


async def refuse(journal: Journal, desk: Desk, pending: Pending, fault: Fault, why: str) -> None:
    """Write down the fault of a request that is on disk, and tell whoever waits for it here."""
    request = pending.request
    keep = Keep(
        request=request,
        result=fault,
        via=pending.lane,
        call_id="",
        packed=1,
        charges=(),
        cost=None,
        saved=None,
        why=why,
    )
    await journal.keep(keep)
    desk.tell(Landed(request.ask, pending.job_id or "", fault))


_LANES: Mapping[Measure, Lane] = {"send": "direct", "leave": "batch"}
"""What they travel by from then on. What is refused has its end instead."""

_WHY: Mapping[Measure, str] = {
    "send": "its deadline comes before its batch: asked directly as well",
    "fail": "its deadline passed before its batch came back (on_deadline=fail)",
    "leave": "its deadline comes, but rescues have cost what they may cost today (rescue_cap_usd)",
}

_MAY_NOT = "its deadline comes, but its key or its provider's settings do not let it go directly"

TOO_LATE = DeadlinePassed("The deadline passed before the answer came (on_deadline=fail).").fault
