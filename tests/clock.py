"""A clock that stands still until a test moves it, and then rings every alarm that has come due."""

from collections.abc import Callable
from heapq import heappop, heappush

START = 1_790_000_000.0


class HandAlarm:
    """What `call_at` gives."""

    def __init__(self, action: Callable[[], None]) -> None:
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Do not ring."""
        self.action = None


class HandClock:
    """Seconds since the epoch, moved by hand."""

    def __init__(self, start: float = START) -> None:
        self._now = start
        self._alarms: list[tuple[float, int, HandAlarm]] = []
        self._made = 0

    def now(self) -> float:
        """What the hand shows."""
        return self._now

    def call_at(self, when: float, action: Callable[[], None]) -> HandAlarm:
        """Ring when the hand gets there."""
        alarm = HandAlarm(action)
        self._made += 1
        heappush(self._alarms, (when, self._made, alarm))
        return alarm

    def move(self, seconds: float) -> None:
        """Move on, ringing on the way."""
        end = self._now + seconds
        while self._alarms and self._alarms[0][0] <= end:
            when, _, alarm = heappop(self._alarms)
            self._now = max(self._now, when)
            if alarm.action is not None:
                alarm.action()
        self._now = end
