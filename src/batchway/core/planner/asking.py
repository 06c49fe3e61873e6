"""Asking: an answer that is there already, a twin's seat, or a seat of its own."""

from batchway.core import errors, facts
from batchway.core.commands import Join, Look, Refuse, Reply, Save
from batchway.core.cost import counterfactual
from batchway.core.memory import Known
from batchway.core.planner import ending, leaving, packing, routing
from batchway.core.planner.plan import Plan
from batchway.core.seats import Seat, seat_of, stored_seat
from batchway.core.settlement import book
from batchway.core.types import Answer, Fault, Request, Via

ADOPTED = "adopted: its caller left, and asks again"


def asked(plan: Plan, fact: facts.Asked) -> None:
    request = fact.request
    if plan.stopping:
        stopping = errors.Stopping("The gateway is shutting down; try again.", retry_after=1.0).fault
        plan.out.append(Refuse(request=request, fault=stopping, why="shutting down"))
        return
    leaving.watch_deadline(plan, request)
    if not (_reuse_named(plan, request) or _adopt(plan, request)):
        _take_seat(plan, request)


def _take_seat(plan: Plan, request: Request) -> None:
    """Its own, or with its twin."""
    seat = seat_of(request)
    # What is durable is on disk by itself before anybody is told of it; the store finds its equals.
    if request.durable or not (seat.shared and _share(plan, request)):
        plan.seats.add(seat)
        _look_or_fit(plan, seat)


def _reuse_named(plan: Plan, request: Request) -> bool:
    """The same request_id again: attach to the first, or give its answer; another body is a conflict."""
    if not request.named:
        return False
    seat, kept = plan.seats.named(request), plan.memory.named.get((request.tenant, request.id), plan.now)
    known = seat.request.fingerprint if seat else kept.fingerprint if kept else request.fingerprint
    if known != request.fingerprint:
        plan.out.append(_conflict(request))
        return True
    if seat:
        _join(plan, seat, request, "the same request_id is under way")
        leaving.acknowledge(plan, seat)
    elif kept:
        why = "the same request_id was answered before"
        _give(plan, request, kept, "cache", why, booked=True, on_disk=request.durable)
    return bool(seat or kept)


def _adopt(plan: Plan, request: Request) -> bool:
    """A retry of a caller that gave up gets what its first try is paying for (or has paid).

    Of a call under way it is the first who waits, and so the one that is charged, as if the call had been made for it:
    `via` is that call's lane, and `why` says that it was adopted. What has been paid already was another's, which it
    shares."""
    if request.durable:
        return False
    seat = plan.seats.abandoned(request)
    if seat is not None:
        if not seat.why.startswith(ADOPTED):
            seat.why = f"{ADOPTED}; {seat.why}"
        _join(plan, seat, request, ADOPTED)
        return True
    kept = plan.memory.undelivered_of(request, plan.now)
    if kept is None:
        return False
    why = "adopted: answered after its caller had left"
    _give(plan, request, kept, "coalesced", why, booked=True)
    return True


def _share(plan: Plan, request: Request) -> bool:
    """Serve from the cache, or join a twin in flight."""
    kept = plan.memory.cache.get(request.fingerprint, plan.now)
    if kept is not None:
        _give(plan, request, kept, "cache", "answered before", booked=False)
        return True
    seat = plan.seats.twin(request)
    if seat is None or not _in_time(seat, request):
        return False
    _join(plan, seat, request, "joined its twin in flight")
    return True


def _join(plan: Plan, seat: Seat, request: Request, why: str) -> None:
    plan.seats.join(seat, request)
    plan.out.append(Join(request=request, call_id=seat.flight.call_id if seat.flight else None, why=why))


def _give(
    plan: Plan, request: Request, kept: Known, via: Via, why: str, *, booked: bool, on_disk: bool = False
) -> None:
    """Reply with an answer that is there already. `booked`: its charge stands under this very request; `on_disk`: so do
    it and its answer, on disk."""
    if not booked:
        plan.out += book(request, kept.call_id, via, kept.answer.usage, 0, kept.worth, plan.now)
        if request.packing == "auto":
            packing.saved(plan, request, kept.worth or 0)
    saved = 0 if booked else kept.worth
    age = max(0.0, plan.now - kept.answer.finished_at)
    plan.out.append(
        Reply(request=request, answer=kept.answer, via=via, why=why, cost=0, saved=saved, age=age, on_disk=on_disk)
    )


def _look_or_fit(plan: Plan, seat: Seat) -> None:
    if plan.policy.store and (seat.request.named or seat.shared):
        plan.out.append(Look(request=seat.request, why="it may have been answered before"))
    else:
        routing.fit_or_route(plan, seat)


def looked(plan: Plan, fact: facts.Looked) -> None:
    seat = plan.seats.led_by(fact.ask)
    if seat is None:
        return
    known = fact.known
    if known is None:
        routing.fit_or_route(plan, seat)
    elif known.request.fingerprint != seat.request.fingerprint:
        for caller in plan.seats.close(seat):
            # A twin that joined meanwhile has an id of its own.
            if caller.named and caller.id == seat.request.id:
                plan.out.append(_conflict(caller))
            else:
                _take_seat(plan, caller)
    elif known.result is None:
        _attach(plan, seat, known.request)
    elif isinstance(known.result, Fault):
        ending.refuse(plan, seat, known.result, "the same request_id failed before", on_disk=True)
    else:
        _give_known(plan, seat, known.request, known.result, known.call_id)


def _attach(plan: Plan, seat: Seat, first: Request) -> None:
    """Its equal is on disk and under way, here or in another process: wait for that one's outcome."""
    callers = plan.seats.close(seat)
    under_way = plan.seats.led_by(first.ask)
    if under_way is None:
        under_way = stored_seat(first)
        under_way.elsewhere, under_way.why = True, "asked before, and answered since"
        plan.seats.add(under_way)
    for caller in callers:
        _join(plan, under_way, caller, "the same request is under way")
    leaving.acknowledge(plan, under_way)


def _give_known(plan: Plan, seat: Seat, first: Request, answer: Answer, call_id: str) -> None:
    worth = counterfactual(answer.usage, seat.request, plan.catalog)
    kept = Known(answer=answer, call_id=call_id, fingerprint=seat.request.fingerprint, worth=worth)
    if seat.durable and seat.request.id != first.id:
        # Whoever is told of its id will ask for it by that.
        seat.known = kept
        plan.out.append(Save(request=seat.request, lane="direct", why=ending.FOUND))
        return
    for request in plan.seats.close(seat):
        again = request.named and request.id == first.id
        why = "the same request_id was answered before" if again else ending.FOUND
        _give(plan, request, kept, "cache", why, booked=again, on_disk=again)


def _conflict(request: Request) -> Refuse:
    fault = errors.Conflict(
        f"request_id '{request.id}' was used for another body; give each request an id of its own.",
        param="request_id",
    ).fault
    return Refuse(request=request, fault=fault, why="this request_id came with another body before", taken=False)


def _in_time(seat: Seat, request: Request) -> bool:
    """A request joins only a twin that is expected within its own deadline: a batch may take a day, and what is seen to
    elsewhere may be in one. One whose lane is not chosen yet is joined by who is no more urgent."""
    if request.strategy == "batch" or request.priority == "low":
        return True
    if seat.why:
        return not (seat.lane == "batch" or seat.away)
    first = seat.request
    sooner = first.deadline is None or (request.deadline is not None and first.deadline <= request.deadline)
    return sooner and (first.priority, first.strategy) == (request.priority, request.strategy)
