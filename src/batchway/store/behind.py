"""Written behind: requests that were answered before they were written down, and charges, both in groups."""

from collections.abc import Callable
from typing import Literal

from msgspec import structs

from batchway.core.commands import Reply
from batchway.core.types import Answer, Charge, Fault, Lane, Request, Via
from batchway.store import answers, charges
from batchway.store.answers import Record, Result
from batchway.store.database import Database
from batchway.store.journal import kept_seconds
from batchway.store.requests import Entry

Recording = Literal["all", "metadata", "none"]
"""What is kept of requests that need not be durable: everything, all but what was said, or only what they cost."""

OVERHEAD = 500
"""Bytes that an item holds in memory beside its bodies."""

_LANES: dict[Via, Lane] = {"flex": "flex", "batch": "batch"}


class StoreBehind:
    """`ports.Behind` over a store."""

    def __init__(
        self, database: Database, now: Callable[[], float], *, record: Recording, retention: float | None
    ) -> None:
        self._database = database
        self._now = now
        self._record = record
        self._retention = retention

    def answered(self, reply: Reply) -> None:
        """See `ports.Behind`. What a cache gave again is not written twice: its equal is on disk."""
        result = Result(
            ask=reply.request.ask,
            outcome=reply.answer,
            via=reply.via,
            finished_at=self._now(),
            batch_id=reply.batch_id,
            packed=reply.packed,
            cost=reply.cost,
            saved=reply.saved,
            why=reply.why,
        )
        self._post(reply.request, result, reply.answer, bodies=reply.via != "cache")

    def refused(self, request: Request, fault: Fault, why: str) -> None:
        """See `ports.Behind`."""
        result = Result(ask=request.ask, outcome=fault, via="direct", finished_at=self._now(), why=why)
        self._post(request, result, fault, bodies=True)

    def _post(self, request: Request, result: Result, outcome: Answer | Fault, *, bodies: bool) -> None:
        if self._record == "none":
            return
        if request.named:
            # Its id belongs to the one on disk: neither a twin of that takes it, nor what was refused unsaved.
            request = structs.replace(request, id=request.ask, named=False)
        bodies = bodies and self._record == "all" and request.retention != "none"
        entry = Entry(
            request=request,
            lane=_LANES.get(result.via, "direct"),
            owner=None,
            retention=kept_seconds(request, self._retention),
        )
        record = Record(entry=entry, result=result, bodies=bodies)
        held = OVERHEAD + (request.size + len(outcome.body or b"") if bodies else 0)
        self._database.post(answers.record, record, size=held)

    def charged(self, charge: Charge) -> None:
        """See `ports.Behind`."""
        self._database.post(charges.book, charge, size=OVERHEAD, kept=True)
