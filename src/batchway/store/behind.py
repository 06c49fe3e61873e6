"""Written behind: requests that were answered before they were written down, and charges, both in groups."""

from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import structs
from sqlalchemy import Connection

from batchway.core.commands import Refuse, Reply
from batchway.core.types import Charge, Fault, Lane, Request, Via
from batchway.store import answers, charges
from batchway.store.answers import Record, Result
from batchway.store.database import Database
from batchway.store.journal import kept_seconds
from batchway.store.requests import Entry

Recording = Literal["all", "metadata", "none"]
"""What is kept of requests that need not be durable: everything, all but what was said, or only what they cost."""

OVERHEAD = 500
"""Bytes that an item holds in memory beside what was asked and said."""

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
        self._post(reply, len(reply.answer.body))

    def refused(self, request: Request, fault: Fault, why: str) -> None:
        """See `ports.Behind`."""
        self._post(Refuse(request=request, fault=fault, why=why), len(fault.body or b""))

    def _post(self, ending: Reply | Refuse, said: int) -> None:
        """Rows are made of it where they are written: in the writer's thread, many at a time."""
        if self._record != "none":
            held = OVERHEAD + ending.request.size + said
            self._database.post(self._write, (ending, self._now()), size=held)

    def _write(self, connection: Connection, endings: Sequence[tuple[Reply | Refuse, float]]) -> None:
        answers.record(connection, [self._recorded(ending, at) for ending, at in endings])

    def _recorded(self, ending: Reply | Refuse, at: float) -> Record:
        request = ending.request
        if request.named:
            # Its id belongs to the one on disk: neither a twin of that takes it, nor what was refused unsaved.
            request = structs.replace(request, id=request.ask, named=False)
        result = _result(ending, at)
        entry = Entry(
            request=request,
            lane=_LANES.get(result.via, "direct"),
            owner=None,
            retention=kept_seconds(request, self._retention),
        )
        bodies = self._record == "all" and request.retention != "none" and result.via != "cache"
        return Record(entry=entry, result=result, bodies=bodies)

    def charged(self, charge: Charge) -> None:
        """See `ports.Behind`."""
        self._database.post(charges.book, charge, size=OVERHEAD, kept=True)


def _result(ending: Reply | Refuse, at: float) -> Result:
    if isinstance(ending, Refuse):
        return Result(ask=ending.request.ask, outcome=ending.fault, via="direct", finished_at=at, why=ending.why)
    return Result(
        ask=ending.request.ask,
        outcome=ending.answer,
        via=ending.via,
        finished_at=at,
        batch_id=ending.batch_id,
        packed=ending.packed,
        cost=ending.cost,
        saved=ending.saved,
        why=ending.why,
    )
