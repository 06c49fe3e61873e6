"""Withdrawing: a request that its owner cancels, and what becomes of others that waited for the same answer."""

from batchway.core import errors, facts
from batchway.core.commands import Join
from batchway.core.planner import ending, routing, sending
from batchway.core.planner.plan import Plan
from batchway.core.seats import Flight, Seat, seat_of
from batchway.core.types import Request

WAITS_ON = "its twin was cancelled, and it waits on"


def withdrawn(plan: Plan, fact: facts.Withdrawn) -> None:
    """Whoever asked by this id is told, and its call ends. A twin with an id of its own cancelled nothing: it waits on,
    in a seat of its own."""
    seat = plan.seats.led_by(fact.ask)
    if seat is None or fact.ask in plan.ended:
        return
    twins = [caller for caller in seat.waiting.values() if caller.id != seat.request.id]
    for twin in twins:
        plan.seats.leave(twin.ask)
    plan.batcher.remove(fact.ask)
    flight = seat.flight
    # Whoever told us has put it on disk.
    seat.on_disk = False
    fault = errors.Cancelled("The request was cancelled by its owner.").fault
    ending.refuse(plan, seat, fault, "cancelled by its owner", on_disk=True)
    if twins:
        _seat_again(plan, twins, seat, flight)
    else:
        sending.cancel_unwanted(plan, seat)


def _seat_again(plan: Plan, twins: list[Request], before: Seat, flight: Flight | None) -> None:
    """A seat for those who wait on, with the call that is under way for them already, or a way of its own."""
    first, *others = twins
    seat = seat_of(first)
    plan.seats.add(seat)
    for twin in others:
        plan.seats.join(seat, twin)
        plan.out.append(Join(request=twin, call_id=flight.call_id if flight else None, why=WAITS_ON))
    if flight is None:
        routing.fit_or_route(plan, seat)
        return
    seat.flight, seat.lane, seat.attempt = flight, before.lane, before.attempt
    seat.fitted, seat.tokens, seat.spent, seat.why = before.fitted, before.tokens, before.spent, WAITS_ON
    flight.seats = tuple([seat if other is before else other for other in flight.seats])
