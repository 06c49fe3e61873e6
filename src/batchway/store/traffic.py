"""Recorded traffic without bodies: what was asked and when, how it was answered, and what that took and cost."""

from collections.abc import Generator
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, func, select

from batchway.core.settlement import OVERHEAD
from batchway.core.types import Endpoint, Fault, OnDeadline, Priority, Strategy, Usage, Via
from batchway.store.requests import CANCELLED
from batchway.store.tables import PENDING, answers, charges, requests
from batchway.wire.outlines import Traits

PAGE = 1_000
"""Rows that are fetched at a time."""


class Passed(Struct, frozen=True, kw_only=True, gc=False):
    """A request that has passed, and how it ended. Money in picodollars."""

    ask: str
    tenant: str
    key: str
    caller: str
    provider: str
    model: str
    endpoint: Endpoint
    priority: Priority
    strategy: Strategy
    on_deadline: OnDeadline
    fingerprint: str
    asked_at: float
    deadline: float | None
    size: int
    named: bool
    shared: bool
    traits: Traits | None
    """None: it was recorded before they were kept."""
    via: Via | None
    """None: it was not answered (yet), or cancelled."""
    finished_at: float
    packed: int
    usage: Usage | None
    """Of its answer; of its share, where it was packed."""
    fault: Fault | None
    cost: int | None
    saved: int | None


class Overhead(Struct, frozen=True, kw_only=True):
    """What was paid that no request asked for."""

    cost: int
    unpriced: int
    """Charges without a known price."""


def span(connection: Connection, until: float) -> tuple[float, float] | None:
    """When the first and the last request before then were asked; None: there is none."""
    first, last = connection.execute(
        select(func.min(requests.c.asked_at), func.max(requests.c.asked_at)).where(requests.c.asked_at < until)
    ).one()
    return None if first is None else (first, last)


def passed(connection: Connection, since: float, until: float) -> Generator[Passed, None, None]:
    """Every request that was asked from then and before then, in the order of asking. Little memory, however many."""
    chosen = _PASSED.where(requests.c.asked_at >= since, requests.c.asked_at < until)
    ordered = chosen.order_by(requests.c.asked_at, requests.c.ask)
    for read in connection.execution_options(yield_per=PAGE).execute(ordered):
        yield _passed(read)


def overhead(connection: Connection, since: float, until: float) -> Overhead:
    """Of that time: samples of packed calls, rows that were paid twice."""
    mine = charges.c.request_id == OVERHEAD, charges.c.at >= since, charges.c.at < until
    cost, all_of_them, priced = connection.execute(
        select(func.sum(charges.c.cost), func.count(), func.count(charges.c.cost)).where(*mine)
    ).one()
    return Overhead(cost=int(cost or 0), unpriced=all_of_them - priced)


class _Told(Struct):
    """As much of an answer as is looked at."""

    usage: Usage | None = None


_traits = msgspec.json.Decoder(Traits)
_told = msgspec.json.Decoder(_Told)
_fault = msgspec.json.Decoder(Fault)

_PASSED = select(
    requests.c.ask,
    requests.c.tenant,
    requests.c.key,
    requests.c.caller,
    requests.c.provider,
    requests.c.model,
    requests.c.endpoint,
    requests.c.priority,
    requests.c.strategy,
    requests.c.on_deadline,
    requests.c.fingerprint,
    requests.c.asked_at,
    requests.c.deadline,
    requests.c.size,
    requests.c.named,
    requests.c.shared,
    requests.c.status,
    requests.c.traits,
    answers.c.via,
    answers.c.finished_at,
    answers.c.packed,
    answers.c.answer,
    answers.c.fault,
    answers.c.cost,
    answers.c.saved,
).outerjoin(answers, answers.c.ask == requests.c.ask)


def _passed(read: Any) -> Passed:
    fields = dict(read._mapping)
    answer, fault = fields.pop("answer"), fields.pop("fault")
    unanswered = fields.pop("status") in (PENDING, CANCELLED)
    traits = fields["traits"]
    return Passed(
        **fields
        | {
            "traits": None if traits is None else _traits.decode(traits),
            "via": None if unanswered else fields["via"],
            "finished_at": fields["finished_at"] or 0.0,
            "packed": fields["packed"] or 1,
            "usage": None if answer is None else _told.decode(answer).usage,
            "fault": None if fault is None or unanswered else _fault.decode(fault),
        }
    )
