"""The offline driver: tells the live planner what happens in a simulated world, and obeys it, on a clock of events.

It is the engine's twin (`engine.driver`): the planner is the same, and so are facts, commands and events. Where the
engine waits for a provider, a disk or an alarm, this one puts the fact that will come of it on a heap, and goes on with
whatever is next. The same requests, world and seed give the same events, byte for byte.

    simulation = Simulation(planner, world, jobs, listeners)
    simulation.run(requests)            # in the order of asking; or, as they become known:
    simulation.ask(request); simulation.advance(until); simulation.finish()
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heappop, heappush
from math import inf
from typing import Any

from msgspec import structs

from batchway.core import facts
from batchway.core.catalog import Catalog
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
from batchway.core.errors import UpstreamTimeout
from batchway.core.events import TOLD, Accepted, CallEnded, Event
from batchway.core.facts import Fact, Failed, Finished
from batchway.core.planner import Planner
from batchway.core.rescue import RescueRule
from batchway.core.types import Request
from batchway.engine.fitting import Count, fit_now
from batchway.ports import Listener
from batchway.simulate.jobs import Jobs
from batchway.simulate.rescuing import Rescuing
from batchway.simulate.world import Recorded, World

Action = Callable[[Any, float], None]

NOT_IN_TIME = UpstreamTimeout("no answer came in time").fault


class Simulation:
    """One run. Times are seconds since the epoch, as the requests have them; they never run backwards."""

    def __init__(
        self,
        planner: Planner,
        world: World,
        jobs: Jobs,
        listeners: Sequence[Listener],
        *,
        catalog: Catalog,
        rescue: RescueRule,
        count: Count,
    ) -> None:
        """`count`: tokens of a text as a model counts them."""
        self.now = -inf
        self._planner = planner
        self._count = count
        self._world = world
        self._jobs = jobs
        self._heard = _heard(listeners)
        self._agenda: list[tuple[float, int, Action, Any]] = []
        self._noted = 0
        self._underway: dict[str, tuple[Call, float]] = {}
        self._deadline: float = inf
        self._do: Mapping[type, Callable[[Any], None]] = {
            Call: self._call,
            Fit: self._fit,
            Look: self._look,
            Save: self._save,
            Keep: self._keep,
            FormJob: self._form_job,
            Cancel: self._cancel,
            Join: _nothing,
            Reply: _nothing,
            Refuse: _nothing,
            Acknowledge: _nothing,
            Record: _nothing,
            Book: _nothing,
        }
        jobs.attach(self)
        self._rescuing = Rescuing(self, catalog, rescue, jobs.job_of)

    def run(self, requests: Iterable[Request]) -> None:
        """All of them, in the order of asking, to the end of what they lead to."""
        for request in requests:
            self.ask(request)
        self.finish()

    def ask(self, request: Request) -> None:
        """A caller asks, at the request's time or now if that is past. What is due before that happens first."""
        self.advance(request.asked_at)
        if Accepted in self._heard:
            self.publish(Accepted(at=request.asked_at, request=request))
        self.tell(facts.Asked(request))

    def advance(self, until: float) -> None:
        """Let everything happen that comes before that time.

        What comes at that very time waits, but for what is under way: requests that are asked in one moment still find
        the window open that closes in it, as they do within one turn of the engine's loop.
        """
        while self._happen(until):
            pass
        self.now = max(self.now, until)

    def finish(self) -> None:
        """Nobody asks any more: let everything end."""
        while self._happen(inf):
            pass

    def _happen(self, until: float) -> bool:
        """Let the next thing happen, if it comes before then."""
        agenda = self._agenda[0][0] if self._agenda else inf
        if agenda <= min(self._deadline, until) and agenda < inf:
            self._next()
            return True
        if self._deadline < until:
            self.now = max(self.now, self._deadline)
            self.tell(facts.TimePassed())
            return True
        return False

    def at(self, when: float, action: Action, what: object) -> None:
        """Do this at that time, after what was put there before."""
        self._noted += 1
        heappush(self._agenda, (max(when, self.now), self._noted, action, what))

    def _next(self) -> None:
        when, _, action, what = heappop(self._agenda)
        self.now = max(self.now, when)
        action(what, self.now)

    # The planner

    def tell(self, fact: Fact) -> None:
        """Tell the planner, obey, and say what was obeyed."""
        now = self.now
        if isinstance(fact, facts.Landed):
            self._rescuing.forget(fact.ask)
        for command in self._planner.receive(fact, now):
            kind = type(command)
            self._do[kind](command)
            told, describe = TOLD[kind]
            if told in self._heard:
                self.publish(describe(command, now))
        deadline = self._planner.deadline()
        self._deadline = inf if deadline is None else deadline

    def publish(self, event: Event) -> None:
        """Let the listeners hear."""
        for hear in self._heard.get(type(event), ()):
            hear(event)

    def _told(self, fact: Fact, _now: float) -> None:
        self.tell(fact)

    # Commands

    def _call(self, call: Call) -> None:
        at, ended = self._world.call(call, self.now)
        if call.timeout is not None and at - self.now > call.timeout:
            at, ended = self.now + call.timeout, Failed(call.call_id, NOT_IN_TIME)
        self._underway[call.call_id] = (call, self.now)
        self.at(at, self._call_ended, ended)

    def _call_ended(self, fact: Finished | Failed, now: float) -> None:
        underway = self._underway.pop(fact.call_id, None)
        if underway is None:
            return  # It was cancelled.
        if CallEnded in self._heard:
            call, sent_at = underway
            self.publish(CallEnded(call, fact, sent_at, now))
        self.tell(fact)

    def _cancel(self, cancel: Cancel) -> None:
        self._underway.pop(cancel.call_id, None)

    def _look(self, command: Look) -> None:
        """The store of a simulation holds nothing but what is under way, and that the planner knows itself."""
        self.at(self.now, self._told, facts.Looked(command.request.ask))

    def _fit(self, command: Fit) -> None:
        self.at(self.now, self._told, fitted(command, self._count))

    def _save(self, command: Save) -> None:
        if command.lane == "batch":
            self._rescuing.expect(command.request)
        self.at(self.now, self._told, facts.Saved(command.request.ask))

    def _keep(self, command: Keep) -> None:
        self._jobs.answered(command.request.ask)
        self._rescuing.forget(command.request.ask)
        self.at(self.now, self._told, facts.Kept(command.request.ask))

    def _form_job(self, command: FormJob) -> None:
        self._jobs.form(command, self.now)


def fitted(command: Fit, count: Count) -> facts.Fitted:
    """The request made to fit; of one without texts all that is known is that it will."""
    request = command.request
    if request.prompt.outline is None:
        return fit_now(command, count)
    shorter = structs.replace(request, tokens=command.budget)
    if isinstance(shorter, Recorded) and (usage := shorter.usage) is not None:
        cached = min(usage.cached, command.budget)
        less = structs.replace(
            usage, input=min(usage.input, command.budget), cached=cached, cache_written=0, cache_written_hour=0
        )
        shorter = structs.replace(shorter, usage=less)
    return facts.Fitted(request.ask, shorter, f"{request.tokens} to {command.budget} tokens")


def _nothing(_command: Command) -> None:
    """The planner knows it, and the listeners hear of it."""


def _heard(listeners: Sequence[Listener]) -> dict[type, list[Callable[..., None]]]:
    heard: dict[type, list[Callable[..., None]]] = {}
    for listener in listeners:
        for event, hear in listener.hears.items():
            heard.setdefault(event, []).append(hear)
    return heard
