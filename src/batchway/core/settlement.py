"""Settlement: what an answer cost each of its callers, as charges to book and replies to give."""

from collections.abc import Sequence

from msgspec import Struct

from batchway.core.commands import Book, Command, Keep, Record, Reply
from batchway.core.types import Answer, Charge, Fault, Lane, Request, Usage, Via

OVERHEAD = "overhead"
"""Stands in a charge for the request, where no request asked for what was billed."""


UNHEARD = "nobody waits for it any more"


class Bill(Struct, frozen=True, kw_only=True, gc=False):
    """What one answer of a call is to be charged at. Money in picodollars; None: no known price."""

    call_id: str
    lane: Lane
    cost: int | None
    worth: int | None
    """What the request would have cost alone and directly."""
    spent: int = 0
    """Charged already for calls that had no answer for it."""
    packed: int = 1
    """Requests that shared the call."""
    why: str
    fitted: str | None = None
    on_disk: bool = False
    """What it costs the first caller is written down already."""


def settle(answer: Answer, request: Request, callers: Sequence[Request], bill: Bill, now: float) -> list[Command]:
    """The first caller pays and the others share; with no caller left, `request` (what was sent) is charged all the
    same, and nobody is told: it is recorded, where that was not done already."""
    out: list[Command] = []
    for number, caller in enumerate(callers or (request,)):
        via: Via = "coalesced" if number else bill.lane
        cost = 0 if number else bill.cost
        on_disk = bill.on_disk and number == 0
        out += book(caller, bill.call_id, via, answer.usage, cost, bill.worth, now, on_disk=on_disk)
        reply = _reply(caller, answer, bill, first=number == 0)
        if callers:
            out.append(reply)
        elif not on_disk:
            out.append(Record(ending=reply, why=UNHEARD))
    return out


def keep(request: Request, result: Answer | Fault, bill: Bill, now: float) -> Keep:
    """How a durable request ended, for the disk. What its twins are charged follows when they are told."""
    usage = None if isinstance(result, Fault) else result.usage
    booked = book(request, bill.call_id, bill.lane, usage, bill.cost, bill.worth, now)
    paid = None if bill.cost is None else bill.cost + bill.spent
    return Keep(
        request=request,
        result=result,
        via=bill.lane,
        call_id=bill.call_id,
        packed=bill.packed,
        charges=tuple([command.charge for command in booked]),
        cost=paid,
        saved=None if bill.worth is None or paid is None else bill.worth - paid,
        why=bill.why,
    )


def _reply(caller: Request, answer: Answer, bill: Bill, *, first: bool) -> Reply:
    paid = bill.cost if first else 0
    if first and paid is not None:
        paid += bill.spent
    return Reply(
        request=caller,
        answer=answer,
        via=bill.lane if first else "coalesced",
        why=bill.why if first else "shares its twin's answer",
        cost=paid,
        saved=bill.worth - paid if bill.worth is not None and paid is not None else None,
        packed=bill.packed,
        fitted=bill.fitted,
        batch_id=bill.call_id if bill.lane == "batch" else None,
        on_disk=bill.on_disk and first,
    )


def book(
    request: Request,
    call_id: str,
    via: Via,
    usage: Usage | None,
    cost: int | None,
    worth: int | None,
    now: float,
    *,
    name: str | None = None,
    on_disk: bool = False,
) -> list[Book]:
    """The charge of one answer (none where the provider said no usage). `name`: instead of the request's id."""
    if usage is None:
        return []
    charge = Charge(
        call_id=call_id,
        request_id=name or request.id,
        tenant=request.tenant,
        key=request.key,
        provider=request.provider,
        model=request.prompt.model,
        via=via,
        usage=usage,
        cost=cost,
        counterfactual=worth,
        at=now,
    )
    return [Book(charge=charge, why=via, on_disk=on_disk)]
