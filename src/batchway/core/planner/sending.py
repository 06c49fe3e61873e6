"""Sending: through the gate into a call, and ending a call that nobody wants any more."""

from batchway.core import errors
from batchway.core.commands import Call, Cancel
from batchway.core.gate import Party
from batchway.core.planner import ending, packing
from batchway.core.planner.plan import Plan
from batchway.core.seats import Flight, Seat


def send(plan: Plan, party: Party) -> None:
    """Send now if the provider's limits allow it, else wait at the gate, within its bounds."""
    verdict = plan.gate.enter(party, plan.now)
    if verdict == "go":
        call(plan, party)
    elif verdict == "full":
        fault = errors.TooMany(
            f"{plan.gate.held} requests already wait for their turn; try again after Retry-After.", retry_after=1.0
        ).fault
        packing.dropped(plan, party)
        for seat in party.seats if party.sample is None else ():
            ending.refuse(plan, seat, fault, "the queue is full")


def call(plan: Plan, party: Party) -> None:
    """It goes: the command, and the flight that it will be known by."""
    party = packing.present(plan, party)
    seats = party.seats
    if not seats:
        return
    flight = _board(plan, party)
    plan.out.append(
        Call(
            call_id=flight.call_id,
            lane=party.lane,
            requests=tuple([seat.request for seat in seats]),
            riders=tuple([ask for seat in seats for ask in seat.waiting]),
            attempt=flight.attempt,
            packed=packing.packed(plan, party),
            compared=party.sample is not None,
            timeout=plan.policy.flex_timeout if party.lane == "flex" else None,
            why=seats[0].why,
        )
    )


def _board(plan: Plan, party: Party) -> Flight:
    seats = party.seats
    for seat in seats:
        seat.attempt += 1
    attempt = max([seat.attempt for seat in seats])
    flight = Flight(plan.ids(), party.lane, seats, party.pack, party.sample, attempt)
    plan.flights[flight.call_id] = flight
    for seat in seats:
        seat.flight = flight
    return flight


def release(plan: Plan, provider: str) -> None:
    """A slot of this provider is free."""
    for party in plan.gate.ready(provider, plan.now):
        call(plan, party)


def cancel_unwanted(plan: Plan, seat: Seat) -> None:
    """End its call upstream, if nobody else rides in it either."""
    flight = seat.flight
    if flight is None or any(other.open and not other.abandoned for other in flight.seats):
        return
    del plan.flights[flight.call_id]
    packing.dropped(plan, flight)
    for other in flight.seats:
        if other.open:
            plan.seats.close(other)
    plan.out.append(Cancel(call_id=flight.call_id, why="nobody waits for it any more"))
    request = seat.request
    plan.gate.finished(request, None, plan.now)
    release(plan, request.provider)
