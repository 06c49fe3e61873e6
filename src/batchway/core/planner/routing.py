"""Routing: the prompt made to fit, the lane chosen, what is durable put on disk, the windows of packs and jobs."""

from collections.abc import Callable, Hashable, Iterator, Sequence

from msgspec import Struct

from batchway.core import errors, facts
from batchway.core.batcher import Closed, Ticket
from batchway.core.commands import Fit, FormJob, Save
from batchway.core.gate import Party
from batchway.core.planner import ending, leaving, packing, sending
from batchway.core.planner.plan import Plan
from batchway.core.policy import WindowRule
from batchway.core.router import prompt_budget
from batchway.core.router import route as choose_lane
from batchway.core.seats import Seat, stored_seat
from batchway.core.types import Lane, Packing, Request

UNBATCHABLE = "its Batch API does not take this request"


class _JobKey(Struct, frozen=True, kw_only=True):
    """What the requests of one job have in common."""

    provider: str
    model: str
    endpoint: str


class Window(Struct, frozen=True, kw_only=True):
    """An open window, for those who look on."""

    provider: str
    model: str
    endpoint: str
    lane: Lane
    size: int
    """Requests in it."""
    tokens: int
    oldest_at: float
    closes_by: float


class _PackKey(Struct, frozen=True, kw_only=True):
    """What the requests of one packed call have in common. Never two tenants, never two callers."""

    lane: Lane
    tenant: str
    caller: str
    provider: str
    model: str
    endpoint: str
    packing: Packing
    pack_key: str


def fit_or_route(plan: Plan, seat: Seat) -> None:
    request = seat.request
    wanted = request.optimize == "fit" and request.endpoint == "chat" and seat.fitted is None
    budget = prompt_budget(request, plan.catalog, plan.policy) if wanted else None
    if budget is not None and request.size > budget:
        account = request.provider, request.prompt.model
        counted = plan.gate.count(seat)
        tokens = plan.counts.safe(*account, counted)
        if tokens > budget:
            # In the tokens of our count, and for the texts alone.
            room = max(1, budget * counted // tokens - plan.counts.wrapping(request.prompt))
            plan.out.append(Fit(request=request, budget=room, why=f"{tokens} tokens are more than its {budget}"))
            return
    route(plan, seat)


def fitted(plan: Plan, fact: facts.Fitted) -> None:
    seat = plan.seats.led_by(fact.ask)
    # It may have ended meanwhile, by its deadline.
    if seat is not None and fact.ask not in plan.ended:
        seat.request, seat.fitted, seat.tokens = fact.request, fact.removed, fact.request.tokens
        route(plan, seat)


def route(plan: Plan, seat: Seat) -> None:
    request = seat.request
    try:
        chosen = choose_lane(request, plan.offers_to(seat), plan.catalog, plan.outlook(request))
    except errors.Refusal as refusal:
        ending.refuse(plan, seat, refusal.fault, "no lane is open")
        return
    seat.why, seat.lane = chosen.why, chosen.lane
    if seat.fitted is not None:
        seat.why += f"; {seat.fitted}"
    if (seat.durable or seat.lane == "batch") and not seat.on_disk:
        seat.durable = True
        plan.out.append(Save(request=request, lane=seat.lane, why=seat.why))
    else:
        _depart(plan, seat)


def saved(plan: Plan, fact: facts.Saved) -> None:
    seat = plan.seats.led_by(fact.ask)
    if seat is not None:
        seat.on_disk = True
        if seat.known is not None:
            # Even who does not wait gets an answer that is there.
            ending.give(plan, seat, seat.known)
            return
        leaving.acknowledge(plan, seat)
        if not leaving.wanted(seat, plan.now):
            # Its caller was told while it was being saved.
            leaving.fail_for_good(plan, seat)
            return
        _depart(plan, seat)
        if plan.stopping:
            leave_window(plan, plan.batcher.flush(plan.now))
            leaving.hand_over(plan)


def not_saved(plan: Plan, fact: facts.NotSaved) -> None:
    seat = plan.seats.led_by(fact.ask)
    if seat is not None:
        ending.refuse(plan, seat, fact.fault, "it could not be put on disk")


def unbatchable(plan: Plan, fact: facts.Unbatchable) -> None:
    """Refused where a batch was asked for by name; otherwise any lane will do that is open."""
    seat = plan.seats.led_by(fact.ask)
    if seat is None:
        return
    wanted = seat.waiting or seat.request.durable
    if seat.request.strategy == "batch" or not wanted:
        ending.refuse(plan, seat, fact.fault, UNBATCHABLE)
        return
    seat.barred = {**seat.barred, "batch": UNBATCHABLE}
    seat.durable = seat.request.durable
    route(plan, seat)


def resumed(plan: Plan, fact: facts.Resumed) -> None:
    seat = plan.seats.led_by(fact.request.ask)
    if seat is None:
        seat = stored_seat(fact.request)
        plan.seats.add(seat)
        leaving.watch_deadline(plan, fact.request)
    elif not seat.away:
        return  # It is on its way here already.
    if seat.flight is None and fact.request.ask not in plan.ended:
        seat.request, seat.job, seat.elsewhere = fact.request, None, False
        if fact.barred is not None:
            seat.barred = {**seat.barred, fact.barred: fact.why}
        fit_or_route(plan, seat)


def _depart(plan: Plan, seat: Seat) -> None:
    """Into the window that its lane and packing ask for, or straight to the gate."""
    request = seat.request
    if seat.lane == "batch":
        _open_job_window(plan, seat)
    elif request.packing == "never":
        sending.send(plan, Party((seat,), seat.lane))
    elif (refusal := packing.refusal(plan, seat)) is not None:
        seat.why += f"; not packed: {refusal}"
        sending.send(plan, Party((seat,), seat.lane))
    else:
        rule = plan.pack_rules[request.packing]
        _open_window(plan, _pack_key(request, seat.lane), seat, rule, packing.item_tokens(seat))


def _open_job_window(plan: Plan, seat: Seat) -> None:
    request = seat.request
    key = _JobKey(provider=request.provider, model=request.prompt.model, endpoint=request.endpoint)
    rule = plan.policy.job
    # Counting costs more than all else that accepting does, so it is done only where a bound depends on it.
    tokens = request.likely_tokens if rule.max_tokens is None else plan.gate.count(seat)
    if not seat.waiting:
        seat.request = request.wordless()
    _open_window(plan, key, seat, rule, tokens)


def _open_window(plan: Plan, key: _JobKey | _PackKey, seat: Seat, rule: WindowRule, tokens: int) -> None:
    request = seat.request
    patience = packing.patience(plan, seat) if rule.adaptive else 1.0
    ticket = Ticket(id=request.ask, tokens=tokens, size=request.size, at=plan.now, patience=patience)
    leave_window(plan, plan.batcher.add(key, ticket, rule, plan.now))


def leave_window(plan: Plan, closed: list[Closed]) -> None:
    for window in closed:
        if plan.watch is not None:
            plan.watch("pack" if isinstance(window.key, _PackKey) else "job", window)
        seats = tuple(seat for ticket in window.tickets if (seat := plan.seats.led_by(ticket.id)))
        if isinstance(window.key, _PackKey):
            _leave_pack_window(plan, seats, window.key.lane, early=window.early)
        else:
            _form_job(plan, seats, window.reason)


def _leave_pack_window(plan: Plan, seats: Sequence[Seat], lane: Lane, *, early: bool) -> None:
    """A window has closed: make calls of it."""
    fingerprints: set[str] = set()
    company: list[Seat] = []
    for seat in seats:
        if seat.request.fingerprint in fingerprints:
            seat.why += "; not packed: its twin is in the same call"
            sending.send(plan, Party((seat,), lane))
        else:
            fingerprints.add(seat.request.fingerprint)
            company.append(seat)
    packs = plan.packer.plan(packing.group(plan, company, lane), plan.now) if company else ()
    if not early:
        packing.pause(plan, company, packs)
    for pack in packs:
        together = tuple(company[pack.start : pack.start + pack.size])
        for seat in together:
            seat.why += f"; {pack.why}"
        sending.send(plan, Party(together, lane, pack=pack))


def _form_job(plan: Plan, seats: tuple[Seat, ...], reason: str) -> None:
    job_id = plan.ids()
    requests = tuple(seat.request for seat in seats)
    plan.out.append(FormJob(job_id=job_id, requests=requests, why=f"the window closed by {reason}"))
    for seat in seats:
        seat.job = job_id
        if not seat.waiting:
            plan.seats.close(seat)


def offered(plan: Plan, fact: facts.Offered) -> None:
    key = fact.provider, fact.model, fact.lane
    if fact.closed is None:
        plan.closed.pop(key, None)
    else:
        plan.closed[key] = fact.closed


def measured(plan: Plan, fact: facts.Measured) -> None:
    plan.turnarounds.learn(fact.turnaround)


def flush(plan: Plan, fact: facts.Flush) -> None:
    leave_window(plan, plan.batcher.flush(plan.now, _flushes(fact.provider)))


def windows(plan: Plan) -> Iterator[Window]:
    """The open windows, in the order in which they were opened. Each costs time proportional to its size."""
    for window in plan.batcher.windows():
        key = window.key
        assert isinstance(key, _JobKey | _PackKey), "every window is of one of the two"
        yield Window(
            provider=key.provider,
            model=key.model,
            endpoint=key.endpoint,
            lane=key.lane if isinstance(key, _PackKey) else "batch",
            size=window.size,
            tokens=window.tokens,
            oldest_at=window.oldest_at,
            closes_by=window.closes_by,
        )


def _flushes(provider: str | None) -> Callable[[Hashable], bool]:
    return lambda key: provider is None or (isinstance(key, _JobKey | _PackKey) and key.provider == provider)


def _pack_key(request: Request, lane: Lane) -> _PackKey:
    return _PackKey(
        lane=lane,
        tenant=request.tenant,
        caller=request.caller,
        provider=request.provider,
        model=request.prompt.model,
        endpoint=request.endpoint,
        packing=request.packing,
        pack_key=request.pack_key or "",
    )
