"""Unpacking: what packed calls and their samples bring, what they teach the packer, and who is asked again."""

from collections.abc import Sequence

from msgspec import structs

from batchway.core import facts
from batchway.core.cost import charged
from batchway.core.errors import Untold
from batchway.core.gate import Party
from batchway.core.limits import retry_at
from batchway.core.packer import Outcome, Pack
from batchway.core.packing import Missing, bisect
from batchway.core.planner import packing, sending
from batchway.core.planner.plan import Plan
from batchway.core.seats import Flight, Sample, Seat, seat_of
from batchway.core.settlement import OVERHEAD, book
from batchway.core.types import Answer, Fault, Usage

CONTENT = frozenset({400, 413, 422, 451})
"""Statuses by which a provider refuses what was said, not who said it: one item may be the reason."""


def finished(plan: Plan, flight: Flight, fact: facts.Finished) -> Sequence[Answer | Fault]:
    """A call came back: tell the packer, charge the parts that have no answer, and ask one item singly as well where
    the guard wants to compare. Gives what each request gets."""
    pack = flight.pack
    if pack is None or pack.size == 1:
        return fact.answers
    results = [_within_bound(plan, *each) for each in zip(flight.seats, fact.answers, strict=True)]
    answers = tuple([_said(result) for result in results])
    outcome = Outcome(usage=fact.usage or Usage(), said=fact.said, answers=answers)
    plan.packer.unpacked(pack, outcome, plan.now)
    plan.packer.billed(pack.group.provider, pack.group.model, outcome.usage)
    for seat, result in zip(flight.seats, results, strict=True):
        if isinstance(result, Fault) and result.usage is not None:
            _charge_lost(plan, seat, flight, result.usage, outcome.usage)
    if pack.sample is not None:
        _ask_sample(plan, flight, pack, answers)
    return results


def _within_bound(plan: Plan, seat: Seat, result: Answer | Fault) -> Answer | Fault:
    """A call of its own would have cut the answer at the request's own bound: a longer one is not its answer."""
    prompt = seat.request.prompt
    if prompt.max_output is None or not isinstance(result, Answer) or result.said is None:
        return result
    # No text has more tokens than bytes.
    if len(result.said.encode()) <= prompt.max_output:
        return result
    if plan.counts.text(prompt.model, result.said) <= prompt.max_output:
        return result
    fault = Untold(f"in its packed call its answer has more than its {prompt.max_output} tokens").fault
    return structs.replace(fault, usage=result.usage or Usage())


def _said(result: Answer | Fault) -> str | Missing:
    if isinstance(result, Fault):
        return Missing(result.message)
    return result.said if result.said is not None else Missing("its text is not known")


def _charge_lost(plan: Plan, seat: Seat, flight: Flight, share: Usage, whole: Usage) -> None:
    """Its part of a call that had no answer for it was paid all the same."""
    cost = charged(share, seat.request, flight.lane, plan.catalog, length=whole.input)
    seat.spent += cost or 0
    plan.out += book(seat.payer, flight.call_id, flight.lane, share, cost, 0, plan.now)


def _ask_sample(plan: Plan, flight: Flight, pack: Pack, answers: tuple[str | Missing, ...]) -> None:
    """Nobody waits for it, and its cost is overhead."""
    assert pack.sample is not None, "only a pack with a sample is sampled"
    sample = Sample(pack, answers)
    if isinstance(answers[pack.sample], Missing) or plan.stopping:
        plan.packer.sampled(pack, answers, None, None, plan.now)
        return
    asked = flight.seats[pack.sample].request
    again = structs.replace(asked, id=OVERHEAD, ask=plan.ids(), named=False, durable=False)
    seat = seat_of(again, waited_for=False)
    seat.why = "the guard compares a packed answer with a single one"
    sending.send(plan, Party((seat,), flight.lane, sample=sample))


def sampled(plan: Plan, flight: Flight, result: Answer | Fault) -> None:
    """A sample came back, or failed."""
    assert flight.sample is not None, "only a sample's flight comes here"
    pack, answers = flight.sample.pack, flight.sample.answers
    request = flight.seats[0].request
    paid = None
    if isinstance(result, Answer):
        paid = charged(result.usage, request, flight.lane, plan.catalog)
        plan.out += book(request, flight.call_id, flight.lane, result.usage, paid, 0, plan.now)
    single = result.said if isinstance(result, Answer) else None
    plan.packer.sampled(pack, answers, single, paid, plan.now)


def failed(plan: Plan, flight: Flight, fault: Fault) -> bool:
    """A packed call failed as a whole. True if its seats are under way again."""
    pack = flight.pack
    if pack is None or pack.size == 1 or fault.whose != "theirs":
        return False
    plan.packer.dropped(pack)
    places = [place for place, seat in enumerate(flight.seats) if seat.open and (seat.waiting or seat.durable)]
    again = retry_at(fault, flight.attempt - 1, plan.policy, plan.now, plan.dice)
    if again is not None:
        _retry(plan, flight, pack, places, again)
        return True
    if fault.passing and fault.billed == "no":
        return False
    refused = fault.billed == "no" and fault.status in CONTENT
    if not refused and fault.billed == "no":
        return False
    why = "half of a packed call that was refused" if refused else "asked again singly: its packed call failed"
    halves = bisect(len(places)) if refused else [range(place, place + 1) for place in range(len(places))]
    for half in halves:
        chosen = [places[at] for at in half]
        _send_again(plan, flight, packing.shrunk(pack, chosen, why), chosen, why)
    return True


def _retry(plan: Plan, flight: Flight, pack: Pack, places: Sequence[int], again: float) -> None:
    smaller = packing.shrunk(pack, places, "tried again")
    party = Party(tuple([flight.seats[place] for place in places]), flight.lane, pack=smaller)
    plan.set_timer(again, "retry", party)


def _send_again(plan: Plan, flight: Flight, pack: Pack, places: Sequence[int], why: str) -> None:
    seats = tuple([flight.seats[place] for place in places])
    for seat in seats:
        seat.why = why
    sending.send(plan, Party(seats, flight.lane, pack=pack if len(seats) > 1 else None))
