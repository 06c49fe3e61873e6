"""An outage of the store, told as one thing: a line when it begins, one now and then, and one when it is over.

While a store is down, whatever wants something of it fails, again and again, and each failure told by itself would bury
what its owner has to know. So they are counted here. Metrics count events, which come one by one as ever.
"""

from collections.abc import Callable

import structlog

EVERY = 10.0
"""Seconds between two lines while it lasts."""

QUIET = 2.0
"""Seconds without a failure after which it is over: on a disk that is full some writes go through and others do not."""

MEANWHILE = (
    "what must be on disk first is refused (503 store_down); all else is answered, and how it ended is written down "
    "when the store works again: only a crash before that can lose it; gateway keys stay as they were"
)

_log = structlog.get_logger()


class Outage:
    """One for the store of a gateway."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._waiting: set[str] = set()
        self._since: float | None = None
        self._reason = ""
        self._failed_at = 0.0
        self._told_at = 0.0
        self._refused = 0
        self._written = 0

    def lasts(self) -> tuple[float, str] | None:
        """Since when, and why; None: there is none, as far as is known."""
        return None if self._since is None else (self._since, self._reason)

    def failed(self, reason: str) -> None:
        """The store could not do what it was asked for; what that was is done without it, or tried again."""
        now = self._failed_at = self._now()
        self._reason = reason
        if self._since is None:
            self._since = now
            self._refused = self._written = 0
            self._tell("the store cannot be used", now, reason, meanwhile=MEANWHILE)
        elif now - self._told_at >= EVERY:
            self._tell("the store cannot be used yet", now, reason, refused=self._refused)

    def refused(self, reason: str) -> None:
        """A request was not accepted, since it could not be put on disk."""
        self.failed(reason)
        self._refused += 1

    def waits(self, ask: str, reason: str) -> None:
        """A request has ended, and how is not on disk: it is tried again."""
        self._waiting.add(ask)
        self.failed(reason)

    def written(self, ask: str) -> None:
        """How a request ended is on disk."""
        if ask in self._waiting:
            self._waiting.remove(ask)
            self._written += 1
        self.worked()

    def worked(self) -> None:
        """The store has written something."""
        if self._since is None or self._waiting or self._now() - self._failed_at < QUIET:
            return
        seconds = round(self._now() - self._since, 1)
        self._since = None
        _log.warning("the store works again", seconds=seconds, written=self._written, refused=self._refused)

    def end(self) -> None:
        """The gateway stops. What waits yet stays pending on disk, and is asked for again after the next start."""
        if self._waiting:
            _log.error(
                "stopped while the store cannot be used: what was answered is asked for again after the next start",
                waiting=len(self._waiting),
            )

    def _tell(self, event: str, now: float, reason: str, **more: object) -> None:
        assert self._since is not None, "an outage has begun"
        self._told_at = now
        _log.error(event, reason=reason, waiting=len(self._waiting), seconds=round(now - self._since, 1), **more)
