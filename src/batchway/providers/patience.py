"""How long whole answers may take: one alarm for all exchanges, since a timer for each costs as much as reading it."""

import asyncio
from itertools import takewhile
from typing import Protocol


class Bounded(Protocol):
    """What may take only so long."""

    def give_up(self) -> None:
        """It has taken too long."""


class Patience:
    """Bounds each of them to the same number of seconds: they are overdue in the order in which they began.

    It is made within the running loop.
    """

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._ends: dict[Bounded, float] = {}
        self._alarm: asyncio.TimerHandle | None = None

    def begin(self, bounded: Bounded) -> None:
        """Its time runs from now on."""
        self._ends[bounded] = self._loop.time() + self._seconds
        if self._alarm is None:
            self._alarm = self._loop.call_later(self._seconds, self._ring)

    def end(self, bounded: Bounded) -> None:
        """It has ended."""
        self._ends.pop(bounded, None)

    def close(self) -> None:
        """Bound nothing any more."""
        if self._alarm is not None:
            self._alarm.cancel()

    def _ring(self) -> None:
        now = self._loop.time()
        for overdue in list(takewhile(lambda bounded: self._ends[bounded] <= now, self._ends)):
            self.end(overdue)
            overdue.give_up()
        first = next(iter(self._ends.values()), None)
        self._alarm = None if first is None else self._loop.call_at(first, self._ring)
