"""Answering: what calls and jobs bring back, charged, tried again or passed on."""

from msgspec import structs

from batchway.core import facts
from batchway.core.commands import Book, Refuse
from batchway.core.cost import charged, counterfactual
from batchway.core.gate import Party
from batchway.core.limits import retry_at
from batchway.core.planner import ending, leaving, packing, routing, sending, unpacking
from batchway.core.planner.plan import Plan
from batchway.core.seats import Flight, Seat, stored_seat
from batchway.core.settlement import OVERHEAD, Bill, book
from batchway.core.types import Answer, Fault, Request

SAMPLE = 50
"""One answer in so many is compared with a count made for that alone: corrections are learnt at 2 % of the cost."""

SAMPLE_SECONDS = 1.0
"""Between two such counts: a busy gateway learns as fast, and need not count thousands of prompts a minute for it."""

SAMPLE_SIZE = 64 * 1024
"""Bytes of the largest body that is counted only to learn: counting a megabyte would hold up everyone for 20 ms."""


def started(plan: Plan, fact: facts.Started) -> None:
    flight = plan.flights.get(fact.call_id)
    if flight is not None:
        flight.started = True


def finished(plan: Plan, fact: facts.Finished) -> None:
    flight = plan.flights.pop(fact.call_id, None)
    if flight is None:
        return
    request = flight.seats[0].request
    plan.gate.finished(request, fact.report, plan.now)
    if flight.sample is not None:
        unpacking.sampled(plan, flight, fact.answers[0])
    else:
        results = unpacking.finished(plan, flight, fact)
        length = fact.usage.input if fact.usage is not None else None
        for seat, result in zip(flight.seats, results, strict=True):
            seat.flight = None
            if isinstance(result, Fault):
                _failed_seat(plan, seat, flight, result)
            else:
                _answered(plan, seat, flight, result, length)
    sending.release(plan, request.provider)


def _answered(plan: Plan, seat: Seat, flight: Flight, answer: Answer, length: int | None) -> None:
    """One request's answer. `length`: input tokens of the whole call, where this is a part of it."""
    request = seat.request
    cost = charged(answer.usage, request, flight.lane, plan.catalog, length=length)
    if not seat.open:
        # Of a packed call several may be for nothing: each has a call id of its own.
        call_id = flight.call_id if len(flight.seats) == 1 else f"{flight.call_id}-{request.ask}"
        plan.out += book(request, call_id, flight.lane, answer.usage, cost, 0, plan.now, name=OVERHEAD)
        if request.packing == "auto":
            packing.saved(plan, request, -(cost or 0))
        return
    alone = answer.usage
    pack = flight.pack
    if pack is not None and pack.size > 1:
        if answer.usage is not None:
            alone = packing.alone(plan, seat, flight, answer.usage, length or 0)
    else:
        _learn(plan, seat, answer)
        if request.packing == "auto":
            packing.paid_singly(plan, seat, cost)
    # Sent directly and by itself it cost what it would have cost; anything else is compared with that.
    plain = alone is answer.usage and flight.lane == "direct"
    bill = Bill(
        call_id=flight.call_id,
        via=flight.lane,
        cost=cost,
        worth=cost if plain else counterfactual(alone, request, plan.catalog),
        spent=seat.spent,
        packed=len(flight.seats),
        why=seat.why,
        fitted=seat.fitted,
    )
    ending.conclude(plan, seat, answer, bill)


def landed(plan: Plan, fact: facts.Landed) -> None:
    """A row of a job has its outcome. It may have been rescued meanwhile: what the call brings is then overhead."""
    seat = plan.seats.led_by(fact.ask)
    if seat is None or fact.ask in plan.ended or not fact.first:
        if fact.charge is not None:
            plan.out.append(Book(charge=fact.charge, why="its batch", on_disk=True))
        return
    # Its job's driver has put it on disk.
    seat.on_disk = False
    if seat.flight is not None:
        seat.why = "its batch answered before its rescue did"
    if isinstance(fact.result, Fault):
        why = f"its batch: {fact.result.code or fact.result.status}"
        ending.refuse(plan, seat, fact.result, why, on_disk=True)
        return
    _learn(plan, seat, fact.result)
    bill = Bill(
        call_id=fact.job_id,
        via="batch",
        cost=charged(fact.result.usage, seat.request, "batch", plan.catalog),
        worth=counterfactual(fact.result.usage, seat.request, plan.catalog),
        why=seat.why,
        fitted=seat.fitted,
        on_disk=True,
        counted=fact.heard,
    )
    ending.conclude(plan, seat, fact.result, bill)


def _learn(plan: Plan, seat: Seat, answer: Answer) -> None:
    """Compare a count with its bill: every count that was made, and one request in `SAMPLE` counted for this."""
    request = seat.request
    plan.answered += 1
    if answer.usage is None:
        return
    plan.prefixes.learn(request.provider, request.prompt.model, answer.usage)
    plan.packer.billed(request.provider, request.prompt.model, answer.usage)
    if request.prompt.features:
        return
    if seat.tokens is not None or (plan.answered % SAMPLE == 0 and _may_count(plan, request)):
        plan.counts.learn(request.provider, request.prompt.model, plan.gate.count(seat), answer.usage.input)


def _may_count(plan: Plan, request: Request) -> bool:
    """Whether its tokens may be counted only to learn."""
    if request.stored_size is not None or request.size > SAMPLE_SIZE or plan.now < plan.sampled_at + SAMPLE_SECONDS:
        return False
    plan.sampled_at = plan.now
    return True


def failed(plan: Plan, fact: facts.Failed) -> None:
    flight = plan.flights.pop(fact.call_id, None)
    if flight is None:
        return
    request = flight.seats[0].request
    plan.gate.failed(request, fact.fault, fact.report, plan.now)
    for seat in flight.seats:
        seat.flight = None
    if flight.sample is not None:
        unpacking.sampled(plan, flight, fact.fault)
    else:
        for seat in flight.seats:
            _unheard(plan, seat, fact.fault)
        if not unpacking.failed(plan, flight, fact.fault):
            for seat in flight.seats:
                _failed_seat(plan, seat, flight, fact.fault)
    sending.release(plan, request.provider)


def _unheard(plan: Plan, seat: Seat, fault: Fault) -> bool:
    """What failed is not tried again for nobody."""
    if seat.open and not (seat.waiting or seat.durable):
        ending.refuse(plan, seat, fault, "the call failed, and nobody waits for another try")
    return not seat.open


def _failed_seat(plan: Plan, seat: Seat, flight: Flight, fault: Fault) -> None:
    """Ask again: singly after a packed call, later after a passing fault; else tell the callers."""
    if _unheard(plan, seat, fault):
        return
    if fault.usage is not None:
        seat.why = f"asked again singly: {fault.message}"
        sending.send(plan, Party((seat,), flight.lane))
        return
    if flight.lane == "flex" and fault.passing and not flight.started:
        # No capacity, or not in its time: half the price is worth one try.
        seat.barred = {**seat.barred, "flex": "it was tried in vain"}
        routing.route(plan, seat)
        return
    again = None if flight.started else retry_at(fault, seat.attempt - 1, plan.policy, plan.now, plan.dice)
    if again is not None:
        seat.why = f"tried again after {fault.code or fault.status}"
        plan.set_timer(again, "retry", Party((seat,), flight.lane))
        return
    why = f"the call failed: {fault.code or fault.status}"
    if seat.job is not None:
        # The rescue failed, the job goes on.
        _wait_for_job(plan, seat)
    elif fault.passing and not flight.started and len(seat.waiting) > 1:
        _promote(plan, seat, fault, why)
    else:
        ending.refuse(plan, seat, fault, why)


def _wait_for_job(plan: Plan, seat: Seat) -> None:
    if not seat.waiting:
        plan.seats.close(seat)


def _promote(plan: Plan, seat: Seat, fault: Fault, why: str) -> None:
    """Refuse the first caller only: for the others another try may end otherwise."""
    first = next(iter(seat.waiting.values()))
    plan.seats.leave(first.ask)
    by_id = seat.durable and first.id == seat.request.id
    plan.out.append(Refuse(request=first, fault=fault, why=why, on_disk=by_id))
    seat.recorded = seat.recorded or (first.ask == seat.request.ask and not by_id)
    seat.attempt = 0
    routing.route(plan, seat)


def rescue(plan: Plan, fact: facts.Rescue) -> None:
    """Ask directly as well; whichever answer comes first is given, and the other is overhead."""
    ask = fact.request.ask
    seat = plan.seats.led_by(ask)
    if seat is None:
        seat = stored_seat(fact.request)
        plan.seats.add(seat)
        leaving.watch_deadline(plan, fact.request)
    elif seat.flight is not None or ask in plan.ended:
        return
    elif not (plan.batcher.remove(ask) or seat.away):
        # At the gate, before another try, or on its way to the disk: it goes from there, and not twice.
        seat.lane, seat.why = "direct", fact.why
        return
    # What waited in a window left its words on disk.
    said = {"stored_size": None, "body": fact.request.body, "prompt": fact.request.prompt}
    seat.request = structs.replace(seat.request, **said)
    seat.job, seat.lane, seat.why = fact.job_id or None, "direct", fact.why
    sending.send(plan, Party((seat,), "direct"))


def retry(plan: Plan, party: Party) -> None:
    """The wait after a passing fault is over."""
    if any(seat.open for seat in party.seats):
        sending.send(plan, party)
    else:
        packing.dropped(plan, party)
