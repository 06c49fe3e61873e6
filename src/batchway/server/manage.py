"""Management: health, numbers, queues and batches, for people and for what watches the gateway.

`/health` is open; everything else needs a key of scope `admin`, where keys are configured. Without a store there are no
batches, and that is what these routes then say.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

import structlog
from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import Response
from sqlalchemy import Connection

from batchway.assemble import Gateway
from batchway.assemble.storage import Storage, store_place
from batchway.core import errors, facts
from batchway.core.cost import dollars
from batchway.core.job import OVER, Job
from batchway.core.job.facts import CancelAsked
from batchway.server import figures as shown
from batchway.server.access import Access
from batchway.server.figures import Figures, Shown
from batchway.store import batches, charges, events
from batchway.store.batches import Batch, Filter
from batchway.store.charges import DAY, LedgerLine, Sums
from batchway.store.events import Told
from batchway.store.failures import StoreDown
from batchway.wire.native import instant

_log = structlog.get_logger()

DELETED = CancelAsked(by="the gateway's owner", why="its batch was deleted (DELETE /batches)")

Admin = Callable[[Request], Awaitable[None]]


def add(app: FastAPI, gateway: Gateway, access: Access) -> None:
    """Add the routes."""

    async def admin(request: Request) -> None:
        access.require_admin(request.headers)

    figures = Figures(gateway)
    _add_health(app, gateway, figures)
    _add_numbers(app, gateway, figures, admin)
    _add_queues(app, gateway, figures, admin)
    _add_batches(app, gateway, figures, admin)
    _add_endings(app, gateway, admin)


def _add_health(app: FastAPI, gateway: Gateway, figures: Figures) -> None:
    @app.head("/health", include_in_schema=False)
    @app.get("/health", tags=["health"])
    async def health() -> Shown:
        """Whether the gateway takes requests. Open to everyone, so that a load balancer needs no key.

        `store` is up, down or none; while it is down, `active_batches` is what was counted last. `providers_healthy` is
        true where a key is configured, or none is needed: nobody is asked. How their calls end is in `/stats`.
        """
        active, store = await figures.pulse()
        return {
            "status": "stopped" if gateway.stopping() else "healthy",
            "uptime_seconds": round(gateway.uptime(), 3),
            "queue_size": gateway.engine.load().queued,
            "active_batches": active,
            "store": store,
            "providers_healthy": gateway.providers_healthy(),
        }


def _add_numbers(app: FastAPI, gateway: Gateway, figures: Figures, admin: Admin) -> None:
    @app.get("/stats", tags=["management"], dependencies=[Depends(admin)])
    async def stats() -> Shown:
        """Totals since the start: requests by how they were answered, money paid and saved, batches.

        `providers`: how their calls have ended, of those that had some. `what_if`: what another policy (the setting
        `what_if`) would have made of the traffic so far. `store_at`: where the store is; `store_down`: since when it is
        down, and why; null while it is not. `unrecorded`: what was lost of the records, in gaps of the last week,
        because the store was down. `today` (UTC) is what the charges of all processes that share the store come to;
        null where it does not answer.
        """
        active, store = await figures.pulse()
        return {
            **_totals(gateway),
            "active_batches": active,
            "store": store,
            "store_at": store_place(gateway.settings),
            "store_down": figures.outage(store),
            "unrecorded": await figures.unrecorded(),
            "what_if": None if gateway.what_if is None else gateway.what_if(),
            "today": await _today(gateway, store),
        }

    @app.get("/metrics", tags=["management"], response_class=Response, dependencies=[Depends(admin)])
    async def metrics() -> Response:
        """The same and more for Prometheus."""
        exposition = gateway.metrics.exposition(await figures.levels())
        return Response(exposition, media_type="text/plain; version=0.0.4; charset=utf-8")


def _totals(gateway: Gateway) -> Shown:
    numbers, load = gateway.stats, gateway.engine.load()
    entries, size = gateway.cache_size()
    answered = sum(numbers.answered.values())
    return {
        "uptime_seconds": round(gateway.uptime(), 3),
        "since": instant(gateway.started_at),
        "requests": {
            "accepted": answered + numbers.refused + numbers.left + numbers.acknowledged + load.waiting,
            "answered": answered,
            "acknowledged": numbers.acknowledged,
            "refused": numbers.refused,
            "left": numbers.left,
            "waiting": load.waiting,
            "queued": load.queued,
            "by_routed_via": dict(numbers.answered),
        },
        "providers": [shown.calls_of(calls) for calls in numbers.providers()],
        "calls": {"sent": numbers.calls + load.flights, "under_way": load.flights},
        "money": {
            "paid_usd": dollars(numbers.paid),
            "saved_usd": dollars(numbers.saved),
            "charges_without_known_price": numbers.unpriced,
            "by_routed_via": {
                via: {"paid_usd": dollars(numbers.paid_by[via]), "saved_usd": dollars(numbers.saved_by[via])}
                for via in numbers.answered
            },
        },
        "batches": {
            "formed": numbers.jobs_formed,
            "finished": numbers.jobs_done,
            "rescues": {measure: numbers.rescues[measure] for measure in ("send", "fail", "leave")},
        },
        "packing": [shown.packing_of(tally) for tally in gateway.planner.packing(gateway.clock.now())],
        "cache": {"entries": entries, "bytes": size},
    }


async def _today(gateway: Gateway, store: str) -> Shown | None:
    if gateway.storage is None or store != "up":
        return None
    day = int(gateway.clock.now() // DAY)
    return shown.day_of(await gateway.storage.database.read(_ledger, day))


def _ledger(connection: Connection, day: int) -> list[LedgerLine]:
    return charges.ledger(connection, since_day=day, until_day=day)


def _add_queues(app: FastAPI, gateway: Gateway, figures: Figures, admin: Admin) -> None:
    @app.get("/queue/stats", tags=["management"], dependencies=[Depends(admin)])
    async def queue_stats() -> Shown:
        """`queues`: the windows that are open in this process. `waiting`: all requests without an answer, of all
        processes that share the store, by the lane they are to take, or `in_job`; null where it does not answer."""
        now, waiting = gateway.clock.now(), await figures.waiting()
        return {
            "queue_size": gateway.engine.load().queued,
            "queues": [shown.window_of(window, now) for window in gateway.planner.windows()],
            "waiting": None if waiting is None else [shown.waiting_of(count, now) for count in waiting],
        }

    @app.post("/queue/flush/{provider}", tags=["management"], dependencies=[Depends(admin)])
    async def flush_queue(provider: str) -> Shown:
        """Close the open windows of a provider now: what waits in this process for company goes without it."""
        name = gateway.intake.provider_named(provider)
        if name is None:
            raise _no_provider(gateway, provider)
        flushed = sum(window.size for window in gateway.planner.windows() if window.provider == name)
        gateway.engine.tell(facts.Flush(name))
        message = f"Flushed queue for {name}" if flushed else f"No requests in queue for {name}"
        return {"provider": name, "flushed": flushed, "message": message}


def _add_batches(app: FastAPI, gateway: Gateway, figures: Figures, admin: Admin) -> None:
    @app.get("/batches/stats", tags=["management"], dependencies=[Depends(admin)])
    async def batch_stats() -> Shown:
        """How many batches there are, by status and provider."""
        counts = await figures.jobs()
        if counts is None and gateway.storage is not None:
            raise StoreDown("The store does not answer now; try again.")
        return shown.statuses_of(counts or ())

    @app.get("/batches", tags=["management"], dependencies=[Depends(admin)])
    async def list_batches(
        status: Annotated[str, Query(description="active, finished, all, or statuses with commas between")] = "active",
        provider: str | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        after: Annotated[str | None, Query(description="The last batch_id of the page before")] = None,
    ) -> Shown:
        """Batches, newest first; those that are active unless told otherwise."""
        which = _filter(gateway, status, provider)
        _check_word("after", after)
        found = [] if gateway.storage is None else await gateway.storage.database.read(_page, which, limit + 1, after)
        _check_provider(gateway, provider, found)
        now = gateway.clock.now()
        page = [shown.batch_of(batch, now) for batch in found[:limit]]
        return {"batches": page, "count": len(page), "has_more": len(found) > limit}

    @app.get("/batches/{batch_id}", tags=["management"], dependencies=[Depends(admin)])
    async def show_batch(batch_id: str) -> Shown:
        """One batch, by our id or by the provider's: what happened to it and why, and what its rows cost."""
        storage, batch = await _find(gateway, batch_id)
        told, sums = await storage.database.read(_story, batch.job.id)
        return shown.story_of(batch, told, sums, gateway.clock.now())


def _add_endings(app: FastAPI, gateway: Gateway, admin: Admin) -> None:
    @app.delete("/batches/{batch_id}", tags=["management"], dependencies=[Depends(admin)])
    async def delete_batch(batch_id: str) -> Shown:
        """Cancel a batch at its provider if it is active, and show it no more. Its charges stay, and so do the answers
        of its finished rows; its other rows fail as soon as the provider says that it is over."""
        storage, batch = await _find(gateway, batch_id)
        cancelled = _is_running(batch.job) and await storage.jobs.cancel(batch.job.id, DELETED)
        if cancelled and gateway.jobs is not None:
            gateway.jobs.wake()
        await storage.database.write(batches.hide, batch.job.id)
        return {"batch_id": batch.job.id, "deleted": True, "cancelled": cancelled}

    @app.post("/batches/purge", tags=["management"], dependencies=[Depends(admin)])
    async def purge_batches(
        older_than_seconds: Annotated[
            float | None, Query(ge=0, allow_inf_nan=False, description="Since they were formed")
        ] = None,
        status: Annotated[str, Query(description="finished, or statuses with commas between")] = "finished",
        provider: str | None = None,
        dry_run: bool = False,
    ) -> Shown:
        """Show finished batches no more. Charges, requests and answers stay. `dry_run`: only say which."""
        before = None if older_than_seconds is None else gateway.clock.now() - older_than_seconds
        which = _filter(gateway, status, provider, before, over=True)
        purged = [] if gateway.storage is None else await gateway.storage.database.write(_purge, which, dry_run)
        _check_provider(gateway, provider, purged)
        return {"purged": len(purged), "batch_ids": purged, "dry_run": dry_run}


def _is_running(job: Job) -> bool:
    """Whether there is anything left to cancel: what its provider has done is only read, and tidied up after."""
    return job.status not in OVER and not job.ended


def _filter(
    gateway: Gateway, status: str, provider: str | None, before: float | None = None, *, over: bool = False
) -> Filter:
    """Which batches are meant. Raises BadRequest for a word that is no status (`over`: of batches that are over)."""
    _check_word("provider", provider)
    try:
        statuses, finished = batches.read_statuses(status, over=over)
    except ValueError as error:
        raise errors.BadRequest(f"status: {error}.", param="status") from error
    return Filter(
        provider=None if provider is None else gateway.intake.provider_named(provider) or provider,
        statuses=statuses,
        finished=finished,
        created_before=before,
    )


def _check_provider(gateway: Gateway, provider: str | None, found: Sequence[object]) -> None:
    """Nothing was found of a provider that there is not: that is said. (Of one that was here once there may be.)"""
    if provider is not None and not found and gateway.intake.provider_named(provider) is None:
        raise _no_provider(gateway, provider)


def _no_provider(gateway: Gateway, provider: str) -> errors.NotFound:
    known = ", ".join(sorted(gateway.accounts))
    what = f"There is no provider '{provider[:50]}' here; configured: {known}."
    return errors.NotFound(what, param="provider", code="unknown_provider")


def _check_word(field: str, word: str | None) -> None:
    if word is not None and not word.isprintable():
        raise errors.BadRequest(f"{field}: give printable characters.", param=field)


async def _find(gateway: Gateway, batch_id: str) -> tuple[Storage, Batch]:
    """The batch of this id that is not hidden. Raises NotFound."""
    storage, batch = gateway.storage, None
    if storage is not None and batch_id.isprintable():
        batch = await storage.database.read(batches.find, batch_id)
    if storage is None or batch is None or batch.hidden:
        raise errors.NotFound(f"There is no batch '{batch_id[:100]}'.", param="batch_id")
    return storage, batch


def _page(connection: Connection, which: Filter, limit: int, after: str | None) -> list[Batch]:
    def pass_over(job_id: str, error: Exception) -> None:
        _log.error("a batch on disk cannot be read", job_id=job_id, error=str(error)[:200])

    return batches.search(connection, which, limit=limit, after=after, pass_over=pass_over)


def _story(connection: Connection, job_id: str) -> tuple[list[Told], Sums]:
    return events.of_job(connection, job_id), charges.of_job(connection, job_id)


def _purge(connection: Connection, which: Filter, dry_run: bool) -> list[str]:
    return batches.purge(connection, which, dry_run=dry_run)
