"""Leaving: callers who give up or need not wait, and deadlines that pass."""

from batchway.core import errors, facts
from batchway.core.commands import Acknowledge, Refuse
from batchway.core.planner import ending, sending
from batchway.core.planner.plan import Plan
from batchway.core.rescue import overdue
from batchway.core.seats import Seat
from batchway.core.types import Request

LATE = "The deadline passed before the answer came (on_deadline=fail)."

GOES_ON = "Its call is under way and will be billed, so request '{}' goes on: ask for its answer by its id."


def left(plan: Plan, fact: facts.Left) -> None:
    _leave(plan, fact.ask, fact.keep)


def acknowledge(plan: Plan, seat: Seat) -> None:
    """Those who do not wait for the answer go as soon as the disk has the request, and are told so."""
    if not seat.on_disk:
        return
    for caller in [caller for caller in seat.waiting.values() if caller.detached]:
        plan.out.append(Acknowledge(request=caller, why="its request is on disk"))
        _leave(plan, caller.ask, False)


def _leave(plan: Plan, ask: str, keep: bool) -> None:
    """Take one caller off. When nobody waits any more: what is durable or kept goes on, what is not sent is
    dropped, a stream ends, and any other call gets a grace in which the caller's retry can adopt it."""
    seat = plan.seats.leave(ask)
    if seat is None:
        return
    # Whoever was told that it goes on holds it, whatever the others do who wait for the same.
    seat.kept = seat.kept or keep
    if seat.waiting:
        return
    if seat.durable:
        if seat.away and seat.flight is None:
            plan.seats.close(seat)
        return
    streams = seat.request.prompt.stream
    if seat.flight is None and (streams or not seat.kept):
        plan.batcher.remove(seat.request.ask)
        plan.seats.close(seat)
        return
    plan.seats.abandon(seat)
    if streams:
        cancel_abandoned(plan, seat)
    elif not seat.kept:
        seat.abandoned_until = plan.now + plan.policy.abandon_grace
        plan.set_timer(seat.abandoned_until, "abandoned", seat)


def grace_over(plan: Plan, seat: Seat) -> None:
    """Nobody adopted it, and nobody left it again since this timer was set."""
    if seat.abandoned and not seat.kept and plan.now >= seat.abandoned_until:
        cancel_abandoned(plan, seat)


def cancel_abandoned(plan: Plan, seat: Seat) -> None:
    if seat.open:
        sending.cancel_unwanted(plan, seat)


def hand_over(plan: Plan) -> None:
    """We stop: whoever waits for what goes on in a job or in another process is told so, and not kept for nothing."""
    for seat in plan.seats.away():
        if seat.request.ask in plan.ended:
            continue  # Its answer is being written down.
        _tell_it_goes_on(plan, seat)


def end(plan: Plan) -> None:
    """The time to end is over as well: what is on disk goes on from there, the rest is over."""
    over = errors.Stopping("The gateway stopped before the answer came; try again.", retry_after=1.0).fault
    for seat in plan.seats.waited_for():
        if seat.on_disk or seat.request.ask in plan.ended:
            _tell_it_goes_on(plan, seat)
            continue
        for caller in plan.seats.close(seat):
            # What was about to be saved may be on disk all the same.
            refuse = Refuse(request=caller, fault=over, why="stopped before its answer came", on_disk=seat.durable)
            plan.out.append(refuse)


def _tell_it_goes_on(plan: Plan, seat: Seat) -> None:
    told = f"The gateway is shutting down; request '{seat.request.id}' goes on, on disk: ask for it by its id."
    for caller in plan.seats.close(seat):
        # The same id attaches, so that an SDK's own retry does no harm; without it, it would be paid again.
        safe = caller.named and caller.id == seat.request.id
        refusal = errors.Stopping(told, retry_after=1.0) if safe else errors.GoesOn(told)
        plan.out.append(Refuse(request=caller, fault=refusal.fault, why="it goes on, on disk", on_disk=True))


def watch_deadline(plan: Plan, request: Request) -> None:
    """From the disk too: whoever asked for it was promised that it costs nothing after that."""
    if request.deadline is not None and request.on_deadline == "fail":
        plan.set_timer(request.deadline, "deadline", request.ask)


def deadline_passed(plan: Plan, ask: str) -> None:
    """`on_deadline=fail`: its caller is told so. What is not sent by now is not paid for either, and has failed for
    good, as has what waits in a batch, which is seen to by who looks at the disk (`engine.rescuing`). A call under way
    will be billed: where the disk has its request, its answer is kept for whoever asks for it by its id, and the fault
    says so."""
    seat = plan.seats.of(ask) or plan.seats.led_by(ask)
    if seat is None or seat.request.ask in plan.ended:
        return
    if _is_unsent(seat) and not wanted(seat, plan.now):
        fail_for_good(plan, seat)
        return
    caller = seat.waiting.get(ask)
    if caller is None:
        return
    by_id = seat.durable and caller.id == seat.request.id
    told = f"{LATE} {GOES_ON.format(caller.id)}" if by_id and seat.flight is not None else LATE
    fault = errors.DeadlinePassed(told).fault
    plan.out.append(Refuse(request=caller, fault=fault, why="its deadline passed", on_disk=by_id))
    seat.recorded = seat.recorded or (ask == seat.request.ask and not by_id)
    _leave(plan, ask, False)


def wanted(seat: Seat, now: float) -> bool:
    """Whether it may still come: not for a first caller that wanted it by now or not at all, unless another waits."""
    return not overdue(seat.request, now) or not all(overdue(request, now) for request in seat.waiting.values())


def fail_for_good(plan: Plan, seat: Seat) -> None:
    """The disk is told first: until then nothing may send it, nor join it."""
    plan.batcher.remove(seat.request.ask)
    seat.open = False
    ending.refuse(plan, seat, errors.DeadlinePassed(LATE).fault, "its deadline passed")


def _is_unsent(seat: Seat) -> bool:
    """Nothing is sent for it, and the disk has it as pending."""
    return seat.on_disk and seat.flight is None and not seat.away and seat.lane != "batch"
