"""Settlement: what an answer cost each of its callers, as charges to book and replies to give."""

from collections.abc import Sequence

from msgspec import Struct

from batchway.core.commands import Book, Command, Keep, Record, Reply
from batchway.core.types import Answer, Charge, Fault, Request, Usage, Via

OVERHEAD = "overhead"
"""Stands in a charge for the request, where no request asked for what was billed."""


UNHEARD = "nobody waits for it any more"

UNTOLD = Usage()
"""Of an answer whose provider does not say its usage: what it cost is unknown, and the ledger says so."""


class Bill(Struct, frozen=True, kw_only=True, gc=False):
    """What one answer of a call is to be charged at. Money in picodollars; None: no known price."""

    call_id: str
    via: Via
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
    counted: bool = False
    """And told to whoever counts: another process did it."""
    age: float | None = None
    """Seconds since the answer was made, where it was there already."""


def settle(
    answer: Answer, request: Request, callers: Sequence[Request], bill: Bill, now: float, *, recorded: bool = False
) -> list[Command]:
    """One pays, and the others share; who asks again by the payer's own id is no other, and costs and saves nothing.

    `request` is what was sent. It pays where that is on disk already, whether its caller still waits or not; else the
    first caller does. With no caller left it is charged all the same, and recorded, where that was not done already
    (`recorded`: as refused).
    """
    payer = _payer(request, callers, on_disk=bill.on_disk)
    usage = answer.usage or UNTOLD
    out: list[Command] = []
    if not bill.counted:
        out += book(payer, bill.call_id, bill.via, usage, bill.cost, bill.worth, now, on_disk=bill.on_disk)
    for caller in callers:
        first = caller is payer
        again = not first and caller.id == payer.id
        if not (first or again):
            out += book(caller, bill.call_id, "coalesced", usage, 0, bill.worth, now)
        out.append(_reply(caller, answer, bill, first=first, again=again))
    if not (callers or bill.on_disk or recorded):
        out.append(Record(ending=_reply(payer, answer, bill, first=True, again=False), why=UNHEARD))
    return out


def _payer(request: Request, callers: Sequence[Request], *, on_disk: bool) -> Request:
    """Whose request it is that is charged."""
    if not on_disk:
        return callers[0] if callers else request
    return next((caller for caller in callers if caller.id == request.id), request)


def keep(request: Request, result: Answer | Fault, bill: Bill, now: float) -> Keep:
    """How a durable request ended, for the disk. What its twins are charged follows when they are told."""
    booked: tuple[Charge, ...] = ()
    if isinstance(result, Answer):
        usage = result.usage or UNTOLD
        booked = (charge(request, bill.call_id, bill.via, usage, bill.cost, bill.worth, now),)
    paid = None if bill.cost is None else bill.cost + bill.spent
    return Keep(
        request=request,
        result=result,
        via=bill.via,
        call_id=bill.call_id,
        packed=bill.packed,
        charges=booked,
        cost=paid,
        saved=None if bill.worth is None or paid is None else bill.worth - paid,
        why=bill.why,
    )


def _reply(caller: Request, answer: Answer, bill: Bill, *, first: bool, again: bool) -> Reply:
    """`again`: it is the very request of the first caller, which saves nothing twice."""
    paid = bill.cost if first else 0
    if first and paid is not None:
        paid += bill.spent
    return Reply(
        request=caller,
        answer=answer,
        via=bill.via if first else "coalesced",
        why=bill.why if first else "shares its twin's answer",
        cost=paid,
        saved=0 if again else bill.worth - paid if bill.worth is not None and paid is not None else None,
        age=bill.age,
        packed=bill.packed,
        fitted=bill.fitted,
        batch_id=bill.call_id if bill.via == "batch" else None,
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
    """The charge of one answer; none where there is none (`usage` is None). `name`: instead of the request's id."""
    if usage is None:
        return []
    return [Book(charge=charge(request, call_id, via, usage, cost, worth, now, name=name), why=via, on_disk=on_disk)]


def charge(
    request: Request,
    call_id: str,
    via: Via,
    usage: Usage,
    cost: int | None,
    worth: int | None,
    now: float,
    *,
    name: str | None = None,
) -> Charge:
    """What one answer cost its request. `name`: instead of the request's id."""
    return Charge(
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
