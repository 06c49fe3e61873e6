"""Packing: who may share a call, and how the requests of a call are written into it."""

from collections.abc import Sequence

from msgspec import structs

from batchway.core.analysis import analyse
from batchway.core.commands import Packed
from batchway.core.gate import Party
from batchway.core.packer import ALONE, BankAccount, Group, Pack
from batchway.core.packing import FORMATS, make_nonces
from batchway.core.packing_fit import NOT_TEXT, Circumstances, unfit
from batchway.core.packing_worth import Load
from batchway.core.planner.plan import Plan
from batchway.core.seats import Flight, Seat
from batchway.core.types import Lane, Request, Usage

BYTES = 3
"""Of a text for each of its tokens, about."""

REMEMBERED = 4096
"""Beginnings of which something is remembered."""

PAUSE = 1.0
"""Seconds in which requests go singly at once when nothing of a company like them was packed."""


def refusal(plan: Plan, seat: Seat) -> str | None:
    """Why this seat's request goes by a call of its own; None: it may wait for company."""
    request = seat.request
    closed = plan.offers[request.provider].packing
    if closed is not None:
        return closed
    if seat.attempt:
        return "it was sent before, and has no answer"
    if seat.fitted is not None:
        return "its earlier turns were shortened for its own question"
    if request.packing == "auto":
        until, reason = plan.paused.get(_kin(request), (0.0, ""))
        if until > plan.now:
            return reason
        # `always` is the owner's word: nothing depends on what the prompt asks for.
        seat.analysis = analyse(request.prompt)
    around = Circumstances(
        format=FORMATS[plan.policy.pack_format],
        model=plan.catalog.model(request.provider, request.prompt.model),
        expected_output=seat.analysis.output_tokens if seat.analysis else None,
        reasons=plan.packer.reasons(request.provider, request.prompt.model),
        retained=request.retention != "none",
    )
    why = unfit(request, around)
    return why if why or request.pack_key is not None else NOT_TEXT


def pause(plan: Plan, seats: Sequence[Seat], packs: Sequence[Pack]) -> None:
    """Of a company of `auto` nothing was packed: its kin need not wait for company in the next moment either."""
    if len(seats) > 1 and len(packs) == len(seats) and seats[0].request.packing == "auto":
        if len(plan.paused) >= REMEMBERED:
            plan.paused.clear()
        plan.paused[_kin(seats[0].request)] = plan.now + PAUSE, packs[0].why.removeprefix(ALONE)


def _kin(request: Request) -> tuple[str, str]:
    """Whose requests of which beginning."""
    return request.tenant, request.pack_key or ""


def patience(plan: Plan, seat: Seat) -> float:
    """How much of the window's wait it can bear."""
    return plan.policy.tolerance.patience(seat.analysis.latency_tolerance) if seat.analysis else 1.0


def group(plan: Plan, seats: Sequence[Seat], lane: Lane) -> Group:
    first = seats[0].request
    model = first.prompt.model
    items = tuple(map(item_tokens, seats))
    shared = _shared(plan, seats[0])
    load = Load(shared=shared, items=items, answers=tuple(map(_expected_answer, seats)))
    return Group(
        payer=first.tenant,
        provider=first.provider,
        model=model,
        packing=first.packing,
        format=plan.policy.pack_format,
        load=load,
        rates=plan.catalog.rates(first.provider, model, lane, shared + sum(items)),
        cached=plan.prefixes.share(first.provider, model),
        room=_room(plan, first, load),
        repeatable=first.prompt.temperature == 0 or first.prompt.seed is not None,
    )


def _room(plan: Plan, request: Request, load: Load) -> int:
    """Tokens of the items of a call, at most: as the policy says, and as the model's window holds beside the rest."""
    bounds = [sum(load.items)]
    if plan.policy.pack.max_tokens is not None:
        bounds.append(plan.policy.pack.max_tokens)
    model = plan.catalog.model(request.provider, request.prompt.model)
    if model is not None and model.window is not None:
        form = FORMATS[plan.policy.pack_format]
        output = form.output_budget(load.answers)
        bounds.append(model.window - load.shared - form.overhead - form.per_item * len(load.items) - output)
    return max(1, min(bounds))


def item_tokens(seat: Seat) -> int:
    """Tokens of what differs between the requests of a call, roughly: it stands on both sides of the arithmetic, and
    counting would cost as much as all else. Prose takes fewer, other scripts about as many."""
    if seat.item is None:
        prompt = seat.request.prompt
        seat.item = len((prompt.last_user or "").encode()) // BYTES + 1
        if prompt.outline is not None:
            seat.item = prompt.outline.item or 0
    return seat.item


def _shared(plan: Plan, seat: Seat) -> int:
    """Tokens of what a request has in common with its company. They are counted once for all of them."""
    prompt, kin = seat.request.prompt, seat.request.pack_key or ""
    if prompt.outline is not None or seat.tokens is not None:
        return max(0, plan.gate.count(seat) - item_tokens(seat))
    shared = plan.beginnings.get(kin)
    if shared is None:
        others = [plan.counts.text(prompt.model, text) for text in prompt.texts[:-1]]
        shared = sum(others) + plan.counts.wrapping(prompt)
        if len(plan.beginnings) >= REMEMBERED:
            plan.beginnings.clear()
        plan.beginnings[kin] = shared
    return shared


def _expected_answer(seat: Seat) -> int:
    expected = seat.analysis.output_tokens if seat.analysis else 0
    bound = seat.request.prompt.max_output
    return expected if bound is None else min(expected, bound)


def packed(plan: Plan, party: Party) -> Packed | None:
    """How a party's call is packed; None if it is a single one."""
    if party.pack is None or len(party.seats) == 1:
        return None
    form = FORMATS[party.pack.group.format]
    prompts = [seat.request.prompt for seat in party.seats]
    bound = prompts[0].max_output
    nonces = make_nonces([prompt.last_user or "" for prompt in prompts], lambda: _digits(plan) + _digits(plan))
    return Packed(
        format=form.name,
        nonces=nonces,
        max_output=None if bound is None else form.output_budget([bound] * len(prompts)),
    )


def _digits(plan: Plan) -> str:
    return f"{int(plan.dice.random() * 1e10):010d}"


def shrunk(pack: Pack, places: Sequence[int], why: str) -> Pack:
    """A pack of some of another's items. It risks nothing anew."""
    load = pack.group.load
    chosen = [pack.start + place for place in places]
    smaller = structs.replace(
        load,
        items=tuple([load.items[place] for place in chosen]),
        answers=tuple([load.answers[place] for place in chosen]),
    )
    return Pack(group=structs.replace(pack.group, load=smaller), start=0, size=len(chosen), why=why)


def alone(plan: Plan, seat: Seat, flight: Flight, share: Usage, length: int) -> Usage:
    """What the request would have used by a call of its own: its whole prompt, and its answer without the tags.
    `length`: input tokens of the packed call."""
    assert flight.pack is not None, "only packed calls have parts"
    group, request = flight.pack.group, seat.request
    account = request.provider, request.prompt.model
    shared = plan.counts.expected(*account, group.load.shared)
    own = plan.counts.expected(*account, seat.tokens) - shared if seat.tokens is not None else None
    if own is None:
        # The bill says what all items took together.
        form, items = FORMATS[group.format], list(map(item_tokens, flight.seats))
        billed = length - shared - form.overhead - form.per_item * len(items)
        own = max(1, billed * item_tokens(seat) // sum(items))
    return Usage(
        input=shared + own,
        output=max(1, share.output - FORMATS[group.format].per_answer),
        cached=round(group.load.shared * group.cached),
    )


def account_of(request: Request) -> BankAccount:
    """Whose money packing spends."""
    return request.tenant, request.provider, request.prompt.model


def paid_singly(plan: Plan, seat: Seat, cost: int | None) -> None:
    """A request of `auto` went by a call of its own, and not because its packed one had no answer for it."""
    if cost and not seat.spent:
        plan.packer.answered_singly(account_of(seat.request), cost)


def saved(plan: Plan, request: Request, picodollars: int) -> None:
    """A request of `auto` cost so much less than a single call, but not by packing: a part of it may be risked."""
    if picodollars:
        plan.packer.saved_elsewhere(account_of(request), picodollars)


def dropped(plan: Plan, call: Party | Flight) -> None:
    """It will bring no answer: it was not sent, failed, or nobody waits for it."""
    if call.sample is not None:
        plan.packer.sampled(call.sample.pack, call.sample.answers, None, None, plan.now)
    elif call.pack is not None and call.pack.size > 1:
        plan.packer.dropped(call.pack)


def present(plan: Plan, party: Party) -> Party:
    """The party without the seats that nobody wants any more."""
    places = [place for place, seat in enumerate(party.seats) if seat.open]
    if len(places) == len(party.seats):
        return party
    dropped(plan, party)
    seats = tuple([party.seats[place] for place in places])
    pack = party.pack
    return Party(seats, party.lane, pack=shrunk(pack, places, pack.why) if pack is not None and seats else None)
