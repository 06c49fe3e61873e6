"""The engine: tells the planner what happens, obeys its commands, and hands each caller its outcome.

Everything runs on one event loop. A caller's `ask` returns a future; a call is made by the task that serves its caller
(`drive`) or by one of the engine's own, all of which end with it; the planner's deadline is one alarm of the clock.
Listeners hear every command as an event, and when calls end.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Protocol, Self

import structlog
from msgspec import Struct, structs

from batchway.core import facts
from batchway.core.commands import (
    Acknowledge,
    Book,
    Call,
    Cancel,
    Command,
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
from batchway.core.errors import Refusal, wordless
from batchway.core.events import TOLD, Accepted, CallEnded, CallerLeft, Event
from batchway.core.planner import Load, Planner
from batchway.core.types import Fault, Request, Via
from batchway.engine import keeping
from batchway.engine.calls import Calls
from batchway.engine.fitting import Count, fit
from batchway.engine.outage import Outage
from batchway.engine.tape import Tape
from batchway.ports import Alarm, Clock, Dialect, Journal, Listener, Sender

Ending = Reply | Refuse
_Order = tuple[Callable[..., None], Callable[..., Event], Sequence[Callable[..., None]]]
"""How a command is obeyed, the event that this is, and who hears it."""

CALL_ENDS = (facts.Finished, facts.Failed)

_log = structlog.get_logger()


class Stream(Struct, frozen=True):
    """The frames of an answer as they come, and how it ends."""

    tape: Tape
    ending: "asyncio.Future[Ending]"
    via: Via
    why: str


Outcome = Reply | Refuse | Stream | Acknowledge
"""What a caller gets; the last instead of an answer, if it does not wait for one."""


class _Caller(Struct, eq=False):
    """Someone who waits: for an outcome at first, and while a stream runs for its ending."""

    request: Request
    outcome: "asyncio.Future[Outcome]"
    ending: "asyncio.Future[Ending] | None" = None


class Batching(Protocol):
    """What makes jobs of requests."""

    def check(self, request: Request) -> None:
        """Raises a Refusal if it cannot travel in a batch: now, not when its batch fails tomorrow."""

    def form(self, command: FormJob) -> None:
        """Form a job."""


class _Underway(Struct, eq=False):
    """A call under way and who rides on it."""

    call: Call
    riders: list[str]
    sent_at: float
    tape: Tape | None = None
    task: "asyncio.Task[Any] | None" = None


class Engine:
    """Use as an async context manager: entering starts it, leaving drains it and ends what is left."""

    def __init__(
        self,
        planner: Planner,
        dialects: Mapping[str, Dialect],
        sender: Sender,
        clock: Clock,
        listeners: Sequence[Listener],
        *,
        count: Count,
        journal: Journal | None = None,
        max_body: int,
        key_settings: Mapping[str, str],
        drain_timeout: float,
    ) -> None:
        """Within the running loop. `journal`: None where no store is open; the policy then asks for nothing of it, and
        no job is formed. `key_settings`: where the gateway's own keys are set, by provider."""
        # Asked for once: to find it out, Python 3.11 asks the kernel which process this is.
        self._loop = asyncio.get_running_loop()
        self.clock = clock
        self.stopping = False
        self._planner = planner
        self._calls = Calls(dialects, sender, clock, self, max_body=max_body, key_settings=key_settings)
        self._heard = _heard(listeners)
        self._count = count
        self._journal = journal
        self._outage = Outage(clock.now)
        self._batching: Batching | None = None
        self._drain_timeout = drain_timeout
        self._callers: dict[str, _Caller] = {}
        self._underway: dict[str, _Underway] = {}
        self._alarm: Alarm | None = None
        self._alarm_at: float | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._driver: tuple[str, asyncio.Task[Any]] | None = None
        self._unkept: set[str] = set()
        self._keeping: dict[str, asyncio.Task[None]] = {}
        self._looking: list[Look] = []
        self._saving: list[Save] = []
        self._to_drive: dict[str, Call] = {}
        self._empty: asyncio.Event = asyncio.Event()
        obey: dict[type[Command], Callable[..., None]] = {
            Reply: self._end,
            Refuse: self._end,
            Call: self._call,
            Fit: self._fit,
            Look: self._look,
            Save: self._save,
            Keep: self._keep,
            FormJob: self._form_job,
            Join: self._join,
            Cancel: self._cancel,
            Acknowledge: self._acknowledge,
            Record: self._leave_to_listeners,
            Book: self._leave_to_listeners,
        }
        self._orders: dict[type[Command], _Order] = {
            kind: (do, describe, self._heard.get(event, ()))
            for kind, do in obey.items()
            for event, describe in (TOLD[kind],)
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._alarm is not None:
            self._alarm.cancel()
        self._outage.end()

    def batch_with(self, batching: Batching) -> None:
        """Let this form the jobs."""
        self._batching = batching

    # Callers

    def ask(self, request: Request, *, driving: "asyncio.Task[Any] | None" = None) -> "asyncio.Future[Outcome]":
        """Ask. The future ends with a Reply, a Refuse, or a Stream whose frames are then followed; where the request is
        `detached`, with an Acknowledge as soon as it is on disk.

        `driving`: this task will make the request's call itself (`drive`) if it needs one at once, which spares a task
        of its own. Such a task must not be cancelled when its caller leaves, only told (`leave`): others may
        have joined the call. Streams are never driven: their caller follows while the call writes.
        """
        self._driver = (request.ask, driving) if driving is not None and not request.prompt.stream else None
        try:
            (outcome,) = self.ask_all((request,))
        finally:
            self._driver = None
        return outcome

    def ask_all(self, requests: Sequence[Request]) -> "list[asyncio.Future[Outcome]]":
        """As `ask`, of many that come together."""
        outcomes: list[asyncio.Future[Outcome]] = [self._loop.create_future() for _ in requests]
        for request, outcome in zip(requests, outcomes, strict=True):
            self._callers[request.ask] = _Caller(request, outcome)
        try:
            if Accepted in self._heard:
                for request in requests:
                    self.publish(Accepted(at=request.asked_at, request=request))
            self.tell_all(map(facts.Asked, requests))
        except BaseException:
            # A defect: nobody waits for an outcome that nobody has.
            for request in requests:
                self._callers.pop(request.ask, None)
            raise
        return outcomes

    def drive(self, ask: str) -> Coroutine[Any, Any, None] | None:
        """The call that this request has to make at once, to be awaited; None: there is none. It ends when the call has
        been told of."""
        call = self._to_drive.pop(ask, None)
        return None if call is None else self._calls.make(call)

    def leave(self, ask: str, *, keep: bool = False) -> None:
        """The caller is gone (or has waited long enough: `keep`). It gets nothing any more."""
        caller = self._callers.pop(ask, None)
        if caller is None:
            return
        self._see_if_empty()
        reason = "waited as long as it wanted to" if keep else "closed its connection"
        self.publish(CallerLeft(at=self.clock.now(), request_id=caller.request.id, reason=reason))
        self.tell(facts.Left(ask, keep))

    def holds(self, tenant: str, request_id: str) -> bool:
        """Whether a tenant's request is under way here without being on disk (as far as its id is not its own)."""
        return self._planner.holds(tenant, request_id)

    def crowded(self) -> bool:
        """Whether as many requests are held back for a slot as may be."""
        return self._planner.crowded()

    def load(self) -> Load:
        """How much is under way."""
        return self._planner.load()

    async def drain(self) -> None:
        """Take nothing new, and give what somebody waits for, or what is owed to the disk, `drain_timeout` seconds to
        end; then refuse the rest."""
        self.stopping = True
        self.tell(facts.Stopping())
        try:
            async with asyncio.timeout(self._drain_timeout):
                if self._callers:
                    self._empty.clear()
                    await self._empty.wait()
                while owed := self._owed():
                    await asyncio.wait(owed)
        except TimeoutError:
            self._refuse_all()

    def _owed(self) -> list["asyncio.Task[Any]"]:
        """What is paid for and would be paid again after a restart: calls for what is on disk, and ends that are being
        written there."""
        calls = [
            underway.task
            for underway in self._underway.values()
            if underway.task is not None and any(request.durable for request in underway.call.requests)
        ]
        return [*calls, *(task for ask, task in self._keeping.items() if ask not in self._unkept)]

    def _refuse_all(self) -> None:
        self.tell(facts.TimeUp())
        for underway in self._underway.values():
            # Nobody waits for what streams go on saying: their followers come to the end, and to the fault.
            if underway.task is not None:
                underway.task.cancel()
            if underway.tape is not None:
                underway.tape.end()

    # The planner

    def tell(self, fact: facts.Fact) -> None:
        """Tell the planner, and obey."""
        self.tell_all((fact,))

    def tell_all(self, told: Iterable[facts.Fact]) -> None:
        """Tell it of what happened at one time, in this order; its deadline is looked at once for all of it."""
        now = self.clock.now()
        for fact in told:
            if isinstance(fact, CALL_ENDS):
                self._call_ended(fact, now)
            for command in self._planner.receive(fact, now):
                do, describe, hearing = self._orders[type(command)]
                do(command)
                if hearing:
                    event = describe(command, now)
                    for hear in hearing:
                        hear(event)
        deadline = self._planner.deadline()
        if deadline is not None:
            self._set_alarm(deadline)

    def _set_alarm(self, deadline: float) -> None:
        """One alarm for the planner's deadline. An alarm that comes too early does no harm and is left standing."""
        if self._alarm_at is not None and self._alarm_at <= deadline:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = deadline
        self._alarm = self.clock.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._alarm = self._alarm_at = None
        self.tell(facts.TimePassed())

    def awaited(self, *, in_jobs: bool) -> list[str]:
        """Requests on disk that somebody waits for here and that other processes may answer."""
        return self._planner.awaited(in_jobs=in_jobs)

    def adrift(self, asks: Iterable[str]) -> list[str]:
        """Those of these requests on disk that nobody here is about to send, or to write down the end of."""
        return [ask for ask in asks if ask not in self._unkept and not self._planner.seated(ask)]

    def reaches(self, provider: str) -> bool:
        """Whether the provider is configured here."""
        return self._calls.reaches(provider)

    def store_failed(self, fault: Fault) -> None:
        """The store could not do what somebody asked of it: one outage is told of for all of them."""
        self._outage.failed(fault.message)

    def outage(self) -> tuple[float, str] | None:
        """Since when the store cannot be used, and why; None: it can, as far as is known."""
        return self._outage.lasts()

    def store_worked(self) -> None:
        """The store has written something."""
        self._outage.worked()

    def publish(self, event: Event) -> None:
        """Tell whoever hears such events."""
        for hear in self._heard.get(type(event), ()):
            hear(event)

    # Commands

    def _call(self, call: Call) -> None:
        underway = _Underway(call, list(call.riders), self.clock.now())
        self._underway[call.call_id] = underway
        lead = call.requests[0].ask
        if self._driver is not None and self._driver[0] == lead:
            underway.task = self._driver[1]
            self._to_drive[lead] = call
            return
        underway.task = self._start(self._calls.make(call))

    def _start(self, doing: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        # Not a TaskGroup: whoever is started reports its own failure, and the group costs as much as the task.
        task = self._loop.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _store(self) -> Journal:
        assert self._journal is not None, "without a store nothing is looked up, saved or kept"
        return self._journal

    def _look(self, command: Look) -> None:
        self._looking.append(command)
        if len(self._looking) == 1:
            self._start(self._look_all())

    async def _look_all(self) -> None:
        """All of one turn of the loop together: it costs a task and a statement each, or one for all of them."""
        looking, self._looking = self._looking, []
        self.tell_all(await keeping.look(self._store(), self._outage, looking))

    def _save(self, command: Save) -> None:
        if command.lane == "batch" and self._batching is not None:
            try:
                self._batching.check(command.request)
            except Refusal as refusal:
                # On a turn of its own: facts are told one after the other.
                unbatchable = facts.Unbatchable(command.request.ask, refusal.fault)
                self._loop.call_soon(self.tell, unbatchable)
                return
        self._saving.append(command)
        if len(self._saving) == 1:
            self._start(self._save_all())

    async def _save_all(self) -> None:
        """As `_look_all`."""
        saving, self._saving = self._saving, []
        self.tell_all(await keeping.save(self._store(), self._outage, saving))

    def _keep(self, command: Keep) -> None:
        ask = command.request.ask
        self._keeping[ask] = self._start(self._put_down(command))
        self._keeping[ask].add_done_callback(lambda _: self._keeping.pop(ask, None))

    async def _put_down(self, command: Keep) -> None:
        ask = command.request.ask
        kept = await keeping.keep(self._store(), self._outage, command)
        self.tell(facts.Kept(ask))
        if not kept:
            self._unkept.add(ask)
            await keeping.keep_later(self._store(), self._outage, command)
            self._unkept.discard(ask)

    def _form_job(self, command: FormJob) -> None:
        assert self._batching is not None, "without a store no job is formed"
        self._batching.form(command)

    def _fit(self, command: Fit) -> None:
        self._start(self._fitted(command))

    async def _fitted(self, command: Fit) -> None:
        try:
            fitted = await fit(command, self._count)
        except Exception as error:  # noqa: BLE001  # A defect: the request then goes as it came.
            _log.exception("fitting failed by a defect", request_id=command.request.id)
            why = f"it could not be made to fit: a defect of batchway ({type(error).__name__})"
            fitted = facts.Fitted(command.request.ask, command.request, why)
        self.tell(fitted)

    def _join(self, join: Join) -> None:
        underway = self._underway.get(join.call_id) if join.call_id is not None else None
        if underway is None:
            return
        underway.riders.append(join.request.ask)
        if underway.tape is not None and join.request.prompt.stream:
            self._follow(join.request.ask, underway.tape, "coalesced", join.why)

    def _cancel(self, cancel: Cancel) -> None:
        underway = self._underway.pop(cancel.call_id, None)
        if underway is not None and underway.task is not None:
            underway.task.cancel()

    def _end(self, ending: Ending) -> None:
        caller = self._callers.pop(ending.request.ask, None)
        if caller is None:
            return
        if caller.ending is not None:
            if not caller.ending.done():
                caller.ending.set_result(ending)
        elif not caller.outcome.done():
            caller.outcome.set_result(ending)
        self._see_if_empty()

    def _acknowledge(self, acknowledge: Acknowledge) -> None:
        caller = self._callers.pop(acknowledge.request.ask, None)
        if caller is not None and not caller.outcome.done():
            caller.outcome.set_result(acknowledge)
        self._see_if_empty()

    def _see_if_empty(self) -> None:
        if self.stopping and not self._callers:
            self._empty.set()

    def _leave_to_listeners(self, command: Book | Record) -> None:
        """They keep it; there is nothing else to do without a store."""

    # Calls

    def begin(self, call_id: str, tape: Tape) -> None:
        """The first frames of a stream are there: whoever waits for this call follows its tape."""
        underway = self._underway.get(call_id)
        if underway is None:
            return
        underway.tape = tape
        via: Via = underway.call.lane
        why = underway.call.why
        # The first who still waits is the one that will be charged.
        for ask in filter(self._callers.__contains__, underway.riders):
            self._follow(ask, tape, via, why)
            via, why = "coalesced", "joined its twin in flight"
        self.tell(facts.Started(call_id))

    def _follow(self, ask: str, tape: Tape, via: Via, why: str) -> None:
        caller = self._callers.get(ask)
        if caller is None or not caller.request.prompt.stream or caller.outcome.done():
            return
        caller.ending = self._loop.create_future()
        caller.outcome.set_result(Stream(tape, caller.ending, via, why))

    def _call_ended(self, fact: facts.Finished | facts.Failed, now: float) -> None:
        underway = self._underway.pop(fact.call_id, None)
        if underway is None:
            return
        call = underway.call
        if isinstance(fact, facts.Failed) and any(request.retention == "none" for request in call.requests):
            fact = structs.replace(fact, fault=wordless(fact.fault))
        self.publish(CallEnded(call, fact, underway.sent_at, now))


def _heard(listeners: Sequence[Listener]) -> dict[type, list[Callable[..., None]]]:
    """Who wants to be told of which event."""
    heard: dict[type, list[Callable[..., None]]] = {}
    for listener in listeners:
        for event, hear in listener.hears.items():
            heard.setdefault(event, []).append(hear)
    return heard
