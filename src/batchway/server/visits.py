"""Visits: every exchange that is going on, looked after together twice a second.

Three things can go wrong on the caller's side: it does not send its body, it leaves before its answer, or it does not
read it. Timers and a watching task for each exchange would cost a tenth of all that is done for it, and most end within
a moment; so one sweep cancels the overdue and the stuck, and begins to watch whoever has been waiting for a while.
"""

import asyncio
from collections.abc import Callable
from math import inf
from types import TracebackType
from typing import Self

from msgspec import Struct

from batchway.core.errors import TooSlow
from batchway.server.exchange import Gone, Message, Receive, Send

PERIOD = 0.5
"""Seconds between two sweeps: how late an overdue body or a caller's leaving may be noticed."""

WRITE_TIMEOUT = 60.0
"""Seconds that a reader may take for one piece of its answer before it is taken for gone."""


class Visit(Struct, eq=False):
    """One exchange. As a context manager it turns our own cancellations into what they mean: TooSlow, or Gone."""

    visits: "Visits"
    receive: Receive
    passing: Send
    """Where the answer goes; whoever answers calls `send`."""
    task: "asyncio.Task[object]"
    began: float
    reading: bool = True
    overdue: bool = False
    left: bool = False
    driving: Callable[[], None] | None = None
    """Set while the task makes a call that may go on without this caller: what to do when it leaves."""
    watching: "asyncio.Task[None] | None" = None
    pieces: int = 0
    """Pieces of the answer that were begun."""
    sending: bool = False
    """The last of them waits for its reader."""
    seen: int = 0
    """How many they were at the last sweep, and for how many seconds it has been the same that waits."""
    stuck: float = 0.0

    def leave(self) -> None:
        """Nobody is there to read the answer. A task that drives a call is told, any other is cancelled."""
        self.left = True
        if self.driving is None:
            self.task.cancel()
        else:
            self.driving()

    def goes_on(self) -> None:
        """More of a body came that may take long for its size: its time begins anew."""
        self.began = asyncio.get_running_loop().time()

    def is_kept_waiting(self) -> None:
        """We are not ready for more of its body: until it `goes_on`, it is not late, however long that takes."""
        self.began = inf

    def has_asked(self) -> None:
        """Its body is complete: from now on it may leave, but no longer be late."""
        self.reading = False

    async def send(self, message: Message) -> None:
        """Send one piece of the answer; whoever does not take it within `WRITE_TIMEOUT` is taken for gone."""
        self.pieces += 1
        self.sending = True
        await self.passing(message)
        self.sending = False

    def is_stuck(self) -> bool:
        """Asked at each sweep: whether one and the same piece has waited for its reader too long."""
        self.stuck = self.stuck + PERIOD if self.sending and self.seen == self.pieces else 0.0
        self.seen = self.pieces
        return self.stuck >= self.visits.write_timeout

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.visits.end(self)
        if kind is asyncio.CancelledError and (self.left or self.overdue):
            self.task.uncancel()
            if self.left:
                raise Gone from error
            raise TooSlow(
                f"The body did not arrive within {self.visits.body_timeout:g} seconds (body_timeout)."
            ) from error


class Visits:
    """Looks after all visits of the running loop. `body_timeout`: seconds for a body to arrive; `write_timeout`: for a
    reader to take one piece of its answer."""

    def __init__(self, body_timeout: float, write_timeout: float = WRITE_TIMEOUT) -> None:
        self.body_timeout = body_timeout
        self.write_timeout = write_timeout
        self._loop = asyncio.get_running_loop()
        self._going_on: dict[int, Visit] = {}
        self._sweeping = False

    def begin(self, receive: Receive, send: Send) -> Visit:
        """The running task begins an exchange."""
        loop = self._loop
        task = asyncio.current_task(loop)
        assert task is not None, "a visit is made by a task"
        visit = Visit(self, receive, send, task, loop.time())
        self._going_on[id(visit)] = visit
        if not self._sweeping:
            self._sweeping = True
            loop.call_later(PERIOD, self._sweep)
        return visit

    def end(self, visit: Visit) -> None:
        """The exchange is over; a watch that was begun ends with the connection or the response, as ASGI says."""
        self._going_on.pop(id(visit), None)

    def _sweep(self) -> None:
        loop = self._loop
        late = loop.time() - self.body_timeout
        for visit in self._going_on.values():
            if not visit.reading:
                visit.watching = visit.watching or loop.create_task(self._watch(visit))
                if visit.is_stuck():
                    visit.leave()
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
            visit.leave()
