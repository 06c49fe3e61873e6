"""Sending: through the gate into a call, and ending a call that nobody wants any more."""

from batchway.core import errors
from batchway.core.commands import Call, Cancel
from batchway.core.gate import Party
from batchway.core.planner import ending
from batchway.core.planner.plan import Plan
from batchway.core.seats import Flight, Seat
from batchway.core.types import Lane


def send(plan: Plan, seats: tuple[Seat, ...], lane: Lane) -> None:
    """Send now if the provider's limits allow it, else wait at the gate, within its bounds."""
    party = Party(seats, lane)
    verdict = plan.gate.enter(party, plan.now)
    if verdict == "go":
        call(plan, party)
    elif verdict == "full":
        fault = errors.TooMany(
            f"{plan.gate.held} requests already wait for their turn; try again after Retry-After.", retry_after=1.0
        ).fault
        for seat in seats:
            ending.refuse(plan, seat, fault, "the queue is full")


def call(plan: Plan, party: Party) -> None:
    seats = party.seats
    flight = _board(plan, seats, party.lane)
    plan.out.append(
        Call(
            call_id=flight.call_id,
            lane=party.lane,
            requests=tuple([seat.request for seat in seats]),
            riders=tuple([ask for seat in seats for ask in seat.waiting]),
            attempt=max([seat.attempt for seat in seats]),
            why=seats[0].why,
        )
    )


def _board(plan: Plan, seats: tuple[Seat, ...], lane: Lane) -> Flight:
    flight = Flight(plan.ids(), lane, seats)
    plan.flights[flight.call_id] = flight
    for seat in seats:
        seat.flight = flight
        seat.attempt += 1
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
    for other in flight.seats:
        if other.open:
            plan.seats.close(other)
    plan.out.append(Cancel(call_id=flight.call_id, why="nobody waits for it any more"))
    request = seat.request
    plan.gate.finished(request, None, plan.now)
    release(plan, request.provider)
