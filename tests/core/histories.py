"""Random histories for the planner: a world that asks, answers, fails, leaves and lets time pass, and that holds the
planner to its invariants at every step. One seed is one history."""

from collections.abc import Callable
from random import Random
from typing import Literal

import msgspec

from batchway.core import facts
from batchway.core.catalog import Catalog, Model, Rates, Step
from batchway.core.commands import (
    Acknowledge,
    Book,
    Call,
    Cancel,
    Fit,
    FormJob,
    Join,
    Keep,
    Look,
    Record,
    Refuse,
    Reply,
    Save,
)
from batchway.core.fingerprint import fingerprint, reusable
from batchway.core.planner import Planner
from batchway.core.policy import Policy, WindowRule
from batchway.core.router import Offers
from batchway.core.settlement import UNTOLD
from batchway.core.tokens import TokenCounts
from batchway.core.types import Answer, Fault, Lane, Prompt, Request, Strategy, Usage

RATES = Rates(input=1_000_000, output=4_000_000, cached=100_000, cache_written=1_250_000)
CATALOG = Catalog.of(
    [
        Model(
            provider=provider,
            id="m1",
            window=2000,
            max_output=100,
            prices={lane: (Step(from_tokens=0, rates=RATES),) for lane in ("direct", "flex", "batch")},
            abilities=None,
        )
        for provider in ("one", "two")
    ]
)
OFFERS = {
    "one": Offers(direct=None, flex=None, batch=None, packing=None),
    "two": Offers(direct=None, flex="none", batch=None, packing=None),
}
POLICY = Policy(
    pack=WindowRule(max_wait=0.05, max_size=3, max_tokens=5000, adaptive=True),
    pack_stake=10**15,
    job=WindowRule(max_wait=30, max_size=5, max_tokens=200, max_bytes=400, max_idle=10),
    max_in_flight=4,
    max_queue=6,
    max_queue_bytes=1000,
    cache_entries=20,
    cache_bytes=50_000,
    context_tokens=100,
    store=True,
)


def fault(dice: Random) -> Fault:
    """One of the ways in which calls fail."""
    ways: list[tuple[int, bool, Literal["no", "unknown"], float | None]] = [
        (400, False, "no", None),
        (429, True, "no", None),
        (429, True, "no", 2.0),
        (429, True, "no", 1000.0),
        (500, True, "no", None),
        (502, True, "unknown", None),
        (504, True, "unknown", None),
        (529, True, "no", 0.5),
    ]
    status, passing, billed, after = dice.choice(ways)
    return Fault(
        whose="theirs",
        status=status,
        type="t",
        code=None,
        message="m",
        passing=passing,
        billed=billed,
        retry_after=after,
    )


def counter(prefix: str) -> Callable[[], str]:
    """Ids that count up."""
    number = iter(range(1, 10**9))
    return lambda: f"{prefix}{next(number)}"


class World:
    """Everything around one planner. `steps` random things happen; `settle` then lets everything end."""

    def __init__(self, dice: Random, policy: Policy = POLICY) -> None:
        self.dice = dice
        self.now = 1000.0
        self.policy = policy
        self.planner = Planner(
            policy, catalog=CATALOG, offers=OFFERS, counts=TokenCounts({}), ids=counter("call-"), dice=Random(7)
        )
        self.new_id = counter("ask-")
        self.told: list[bytes] = []
        self.commanded: list[bytes] = []
        self.waiting: dict[str, Request] = {}
        self.left: dict[str, Request] = {}
        self.looking: dict[str, Request] = {}
        self.fitting: dict[str, Fit] = {}
        self.saving: dict[str, Request] = {}
        self.saved: set[str] = set()
        self.rescued: set[str] = set()
        self.withdrawn: set[str] = set()
        self.fitted: set[str] = set()
        self.routed_at: dict[str, float] = {}
        self.flights: dict[str, Call] = {}
        self.jobs: dict[str, dict[str, Request]] = {}
        self.keeping: dict[str, Keep] = {}
        self.on_disk: dict[str, Request] = {}
        self.ended: set[str] = set()
        self.riders: dict[str, set[str]] = {}
        self.tried: set[str] = set()
        self.stopped = False
        self._obey: dict[type, Callable[..., None]] = {
            Look: self._look,
            Fit: self._fit,
            Save: self._save,
            Call: self._call,
            Keep: self._keep,
            FormJob: self._form_job,
            Join: self._join,
            Reply: self._reply,
            Refuse: self._refuse,
            Acknowledge: self._acknowledge,
            Record: self._record,
            Cancel: self._cancel,
            Book: self._book,
        }

    # What may happen

    def step(self) -> None:
        """Something happens."""
        actions = (
            [self.ask] * 5
            + [self.ask_together, self.ask_twins]
            + [self.pass_time] * 2
            + [self.end_call] * 4
            + [self.leave, self.start_stream]
        )
        actions += [self.report_look] * 3 + [self.report_save] * 3 + [self.report_fit] + [self.report_keep] * 3
        actions += [self.end_row] * 3 + [self.rescue, self.withdraw]
        if self.dice.random() < 0.05:
            actions = [self.flush]
        self.dice.choice(actions)()

    def ask_together(self) -> None:
        """Several who could share a call."""
        seed = self.dice.random()
        for text in ("a", "b", "c", "d" * 30)[: self.dice.choice([2, 3, 4])]:
            self.ask(Random(seed), text)

    def ask_twins(self) -> None:
        """Several who ask the same."""
        seed = self.dice.random()
        for _ in range(self.dice.choice([2, 3, 4])):
            self.ask(Random(seed))

    def ask(self, dice: Random | None = None, text: str | None = None) -> None:
        dice = dice or self.dice
        ask = self.new_id()
        tenant = dice.choice(["t1", "t2"])
        provider = dice.choice(["one", "one", "two"])
        together = text is not None
        text = dice.choice(["a", "b", "c", "d" * 30]) if text is None else text
        streams = not together and dice.random() < 0.2
        prompt = Prompt(
            model=dice.choice(["m1", "m1", "unknown"]),
            texts=(text,),
            system=dice.choice(["", "s"]),
            stream=streams,
            temperature=dice.choice([0, 0, 1.0, None]),
            seed=dice.choice([None, None, 5]),
            max_output=dice.choice([None, 10]),
            last_user=text,
        )
        named = dice.random() < 0.25
        detached = not streams and dice.random() < 0.15
        strategies: list[Strategy] = ["auto", "auto", "direct", "batch", "flex"]
        strategy = dice.choice(strategies)
        canonical = msgspec.json.encode([prompt.model, text, prompt.system, prompt.temperature, prompt.seed])
        self.tell(
            facts.Asked(
                Request(
                    id=dice.choice(["id-1", "id-2"]) if named else ask,
                    ask=ask,
                    tenant=tenant,
                    key=tenant + dice.choice(["-k1", "-k2"]),
                    caller=dice.choice(["x", "y"]),
                    provider=provider,
                    endpoint="chat",
                    body=text.encode() * 5,
                    prompt=prompt,
                    fingerprint=fingerprint(tenant, provider, "chat", canonical),
                    tokens=dice.choice([20, 1600]) if together else dice.choice([5, 20, 70, 300]),
                    asked_at=self.now,
                    deadline=dice.choice([None, None, self.now + 5, self.now + 100]),
                    priority=dice.choice(["low", "normal", "normal", "high"]),
                    strategy=strategy,
                    reuse=dice.choice(["auto", "auto", "all", "off"]),
                    packing=dice.choice(["auto", "always"] if together else ["never", "never", "auto", "always"]),
                    pack_key=f"{prompt.system}/{prompt.temperature}",
                    optimize=dice.choice(["off", "off", "fit"]),
                    on_deadline=dice.choice(["escalate", "escalate", "fail"]),
                    named=named,
                    durable=named or detached or strategy == "batch",
                    detached=detached,
                )
            )
        )

    def pass_time(self) -> None:
        """Never past the planner's deadline: it promises to have named it."""
        deadline = self.planner.deadline()
        step = self.dice.choice([0.01, 0.05, 1.0, 10.0])
        if deadline is not None and deadline <= self.now + step:
            self.now = max(self.now, deadline)
            self.tell(facts.TimePassed())
        else:
            self.now += step

    def end_call(self) -> None:
        if not self.flights:
            return
        call_id = self.dice.choice(list(self.flights))
        flight = self.flights.pop(call_id)
        if self.dice.random() < 0.3:
            self.tell(facts.Failed(call_id, fault(self.dice)))
            return
        answers = tuple(self._answer(request, len(flight.requests)) for request in flight.requests)
        if flight.packed is None:
            self.tell(facts.Finished(call_id, answers))
            return
        parts = [answer.usage or Usage() for answer in answers]
        whole = Usage(input=sum(part.input for part in parts), output=sum(part.output for part in parts))
        self.tell(facts.Finished(call_id, answers, usage=whole, said=100))

    def end_row(self) -> None:
        """A row of a job has its outcome, or has to find another way."""
        if not self.jobs:
            return
        job_id = self.dice.choice(list(self.jobs))
        ask = self.dice.choice(list(self.jobs[job_id]))
        request = self.jobs[job_id].pop(ask)
        if not self.jobs[job_id]:
            del self.jobs[job_id]
        if ask in self.ended:
            return
        if self.dice.random() < 0.2 and ask not in self.rescued:
            self.fitted.discard(ask)
            self.tell(facts.Resumed(request, "its job could not do it"))
            return
        self.ended.add(ask)
        self.tell(facts.Landed(ask, job_id, fault(self.dice) if self.dice.random() < 0.2 else self._answer(request, 1)))

    def rescue(self) -> None:
        rows = [(job_id, ask) for job_id, rows in self.jobs.items() for ask in rows]
        if rows:
            job_id, ask = self.dice.choice(rows)
            if ask not in self.ended and ask not in self.rescued:
                self.rescued.add(ask)
                self.tell(facts.Rescue(self.jobs[job_id][ask], job_id, "its deadline comes"))

    def withdraw(self) -> None:
        asks = [ask for ask in self.on_disk if ask not in self.ended and ask not in self.keeping]
        if asks and self.dice.random() < 0.2:
            ask = self.dice.choice(asks)
            self.ended.add(ask)
            self.withdrawn.add(ask)
            self.tell(facts.Withdrawn(ask))

    def report_keep(self) -> None:
        if self.keeping:
            ask = self.dice.choice(list(self.keeping))
            del self.keeping[ask]
            self.tell(facts.Kept(ask))

    def _answer(self, request: Request, together: int) -> Answer | Fault:
        if together > 1 and self.dice.random() < 0.2:
            return msgspec.structs.replace(fault(self.dice), usage=Usage(input=4, output=1))
        return Answer(
            body=request.fingerprint.encode(),
            usage=self.dice.choice([None, Usage(input=7, output=3)]),
            complete=self.dice.random() < 0.8,
            finished_at=self.now,
            said=request.fingerprint if self.dice.random() < 0.9 else "another",
        )

    def leave(self) -> None:
        if not self.waiting:
            return
        ask = self.dice.choice(list(self.waiting))
        self.left[ask] = self.waiting.pop(ask)
        self.tell(facts.Left(ask, keep=self.dice.random() < 0.3))

    def start_stream(self) -> None:
        streams = [name for name, call in self.flights.items() if call.requests[0].prompt.stream]
        if streams:
            self.tell(facts.Started(self.dice.choice(streams)))

    def report_look(self) -> None:
        if self.looking:
            ask = self.dice.choice(list(self.looking))
            request = self.looking.pop(ask)
            self.tell(facts.Looked(ask, self._known(request)))

    def _known(self, request: Request) -> facts.Known | None:
        """What the disk has of it: the same id, or the same question answered before."""
        same = [
            kept
            for kept in self.on_disk.values()
            if request.named and (kept.tenant, kept.id) == (request.tenant, request.id)
        ]
        if same and same[-1].ask not in self.ended and same[-1].ask not in self.withdrawn:
            return facts.Known(request=same[-1], result=None)
        if same or self.dice.random() < 0.8:
            return None
        answer = Answer(body=request.fingerprint.encode(), finished_at=self.now)
        result: Answer | Fault = self.dice.choice((answer, fault(self.dice)))
        return facts.Known(request=request, result=result, call_id="before")

    def report_fit(self) -> None:
        """The prompt was made to fit, or could not be."""
        if self.fitting:
            ask = self.dice.choice(list(self.fitting))
            asked = self.fitting.pop(ask)
            tokens = self.dice.choice([asked.budget // 2, 300])
            self.tell(facts.Fitted(ask, msgspec.structs.replace(asked.request, tokens=tokens), "the middle"))

    def report_save(self) -> None:
        if self.saving:
            ask = self.dice.choice(list(self.saving))
            request = self.saving.pop(ask)
            if self.dice.random() < 0.1:
                unsaved = self.dice.choice((facts.NotSaved, facts.Unbatchable))
                self.tell(unsaved(ask, fault(self.dice)))
                return
            self.saved.add(ask)
            self.on_disk[ask] = request
            self.tell(facts.Saved(ask))

    def flush(self) -> None:
        self.tell(facts.Flush(self.dice.choice([None, "one", "two"])))

    def stop(self) -> None:
        self.stopped = True
        self.tell(facts.Stopping())

    def settle(self) -> None:
        """Let everything end: whoever still waits is answered, and nothing is left behind."""
        for _ in range(5000):
            if self.looking:
                self.report_look()
            elif self.fitting:
                self.report_fit()
            elif self.saving:
                self.report_save()
            elif self.keeping:
                self.report_keep()
            elif self.flights:
                self.end_call()
            elif self.jobs:
                self.end_row()
            else:
                deadline = self.planner.deadline()
                if deadline is None:
                    break
                self.now = max(self.now, deadline)
                self.tell(facts.TimePassed())
        assert not self.waiting, f"waiting for ever: {list(self.waiting)}"
        load = self.planner.load()
        assert (load.waiting, load.queued, load.flights) == (0, 0, 0), load
        assert self.stopped or self.saved <= self.ended, f"on disk for ever: {self.saved - self.ended}"

    # Telling and checking

    def tell(self, fact: facts.Fact) -> None:
        self.told.append(msgspec.json.encode((self.now, fact)))
        if isinstance(fact, facts.Asked):
            self.waiting[fact.request.ask] = fact.request
            self.routed_at[fact.request.ask] = self.now
        elif isinstance(fact, facts.Saved | facts.Looked | facts.Fitted):
            self.routed_at[fact.ask] = self.now
        for command in self.planner.receive(fact, self.now):
            self.commanded.append(msgspec.json.encode(command))
            assert command.why, command
            self._obey[type(command)](command)
        self._check_covered()

    def _check_covered(self) -> None:
        """Whoever waits is covered: by a flight, by the store, or by a time at which to look again."""
        if (
            self.waiting
            and not self.flights
            and not self.looking
            and not (self.fitting or self.saving or self.keeping or self.jobs)
        ):
            assert self.planner.deadline() is not None
        deadline = self.planner.deadline()
        assert deadline is None or deadline == deadline, "a deadline is a number"

    def _look(self, command: Look) -> None:
        self.looking[command.request.ask] = command.request

    def _fit(self, command: Fit) -> None:
        assert command.request.optimize == "fit"
        assert command.request.size > command.budget
        assert command.request.ask not in self.fitted, "once is enough"
        self.fitted.add(command.request.ask)
        self.fitting[command.request.ask] = command

    def _save(self, command: Save) -> None:
        assert command.request.durable or command.lane == "batch"
        self.saving[command.request.ask] = command.request

    def _keep(self, command: Keep) -> None:
        ask = command.request.ask
        assert ask in self.saved, "only what is on disk has to be kept there"
        assert ask not in self.ended, "it ends once"
        self.ended.add(ask)
        self.keeping[ask] = command

    def _call(self, command: Call) -> None:
        assert command.call_id not in self.flights
        assert command.requests
        assert command.lane != "batch"
        # The retries of a packed call, the single one after it, and the one after a lane was tried in vain.
        assert command.attempt <= self.policy.max_retries + 3
        assert set(command.riders) <= self.waiting.keys()
        self._check_saved(command.requests)
        assert (command.packed is not None) == (len(command.requests) > 1)
        if command.packed is not None:
            assert len(command.packed.nonces) == len(command.requests)
            assert all(request.packing != "never" for request in command.requests)
            self._check_window(command.requests, self.policy.pack, command.lane)
            assert len({_pack_key(request) for request in command.requests}) == 1
        under_way = [
            call for call in self.flights.values() if call.requests[0].provider == command.requests[0].provider
        ]
        assert len(under_way) < self.policy.max_in_flight
        self.flights[command.call_id] = command
        self.riders[command.call_id] = set(command.riders)

    def _form_job(self, command: FormJob) -> None:
        assert all(request.ask in self.saved for request in command.requests), "what waits a day is on disk"
        self._check_window(command.requests, self.policy.job, "batch")
        assert len({(request.provider, request.prompt.model, request.endpoint) for request in command.requests}) == 1
        for request in command.requests:
            if request.ask not in self.tried:
                assert self.now <= self.routed_at[request.ask] + self.policy.job.max_wait + 1e-6
            self.tried.add(request.ask)
        self.jobs[command.job_id] = {request.ask: request for request in command.requests}

    def _check_saved(self, requests: tuple[Request, ...]) -> None:
        for request in requests:
            assert not request.durable or request.ask in self.saved, "durable work is on disk before it goes"

    def _check_window(self, requests: tuple[Request, ...], rule: WindowRule, lane: Lane) -> None:
        assert len(requests) <= rule.max_size, lane
        if len(requests) > 1:
            assert rule.max_tokens is None or sum(request.tokens or 0 for request in requests) <= rule.max_tokens
            assert rule.max_bytes is None or sum(request.size for request in requests) <= rule.max_bytes

    def _join(self, command: Join) -> None:
        assert command.request.ask in self.waiting
        if command.call_id is not None:
            assert command.call_id in self.flights
            self.riders[command.call_id].add(command.request.ask)

    def _reply(self, command: Reply) -> None:
        request = command.request
        assert self.waiting.pop(request.ask) is request, "one answer each, and none to those who left"
        assert command.answer.body == request.fingerprint.encode(), "its own answer: same tenant, same question"
        if command.via == "cache":
            assert request.named or reusable(request) is None
        if command.via == "coalesced":
            assert request.named or reusable(request) is None or self._adopts(request)

    def _adopts(self, request: Request) -> bool:
        return any(
            earlier.key == request.key and earlier.fingerprint == request.fingerprint for earlier in self.left.values()
        )

    def _refuse(self, command: Refuse) -> None:
        assert self.waiting.pop(command.request.ask) is command.request
        assert command.fault.status >= 400
        if command.fault.code == "deadline_passed":
            # Its call may go on: the caller's next try may have what it pays for.
            self.left[command.request.ask] = command.request

    def _acknowledge(self, command: Acknowledge) -> None:
        """Only what does not wait, and only once the disk has it, or its equal of the same id."""
        request = command.request
        assert request.detached
        assert self.waiting.pop(request.ask) is request
        same = [kept for kept in self.on_disk.values() if (kept.tenant, kept.id) == (request.tenant, request.id)]
        assert same, "acknowledged is what is on disk"

    def _record(self, command: Record) -> None:
        request = command.ending.request
        assert request.ask not in self.waiting, "who waits is told"
        assert request.ask not in self.saved, "what is on disk need not be recorded"

    def _cancel(self, command: Cancel) -> None:
        flight = self.flights.pop(command.call_id)
        assert not any(rider in self.waiting for rider in self.riders[command.call_id])
        assert not any(request.ask in self.saved and request.ask not in self.ended for request in flight.requests)

    def _book(self, command: Book) -> None:
        charge = command.charge
        if charge.via in ("direct", "flex", "batch"):
            assert charge.cost is not None or charge.model == "unknown" or charge.usage == UNTOLD
        else:
            assert charge.cost == 0


def _pack_key(request: Request) -> tuple[object, ...]:
    prompt = request.prompt
    return (request.tenant, request.caller, request.provider, prompt.model, request.packing, request.pack_key)


def play(dice: Random, steps: int) -> World:
    """One history, to its end."""
    world = World(dice)
    for _ in range(steps):
        world.step()
    if dice.random() < 0.3:
        world.stop()
        for _ in range(10):
            world.step()
    world.settle()
    return world
