"""`batchway ledger`, `batches`, `requests` and `explain`: what the store holds, read without a gateway."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import typer
from msgspec import structs

from batchway.assemble import LiveClock
from batchway.cli.filters import batches_of, check_provider, lane_of, provider_of, statuses_of
from batchway.cli.storing import with_store
from batchway.cli.tables import money, print_fields, print_json, print_table, when
from batchway.core.cost import dollars
from batchway.core.errors import SettingsError
from batchway.core.types import Answer, Charge, Fault
from batchway.settings import Settings
from batchway.store import Database, batches, charges, lookup
from batchway.store.batches import Batch, Filter
from batchway.store.charges import DAY, LedgerLine
from batchway.store.lookup import Story, Which

MOST = 100
"""Characters of an error that a table shows; --json has all of it."""

GROUPS: Mapping[str, Callable[[LedgerLine], str]] = {
    "day": lambda line: when(line.day * DAY)[:10],
    "lane": lambda line: line.via,
    "model": lambda line: f"{line.provider}/{line.model}",
    "key": lambda line: line.key,
}
"""What the ledger can be summed by."""


def ledger(flags: Mapping[str, object], by: Sequence[str], days: int, tenant: str | None, *, json: bool) -> None:
    """What was paid, and what the same requests would have cost alone and directly."""
    unknown = [name for name in by if name not in GROUPS]
    if unknown:
        raise SettingsError(f"--by: '{unknown[0]}' is not one of {', '.join(GROUPS)}.")
    today = int(LiveClock().now() // DAY)

    async def read(database: Database, _: Settings) -> list[LedgerLine]:
        return await database.read(_ledger, today - days + 1, today, tenant)

    rows = _summed(with_store(flags, read), by)
    if json:
        print_json([dict(zip(("group", *_SUMS), row, strict=True)) for row in rows])
        return
    shown = [(*group, *_readable(sums)) for group, *sums in rows]
    columns = "charges", "input", "output", "paid", "of it overhead", "alone and directly", "saved", "unpriced"
    print_table([*by, *columns], shown)


_SUMS = ("charges", "input", "output", "paid_usd", "overhead_usd", "counterfactual_usd", "saved_usd", "unpriced")
_MONEY = range(3, 7)


def _ledger(connection: Any, since: int, until: int, tenant: str | None) -> list[LedgerLine]:
    return charges.ledger(connection, since_day=since, until_day=until, tenant=tenant)


def _summed(lines: Sequence[LedgerLine], by: Sequence[str]) -> list[tuple[Any, ...]]:
    """A row for each group and one for all: the group, then the sums in the order of `_SUMS`."""
    sums: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0] * len(_SUMS))
    for line in lines:
        priced = line.cost, line.overhead, line.counterfactual, line.saved
        amounts = line.charges, line.input, line.output, *priced, line.unpriced
        for group in (tuple([GROUPS[name](line) for name in by]), _ALL):
            sums[group] = [sum(pair) for pair in zip(sums[group], amounts, strict=True)]
    whole = sums.pop(_ALL, [0] * len(_SUMS))
    ordered = sorted(sums.items(), reverse=bool(by) and by[0] == "day")
    rows = [*ordered, (("all", *[""] * (len(by) - 1)) if by else (), whole)]
    return [(group, *map(_shown, range(len(_SUMS)), amounts)) for group, amounts in rows]


_ALL = ("\0",)


def _shown(place: int, amount: int) -> int | str:
    return dollars(amount) if place in _MONEY else amount


def _readable(sums: Sequence[Any]) -> list[Any]:
    return [f"${cell}" if place in _MONEY else cell for place, cell in enumerate(sums)]


def list_batches(flags: Mapping[str, object], status: str | None, limit: int, *, json: bool) -> None:
    """Provider batches, newest first."""
    which = batches_of(status)

    async def read(database: Database, _: Settings) -> list[Batch]:
        return await database.read(_batches, which, limit)

    found = with_store(flags, read)
    if json:
        print_json([_batch(batch) for batch in found])
        return
    columns = (
        "batch",
        "provider's id",
        "provider",
        "model",
        "state",
        "status",
        "rows",
        "done",
        "failed",
        "formed",
        "last error",
    )
    rows = [
        (
            batch.job.id, batch.job.provider_batch_id, batch.job.provider, batch.job.model, batch.job.state,
            batch.job.status, batch.job.n, batch.job.done, batch.job.failed, when(batch.job.created_at),
            (batch.job.last_error or "")[:MOST],
        )
        for batch in found
    ]  # fmt: skip
    print_table(columns, rows)


def _batches(connection: Any, which: Filter, limit: int) -> list[Batch]:
    return batches.search(connection, which, limit=limit)


def _batch(batch: Batch) -> dict[str, object]:
    job = batch.job
    return {
        "batch_id": job.id,
        "provider_batch_id": job.provider_batch_id,
        "provider": job.provider,
        "model": job.model,
        "endpoint": job.endpoint,
        "state": job.state,
        "status": job.status,
        "requests": job.n,
        "completed": job.done,
        "failed": job.failed,
        "attempt": job.attempt,
        "created_at": job.created_at,
        "finished_at": batch.finished_at,
        "last_error": job.last_error,
    }


def list_requests(flags: Mapping[str, object], asked: Mapping[str, str | None], limit: int, *, json: bool) -> None:
    """Requests, newest first."""
    which = Which(
        statuses=statuses_of(asked["status"]), provider=provider_of(asked["provider"]), model=asked["model"],
        lane=lane_of(asked["lane"]), tenant=asked["tenant"],
    )  # fmt: skip

    async def read(database: Database, settings: Settings) -> list[Any]:
        found = await database.read(lookup.search, which, limit)
        if not found:
            check_provider(asked["provider"], settings)
        return found

    found = with_store(flags, read)
    if json:
        print_json([_request(stored) for stored in found])
        return
    columns = "request", "tenant", "model", "lane", "status", "answered by", "paid", "saved", "asked"
    rows = [
        (
            stored.request_id, stored.tenant, f"{stored.provider}/{stored.model}", stored.lane, stored.status,
            stored.via, money(stored.cost) if stored.via else None, money(stored.saved) if stored.via else None,
            when(stored.asked_at),
        )
        for stored in found
    ]  # fmt: skip
    print_table(columns, rows)


def _request(stored: Any) -> dict[str, object]:
    shown = structs.asdict(stored)
    del shown["outcome"], shown["fingerprint"], shown["owner"]
    shown["cost_usd"] = None if stored.cost is None else dollars(stored.cost)
    shown["saved_usd"] = None if stored.saved is None else dollars(stored.saved)
    return shown


def explain(flags: Mapping[str, object], request_id: str, *, json: bool) -> None:
    """A request's events in order, each with its reason and money."""

    async def read(database: Database, _: Settings) -> Sequence[Story]:
        return await database.read(lookup.stories, request_id)

    found = with_store(flags, read)
    if not found:
        raise SettingsError(f"No request '{request_id}' is in the store; `batchway requests` lists the newest.")
    if json:
        print_json([_story(story) for story in found])
        return
    for story in found:
        _print_story(story)


def steps(story: Story) -> list[tuple[float, str, str, str]]:
    """When, what, why and for how much, in order."""
    request = story.request
    found = [(request.asked_at, "accepted", f"lane {request.lane}: {request.routed or 'recorded when answered'}", "")]
    found += [(told.at, told.kind, told.reason, "") for told in story.told]
    if request.finished_at is not None:
        found.append((request.finished_at, _ending(request.outcome), request.why or "", money(request.cost)))
    found += [
        (charge.at, "charged", f"{charge.via} by {charge.call_id}, {_tokens(charge.usage)}", money(charge.cost))
        for charge in story.charges
    ]
    found += [
        (charge.at, "overhead", f"its batch answered as well, {_tokens(charge.usage)}", money(charge.cost))
        for charge in story.overhead
    ]
    return sorted(found, key=lambda step: step[0])


def _ending(outcome: Answer | Fault | None) -> str:
    if isinstance(outcome, Fault):
        return f"failed ({outcome.code or outcome.status})"
    return "answered"


def _tokens(usage: Any) -> str:
    cached = f", {usage.cached} cached" if usage.cached else ""
    return f"{usage.input} tokens in{cached}, {usage.output} out"


def _print_story(story: Story) -> None:
    request = story.request
    saved = None if request.saved is None else money(request.saved)
    print_fields(
        {
            "request": request.request_id,
            "tenant": request.tenant,
            "model": f"{request.provider}/{request.model}",
            "status": request.status,
            "answered by": request.via,
            "batch": request.batch_id,
            "deadline": when(request.deadline),
            "saved": saved,
        }
    )
    typer.echo("")
    print_table(("when (UTC)", "what", "why", "paid"), [(when(at), *rest) for at, *rest in steps(story)])


def _story(story: Story) -> dict[str, object]:
    return {
        "request": _request(story.request),
        "steps": [{"at": at, "what": what, "why": why, "paid": paid or None} for at, what, why, paid in steps(story)],
        "charges": [_charge(charge) for charge in story.charges],
        "overhead": [_charge(charge) for charge in story.overhead],
    }


def _charge(charge: Charge) -> dict[str, object]:
    return structs.asdict(charge) | {"cost_usd": None if charge.cost is None else dollars(charge.cost)}


def hide_batches(flags: Mapping[str, object], which: Filter, batch_id: str | None, *, dry_run: bool) -> list[str]:
    """Hide finished batches in the store itself, or the one of this id. Returns their ids. SettingsError where that one
    is not there, or active."""

    async def hide(database: Database, _: Settings) -> list[str]:
        this = which
        if batch_id is not None:
            this = structs.replace(which, ids=(_finished(batch_id, await database.read(batches.find, batch_id)),))
        return await database.write(_purge, this, dry_run)

    return with_store(flags, hide)


def _finished(batch_id: str, found: Batch | None) -> str:
    if found is None or found.hidden:
        raise SettingsError(f"--batch-id: there is no batch '{batch_id}'; `batchway batches` lists them.")
    if found.finished_at is None:
        raise SettingsError(f"--batch-id: '{batch_id}' is active; without --local the gateway cancels it first.")
    return found.job.id


def _purge(connection: Any, which: Filter, dry_run: bool) -> list[str]:
    return batches.purge(connection, which, dry_run=dry_run)
