"""The planner decides everything about a request before it becomes a call, and everything after its answer.

Its whole face is `receive(fact, now) -> commands` and `deadline()`. It does no I/O, reads no clock and keeps one
thought per request:

            Asked                                Finished
    caller ───────▶ seat ──▶ (look) ──▶ (save) ──▶ window ──▶ held ──▶ flight ──▶ reply
                     ▲ twins join                     │         ▲         │ Failed
                     │                                └─────────┴─────────┘ retry

A *seat* is one question on its way to an answer and everyone who waits for it; a *flight* is one call under way for
one seat (or several: packed). Invariants, held by tests/core/test_planner_property.py:

1. Every accepted request gets exactly one Reply or Refuse, unless its caller left.
2. A window never breaks its limits of size, tokens or wait; only like goes with like.
3. Whatever waits for time to pass is covered by `deadline()`; whatever waits for a slot is covered by a flight.
4. Only requests of one tenant share an answer, and only by the rules of `core.fingerprint`.
5. The same facts give the same commands, byte for byte.
6. A call is cancelled only when nobody waits for it; a paid answer nobody waits for is kept for the caller's retry.
7. Nothing durable enters a window before it is saved.
"""

from collections import deque
from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from math import inf, isfinite
from typing import Literal, Protocol

from msgspec import Struct

from batchway.core import errors, facts
from batchway.core.batcher import Batcher, Closed, Ticket
from batchway.core.catalog import Catalog
from batchway.core.commands import Book, Call, Cancel, Command, FormJob, Join, Look, Refuse, Reply, Save
from batchway.core.cost import charged, counterfactual
from batchway.core.facts import Fact
from batchway.core.fingerprint import adoption_key, cacheable, reusable, twin_key
from batchway.core.limits import Limits, retry_at
from batchway.core.memory import Kept, Memory
from batchway.core.policy import Policy, WindowRule
from batchway.core.router import Offers, route
from batchway.core.tokens import TokenCounts
from batchway.core.types import Answer, Charge, Fault, Lane, Request, Via

RANK = {"high": 0, "normal": 1, "low": 2}


class Dice(Protocol):
    """Where chance comes from."""

    def random(self) -> float:
        """A number from 0 to 1, 1 excluded."""
        ...


class Load(Struct, frozen=True, kw_only=True):
    """How much is under way: for health, metrics and draining."""

    waiting: int
    """Requests whose callers wait."""
    queued: int
    """Requests in windows or held back for a slot."""
    flights: int


class _Seat:
    """One question on its way to an answer, and everyone who waits for it."""

    __slots__ = ("abandoned", "attempt", "flight", "open", "request", "waiting", "why")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.waiting: dict[str, Request] = {request.ask: request}
        self.attempt = 0
        self.flight: _Flight | None = None
        self.open = True
        self.abandoned = False
        self.why = ""


class _Flight:
    """A call under way."""

    __slots__ = ("call_id", "lane", "seats", "started")

    def __init__(self, call_id: str, lane: Lane, seats: tuple[_Seat, ...]) -> None:
        self.call_id = call_id
        self.lane = lane
        self.seats = seats
        self.started = False


class _Held:
    """Seats that may not go yet: the provider's limits, or a pause before a retry."""

    __slots__ = ("lane", "rank", "seats", "until")

    def __init__(self, seats: tuple[_Seat, ...], lane: Lane, until: float) -> None:
        self.seats = seats
        self.lane = lane
        self.until = until
        self.rank = min(RANK[seat.request.priority] for seat in seats)


class _JobKey(Struct, frozen=True, kw_only=True):
    """What the requests of one job have in common."""

    provider: str
    model: str
    endpoint: str


class _PackKey(Struct, frozen=True, kw_only=True):
    """What the requests of one packed call have in common. Never two tenants, never two callers."""

    lane: Lane
    tenant: str
    caller: str
    provider: str
    model: str
    endpoint: str
    system: str
    temperature: float | None
    top_p: float | None
    max_output: int | None


_Account = tuple[str, str]
_Timer = Literal["admit", "retry", "abandoned", "deadline"]


class Planner:
    """See the module. One per process, touched only by the loop that drives it."""

    def __init__(
        self,
        policy: Policy,
        *,
        catalog: Catalog,
        offers: Mapping[str, Offers],
        counts: TokenCounts,
        ids: Callable[[], str],
        dice: Dice,
    ) -> None:
        self.policy = policy
        self.memory = Memory(policy)
        self._catalog = catalog
        self._offers = offers
        self._counts = counts
        self._ids = ids
        self._dice = dice
        bounds = {name: offer.max_in_flight for name, offer in offers.items() if offer.max_in_flight is not None}
        self._limits = Limits(policy, bounds)
        self._batcher = Batcher()
        self._seats: dict[str, _Seat] = {}
        self._twins: dict[tuple[str, bool], _Seat] = {}
        self._named: dict[tuple[str, str], _Seat] = {}
        self._abandoned: dict[tuple[str, str, str], _Seat] = {}
        self._leads: dict[str, _Seat] = {}
        self._flights: dict[str, _Flight] = {}
        self._held: dict[_Account, dict[int, deque[_Held]]] = {}
        self._held_count = 0
        self._held_bytes = 0
        self._timers: list[tuple[float, int, _Timer, object]] = []
        self._timer_count = 0
        self._stopping = False
        self._handlers: dict[type, Callable[..., None]] = {
            facts.Asked: self._asked,
            facts.Looked: self._looked,
            facts.Saved: self._saved,
            facts.Started: self._started,
            facts.Finished: self._finished,
            facts.Failed: self._failed,
            facts.Left: self._left,
            facts.TimePassed: self._time_passed,
            facts.Flush: self._flush,
            facts.Stopping: self._stop,
        }
        self._on_timer: dict[_Timer, Callable[..., None]] = {
            "admit": self._admit_held,
            "retry": self._retry,
            "abandoned": self._cancel_abandoned,
            "deadline": self._deadline_passed,
        }

    # The face

    def receive(self, fact: Fact, now: float) -> list[Command]:
        """What to do, in order, now that this has happened."""
        out: list[Command] = []
        self._handlers[type(fact)](fact, now, out)
        return out

    def deadline(self) -> float | None:
        """When to send TimePassed, if nothing else happens before. It may be early, never late."""
        timer = self._timers[0][0] if self._timers else None
        window = self._batcher.deadline()
        if timer is None or (window is not None and window < timer):
            return window
        return timer

    def load(self) -> Load:
        """How much is under way."""
        return Load(
            waiting=len(self._seats), queued=self._held_count + len(self._batcher), flights=len(self._flights)
        )

    # Asking: reuse, or a seat of its own

    def _asked(self, fact: facts.Asked, now: float, out: list[Command]) -> None:
        request = fact.request
        if self._stopping:
            stopping = errors.Stopping("The gateway is shutting down; try again.", retry_after=1.0).fault
            out.append(Refuse(request=request, fault=stopping, why="shutting down"))
            return
        if request.deadline is not None and request.on_deadline == "fail":
            self._set_timer(request.deadline, "deadline", request.ask)
        if not (self._reuse_named(request, now, out) or self._adopt(request, now, out) or self._share(request, now, out)):
            self._seat(request, now, out)

    def _reuse_named(self, request: Request, now: float, out: list[Command]) -> bool:
        """The same request_id again: attach to the first, or give its answer; another body is a conflict."""
        if not request.named:
            return False
        name = (request.tenant, request.id)
        seat, kept = self._named.get(name), self.memory.named.get(name, now)
        known = seat.request.fingerprint if seat else kept.fingerprint if kept else request.fingerprint
        if known != request.fingerprint:
            fault = errors.Conflict(
                f"request_id '{request.id}' was used for another body; give each request an id of its own.",
                param="request_id",
            ).fault
            out.append(Refuse(request=request, fault=fault, why="this request_id came with another body before"))
        elif seat:
            self._join(seat, request, "the same request_id is under way", out)
        elif kept:
            self._give(request, kept, "cache", "the same request_id was answered before", now, out, booked=True)
        return bool(seat or kept)

    def _adopt(self, request: Request, now: float, out: list[Command]) -> bool:
        """A retry of a caller that gave up gets what its first try is paying for (or has paid)."""
        seat = None if request.prompt.stream else self._abandoned.get(adoption_key(request))
        if seat is not None:
            self._revive(seat)
            self._join(seat, request, "adopted: its caller left, and asks again", out)
            return True
        kept = self.memory.undelivered_of(request, now)
        if kept is None:
            return False
        why = "adopted: answered after its caller had left"
        self._give(request, kept, "coalesced", why, now, out, booked=True)
        return True

    def _share(self, request: Request, now: float, out: list[Command]) -> bool:
        """Serve from the cache, or join a twin in flight, where the request allows it."""
        if reusable(request) is not None:
            return False
        kept = self.memory.cache.get(request.fingerprint, now)
        if kept is not None:
            self._give(request, kept, "cache", "answered before", now, out, booked=False)
            return True
        seat = self._twins.get(twin_key(request))
        if seat is None or not _in_time(seat, request):
            return False
        self._join(seat, request, "joined its twin in flight", out)
        return True

    def _join(self, seat: _Seat, request: Request, why: str, out: list[Command]) -> None:
        seat.waiting[request.ask] = request
        self._seats[request.ask] = seat
        out.append(Join(request=request, call_id=seat.flight.call_id if seat.flight else None, why=why))

    def _give(
        self, request: Request, kept: Kept, via: Via, why: str, now: float, out: list[Command], *, booked: bool
    ) -> None:
        """Reply with an answer that is there already. `booked`: its charge stands under this very request."""
        if not booked:
            self._book(request, kept.call_id, via, 0, kept.worth, kept.answer, now, out)
        saved = 0 if booked else kept.worth
        age = max(0.0, now - kept.answer.finished_at)
        out.append(Reply(request=request, answer=kept.answer, via=via, why=why, cost=0, saved=saved, age=age))

    def _seat(self, request: Request, now: float, out: list[Command]) -> None:
        seat = _Seat(request)
        self._seats[request.ask] = seat
        self._register(seat)
        if self.policy.store and (request.named or reusable(request) is None):
            out.append(Look(request=request, why="it may have been answered before"))
        else:
            self._save_or_route(seat, now, out)

    def _looked(self, fact: facts.Looked, now: float, out: list[Command]) -> None:
        seat = self._leads.get(fact.ask)
        if seat is None:
            return
        if fact.answer is None:
            self._save_or_route(seat, now, out)
            return
        worth = counterfactual(fact.answer.usage, seat.request, self._catalog)
        kept = Kept(answer=fact.answer, call_id="", fingerprint=seat.request.fingerprint, worth=worth)
        for request in self._close(seat):
            self._give(request, kept, "cache", "answered before, found in the store", now, out, booked=False)

    def _save_or_route(self, seat: _Seat, now: float, out: list[Command]) -> None:
        if seat.request.durable:
            out.append(Save(request=seat.request, why="durable: on disk before it is sent"))
        else:
            self._route(seat, now, out)

    def _saved(self, fact: facts.Saved, now: float, out: list[Command]) -> None:
        seat = self._leads.get(fact.ask)
        if seat is not None:
            self._route(seat, now, out)

    # Routing: lane, window

    def _route(self, seat: _Seat, now: float, out: list[Command]) -> None:
        request = seat.request
        offers = self._offers[request.provider]
        try:
            chosen = route(request, offers, self._catalog)
        except errors.Refusal as refusal:
            self._refuse(seat, refusal.fault, "no lane is open", out)
            return
        seat.why = chosen.why
        if chosen.lane == "batch":
            self._open_job_window(seat, now, out)
        elif request.packing == "always" and offers.packing is None:
            self._open_window(_pack_key(request, chosen.lane), seat, self.policy.pack, now, out)
        else:
            self._send((seat,), chosen.lane, now, out)

    def _open_job_window(self, seat: _Seat, now: float, out: list[Command]) -> None:
        request = seat.request
        key = _JobKey(provider=request.provider, model=request.prompt.model, endpoint=request.endpoint)
        self._open_window(key, seat, self.policy.job, now, out)

    def _open_window(
        self, key: _JobKey | _PackKey, seat: _Seat, rule: WindowRule, now: float, out: list[Command]
    ) -> None:
        request = seat.request
        ticket = Ticket(id=request.ask, tokens=request.tokens, size=request.size, at=now)
        self._leave_window(self._batcher.add(key, ticket, rule, now), now, out)

    def _leave_window(self, closed: list[Closed], now: float, out: list[Command]) -> None:
        for window in closed:
            seats = tuple(self._leads[ticket.id] for ticket in window.tickets)
            if isinstance(window.key, _PackKey):
                self._send(seats, window.key.lane, now, out)
            else:
                self._form_job(seats, window.reason, out)

    def _form_job(self, seats: tuple[_Seat, ...], reason: str, out: list[Command]) -> None:
        flight = self._board(seats, "batch")
        requests = tuple(seat.request for seat in seats)
        out.append(FormJob(job_id=flight.call_id, requests=requests, why=f"the window closed by {reason}"))

    # Sending: limits, holding back, retries

    def _send(self, seats: tuple[_Seat, ...], lane: Lane, now: float, out: list[Command]) -> None:
        """Send now if the provider's limits allow it, else hold, within the bounds of the queue."""
        request = seats[0].request
        account = _account(request)
        tokens = sum(seat.request.tokens for seat in seats)
        until = self._limits.admit(account, tokens, now) if account not in self._held else inf
        if until is None:
            self._call(seats, lane, tokens, now, out)
            return
        size = sum(seat.request.size for seat in seats)
        policy = self.policy
        full = self._held_count + len(seats) > policy.max_queue or self._held_bytes + size > policy.max_queue_bytes
        if full and not any(seat.attempt or seat.request.durable for seat in seats):
            fault = errors.TooMany(
                f"{self._held_count} requests already wait for '{request.provider}'; try again after Retry-After.",
                retry_after=max(1.0, until - now) if isfinite(until) else 1.0,
            ).fault
            for seat in seats:
                self._refuse(seat, fault, "the queue is full", out)
            return
        self._hold(_Held(seats, lane, now), account)
        if isfinite(until):
            self._set_timer(until, "admit", account)

    def _hold(self, held: _Held, account: _Account) -> None:
        self._held.setdefault(account, {}).setdefault(held.rank, deque()).append(held)
        self._count_held(held, 1)

    def _count_held(self, held: _Held, sign: int) -> None:
        self._held_count += sign * len(held.seats)
        self._held_bytes += sign * sum(seat.request.size for seat in held.seats)

    def _call(self, seats: tuple[_Seat, ...], lane: Lane, tokens: int, now: float, out: list[Command]) -> None:
        flight = self._board(seats, lane)
        self._limits.started(_account(seats[0].request), tokens, now)
        attempt = max(seat.attempt for seat in seats)
        out.append(
            Call(
                call_id=flight.call_id,
                lane=lane,
                requests=tuple(seat.request for seat in seats),
                riders=tuple(ask for seat in seats for ask in seat.waiting),
                attempt=attempt,
                why=seats[0].why,
            )
        )

    def _board(self, seats: tuple[_Seat, ...], lane: Lane) -> _Flight:
        flight = _Flight(self._ids(), lane, seats)
        self._flights[flight.call_id] = flight
        for seat in seats:
            seat.flight = flight
            seat.attempt += 1
        return flight

    def _admit_held(self, account: _Account, now: float, out: list[Command]) -> None:
        """Send what the limits now allow: by priority, then by the time of asking."""
        ranks = self._held.get(account)
        while ranks:
            rank = min(ranks)
            queue = ranks[rank]
            held = queue[0]
            seats = tuple(seat for seat in held.seats if seat.open)
            if seats:
                tokens = sum(seat.request.tokens for seat in seats)
                until = self._limits.admit(account, tokens, now)
                if until is not None:
                    if isfinite(until):
                        self._set_timer(until, "admit", account)
                    return
            queue.popleft()
            self._count_held(held, -1)
            if not queue:
                del ranks[rank]
            if not ranks:
                del self._held[account]
            if seats:
                self._call(seats, held.lane, tokens, now, out)

    def _release(self, provider: str, now: float, out: list[Command]) -> None:
        """A slot of this provider is free."""
        for account in [account for account in self._held if account[0] == provider]:
            self._admit_held(account, now, out)

    # Answers

    def _started(self, fact: facts.Started, now: float, out: list[Command]) -> None:
        flight = self._flights.get(fact.call_id)
        if flight is not None:
            flight.started = True

    def _finished(self, fact: facts.Finished, now: float, out: list[Command]) -> None:
        flight = self._flights.pop(fact.call_id, None)
        if flight is None:
            return
        request = flight.seats[0].request
        if flight.lane != "batch":
            self._limits.finished(_account(request), fact.report, now)
        for seat, result in zip(flight.seats, fact.answers, strict=True):
            seat.flight = None
            if isinstance(result, Fault):
                self._failed_seat(seat, flight, result, now, out)
            else:
                self._answer(seat, flight, result, now, out)
        self._release(request.provider, now, out)

    def _answer(self, seat: _Seat, flight: _Flight, answer: Answer, now: float, out: list[Command]) -> None:
        request = seat.request
        if answer.usage is not None:
            self._counts.learn(request.provider, request.prompt.model, request.tokens, answer.usage.input)
        cost = charged(answer.usage, request, flight.lane, self._catalog)
        worth = counterfactual(answer.usage, request, self._catalog)
        kept = Kept(answer=answer, call_id=flight.call_id, fingerprint=request.fingerprint, worth=worth)
        callers = self._close(seat)
        payer = callers[0] if callers else request
        self._book(payer, flight.call_id, flight.lane, cost, worth, answer, now, out)
        for number, caller in enumerate(callers):
            via: Via = flight.lane if number == 0 else "coalesced"
            if number:
                self._book(caller, flight.call_id, via, 0, worth, answer, now, out)
            out.append(
                Reply(
                    request=caller,
                    answer=answer,
                    via=via,
                    why=seat.why if number == 0 else "shares its twin's answer",
                    cost=0 if number else cost,
                    saved=worth if number else worth - cost if worth is not None and cost is not None else None,
                    packed=len(flight.seats),
                    batch_id=flight.call_id if flight.lane == "batch" else None,
                )
            )
        self._remember(request, callers, kept, now)

    def _remember(self, request: Request, callers: list[Request], kept: Kept, now: float) -> None:
        if not kept.answer.body:
            return
        if cacheable(kept.answer) and reusable(request) is None:
            self.memory.cache.put(request.fingerprint, kept, now)
        for caller in callers or (request,):
            if caller.named:
                self.memory.named.put((caller.tenant, caller.id), kept, now)
        if not callers:
            self.memory.undelivered.put(adoption_key(request), kept, now)

    def _book(
        self,
        request: Request,
        call_id: str,
        via: Via,
        cost: int | None,
        worth: int | None,
        answer: Answer,
        now: float,
        out: list[Command],
    ) -> None:
        if answer.usage is None:
            return
        charge = Charge(
            call_id=call_id,
            request_id=request.id,
            tenant=request.tenant,
            key=request.key,
            provider=request.provider,
            model=request.prompt.model,
            via=via,
            usage=answer.usage,
            cost=cost,
            counterfactual=worth,
            at=now,
        )
        out.append(Book(charge=charge, why=via))

    # Faults

    def _failed(self, fact: facts.Failed, now: float, out: list[Command]) -> None:
        flight = self._flights.pop(fact.call_id, None)
        if flight is None:
            return
        request = flight.seats[0].request
        if flight.lane != "batch":
            self._limits.refused(_account(request), fact.fault, fact.report, now, self._dice)
        for seat in flight.seats:
            seat.flight = None
            self._failed_seat(seat, flight, fact.fault, now, out)
        self._release(request.provider, now, out)

    def _failed_seat(self, seat: _Seat, flight: _Flight, fault: Fault, now: float, out: list[Command]) -> None:
        """Ask again: singly after a packed call, later after a passing fault; else tell the callers."""
        if not seat.waiting and not seat.request.durable:
            self._close(seat)
            return
        if len(flight.seats) > 1 and fault.whose == "theirs":
            seat.why = "asked again singly: its packed call had no answer for it"
            self._send((seat,), "direct", now, out)
            return
        again = None if flight.started else retry_at(fault, seat.attempt - 1, self.policy, now, self._dice)
        if again is not None:
            seat.why = f"tried again after {fault.code or fault.status}"
            self._set_timer(again, "retry", (seat, flight.lane))
            return
        if fault.passing and not flight.started:
            self._promote(seat, fault, now, out)
        else:
            self._refuse(seat, fault, f"the call failed: {fault.code or fault.status}", out)

    def _promote(self, seat: _Seat, fault: Fault, now: float, out: list[Command]) -> None:
        """Refuse the first caller; the next one takes the lead, as another try may end otherwise."""
        callers = self._close(seat)
        for first in callers[:1]:
            out.append(Refuse(request=first, fault=fault, why=f"the call failed: {fault.code or fault.status}"))
        others = callers[1:]
        if others:
            promoted = _Seat(others[0])
            for follower in others:
                promoted.waiting[follower.ask] = follower
                self._seats[follower.ask] = promoted
            self._register(promoted)
            self._save_or_route(promoted, now, out)

    def _refuse(self, seat: _Seat, fault: Fault, why: str, out: list[Command]) -> None:
        out.extend(Refuse(request=request, fault=fault, why=why) for request in self._close(seat))

    # Leaving

    def _left(self, fact: facts.Left, now: float, out: list[Command]) -> None:
        seat = self._seats.get(fact.ask)
        if seat is not None:
            self._leave(seat, fact.ask, fact.keep, now, out)

    def _leave(self, seat: _Seat, ask: str, keep: bool, now: float, out: list[Command]) -> None:
        """Take one caller off. When nobody waits any more: what is durable or kept goes on, what is not sent is
        dropped, a stream ends, and any other call gets a grace in which the caller's retry can adopt it."""
        del self._seats[ask]
        del seat.waiting[ask]
        if seat.waiting or seat.request.durable:
            return
        streams = seat.request.prompt.stream
        if seat.flight is None and (streams or not keep):
            self._batcher.remove(seat.request.ask)
            self._close(seat)
            return
        seat.abandoned = True
        if not streams:
            self._abandoned[adoption_key(seat.request)] = seat
        if seat.flight is not None and not keep:
            self._set_timer(now if streams else now + self.policy.abandon_grace, "abandoned", seat)
            self._time_passed(None, now, out)

    def _revive(self, seat: _Seat) -> None:
        seat.abandoned = False
        self._abandoned.pop(adoption_key(seat.request), None)

    def _cancel_abandoned(self, seat: _Seat, now: float, out: list[Command]) -> None:
        flight = seat.flight
        if not seat.open or flight is None or not all(other.abandoned for other in flight.seats):
            return
        del self._flights[flight.call_id]
        for other in flight.seats:
            self._close(other)
        out.append(Cancel(call_id=flight.call_id, why="nobody waits for it any more"))
        request = seat.request
        if flight.lane != "batch":
            self._limits.finished(_account(request), None, now)
        self._release(request.provider, now, out)

    # Seats

    def _register(self, seat: _Seat) -> None:
        request = seat.request
        self._leads[request.ask] = seat
        if reusable(request) is None:
            self._twins.setdefault(twin_key(request), seat)
        if request.named:
            self._named[request.tenant, request.id] = seat

    def _close(self, seat: _Seat) -> list[Request]:
        """Forget a seat. Its callers, in the order in which they came."""
        request = seat.request
        seat.open = False
        self._leads.pop(request.ask, None)
        if self._twins.get(twin_key(request)) is seat:
            del self._twins[twin_key(request)]
        if self._named.get((request.tenant, request.id)) is seat:
            del self._named[request.tenant, request.id]
        if self._abandoned.get(adoption_key(request)) is seat:
            del self._abandoned[adoption_key(request)]
        callers = list(seat.waiting.values())
        for caller in callers:
            del self._seats[caller.ask]
        return callers

    # Time

    def _set_timer(self, at: float, kind: _Timer, what: object) -> None:
        self._timer_count += 1
        heappush(self._timers, (at, self._timer_count, kind, what))

    def _time_passed(self, fact: facts.TimePassed | None, now: float, out: list[Command]) -> None:
        while self._timers and self._timers[0][0] <= now:
            _, _, kind, what = heappop(self._timers)
            self._on_timer[kind](what, now, out)
        self._leave_window(self._batcher.due(now), now, out)

    def _retry(self, what: tuple[_Seat, Lane], now: float, out: list[Command]) -> None:
        seat, lane = what
        if seat.open and lane == "batch":
            self._open_job_window(seat, now, out)
        elif seat.open:
            self._send((seat,), lane, now, out)

    def _deadline_passed(self, ask: str, now: float, out: list[Command]) -> None:
        seat = self._seats.get(ask)
        if seat is None:
            return
        fault = errors.DeadlinePassed("The deadline passed before the answer came (on_deadline=fail).").fault
        out.append(Refuse(request=seat.waiting[ask], fault=fault, why="its deadline passed"))
        self._leave(seat, ask, False, now, out)

    def _flush(self, fact: facts.Flush, now: float, out: list[Command]) -> None:
        self._leave_window(self._batcher.flush(now, _flushes(fact.provider)), now, out)

    def _stop(self, fact: facts.Stopping, now: float, out: list[Command]) -> None:
        self._stopping = True
        self._leave_window(self._batcher.flush(now), now, out)


def _account(request: Request) -> _Account:
    """Rate limits count per provider and model."""
    return request.provider, request.prompt.model


def _in_time(seat: _Seat, request: Request) -> bool:
    """A request joins only a twin that is expected within its own deadline: a batch may take a day."""
    lane = seat.flight.lane if seat.flight else "direct"
    return lane != "batch" or request.strategy == "batch" or request.priority == "low"


def _flushes(provider: str | None) -> Callable[[_JobKey | _PackKey], bool]:
    return lambda key: provider is None or key.provider == provider


def _pack_key(request: Request, lane: Lane) -> _PackKey:
    prompt = request.prompt
    return _PackKey(
        lane=lane,
        tenant=request.tenant,
        caller=request.caller,
        provider=request.provider,
        model=prompt.model,
        endpoint=request.endpoint,
        system=prompt.system,
        temperature=prompt.temperature,
        top_p=prompt.top_p,
        max_output=prompt.max_output,
    )
