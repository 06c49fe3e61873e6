"""Ending: how a request ended, on disk where that is owed, then told to everyone who waits, then remembered."""

from msgspec import structs

from batchway.core import facts
from batchway.core.commands import Record, Refuse
from batchway.core.fingerprint import adoption_key, cacheable
from batchway.core.memory import Known
from batchway.core.planner import packing
from batchway.core.planner.plan import Plan
from batchway.core.seats import Seat
from batchway.core.settlement import UNHEARD, Bill, keep, settle
from batchway.core.types import Answer, Fault, Request

FOUND = "answered before, found in the store"


def conclude(plan: Plan, seat: Seat, result: Answer | Fault, bill: Bill) -> None:
    """It has ended: tell the callers, or, where the disk has it as pending, first that."""
    if seat.on_disk:
        seat.on_disk = False
        plan.ended[seat.request.ask] = (seat, result, bill)
        plan.out.append(keep(seat.request, result, bill, plan.now))
    else:
        _tell(plan, seat, result, bill)


def kept(plan: Plan, fact: facts.Kept) -> None:
    ended = plan.ended.pop(fact.ask, None)
    if ended is not None:
        seat, result, bill = ended
        _tell(plan, seat, result, structs.replace(bill, on_disk=True))


def _tell(plan: Plan, seat: Seat, result: Answer | Fault, bill: Bill) -> None:
    callers = plan.seats.close(seat)
    if isinstance(result, Fault):
        for caller in callers:
            on_disk = bill.on_disk and caller.id == seat.request.id
            plan.out.append(Refuse(request=caller, fault=result, why=bill.why, on_disk=on_disk))
        if not (callers or bill.on_disk or seat.recorded):
            refuse = Refuse(request=seat.request, fault=result, why=bill.why)
            plan.out.append(Record(ending=refuse, why=UNHEARD))
        return
    plan.out += settle(result, seat.request, callers, bill, plan.now, recorded=seat.recorded)
    if seat.request.packing == "auto":
        packing.saved(plan, seat.request, _saved(bill, len(callers)))
    if result.body and (seat.shared or not callers or any(caller.named for caller in callers)):
        request = seat.request
        kept = Known(answer=result, call_id=bill.call_id, fingerprint=request.fingerprint, worth=bill.worth)
        _remember(plan, seat, callers, kept)


def _saved(bill: Bill, callers: int) -> int:
    """Picodollars, in other ways than by packing: what its twins did not pay, and what its lane is cheaper by."""
    if bill.worth is None:
        return 0
    twins = max(0, callers - 1) * bill.worth
    return twins if bill.packed > 1 or bill.cost is None else twins + bill.worth - bill.cost


def _remember(plan: Plan, seat: Seat, callers: list[Request], kept: Known) -> None:
    request = seat.request
    if seat.shared and seat.known is None and cacheable(kept.answer):
        plan.memory.cache.put(request.fingerprint, kept, plan.now)
    for caller in callers or (request,):
        if caller.named:
            plan.memory.named.put((caller.tenant, caller.id), kept, plan.now)
    if not (callers or request.detached):
        plan.memory.undelivered.put(adoption_key(request), kept, plan.now)


def give(plan: Plan, seat: Seat, known: Known) -> None:
    """It ends with an answer that is there already, which was made for another."""
    age = max(0.0, plan.now - known.answer.finished_at)
    bill = Bill(call_id=known.call_id, via="cache", cost=0, worth=known.worth, why=FOUND, age=age)
    conclude(plan, seat, known.answer, bill)


def refuse(plan: Plan, seat: Seat, fault: Fault, why: str, *, on_disk: bool = False) -> None:
    bill = Bill(call_id="", via=seat.lane, cost=0, worth=0, spent=seat.spent, why=why, on_disk=on_disk)
    conclude(plan, seat, fault, bill)
