"""Rescues of a simulation: requests in the batch lane whose deadline comes are asked directly as well.

As live (`engine.rescuing`) all that share a time share the direct lane, and what a day of rescues may cost is kept to;
looks between which nothing can become due are passed over.
"""

from bisect import bisect_right, insort
from collections.abc import Callable
from itertools import count
from typing import Any, Protocol

from batchway.core.catalog import Catalog
from batchway.core.events import Event, Rescued
from batchway.core.facts import Fact, Rescue
from batchway.core.rescue import RescueRule, head_start, leave_at, measure
from batchway.core.router import direct_cost
from batchway.core.types import Request

HORIZON = 10
"""Direct calls one after another by which a backlog is looked ahead."""

DAY = 86_400.0
LEAST = 1.0
"""Seconds between two looks, at least."""


class Desk(Protocol):
    """Whom rescues are told: the driver."""

    now: float

    def tell(self, fact: Fact) -> None: ...
    def publish(self, event: Event) -> None: ...
    def at(self, when: float, action: Callable[[Any, float], None], what: object) -> None: ...


class Rescuing:
    """The requests in the batch lane that have a deadline, the most urgent first."""

    def __init__(self, desk: Desk, catalog: Catalog, rule: RescueRule, job_of: Callable[[str], str]) -> None:
        """`job_of` a request, by its `ask`; empty: it waits in a window still."""
        self._desk = desk
        self._catalog = catalog
        self._rule = rule
        self._job_of = job_of
        self._order = count(1)
        self._leaving: list[tuple[float, int, str]] = []
        self._requests: dict[str, Request] = {}
        self._looks_at: float | None = None
        self._spent = 0
        self._day = 0.0

    def expect(self, request: Request) -> None:
        """It takes the batch lane. One that is to fail rather than cost more is told so by the planner itself."""
        leave = leave_at(request, self._rule)
        if leave is None or request.on_deadline == "fail":
            return
        self._requests[request.ask] = request
        insort(self._leaving, (leave, next(self._order), request.ask))
        self._set_look()

    def forget(self, ask: str) -> None:
        """It has its end, or leaves the lane otherwise."""
        self._requests.pop(ask, None)

    def _set_look(self) -> None:
        while self._leaving and self._leaving[0][2] not in self._requests:
            self._leaving.pop(0)
        if not self._leaving:
            return
        first = self._leaving[0][0]
        near = bisect_right(self._leaving, (first + self._rule.call_seconds * HORIZON,))
        at = max(self._desk.now, first - head_start(near, self._rule))
        if self._looks_at is None or at < self._looks_at:
            self._looks_at = at
            self._desk.at(at, self._look, None)

    def _look(self, _: object, now: float) -> None:
        if self._looks_at is None or now < self._looks_at:
            return  # An earlier one has seen to it.
        self._looks_at = None
        near = bisect_right(self._leaving, (now + self._rule.call_seconds * HORIZON,))
        until = now + head_start(near, self._rule)
        while self._leaving and self._leaving[0][0] <= until:
            request = self._requests.pop(self._leaving.pop(0)[2], None)
            if request is not None:
                self._see_to(request, now)
        if self._leaving:
            self._looks_at = max(now + LEAST, self._leaving[0][0] - head_start(near, self._rule))
            self._desk.at(self._looks_at, self._look, None)

    def _see_to(self, request: Request, now: float) -> None:
        if now // DAY != self._day:
            self._day, self._spent = now // DAY, 0
        expected = direct_cost(request, self._catalog)
        what = measure(request, expected=expected, spent=self._spent, rule=self._rule)
        why, job_id = "its deadline comes before its batch", self._job_of(request.ask)
        self._desk.publish(Rescued(at=now, request=request, job_id=job_id, measure=what, reason=why))
        if what == "send":
            self._spent += expected or 0
            self._desk.tell(Rescue(request, job_id, why))
