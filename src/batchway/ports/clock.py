"""Time, as the engine needs it."""

from collections.abc import Callable
from typing import Protocol


class Alarm(Protocol):
    """A call that a clock will make."""

    def cancel(self) -> None:
        """Do not make it."""
        ...


class Clock(Protocol):
    """Time, live or moved by hand."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    def call_at(self, when: float, action: Callable[[], None]) -> Alarm:
        """Do this at that time, or as soon as possible if it is past."""
        ...
