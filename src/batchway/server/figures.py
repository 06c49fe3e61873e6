"""Figures: what the planner and the store know in numbers, as management shows it. A store that hangs delays nobody."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection

from batchway.assemble import Gateway
from batchway.core.cost import dollars
from batchway.core.errors import Refusal
from batchway.core.job import OVER, Job
from batchway.core.packer import Tally
from batchway.core.planner.routing import Window
from batchway.engine.metrics import Level
from batchway.engine.stats import Calls
from batchway.engine.tallies import MANY
from batchway.store import Gap, batches
from batchway.store.batches import Batch, Count
from batchway.store.charges import LedgerLine, Sums
from batchway.store.events import Told
from batchway.store.learnt import list_gaps
from batchway.wire.native import instant

PATIENCE = 2.0
"""Seconds that the store has to answer before it is shown as down."""

SILENT = f"it does not answer within {PATIENCE:g} seconds"

WEEK = 7 * 86_400.0

GAPS = 20
"""Of those that there were, the newest that are shown."""

Found = TypeVar("Found")
Shown = dict[str, Any]


class Figures:
    """Asks the store, each thing once at a time, and never waits long."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._asked: dict[Callable[..., Any], asyncio.Task[Any]] = {}
        self._active = 0

    async def pulse(self) -> tuple[int, str]:
        """Active batches, as last counted, and whether the store is up, down or none."""
        if self._gateway.storage is None:
            return 0, "none"
        active = await self._read(batches.count_active)
        self._active = self._active if active is None else active
        return self._active, "down" if active is None else "up"

    def outage(self, store: str) -> Shown | None:
        """Since when the store, which is `up`, `down` or `none`, is down, as far as is known, and why."""
        storage = self._gateway.storage
        if storage is None or store != "down":
            return None
        writing = storage.database.health().down
        since, reason = self._gateway.engine.outage() or (None, writing or SILENT)
        return {"since": _instant(since), "reason": reason}

    async def waiting(self) -> list[Count] | None:
        """Requests without an answer, of all processes; None: the store does not answer, or there is none."""
        return await self._read(batches.count_waiting)

    async def jobs(self) -> list[Count] | None:
        """Batches that are not hidden, likewise."""
        return await self._read(batches.count_jobs)

    async def levels(self) -> Sequence[Level]:
        """What metrics show of the store."""
        waiting, jobs = await asyncio.gather(self.waiting(), self.jobs())
        up = 0.0 if waiting is None and self._gateway.storage is not None else 1.0
        return [
            Level(name="batchway_store_up", text="1: the store answers, or there is none", by={(): up}),
            *_levels(waiting or (), jobs or (), self._gateway.clock.now()),
            *_pack_levels(self._gateway.planner.packing(self._gateway.clock.now())),
        ]

    async def unrecorded(self) -> Shown:
        """What was to be written behind and could not be, in the last week, and why; the newest gaps first."""
        storage = self._gateway.storage
        if storage is None:
            return unrecorded_of(())
        written = await self._read(self._gaps) or []
        now = storage.database.health().gap
        return unrecorded_of([*([now] if now is not None else []), *reversed(written)])

    def _gaps(self, connection: Connection) -> list[Gap]:
        return list_gaps(connection, since=self._gateway.clock.now() - WEEK)

    async def _read(self, do: Callable[[Connection], Found]) -> Found | None:
        storage = self._gateway.storage
        if storage is None or storage.database.health().down is not None:
            return None
        reading = self._asked.get(do)
        if reading is None or reading.done():
            reading = self._asked[do] = asyncio.ensure_future(storage.database.read(do))
            reading.add_done_callback(_heard)
        done, _ = await asyncio.wait({reading}, timeout=PATIENCE)
        if not done:
            return None
        try:
            found: Found = reading.result()
        except Refusal:
            return None
        return found


def _heard(reading: "asyncio.Task[Any]") -> None:
    """Nobody may wait for it any more: its error is not one of the loop's."""
    if not reading.cancelled():
        reading.exception()


def _levels(waiting: Iterable[Count], jobs: Iterable[Count], now: float) -> list[Level]:
    """By provider and lane (or `in_job`), and by provider and state: models come from callers, and may be many."""
    depth: Counter[tuple[str, ...]] = Counter()
    oldest: dict[tuple[str, ...], float] = defaultdict(float)
    states: Counter[tuple[str, ...]] = Counter()
    for count in waiting:
        key = count.provider, count.state
        depth[key] += count.n
        oldest[key] = max(oldest[key], _age(count.oldest_at, now) or 0.0)
    for count in jobs:
        states[count.provider, count.state] += count.n
    labels = "provider", "lane"
    text = "Requests without an answer, by the lane they are to take, or in_job"
    return [
        Level(name="batchway_queue_depth", text=text, labels=labels, by=depth),
        Level(name="batchway_queue_oldest_seconds", text="Age of the oldest of them", labels=labels, by=oldest),
        Level(name="batchway_jobs", text="Provider batches by state", labels=("provider", "state"), by=states),
    ]


def _pack_levels(tallies: Sequence[Tally]) -> list[Level]:
    keys = [(tally.provider, tally.model) for tally in tallies[:MANY]]
    figures = (
        ("batchway_packed_calls", "Packed calls answered", True, [tally.calls for tally in tallies]),
        ("batchway_packed_requests", "Requests in them", True, [tally.requests for tally in tallies]),
        ("batchway_packed_again", "Of these asked again singly", True, [tally.again for tally in tallies]),
        ("batchway_pack_size", "Requests that auto may pack now; 1: off", False, [tally.size for tally in tallies]),
    )
    return [
        Level(
            name=name,
            text=text,
            labels=("provider", "model"),
            by=dict(zip(keys, values, strict=False)),
            grows=grows,
        )
        for name, text, grows, values in figures
    ]


def unrecorded_of(gaps: Sequence[Gap]) -> Shown:
    """Gaps in the records, and their sums."""
    return {
        "records": sum([gap.records for gap in gaps]),
        "charges": sum([gap.charges for gap in gaps]),
        "gaps": [
            {
                "since": instant(gap.since),
                "until": instant(gap.until),
                "records": gap.records,
                "charges": gap.charges,
                "reason": gap.reason,
            }
            for gap in gaps[:GAPS]
        ],
    }


def calls_of(calls: Calls) -> Shown:
    """How a provider's calls have ended. A fault without its words: they may quote what was asked."""
    at, fault = calls.fault or (None, None)
    return {
        "provider": calls.provider,
        "answered": calls.answered,
        "refused": calls.refused,
        "failed": calls.failed,
        "last_answer_at": _instant(calls.answered_at),
        "last_fault_at": _instant(at),
        "last_fault": None if fault is None else f"{fault.status} {fault.code or fault.type}",
    }


def _age(since: float | None, now: float) -> float | None:
    return None if since is None else round(max(0.0, now - since), 3)


def window_of(window: Window, now: float) -> Shown:
    """An open window."""
    return {
        "provider": window.provider,
        "model": window.model,
        "endpoint": window.endpoint,
        "lane": window.lane,
        "requests": window.size,
        "tokens": window.tokens,
        "oldest_age_seconds": _age(window.oldest_at, now),
        "closes_in_seconds": round(max(0.0, window.closes_by - now), 3),
    }


def packing_of(tally: Tally) -> Shown:
    """What has come of packing at one model."""
    return {
        "provider": tally.provider,
        "model": tally.model,
        "format": tally.format,
        "calls": tally.calls,
        "requests": tally.requests,
        "asked_again_singly": tally.again,
        "compared_with_single_answers": tally.sampled,
        "auto_packs_up_to": tally.size,
        "why": tally.why,
    }


def waiting_of(count: Count, now: float) -> Shown:
    """Requests that wait for the same."""
    return {
        "provider": count.provider,
        "model": count.model,
        "lane": count.state,
        "requests": count.n,
        "tokens": count.tokens,
        "oldest_age_seconds": _age(count.oldest_at, now),
    }


def statuses_of(counts: Iterable[Count]) -> Shown:
    """Batches by status, in all and by provider."""
    whole: Counter[str] = Counter()
    finished = 0
    by_provider: dict[str, Counter[str]] = defaultdict(Counter)
    for count in counts:
        status = count.status or count.state
        whole[status] += count.n
        by_provider[count.provider][status] += count.n
        finished += count.n if status in OVER else 0
    total = whole.total()
    return {
        "total": total,
        "active": total - finished,
        "finished": finished,
        "by_status": dict(whole),
        "by_provider": {name: dict(found) for name, found in by_provider.items()},
    }


def batch_of(batch: Batch, now: float) -> Shown:
    """A batch. Its counts are of rows whose outcome is on disk here, not what the provider counts.

    `status` is over as soon as every row has its end; `state` may be `closing` after that, while files are deleted at
    the provider.
    """
    job = batch.job
    return {
        "batch_id": job.id,
        "provider_batch_id": job.provider_batch_id,
        "provider": job.provider,
        "model": job.model,
        "endpoint": job.endpoint,
        "status": job.shown,
        "state": job.state,
        "total_requests": job.n,
        "request_counts": {"total": job.n, "completed": job.done, "failed": job.failed},
        "attempt": job.attempt,
        "completion_window": job.window,
        "created_at": instant(job.created_at),
        "submitted_at": _instant(job.submitted_at),
        "completed_at": _instant(batch.finished_at),
        "expires_at": _instant(job.expires_at),
        "age_seconds": _age(job.created_at, now),
        "error": job.last_error,
    }


def story_of(batch: Batch, told: Iterable[Told], sums: Sums, now: float) -> Shown:
    """A batch with what happened to it, and what its rows cost."""
    return {
        **batch_of(batch, now),
        "provider_counts": _provider_counts(batch.job),
        "cost_usd": dollars(sums.cost),
        "saved_usd": dollars(sums.saved),
        "charges_without_known_price": sums.unpriced,
        "events": [{"at": instant(each.at), "kind": each.kind, "reason": each.reason} for each in told],
    }


def _provider_counts(job: Job) -> Shown | None:
    counts = job.counts
    if counts is None:
        return None
    return {"total": counts.total, "completed": counts.completed, "failed": counts.failed}


def _instant(at: float | None) -> str | None:
    return None if at is None else instant(at)


def day_of(lines: Iterable[LedgerLine]) -> Shown:
    """The sums of a day."""
    found = list(lines)
    return {
        "paid_usd": dollars(sum(line.cost for line in found)),
        "saved_usd": dollars(sum(line.saved for line in found)),
        "charges": sum(line.charges for line in found),
        "charges_without_known_price": sum(line.unpriced for line in found),
    }
