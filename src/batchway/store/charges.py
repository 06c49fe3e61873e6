"""Charges: one line for each call and request, only ever added, and the ledger that sums them.

A charge is unique by its call and its request (or `overhead`), and writing one again changes nothing: what is repeated
after a failure is not counted twice. So each row of a job that may be paid twice needs a call id of its own.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, case, func, select

from batchway.core.settlement import OVERHEAD
from batchway.core.types import Charge, Usage, Via
from batchway.store.lists import among
from batchway.store.requests import readable
from batchway.store.rows import insert_new_rows
from batchway.store.tables import charges, requests

DAY = 86_400
"""Seconds."""


class LedgerLine(Struct, frozen=True, kw_only=True):
    """What one day, way, model and key cost. Money is picodollars, of the charges with a known price alone."""

    day: int
    """Days since the epoch, UTC."""
    via: Via
    provider: str
    model: str
    key: str
    charges: int
    cost: int
    overhead: int
    """What part of the cost no request asked for: samples of the guard, rows that were paid twice."""
    counterfactual: int
    saved: int
    unpriced: int
    """Charges without a known price."""
    input: int
    output: int


class Sums(Struct, frozen=True, kw_only=True):
    """What several charges come to. Money is picodollars, of those with a known price alone."""

    cost: int
    saved: int
    unpriced: int
    """Charges without a known price."""


def book(connection: Connection, booked: Sequence[Charge]) -> None:
    """Add charges; those that are there already stay as they are."""
    if booked:
        insert_new_rows(connection, charges, _COLUMNS, [_row(charge) for charge in booked])


def key_of(charge: Charge) -> tuple[str, str, str]:
    """What tells it apart from all others."""
    return charge.call_id, charge.tenant, charge.request_id


def booked_before(connection: Connection, some: Sequence[Charge]) -> frozenset[tuple[str, str, str]]:
    """The keys of those that are there."""
    key = charges.c.call_id, charges.c.tenant, charges.c.request_id
    calls, names = {charge.call_id for charge in some}, {charge.request_id for charge in some}
    these = among(connection, charges.c.call_id, list(calls)), among(connection, charges.c.request_id, list(names))
    return frozenset([tuple(read) for read in connection.execute(select(*key).where(*these))])


def of_request(connection: Connection, tenant: str, request_id: str) -> list[Charge]:
    """The charges of one request, oldest first."""
    mine = charges.c.tenant == tenant, charges.c.request_id == request_id
    return [_charge(read) for read in connection.execute(select(charges).where(*mine).order_by(charges.c.at))]


def of_rows(connection: Connection, tenant: str, custom_ids: Sequence[str]) -> list[Charge]:
    """What rows of jobs cost that came back after another answer: their custom_ids are their call ids."""
    late = charges.c.call_id.in_(custom_ids), charges.c.tenant == tenant, charges.c.request_id == OVERHEAD
    return [_charge(read) for read in connection.execute(select(charges).where(*late).order_by(charges.c.at))]


def rescued(connection: Connection, day: int) -> int:
    """What requests of jobs cost on a day (UTC) that were asked directly as well."""
    joined = (charges.c.tenant == requests.c.tenant) & (charges.c.request_id == requests.c.request_id)
    theirs = charges.c.day == day, charges.c.via == "direct", requests.c.job_id.is_not(None)
    total = select(func.sum(charges.c.cost)).join(requests, joined).where(*theirs)
    # PostgreSQL sums big integers to decimals; nothing known sums to NULL.
    return int(connection.scalar(total) or 0)


def of_job(connection: Connection, job_id: str) -> Sums:
    """What the rows of a job cost, those that were paid for nothing left out."""
    summed = select(
        func.sum(charges.c.cost).label("cost"),
        func.sum(charges.c.counterfactual - charges.c.cost).label("saved"),
        func.sum(case((charges.c.cost.is_(None), 1), else_=0)).label("unpriced"),
    )
    read = connection.execute(summed.where(charges.c.call_id == job_id)).one()
    # PostgreSQL sums big integers to decimals; nothing known sums to NULL.
    return Sums(cost=int(read.cost or 0), saved=int(read.saved or 0), unpriced=int(read.unpriced or 0))


def ledger(connection: Connection, *, since_day: int, until_day: int, tenant: str | None = None) -> list[LedgerLine]:
    """The sums of the days from one to the other, both included, newest first. `tenant`: of that one alone."""
    found = _LEDGER.where(charges.c.day.between(since_day, until_day))
    if tenant is not None:
        found = found.where(charges.c.tenant == tenant)
    return [_line(read) for read in connection.execute(found)]


_GROUP = (charges.c.day, charges.c.via, charges.c.provider, charges.c.model, charges.c.key)
_LEDGER = (
    select(
        *_GROUP,
        func.count().label("charges"),
        func.sum(charges.c.cost).label("cost"),
        func.sum(case((charges.c.request_id == OVERHEAD, charges.c.cost), else_=0)).label("overhead"),
        func.sum(case((charges.c.cost.is_not(None), charges.c.counterfactual))).label("counterfactual"),
        func.sum(charges.c.counterfactual - charges.c.cost).label("saved"),
        func.sum(case((charges.c.cost.is_(None), 1), else_=0)).label("unpriced"),
        func.sum(charges.c.input).label("input"),
        func.sum(charges.c.output).label("output"),
    )
    .group_by(*_GROUP)
    .order_by(charges.c.day.desc(), *_GROUP[1:])
)


def _line(read: Any) -> LedgerLine:
    fields = dict(read._mapping)
    for name in ("cost", "overhead", "counterfactual", "saved", "unpriced", "input", "output"):
        # PostgreSQL sums big integers to decimals; nothing known sums to NULL.
        fields[name] = int(fields[name] or 0)
    return LedgerLine(**fields)


_COLUMNS = (
    "call_id",
    "tenant",
    "request_id",
    "key",
    "provider",
    "model",
    "via",
    "input",
    "output",
    "cached",
    "cache_written",
    "reasoning",
    "tier",
    "cost",
    "counterfactual",
    "at",
    "day",
    "cache_written_hour",
)


def _row(charge: Charge) -> tuple[Any, ...]:
    """`_COLUMNS` of a charge."""
    usage = charge.usage
    return (
        charge.call_id,
        charge.tenant,
        charge.request_id,
        charge.key,
        charge.provider,
        readable(charge.model),
        charge.via,
        usage.input,
        usage.output,
        usage.cached,
        usage.cache_written,
        usage.reasoning,
        usage.tier,
        charge.cost,
        charge.counterfactual,
        charge.at,
        int(charge.at // DAY),
        usage.cache_written_hour,
    )


def _charge(read: Any) -> Charge:
    return Charge(
        call_id=read.call_id,
        request_id=read.request_id,
        tenant=read.tenant,
        key=read.key,
        provider=read.provider,
        model=read.model,
        via=read.via,
        usage=Usage(
            input=read.input,
            output=read.output,
            cached=read.cached,
            cache_written=read.cache_written,
            cache_written_hour=read.cache_written_hour,
            reasoning=read.reasoning,
            tier=read.tier,
        ),
        cost=read.cost,
        counterfactual=read.counterfactual,
        at=read.at,
    )
