"""The planner decides everything about a request before it becomes a call, and everything after its answer.

Its whole face is `receive(fact, now) -> commands` and `deadline()`. It does no I/O, reads no clock and keeps one
thought per request:

            Asked                                Finished
    caller ───────▶ seat ──▶ (look) ──▶ (fit) ──▶ lane ──▶ (save) ──▶ window ──▶ held ──▶ flight ──▶ reply
                     ▲ twins join                                        │         ▲         │ Failed
                     │                                                   └─────────┴─────────┘ retry

A *seat* is one question on its way to an answer and everyone who waits for it; a *flight* is one call under way for
one seat (or several: packed). Invariants, held by tests/core/test_planner_property.py:

1. Every accepted request gets exactly one Reply or Refuse, unless its caller left.
2. A window never breaks its limits of size, tokens or wait; only like goes with like.
3. Whatever waits for time to pass is covered by `deadline()`; whatever waits for a slot is covered by a flight.
4. Only requests of one tenant share an answer, and only by the rules of `core.fingerprint`.
5. The same facts give the same commands, byte for byte.
6. A call is cancelled only when nobody waits for it; a paid answer nobody waits for is kept for the caller's retry.
7. Nothing durable enters a window before it is saved, and nobody hears how it ended before that is on disk.
8. A job is formed and forgotten: what its requests become comes back by `Landed`, `Resumed` and `Rescue`, and a seat
   stays only while somebody waits for it.
"""

from collections.abc import Callable, Hashable, Mapping
from heapq import heappop, heappush
from math import inf
from typing import Literal

from msgspec import Struct

from batchway.core import errors, facts
from batchway.core.batcher import Batcher, Closed, Ticket
from batchway.core.catalog import Catalog
from batchway.core.commands import Call, Cancel, Command, Fit, FormJob, Join, Look, Refuse, Reply, Save
from batchway.core.cost import charged, counterfactual
from batchway.core.facts import Fact
from batchway.core.fingerprint import adoption_key, cacheable
from batchway.core.gate import Gate, Party
from batchway.core.limits import Dice, retry_at
from batchway.core.memory import Known, Memory
from batchway.core.policy import Policy, WindowRule
from batchway.core.router import Offers, prompt_budget, route
from batchway.core.seats import Flight, Seat, Seats
from batchway.core.settlement import OVERHEAD, Bill, book, keep, settle
from batchway.core.tokens import TokenCounts
from batchway.core.types import Answer, Fault, Lane, Request, Via

SAMPLE = 50
"""One answer in so many is compared with a count made for that alone: corrections are learnt at 2 % of the cost."""

SAMPLE_SIZE = 64 * 1024
"""Bytes of the largest body that is counted only to learn: counting a megabyte would hold up everyone for 20 ms."""


class Load(Struct, frozen=True, kw_only=True):
    """How much is under way: for health, metrics and draining."""

    waiting: int
    """Requests whose callers wait."""
    queued: int
    """Requests in windows or held back for a slot."""
    flights: int


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
    pack_key: str


_Timer = Literal["retry", "abandoned", "deadline"]


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
        bounds: dict[Hashable, int] = {
            name: offer.max_in_flight for name, offer in offers.items() if offer.max_in_flight is not None
        }
        self._gate = Gate(policy, bounds, counts, dice)
        self._batcher = Batcher()
        self._seats = Seats()
        self._flights: dict[str, Flight] = {}
        self._ended: dict[str, tuple[Seat, Answer | Fault, Bill]] = {}
        """What has ended and is not on disk yet, by `ask`."""
        self._timers: list[tuple[float, int, _Timer, object]] = []
        self._timer_count = 0
        self._answered = 0
        self._stopping = False
        self._handlers: dict[type, Callable[..., None]] = {
            facts.Asked: self._asked,
            facts.Looked: self._looked,
            facts.Fitted: self._fitted,
            facts.Saved: self._saved,
            facts.NotSaved: self._not_saved,
            facts.Kept: self._kept,
            facts.Started: self._started,
            facts.Finished: self._finished,
            facts.Failed: self._failed,
            facts.Landed: self._landed,
            facts.Resumed: self._resumed,
            facts.Rescue: self._rescue,
            facts.Withdrawn: self._withdrawn,
            facts.Left: self._left,
            facts.TimePassed: self._time_passed,
            facts.Flush: self._flush,
            facts.Stopping: self._stop,
        }
        self._on_timer: dict[_Timer, Callable[..., None]] = {
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
        if not (self._timers or self._batcher or self._gate.held):
            return None
        timer = self._timers[0][0] if self._timers else inf
        window, gate = self._batcher.deadline(), self._gate.deadline()
        earliest = min(timer, inf if window is None else window, inf if gate is None else gate)
        return None if earliest == inf else earliest

    def load(self) -> Load:
        """How much is under way."""
        return Load(waiting=len(self._seats), queued=self._gate.held + len(self._batcher), flights=len(self._flights))

    # Asking: reuse, or a seat of its own

    def _asked(self, fact: facts.Asked, now: float, out: list[Command]) -> None:
        request = fact.request
        if self._stopping:
            stopping = errors.Stopping("The gateway is shutting down; try again.", retry_after=1.0).fault
            out.append(Refuse(request=request, fault=stopping, why="shutting down"))
            return
        if request.deadline is not None and request.on_deadline == "fail":
            self._set_timer(request.deadline, "deadline", request.ask)
        if not (self._reuse_named(request, now, out) or self._adopt(request, now, out)):
            seat = Seat(request)
            if not (seat.shared and self._share(request, now, out)):
                self._seats.add(seat)
                self._look_or_fit(seat, now, out)

    def _reuse_named(self, request: Request, now: float, out: list[Command]) -> bool:
        """The same request_id again: attach to the first, or give its answer; another body is a conflict."""
        if not request.named:
            return False
        seat, kept = self._seats.named(request), self.memory.named.get((request.tenant, request.id), now)
        known = seat.request.fingerprint if seat else kept.fingerprint if kept else request.fingerprint
        if known != request.fingerprint:
            why = "this request_id came with another body before"
            out.append(Refuse(request=request, fault=_conflict(request), why=why))
            return True
        if seat:
            self._join(seat, request, "the same request_id is under way", out)
        elif kept:
            self._give(request, kept, "cache", "the same request_id was answered before", now, out, booked=True)
        return bool(seat or kept)

    def _adopt(self, request: Request, now: float, out: list[Command]) -> bool:
        """A retry of a caller that gave up gets what its first try is paying for (or has paid)."""
        seat = self._seats.abandoned(request)
        if seat is not None:
            self._join(seat, request, "adopted: its caller left, and asks again", out)
            return True
        kept = self.memory.undelivered_of(request, now)
        if kept is None:
            return False
        why = "adopted: answered after its caller had left"
        self._give(request, kept, "coalesced", why, now, out, booked=True)
        return True

    def _share(self, request: Request, now: float, out: list[Command]) -> bool:
        """Serve from the cache, or join a twin in flight."""
        kept = self.memory.cache.get(request.fingerprint, now)
        if kept is not None:
            self._give(request, kept, "cache", "answered before", now, out, booked=False)
            return True
        seat = self._seats.twin(request)
        if seat is None or not _in_time(seat, request):
            return False
        self._join(seat, request, "joined its twin in flight", out)
        return True

    def _join(self, seat: Seat, request: Request, why: str, out: list[Command]) -> None:
        self._seats.join(seat, request)
        out.append(Join(request=request, call_id=seat.flight.call_id if seat.flight else None, why=why))

    def _give(
        self, request: Request, kept: Known, via: Via, why: str, now: float, out: list[Command], *, booked: bool
    ) -> None:
        """Reply with an answer that is there already. `booked`: its charge stands under this very request."""
        if not booked:
            out += book(request, kept.call_id, via, kept.answer.usage, 0, kept.worth, now)
        saved = 0 if booked else kept.worth
        age = max(0.0, now - kept.answer.finished_at)
        out.append(Reply(request=request, answer=kept.answer, via=via, why=why, cost=0, saved=saved, age=age))

    def _look_or_fit(self, seat: Seat, now: float, out: list[Command]) -> None:
        if self.policy.store and (seat.request.named or seat.shared):
            out.append(Look(request=seat.request, why="it may have been answered before"))
        else:
            self._fit_or_route(seat, now, out)

    def _looked(self, fact: facts.Looked, now: float, out: list[Command]) -> None:
        seat = self._seats.led_by(fact.ask)
        if seat is None:
            return
        known = fact.known
        if known is None:
            self._fit_or_route(seat, now, out)
        elif known.request.fingerprint != seat.request.fingerprint:
            self._refuse(seat, _conflict(seat.request), "this request_id came with another body before", now, out)
        elif known.result is None:
            self._attach(seat, known.request, out)
        elif isinstance(known.result, Fault):
            self._refuse(seat, known.result, "the same request_id failed before", now, out)
        else:
            self._give_known(seat, known.request, known.result, known.call_id, now, out)

    def _attach(self, seat: Seat, first: Request, out: list[Command]) -> None:
        """Its equal is on disk and under way, here or in another process: wait for that one's outcome."""
        callers = self._seats.close(seat)
        under_way = self._seats.led_by(first.ask)
        if under_way is None:
            under_way = Seat(first, saved=True)
            self._seats.add(under_way)
        for caller in callers:
            self._join(under_way, caller, "the same request is under way", out)

    def _give_known(
        self, seat: Seat, first: Request, answer: Answer, call_id: str, now: float, out: list[Command]
    ) -> None:
        worth = counterfactual(answer.usage, seat.request, self._catalog)
        kept = Known(answer=answer, call_id=call_id, fingerprint=seat.request.fingerprint, worth=worth)
        for request in self._seats.close(seat):
            again = request.named and request.id == first.id
            why = "the same request_id was answered before" if again else "answered before, found in the store"
            self._give(request, kept, "cache", why, now, out, booked=again)

    # Fitting, routing, saving

    def _fit_or_route(self, seat: Seat, now: float, out: list[Command]) -> None:
        request = seat.request
        wanted = request.optimize == "fit" and seat.fitted is None
        budget = prompt_budget(request, self._catalog, self.policy) if wanted else None
        if budget is not None and request.size > budget:
            account = request.provider, request.prompt.model
            tokens = self._counts.safe(*account, self._gate.count(seat))
            if tokens > budget:
                out.append(Fit(request=request, budget=budget, why=f"{tokens} tokens are more than its {budget}"))
                return
        self._route(seat, now, out)

    def _fitted(self, fact: facts.Fitted, now: float, out: list[Command]) -> None:
        seat = self._seats.led_by(fact.ask)
        if seat is not None:
            seat.request, seat.fitted, seat.tokens = fact.request, fact.removed, fact.request.tokens
            self._route(seat, now, out)

    def _route(self, seat: Seat, now: float, out: list[Command]) -> None:
        request = seat.request
        offers = self._offers[request.provider]
        try:
            chosen = route(request, offers, self._catalog)
        except errors.Refusal as refusal:
            self._refuse(seat, refusal.fault, "no lane is open", now, out)
            return
        seat.why, seat.lane = chosen.why, chosen.lane
        if (seat.durable or seat.lane == "batch") and not seat.on_disk:
            seat.durable = True
            out.append(Save(request=request, lane=seat.lane, why="durable: on disk before it is sent"))
        else:
            self._depart(seat, now, out)

    def _saved(self, fact: facts.Saved, now: float, out: list[Command]) -> None:
        seat = self._seats.led_by(fact.ask)
        if seat is not None:
            seat.on_disk = True
            self._depart(seat, now, out)

    def _not_saved(self, fact: facts.NotSaved, now: float, out: list[Command]) -> None:
        seat = self._seats.led_by(fact.ask)
        if seat is not None:
            self._refuse(seat, fact.fault, "it could not be put on disk", now, out)

    def _resumed(self, fact: facts.Resumed, now: float, out: list[Command]) -> None:
        seat = self._seats.led_by(fact.request.ask)
        if seat is None:
            seat = Seat(fact.request, saved=True)
            self._seats.add(seat)
        if seat.flight is None and fact.request.ask not in self._ended:
            seat.job = None
            self._fit_or_route(seat, now, out)

    # Windows

    def _depart(self, seat: Seat, now: float, out: list[Command]) -> None:
        """Into the window that its lane and packing ask for, or straight to the gate."""
        request = seat.request
        if seat.lane == "batch":
            self._open_job_window(seat, now, out)
        elif request.packing == "always" and self._offers[request.provider].packing is None and request.pack_key:
            self._open_window(_pack_key(request, seat.lane), seat, self.policy.pack, now, out)
        else:
            self._send((seat,), seat.lane, now, out)

    def _open_job_window(self, seat: Seat, now: float, out: list[Command]) -> None:
        request = seat.request
        key = _JobKey(provider=request.provider, model=request.prompt.model, endpoint=request.endpoint)
        self._open_window(key, seat, self.policy.job, now, out)

    def _open_window(
        self, key: _JobKey | _PackKey, seat: Seat, rule: WindowRule, now: float, out: list[Command]
    ) -> None:
        request = seat.request
        ticket = Ticket(id=request.ask, tokens=self._gate.count(seat), size=request.size, at=now)
        self._leave_window(self._batcher.add(key, ticket, rule, now), now, out)

    def _leave_window(self, closed: list[Closed], now: float, out: list[Command]) -> None:
        for window in closed:
            seats = tuple(seat for ticket in window.tickets if (seat := self._seats.led_by(ticket.id)))
            if isinstance(window.key, _PackKey):
                self._send(seats, window.key.lane, now, out)
            else:
                self._form_job(seats, window.reason, out)

    def _form_job(self, seats: tuple[Seat, ...], reason: str, out: list[Command]) -> None:
        job_id = self._ids()
        requests = tuple(seat.request for seat in seats)
        out.append(FormJob(job_id=job_id, requests=requests, why=f"the window closed by {reason}"))
        for seat in seats:
            seat.job = job_id
            if not seat.waiting:
                self._seats.close(seat)

    # Sending

    def _send(self, seats: tuple[Seat, ...], lane: Lane, now: float, out: list[Command]) -> None:
        """Send now if the provider's limits allow it, else wait at the gate, within its bounds."""
        party = Party(seats, lane)
        verdict = self._gate.enter(party, now)
        if verdict == "go":
            self._call(party, out)
        elif verdict == "full":
            fault = errors.TooMany(
                f"{self._gate.held} requests already wait for their turn; try again after Retry-After.", retry_after=1.0
            ).fault
            for seat in seats:
                self._refuse(seat, fault, "the queue is full", now, out)

    def _call(self, party: Party, out: list[Command]) -> None:
        seats = party.seats
        flight = self._board(seats, party.lane)
        out.append(
            Call(
                call_id=flight.call_id,
                lane=party.lane,
                requests=tuple([seat.request for seat in seats]),
                riders=tuple([ask for seat in seats for ask in seat.waiting]),
                attempt=max([seat.attempt for seat in seats]),
                why=seats[0].why,
            )
        )

    def _board(self, seats: tuple[Seat, ...], lane: Lane) -> Flight:
        flight = Flight(self._ids(), lane, seats)
        self._flights[flight.call_id] = flight
        for seat in seats:
            seat.flight = flight
            seat.attempt += 1
        return flight

    def _release(self, provider: str, now: float, out: list[Command]) -> None:
        """A slot of this provider is free."""
        for party in self._gate.ready(provider, now):
            self._call(party, out)

    # Answers

    def _started(self, fact: facts.Started, _now: float, _out: list[Command]) -> None:
        flight = self._flights.get(fact.call_id)
        if flight is not None:
            flight.started = True

    def _finished(self, fact: facts.Finished, now: float, out: list[Command]) -> None:
        flight = self._flights.pop(fact.call_id, None)
        if flight is None:
            return
        request = flight.seats[0].request
        self._gate.finished(request, fact.report, now)
        for seat, result in zip(flight.seats, fact.answers, strict=True):
            seat.flight = None
            if isinstance(result, Fault):
                self._failed_seat(seat, flight, result, now, out)
            else:
                self._answer(seat, flight.call_id, flight.lane, len(flight.seats), result, now, out)
        self._release(request.provider, now, out)

    def _landed(self, fact: facts.Landed, now: float, out: list[Command]) -> None:
        """A row of a job has its outcome. It may have been rescued meanwhile: what the call brings is then overhead."""
        seat = self._seats.led_by(fact.ask)
        if seat is None or fact.ask in self._ended:
            return
        # Its job's driver has put it on disk.
        seat.on_disk = False
        if seat.flight is not None:
            seat.why = "its batch answered before its rescue did"
        if isinstance(fact.result, Fault):
            self._refuse(seat, fact.result, f"its batch: {fact.result.code or fact.result.status}", now, out)
        else:
            self._answer(seat, fact.job_id, "batch", 1, fact.result, now, out)

    def _answer(
        self, seat: Seat, call_id: str, lane: Lane, packed: int, answer: Answer, now: float, out: list[Command]
    ) -> None:
        request = seat.request
        self._learn(seat, answer)
        cost = charged(answer.usage, request, lane, self._catalog)
        if not seat.open:
            out += book(request, call_id, lane, answer.usage, cost, 0, now, name=OVERHEAD)
            return
        # Sent directly it cost what it would have cost; any other lane is compared with that.
        worth = cost if lane == "direct" else counterfactual(answer.usage, request, self._catalog)
        bill = Bill(
            call_id=call_id,
            lane=lane,
            cost=cost,
            worth=worth,
            spent=seat.spent,
            packed=packed,
            why=seat.why,
            fitted=seat.fitted,
        )
        self._conclude(seat, answer, bill, now, out)

    def _conclude(self, seat: Seat, result: Answer | Fault, bill: Bill, now: float, out: list[Command]) -> None:
        """It has ended: tell the callers, or, where the disk has it as pending, first that."""
        if seat.on_disk:
            seat.on_disk = False
            self._ended[seat.request.ask] = (seat, result, bill)
            out.append(keep(seat.request, result, bill, now))
        else:
            self._tell(seat, result, bill, now, out)

    def _kept(self, fact: facts.Kept, now: float, out: list[Command]) -> None:
        ended = self._ended.pop(fact.ask, None)
        if ended is not None:
            self._tell(*ended, now, out)

    def _tell(self, seat: Seat, result: Answer | Fault, bill: Bill, now: float, out: list[Command]) -> None:
        callers = self._seats.close(seat)
        if isinstance(result, Fault):
            out.extend(Refuse(request=caller, fault=result, why=bill.why) for caller in callers)
            return
        out += settle(result, seat.request, callers, bill, now)
        if result.body and (seat.shared or not callers or any(caller.named for caller in callers)):
            request = seat.request
            kept = Known(answer=result, call_id=bill.call_id, fingerprint=request.fingerprint, worth=bill.worth)
            self._remember(seat, callers, kept, now)

    def _learn(self, seat: Seat, answer: Answer) -> None:
        """Compare a count with its bill: every count that was made, and one request in `SAMPLE` counted for this."""
        request = seat.request
        self._answered += 1
        if answer.usage is None or request.prompt.features:
            return
        if seat.tokens is not None or (self._answered % SAMPLE == 0 and request.size <= SAMPLE_SIZE):
            self._counts.learn(request.provider, request.prompt.model, self._gate.count(seat), answer.usage.input)

    def _remember(self, seat: Seat, callers: list[Request], kept: Known, now: float) -> None:
        request = seat.request
        if seat.shared and cacheable(kept.answer):
            self.memory.cache.put(request.fingerprint, kept, now)
        for caller in callers or (request,):
            if caller.named:
                self.memory.named.put((caller.tenant, caller.id), kept, now)
        if not callers:
            self.memory.undelivered.put(adoption_key(request), kept, now)

    # Faults

    def _failed(self, fact: facts.Failed, now: float, out: list[Command]) -> None:
        flight = self._flights.pop(fact.call_id, None)
        if flight is None:
            return
        request = flight.seats[0].request
        self._gate.failed(request, fact.fault, fact.report, now)
        for seat in flight.seats:
            seat.flight = None
            self._failed_seat(seat, flight, fact.fault, now, out)
        self._release(request.provider, now, out)

    def _failed_seat(self, seat: Seat, flight: Flight, fault: Fault, now: float, out: list[Command]) -> None:
        """Ask again: singly after a packed call, later after a passing fault; else tell the callers."""
        if not seat.open:
            return
        if not (seat.waiting or seat.durable):
            self._seats.close(seat)
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
        why = f"the call failed: {fault.code or fault.status}"
        if seat.job is not None:
            # The rescue failed, the job goes on.
            self._wait_for_job(seat)
        elif fault.passing and not flight.started and len(seat.waiting) > 1:
            self._promote(seat, fault, why, now, out)
        else:
            self._refuse(seat, fault, why, now, out)

    def _wait_for_job(self, seat: Seat) -> None:
        if not seat.waiting:
            self._seats.close(seat)

    def _promote(self, seat: Seat, fault: Fault, why: str, now: float, out: list[Command]) -> None:
        """Refuse the first caller only: for the others another try may end otherwise."""
        first = next(iter(seat.waiting.values()))
        self._seats.leave(first.ask)
        out.append(Refuse(request=first, fault=fault, why=why))
        seat.attempt = 0
        self._route(seat, now, out)

    def _refuse(self, seat: Seat, fault: Fault, why: str, now: float, out: list[Command]) -> None:
        bill = Bill(call_id="", lane=seat.lane, cost=0, worth=0, spent=seat.spent, why=why)
        self._conclude(seat, fault, bill, now, out)

    def _rescue(self, fact: facts.Rescue, now: float, out: list[Command]) -> None:
        """Ask directly as well; whichever answer comes first is given, and the other is overhead."""
        seat = self._seats.led_by(fact.request.ask)
        if seat is None:
            seat = Seat(fact.request, saved=True)
            self._seats.add(seat)
        if seat.flight is None and fact.request.ask not in self._ended:
            seat.job, seat.lane, seat.why = fact.job_id, "direct", fact.why
            self._send((seat,), "direct", now, out)

    def _withdrawn(self, fact: facts.Withdrawn, now: float, out: list[Command]) -> None:
        seat = self._seats.led_by(fact.ask)
        if seat is None or fact.ask in self._ended:
            return
        self._batcher.remove(fact.ask)
        # Whoever told us has put it on disk.
        seat.on_disk = False
        fault = errors.Cancelled("The request was cancelled by its owner.").fault
        self._refuse(seat, fault, "cancelled by its owner", now, out)
        self._cancel_unwanted(seat, now, out)

    # Leaving

    def _left(self, fact: facts.Left, now: float, out: list[Command]) -> None:
        self._leave(fact.ask, fact.keep, now, out)

    def _leave(self, ask: str, keep: bool, now: float, out: list[Command]) -> None:
        """Take one caller off. When nobody waits any more: what is durable or kept goes on, what is not sent is
        dropped, a stream ends, and any other call gets a grace in which the caller's retry can adopt it."""
        seat = self._seats.leave(ask)
        if seat is None or seat.waiting:
            return
        if seat.durable:
            if seat.job is not None and seat.flight is None:
                self._seats.close(seat)
            return
        streams = seat.request.prompt.stream
        if seat.flight is None and (streams or not keep):
            self._batcher.remove(seat.request.ask)
            self._seats.close(seat)
            return
        self._seats.abandon(seat)
        if streams:
            self._cancel_abandoned(seat, now, out)
        elif not keep:
            self._set_timer(now + self.policy.abandon_grace, "abandoned", seat)

    def _cancel_abandoned(self, seat: Seat, now: float, out: list[Command]) -> None:
        if seat.open:
            self._cancel_unwanted(seat, now, out)

    def _cancel_unwanted(self, seat: Seat, now: float, out: list[Command]) -> None:
        """End its call upstream, if nobody else rides in it either."""
        flight = seat.flight
        if flight is None or any(other.open and not other.abandoned for other in flight.seats):
            return
        del self._flights[flight.call_id]
        for other in flight.seats:
            if other.open:
                self._seats.close(other)
        out.append(Cancel(call_id=flight.call_id, why="nobody waits for it any more"))
        request = seat.request
        self._gate.finished(request, None, now)
        self._release(request.provider, now, out)

    # Time

    def _set_timer(self, at: float, kind: _Timer, what: object) -> None:
        self._timer_count += 1
        heappush(self._timers, (at, self._timer_count, kind, what))

    def _time_passed(self, _fact: facts.TimePassed, now: float, out: list[Command]) -> None:
        while self._timers and self._timers[0][0] <= now:
            _, _, kind, what = heappop(self._timers)
            self._on_timer[kind](what, now, out)
        self._leave_window(self._batcher.due(now), now, out)
        for party in self._gate.due(now):
            self._call(party, out)

    def _retry(self, what: tuple[Seat, Lane], now: float, out: list[Command]) -> None:
        seat, lane = what
        if seat.open:
            self._send((seat,), lane, now, out)

    def _deadline_passed(self, ask: str, now: float, out: list[Command]) -> None:
        seat = self._seats.of(ask)
        if seat is None:
            return
        fault = errors.DeadlinePassed("The deadline passed before the answer came (on_deadline=fail).").fault
        out.append(Refuse(request=seat.waiting[ask], fault=fault, why="its deadline passed"))
        self._leave(ask, False, now, out)

    def _flush(self, fact: facts.Flush, now: float, out: list[Command]) -> None:
        self._leave_window(self._batcher.flush(now, _flushes(fact.provider)), now, out)

    def _stop(self, _fact: facts.Stopping, now: float, out: list[Command]) -> None:
        self._stopping = True
        self._leave_window(self._batcher.flush(now), now, out)


def _conflict(request: Request) -> Fault:
    return errors.Conflict(
        f"request_id '{request.id}' was used for another body; give each request an id of its own.",
        param="request_id",
    ).fault


def _in_time(seat: Seat, request: Request) -> bool:
    """A request joins only a twin that is expected within its own deadline: a batch may take a day."""
    return seat.lane != "batch" or request.strategy == "batch" or request.priority == "low"


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
        pack_key=request.pack_key or "",
    )
