"""Clockwork: the machine's clock, ids and dice, made here and passed in everywhere else."""

import asyncio
import os
import random
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import count

from batchway.core.catalog import Catalog, Find
from batchway.data.prices import finder
from batchway.ports import Alarm, Clock

DAY = 86_400
"""Seconds of a day: midnight UTC is a multiple of it."""


class LiveClock:
    """The machine's clock and the running loop's alarms."""

    now = staticmethod(time.time)
    """Seconds since the epoch."""

    def call_at(self, when: float, action: Callable[[], None]) -> Alarm:
        """Do this at that time."""
        return asyncio.get_running_loop().call_later(max(0.0, when - time.time()), action)


class DailyPrices:
    """The catalogue, its prices renewed at each midnight UTC: providers announce changes for a day to come."""

    def __init__(self, clock: Clock, models: Mapping[str, Mapping[str, object]]) -> None:
        self._clock = clock
        self._models = models
        self.catalog = Catalog(self._find())
        self._alarm = self._set_alarm()

    def _find(self) -> Find:
        return finder(datetime.fromtimestamp(self._clock.now(), UTC).date(), self._models)

    def _set_alarm(self) -> Alarm:
        tomorrow = (self._clock.now() // DAY + 1) * DAY
        return self._clock.call_at(tomorrow, self._renew)

    def _renew(self) -> None:
        self.catalog.renew(self._find())
        self._alarm = self._set_alarm()

    def close(self) -> None:
        """Renew no more."""
        self._alarm.cancel()


LAST_DIGITS = tuple([f"{number:03x}" for number in range(16**3)])
"""Of ids; the others are written once for all of these."""


class Ids:
    """UUIDs (version 8): random for this process, counted within it. No id is a secret, every look-up is by tenant."""

    def __init__(self, dice: random.Random) -> None:
        digits = f"{dice.getrandbits(76):019x}"
        process = f"{digits[:8]}-{digits[8:12]}-8{digits[12:15]}-a{digits[15:18]}-"
        first = dice.getrandbits(32)
        blocks = (f"{process}{number:09x}" for number in count(first >> 12))
        self._made = (block + last for block in blocks for last in LAST_DIGITS)

    def __call__(self) -> str:
        """A new one."""
        return next(self._made)


def new_key_bytes() -> bytes:
    """The random bytes of a new gateway key."""
    return secrets.token_bytes(32)


def crash_points(wanted: str | None) -> Callable[[str], None]:
    """What is told of every named place in the code: it ends the process there as `kill -9` would, if that place is
    wanted (`NAME`, or `NAME:3` for the third time). For proofs; otherwise it does nothing."""
    if wanted is None:
        return lambda _: None
    name, _, times = wanted.partition(":")
    left = [int(times or 1)]

    def reached(place: str) -> None:
        if place == name:
            left[0] -= 1
            if left[0] == 0:
                os._exit(137)

    return reached
