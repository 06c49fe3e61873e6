"""The jobs of a simulation: taken from step to step by `core.job`, as the live ones are, at a simulated provider.

A live job looks at its batch every minute. Here the looks that would only see it running are passed over: the next one
is the first after its end, at a time of day that the same rule gives.
"""

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Protocol

from batchway.core.catalog import Catalog
from batchway.core.commands import FormJob
from batchway.core.cost import charged, counterfactual
from batchway.core.facts import Fact, Landed, Measured, Resumed
from batchway.core.job import (
    BatchTerms,
    Counts,
    Job,
    JobPolicy,
    ProviderBatch,
    RowResult,
    Rules,
    Tally,
    advance,
    commands,
    custom_id,
    facts,
    shares,
    successor,
)
from batchway.core.job.forming import Share, deal, limits_of
from batchway.core.limits import Dice
from batchway.core.settlement import OVERHEAD, charge
from batchway.core.turnaround import Turnaround
from batchway.core.types import Answer, Charge, Fault, Request
from batchway.simulate.world import Course, World


class Desk(Protocol):
    """Whom the jobs tell: the driver."""

    now: float

    def tell(self, fact: Fact) -> None: ...
    def at(self, when: float, action: Callable[[Any, float], None], what: object) -> None: ...


class _Underway:
    """A job that is not done, its requests, and what will become of its batch."""

    __slots__ = ("course", "job", "open", "outcomes", "requests")

    def __init__(self, job: Job, requests: tuple[Request, ...]) -> None:
        self.job = job
        self.requests = requests
        self.open = set(range(len(requests)))
        """Positions of the rows without an outcome."""
        self.course: Course | None = None
        self.outcomes: list[Answer | Fault | None] | None = None
        """What the results say, once it is over."""


class Jobs:
    """All jobs of a run. It forgets those that are done."""

    def __init__(
        self,
        world: World,
        catalog: Catalog,
        *,
        terms: Mapping[str, BatchTerms],
        policy: JobPolicy,
        ids: Callable[[], str],
        dice: Dice,
    ) -> None:
        """`terms` of each provider's Batch API."""
        self._world = world
        self._catalog = catalog
        self._terms = terms
        self._policy = policy
        self._ids = ids
        self._dice = dice
        self._tags = count(1)
        self._jobs: dict[str, _Underway] = {}
        self._riding: dict[str, str] = {}
        """By `ask` of a request with a row without an outcome: the job that has it."""
        self._answered: set[str] = set()
        """Of those: the ones that a rescue has answered."""
        self._act: Mapping[type, Callable[[_Underway, Any], facts.JobFact]] = {
            commands.Upload: lambda _, __: facts.Uploaded("input"),
            commands.Submit: self._submit,
            commands.List: lambda held, _: facts.Listed(batches=(self._view(held),), complete=True),
            commands.Poll: lambda held, _: facts.Polled(self._view(held)),
            commands.Ingest: self._ingest,
            commands.DeleteFiles: lambda _, __: facts.FilesDeleted(),
        }
        self._write: Mapping[type, Callable[[_Underway, Any], None]] = {
            commands.Requeue: self._requeue,
            commands.Reroute: self._reroute,
            commands.Fail: self._fail,
        }

    def attach(self, desk: Desk) -> None:
        """The driver that is told, and whose clock it is."""
        self._desk = desk

    def __len__(self) -> int:
        """Jobs that are not done."""
        return len(self._jobs)

    def form(self, command: FormJob, now: float) -> None:
        """Form the job, or as many as its provider's limits make of it."""
        for number, share in enumerate(deal(command.requests, limits_of(self._terms_of(command), None))):
            job_id = command.job_id if number == 0 else self._ids()
            self._begin(_Underway(self._job(job_id, share, now), share.requests))

    def job_of(self, ask: str) -> str:
        """The job that has a request; empty: none has."""
        return self._riding.get(ask, "")

    def answered(self, ask: str) -> None:
        """A request has its answer; if it rides in a job, a rescue brought it, and the row will be paid for nothing."""
        if ask in self._riding:
            self._answered.add(ask)

    def _terms_of(self, command: FormJob) -> BatchTerms:
        return self._terms[command.requests[0].provider]

    def _job(self, job_id: str, share: Share, now: float) -> Job:
        first = share.requests[0]
        return Job(
            id=job_id,
            submit_tag=self._tag(),
            provider=first.provider,
            account=first.provider,
            endpoint=first.endpoint,
            model=first.prompt.model,
            window=self._terms[first.provider].window("24h"),
            n=len(share.requests),
            size=share.size,
            tokens=share.tokens,
            created_at=now,
            next_at=now,
        )

    def _tag(self) -> str:
        return f"tag-{next(self._tags):08d}"

    def _begin(self, held: _Underway) -> None:
        self._jobs[held.job.id] = held
        for request in held.requests:
            self._riding[request.ask] = held.job.id
        self._desk.at(held.job.next_at or self._desk.now, self._claim, held.job.id)

    # From step to step

    def _claim(self, job_id: str, now: float) -> None:
        held = self._jobs[job_id]
        rules = Rules(policy=self._policy, terms=self._terms[held.job.provider], dice=self._dice)
        fact: facts.JobFact | None = facts.Claimed()
        while fact is not None:
            held.job, wanted = advance(held.job, fact, now, rules)
            fact = self._obey(held, wanted)
        if held.job.next_at is None:
            del self._jobs[job_id]
            self._measure(held.job)
        else:
            self._desk.at(self._next_look(held), self._claim, job_id)

    def _measure(self, job: Job) -> None:
        if job.submitted_at is not None and job.over_at is not None and job.status == "completed":
            seconds = job.over_at - job.submitted_at
            measured = Turnaround(provider=job.provider, model=job.model, at=job.over_at, seconds=seconds, n=job.n)
            self._desk.tell(Measured(measured))

    def _obey(self, held: _Underway, wanted: tuple[commands.JobCommand, ...]) -> facts.JobFact | None:
        """Store what is written, then do what is to be done. The fact that comes of it."""
        for command in wanted:
            write = self._write.get(type(command))
            if write is not None:
                write(held, command)
        for command in wanted:
            act = self._act.get(type(command))
            if act is not None:
                return act(held, command)
        return None

    def _next_look(self, held: _Underway) -> float:
        """When the job wants to be looked at, or, while all it would see is a running batch, after that one's end."""
        wanted = held.job.next_at or self._desk.now
        runs = held.job.state == "submitted" and held.course is not None and held.job.check_at is None
        if not runs or held.course is None or wanted >= held.course.ends_at:
            return wanted
        missed = (held.course.ends_at - wanted) // self._policy.poll_interval + 1
        return wanted + missed * self._policy.poll_interval

    # Its provider

    def _submit(self, held: _Underway, _command: commands.Submit) -> facts.Submitted:
        held.course = self._world.batch(held.job, self._desk.now)
        return facts.Submitted(self._view(held))

    def _view(self, held: _Underway) -> ProviderBatch:
        assert held.course is not None, "it is looked at after it was submitted"
        over = self._desk.now >= held.course.ends_at
        counts = self._counts(held, held.course) if over else Counts(total=held.job.n)
        return ProviderBatch(
            id=f"batch-{held.job.id}",
            status=held.course.status if over else "running",
            said=held.course.status if over else "in_progress",
            created_at=held.job.intent_at,
            tag=held.job.submit_tag,
            counts=counts,
            output_file_id="output" if over else None,
            error_file_id="errors" if over else None,
        )

    def _counts(self, held: _Underway, course: Course) -> Counts:
        if held.outcomes is None:
            held.outcomes = [self._world.row(request, held.job, course) for request in held.requests]
        completed = sum([isinstance(outcome, Answer) for outcome in held.outcomes])
        failed = sum([isinstance(outcome, Fault) for outcome in held.outcomes])
        return Counts(total=held.job.n, completed=completed, failed=failed)

    def _ingest(self, held: _Underway, command: commands.Ingest) -> facts.Ingested:
        tally = Tally(held.job, last=command.last)
        for position, outcome in enumerate(held.outcomes or ()):
            name = custom_id(held.job.submit_tag, position)
            meaning, _ = tally.take(RowResult(custom_id=name, outcome=outcome))
            if meaning == "settles" and outcome is not None and position in held.open:
                self._land(held, position, outcome)
        held.outcomes = None
        landed = held.job.n - len(held.open)
        return tally.ingested(done=landed, failed=0)

    # Its rows

    def _land(self, held: _Underway, position: int, outcome: Answer | Fault) -> None:
        """A row has its outcome, and is charged; one that a rescue has answered is paid for nothing."""
        request = self._leave(held, position)
        late = request.ask in self._answered
        self._answered.discard(request.ask)
        charge = self._charge(held.job, request, outcome, late=late) if isinstance(outcome, Answer) else None
        self._desk.tell(Landed(request.ask, held.job.id, outcome, charge, not late))

    def _leave(self, held: _Underway, position: int) -> Request:
        held.open.discard(position)
        request = held.requests[position]
        self._riding.pop(request.ask, None)
        return request

    def _charge(self, job: Job, request: Request, answer: Answer, *, late: bool) -> Charge | None:
        cost = charged(answer.usage, request, "batch", self._catalog)
        worth = 0 if late else counterfactual(answer.usage, request, self._catalog)
        name = OVERHEAD if late else None
        if answer.usage is None:
            return None
        return charge(request, job.id, "batch", answer.usage, cost, worth, self._desk.now, name=name)

    def _fail(self, held: _Underway, command: commands.Fail) -> None:
        positions = held.open if command.positions is None else held.open.intersection(command.positions)
        for position in sorted(positions):
            self._land(held, position, command.fault)

    def _reroute(self, held: _Underway, command: commands.Reroute) -> None:
        for position in sorted(held.open):
            self._desk.tell(Resumed(self._leave(held, position), command.why, "batch"))

    def _requeue(self, held: _Underway, command: commands.Requeue) -> None:
        rows = [held.requests[position] for position in sorted(held.open)]
        rows = [request for request in rows if request.ask not in self._answered]
        held.open.clear()
        for places in shares(len(rows), command.parts) if rows else ():
            some = tuple([rows[place] for place in places])
            formed = successor(
                held.job,
                command,
                id=self._ids(),
                submit_tag=self._tag(),
                n=len(some),
                size=sum([request.size for request in some]),
                tokens=sum([request.likely_tokens for request in some]),
                now=self._desk.now,
            )
            self._begin(_Underway(formed, some))
