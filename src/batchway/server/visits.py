"""Visits: every exchange that is going on, looked after together twice a second.

Two things can go wrong on the caller's side: it does not send its body, or it leaves before its answer. A timer and a
watching task for each exchange would cost a tenth of all that is done for it, and most end within a moment; so one
sweep cancels the overdue and begins to watch whoever has been waiting for a while.
"""

import asyncio
from types import TracebackType
from typing import Self

from batchway.core.errors import TooSlow
from batchway.server.exchange import Gone, Receive

PERIOD = 0.5
"""Seconds between two sweeps: how late an overdue body or a caller's leaving may be noticed."""


class Visit:
    """One exchange. As a context manager it turns our own cancellations into what they mean: TooSlow, or Gone."""

    __slots__ = ("_visits", "began", "left", "overdue", "reading", "receive", "task", "watching")

    def __init__(self, visits: "Visits", receive: Receive, task: "asyncio.Task[object]", began: float) -> None:
        self._visits = visits
        self.receive = receive
        self.task = task
        self.began = began
        self.reading = True
        self.overdue = False
        self.left = False
        self.watching: asyncio.Task[None] | None = None

    def has_asked(self) -> None:
        """Its body is complete: from now on it may leave, but no longer be late."""
        self.reading = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._visits.end(self)
        if kind is asyncio.CancelledError and (self.left or self.overdue):
            self.task.uncancel()
            if self.left:
                raise Gone from error
            raise TooSlow(
                f"The body did not arrive within {self._visits.body_timeout:g} seconds (body_timeout)."
            ) from error


class Visits:
    """Looks after all visits of one endpoint. `body_timeout` in seconds."""

    def __init__(self, body_timeout: float) -> None:
        self.body_timeout = body_timeout
        self._going_on: dict[int, Visit] = {}
        self._sweeping = False

    def begin(self, receive: Receive) -> Visit:
        """The running task begins an exchange."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None, "a visit is made by a task"
        visit = Visit(self, receive, task, loop.time())
        self._going_on[id(visit)] = visit
        if not self._sweeping:
            self._sweeping = True
            loop.call_later(PERIOD, self._sweep)
        return visit

    def end(self, visit: Visit) -> None:
        """The exchange is over; a watch that was begun ends with the connection or the response, as ASGI says."""
        self._going_on.pop(id(visit), None)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        late = loop.time() - self.body_timeout
        for visit in self._going_on.values():
            if not visit.reading:
                visit.watching = visit.watching or loop.create_task(self._watch(visit))
            elif visit.began < late:
                visit.overdue = True
                visit.task.cancel()
        self._sweeping = bool(self._going_on)
        if self._sweeping:
            loop.call_later(PERIOD, self._sweep)

    async def _watch(self, visit: Visit) -> None:
        while (await visit.receive())["type"] != "http.disconnect":
            continue
        if id(visit) in self._going_on:
            visit.left = True
            visit.task.cancel()
