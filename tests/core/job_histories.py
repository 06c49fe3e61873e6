"""Random histories for the life of a job: a provider that loses replies, forgets, lags and lies, workers that die at
any step, and a store that keeps what was committed. One seed is one history, held to the invariants at every step."""

from collections import defaultdict
from collections.abc import Callable
from random import Random

from msgspec import Struct

from batchway.core.job import (
    BatchTerms,
    Counts,
    Job,
    JobPolicy,
    Problem,
    ProviderBatch,
    RowResult,
    Rules,
    State,
    Tagging,
    Tally,
    advance,
    commands,
    custom_id,
    facts,
    shares,
    stray_batches,
    successor,
)
from batchway.core.types import Answer, Fault

ACTIONS = (
    commands.Upload,
    commands.Submit,
    commands.List,
    commands.Poll,
    commands.Ingest,
    commands.CancelBatch,
    commands.DeleteFiles,
)
SETTLE = 1.0


def fault(status: int, code: str | None = None, message: str = "no", *, passing: bool = False) -> Fault:
    return Fault(whose="theirs", status=status, type="t", code=code, message=message, passing=passing)


class Died(Exception):
    """The worker is gone: nothing after this happens."""


class Batch:
    """One batch at the provider, as it truly is."""

    def __init__(self, tag: str, rows: list[str], world: "World") -> None:
        dice = world.dice
        self.id = world.new_id("batch")
        self.tag = tag
        self.rows = rows
        self.created = world.now
        self.visible = world.now + dice.random() * SETTLE * 0.9
        self.ends = world.now + dice.choice([0.5, 3.0, 10.0])
        self.end = dice.choice(["completed", "completed", "completed", "expired", "cancelled", "failed"])
        self.cancelled_at: float | None = None
        self.stuck = world.trouble() and dice.random() < 0.3
        self.lag = dice.choice([0, 0, 1, 4]) if world.trouble() else 0
        self.gone: tuple[float, float] = (0.0, 0.0)
        if world.trouble() and dice.random() < 0.5:
            begins = world.now + dice.random() * 4
            # Back soon, or after it was given up (and is cancelled then), or never.
            self.gone = (begins, begins + dice.choice([1.0, 3.0, 6.0, 1e9]))
        self.problems: tuple[Problem, ...] = ()
        self._refuse(world)
        self.truth = {row: self._outcome(row, dice, world) for row in rows}
        self.foreign = False
        self.readable = world.readable and not self.problems

    def _refuse(self, world: "World") -> None:
        """Created, and then found wanting as a whole: no row is begun."""
        poisoned = [number for number, row in enumerate(self.rows, 1) if row in world.poison]
        if poisoned and world.poison_shows == "lines":
            self.problems = tuple(Problem(code="bad", message="poison", line=line) for line in poisoned)
        elif poisoned and world.poison_shows == "late":
            self.problems = (Problem(code="invalid_request", message="poison"),)
        elif world.trouble():
            limit = world.dice.choice([None, 2])
            self.problems = (Problem(code="token_limit_exceeded", message="crowded", limit=limit),)
        if self.problems:
            self.end, self.ends, self.stuck = "failed", self.created + 0.5, False

    def _outcome(self, row: str, dice: Random, world: "World") -> str:
        if self.problems:
            return "unfinished"
        if self.end == "completed":
            return dice.choice(["answer"] * 8 + (["refused", "passing"] if world.rough else ["answer"]))
        return dice.choice(["answer", "answer", "refused", "unfinished"])

    def status(self, now: float) -> str:
        done = not self.stuck and now >= self.ends
        if self.cancelled_at is not None and now >= self.cancelled_at + 0.7:
            # It may have ended by itself before the cancel took effect.
            return self.end if done and self.ends <= self.cancelled_at else "cancelled"
        if done:
            return self.end
        return "cancelling" if self.cancelled_at is not None else "running"

    def over(self, now: float) -> bool:
        return self.status(now) in ("completed", "expired", "failed", "cancelled")

    def lost(self, now: float) -> bool:
        return self.gone[0] <= now < self.gone[1]

    def finished(self, now: float) -> dict[str, str]:
        """Rows that were done, and are billed: all that it ever will be once it is over."""
        whole = self.status(now) == self.end
        until = min(now, self.cancelled_at if self.cancelled_at is not None else now)
        share = min(1.0, (until - self.created) / (self.ends - self.created))
        done = self.rows if whole else self.rows[: int(len(self.rows) * share)]
        return {row: self.truth[row] for row in done if self.truth[row] != "unfinished"}

    def shown(self, now: float) -> dict[str, str]:
        """Those of them that can be read now."""
        return self.finished(now) if self.readable or self.over(now) else {}


class Row(Struct):
    """One request: the ends it was given, and every batch that did it."""

    ends: list[str]
    begun: set[str]


class World:
    """The store, the workers and the provider of one history."""

    def __init__(self, seed: int) -> None:
        self.dice = dice = Random(seed)
        self.now = 1000.0
        self.calm = False
        self.rate = dice.choice([0.0, 0.05, 0.05, 0.25, 0.4])
        self.rough = self.rate > 0
        tagging: Tagging = dice.choice(["listed", "listed", "listed", "perhaps", "results", "none"])
        self.readable = dice.random() < 0.3
        self.forgets = tagging == "results" or (tagging == "perhaps" and dice.random() < 0.5)
        self.no_listing = tagging == "none" or dice.random() < 0.05
        self.odd_window = dice.random() < 0.05
        self.no_batch = self.rough and dice.random() < 0.05
        self.max_rows = dice.choice([2, 100, 100]) if self.rough else 100
        self.poison_shows = dice.choice(["create", "lines", "late"])
        self.policy = JobPolicy(
            settle=SETTLE,
            skew=2.0,
            poll_interval=1.0,
            backoff_cap=4.0,
            vanish_grace=5.0,
            vanish_polls=3,
            files_grace=dice.choice([0, 2, 6]),
            max_jobs_per_row=dice.choice([1, 2, 2, 3]),
            on_unknown=dice.choice(["hold", "resubmit", "fail"]),
            on_overdue=dice.choice(["wait", "requeue", "reroute"]),
            overdue_grace=dice.choice([3.0, 1e6]),
            hold=2.0,
            refusal_wait=0.1,
            token_wait=0.5,
            token_cap=2.0,
            max_crowded=3,
        )
        terms = BatchTerms(
            endpoints=("chat",),
            windows=("1h", "24h"),
            uploads=dice.random() < 0.7,
            tagging=tagging,
            deletes=dice.random() < 0.7,
        )
        self.rules = Rules(policy=self.policy, terms=terms, dice=dice)
        self.jobs: dict[str, Job] = {}
        self.job_rows: dict[str, list[str]] = {}
        self.open: dict[str, set[int]] = {}
        self.lease: dict[str, float] = {}
        self.rows: dict[str, Row] = {}
        self.batches: dict[str, Batch] = {}
        self.late: list[tuple[float, str]] = []
        self.made_late: set[str] = set()
        self.posts: dict[str, str] = {}
        self.silent: dict[str, list[float]] = defaultdict(list)
        self.noted: dict[str, set[str]] = defaultdict(set)
        self.told: list[tuple[State, facts.JobFact, tuple[commands.JobCommand, ...]]] = []
        self._count = 0
        n = dice.choice([1, 2, 3, 5, 8])
        names = [f"row-{i}" for i in range(n)]
        self.rows = {name: Row(ends=[], begun=set()) for name in names}
        self.poison = {name for name in names if self.rough and dice.random() < 0.1}
        self._form(names, None, None)
        self._act: dict[type, Callable[..., facts.JobFact]] = {
            commands.Upload: self._upload,
            commands.Submit: self._submit,
            commands.List: self._list,
            commands.Poll: self._poll,
            commands.Ingest: self._ingest,
            commands.CancelBatch: self._cancel,
            commands.DeleteFiles: self._delete,
        }

    def trouble(self) -> bool:
        """Something goes wrong, as often as in this history."""
        return not self.calm and self.dice.random() < self.rate

    def die(self) -> None:
        """A place where a worker may be killed."""
        if not self.calm and self.dice.random() < self.rate * 0.3:
            raise Died

    def new_id(self, kind: str) -> str:
        self._count += 1
        # Ids in no order of time.
        return f"{kind}-{self.dice.randrange(1000):03}-{self._count:04}"

    # The store

    def _form(self, names: list[str], old: Job | None, requeue: commands.Requeue | None) -> None:
        job_id, tag, n = self.new_id("job"), self.new_id("tagtag"), len(names)
        if old is None or requeue is None:
            job = Job(
                id=job_id,
                submit_tag=tag,
                provider="p",
                account="a",
                endpoint="chat",
                model="m",
                window="1h",
                n=n,
                size=n * 10,
                tokens=n,
                created_at=self.now,
                next_at=self.now,
            )
        else:
            job = successor(old, requeue, id=job_id, submit_tag=tag, n=n, size=n * 10, tokens=n, now=self.now)
        assert job.attempt <= self.policy.max_jobs_per_row
        self.jobs[job_id] = job
        self.job_rows[job_id] = names
        self.open[job_id] = set(range(n))

    def end(self, job_id: str, position: int, how: str) -> None:
        self.open[job_id].remove(position)
        self.rows[self.job_rows[job_id][position]].ends.append(how)

    def commit(self, job: Job, wanted: tuple[commands.JobCommand, ...]) -> None:
        """The row and the writes, in one transaction."""
        self.jobs[job.id] = job
        assert (job.next_at is None) == (job.state == "done"), job
        for command in wanted:
            assert command.why, command
            if isinstance(command, commands.Fail):
                where = command.positions if command.positions is not None else tuple(self.open[job.id])
                for position in where:
                    self.end(job.id, position, f"fault {command.fault.code}")
            elif isinstance(command, commands.Reroute):
                for position in tuple(self.open[job.id]):
                    self.end(job.id, position, "rerouted")
            elif isinstance(command, commands.Requeue):
                self._requeue(job, command)
            elif isinstance(command, commands.Note):
                self.noted[job.submit_tag].add(command.kind)
        if job.state in ("closing", "lost", "done"):
            assert not self.open[job.id], (job, "a job that closes leaves no row without an end")

    def _requeue(self, job: Job, command: commands.Requeue) -> None:
        left = [self.job_rows[job.id][position] for position in sorted(self.open[job.id])]
        self.open[job.id].clear()
        assert job.open > 0, "only rows without an outcome are sent again"
        for share in shares(len(left), command.parts):
            self._form([left[i] for i in share], job, command)

    # The worker

    def work(self, job_id: str) -> None:
        """Claim a row and drive it until nothing is left to do, or die trying."""
        self.lease[job_id] = self.now + 0.8
        fact: facts.JobFact | None = facts.Claimed()
        try:
            while fact is not None:
                if self.dice.random() < self.rate * 0.1:
                    self._tell(job_id, facts.CancelAsked(by="x", why="y", then=self.dice.choice(["fail", "requeue"])))
                wanted = self._tell(job_id, fact)
                self.die()
                actions = [command for command in wanted if isinstance(command, ACTIONS)]
                assert len(actions) <= 1, actions
                fact = self._act[type(actions[0])](self.jobs[job_id], actions[0]) if actions else None
                self.now += self.dice.random() * 0.01
                self.die()
            self.lease[job_id] = 0.0
        except Died:
            pass

    def _tell(self, job_id: str, fact: facts.JobFact) -> tuple[commands.JobCommand, ...]:
        before = self.jobs[job_id]
        job, wanted = advance(before, fact, self.now, self.rules)
        self.told.append((before.state, fact, wanted))
        self.commit(job, wanted)
        return wanted

    # The provider

    def _upload(self, job: Job, _command: commands.Upload) -> facts.JobFact:
        if self.no_batch:
            return facts.UploadFailed(fault(404))
        if job.n > self.max_rows:
            return facts.UploadFailed(fault(413))
        if self.trouble():
            return facts.UploadFailed(self.dice.choice([fault(500), fault(429, passing=True), fault(401), fault(502)]))
        return facts.Uploaded(self.new_id("file"))

    def _submit(self, job: Job, _command: commands.Submit) -> facts.JobFact:
        tag = job.submit_tag
        assert job.state == "submitting", "the intent is stored before the call"
        self._check_not_blind(tag)
        self.posts[tag] = "unknown"
        self.silent[tag].clear()
        refused = self._refusal(job)
        if refused is not None:
            self.posts[tag] = "refused"
            return refused
        if self.trouble():
            return self._go_wrong(job)
        return facts.Submitted(self._view(self._create(tag)))

    def _check_not_blind(self, tag: str) -> None:
        if self.posts.get(tag, "refused") == "refused":
            return
        if self.no_listing and self.policy.on_unknown == "resubmit":
            return
        first, second = self.silent[tag][-2:]
        assert second - first >= SETTLE - 1e-9, "two listings, a settle time apart"

    def _refusal(self, job: Job) -> facts.JobFact | None:
        if self.no_batch:
            return facts.SubmitFailed(fault(405))
        if job.n > self.max_rows:
            return facts.SubmitFailed(fault(413))
        if self.odd_window and job.window == "1h":
            return facts.SubmitFailed(fault(400, message="completion_window must be 24h"))
        if self.poison_shows == "create" and self.poison & set(self.job_rows[job.id]):
            return facts.SubmitFailed(fault(400, message="poison"))
        if not self.trouble():
            return None
        ways = [
            facts.SubmitFailed(fault(429, passing=True)),
            facts.SubmitFailed(fault(403)),
            facts.SubmitFailed(fault(502), sent=False),
        ]
        if job.input_file_id is not None:
            ways.append(facts.SubmitFailed(fault(404, message=f"No such File: {job.input_file_id}")))
        return self.dice.choice(ways)

    def _go_wrong(self, job: Job) -> facts.JobFact:
        """The outcome is not told: accepted, not accepted, or accepted only later. Or something repeats the call."""
        way = self.dice.choice(["accepted", "accepted", "dropped", "late", "late", "twice", "twice"])
        if way == "twice":
            self._create(job.submit_tag)
            return facts.Submitted(self._view(self._create(job.submit_tag)))
        if way == "accepted":
            self._create(job.submit_tag)
        if way == "late":
            self.late.append((self.now + self.dice.random() * 2.5 * SETTLE, job.submit_tag))
            raise Died
        if self.dice.random() < 0.5:
            raise Died
        return facts.SubmitFailed(self.dice.choice([fault(500), fault(504), fault(409), fault(502)]))

    def _create(self, tag: str) -> Batch:
        job = next(job for job in self.jobs.values() if job.submit_tag == tag)
        batch = Batch(tag, self.job_rows[job.id], self)
        self.batches[batch.id] = batch
        if self.rough and self.forgets and self.dice.random() < 0.3:
            self._create_foreign(len(batch.rows))
        return batch

    def _create_foreign(self, n: int) -> None:
        """Somebody else's at the same account, of the same size."""
        stranger = Batch("", [f"foreign-{i}" for i in range(n)], self)
        stranger.problems, stranger.end, stranger.truth = (), "completed", {f"foreign-{i}": "answer" for i in range(n)}
        stranger.stuck, stranger.foreign = False, True
        self.batches[stranger.id] = stranger

    def _view(self, batch: Batch) -> ProviderBatch:
        status, finished = batch.status(self.now), batch.shown(self.now)
        over = batch.over(self.now)
        if over and batch.lag:
            batch.lag -= 1
            files = False
        else:
            files = (over or batch.readable) and not batch.problems
        failed = sum(what != "answer" for what in finished.values())
        strange = self.trouble() and not over
        return ProviderBatch(
            id=batch.id,
            status="unknown" if strange else status,  # type: ignore[arg-type]
            said="napping" if strange else status,
            created_at=batch.created,
            tag=None if self.forgets else batch.tag,
            counts=Counts(total=len(batch.rows), completed=len(finished) - failed, failed=failed),
            output_file_id=f"out-{batch.id}" if files else None,
            error_file_id=f"err-{batch.id}" if files and failed else None,
            expires_at=batch.created + 8.0,
            readable=batch.readable,
            problems=batch.problems if over else (),
        )

    def _list(self, job: Job, command: commands.List) -> facts.JobFact:
        if self.no_listing:
            return facts.ListFailed(fault(405))
        if self.trouble():
            return facts.ListFailed(fault(500))
        if self.trouble():
            return facts.Listed(batches=(), complete=False)
        shown = [
            self._view(batch)
            for batch in self.batches.values()
            if batch.visible <= self.now and batch.created >= command.since and not batch.lost(self.now)
        ]
        others = [other for other in self.jobs.values() if other.id != job.id]
        claimed = frozenset(other.provider_batch_id for other in others if other.provider_batch_id is not None)
        own = [batch.id for batch in shown if self.batches[batch.id].tag == job.submit_tag]
        if self.forgets:
            # Without tags two jobs of one size may have taken each other's batch: nobody could tell.
            own = [name for name in own if name not in claimed and name not in job.not_ours]
        if not own:
            self.silent[job.submit_tag].append(self.now)
        return facts.Listed(batches=tuple(shown), complete=True, claimed=claimed)

    def _poll(self, job: Job, command: commands.Poll) -> facts.JobFact:
        assert job.state != "done"
        batch = self.batches[command.batch_id]
        if batch.lost(self.now) or self.now < batch.visible:
            return facts.PollFailed(batch.id, fault(404))
        if self.trouble():
            return facts.PollFailed(batch.id, self.dice.choice([fault(500), fault(401), fault(429)]))
        return facts.Polled(self._view(batch))

    def _cancel(self, job: Job, command: commands.CancelBatch) -> facts.JobFact:
        batch = self.batches[command.batch_id]
        assert batch.tag == job.submit_tag, "never somebody else's"
        if batch.lost(self.now):
            return facts.CancelFailed(batch.id, fault(404))
        if self.trouble() or batch.over(self.now):
            return facts.CancelFailed(batch.id, self.dice.choice([fault(400), fault(500), fault(409)]))
        if batch.cancelled_at is None:
            batch.cancelled_at = self.now
        return facts.Cancelled(batch.id, self.dice.choice([None, self._view(batch)]))

    def _delete(self, job: Job, _command: commands.DeleteFiles) -> facts.JobFact:
        adopted = self.batches.get(job.provider_batch_id or "")
        vanished = job.state == "lost"
        assert adopted is None or vanished or adopted.over(self.now), "not while it may be read"
        return facts.DeleteFailed(fault(500)) if self.trouble() else facts.FilesDeleted()

    def _ingest(self, job: Job, command: commands.Ingest) -> facts.JobFact:
        batch = self.batches[job.provider_batch_id or ""]
        tally = Tally(job, last=command.last)
        if self.trouble():
            return self._ingest_failed(job, self.dice.choice([fault(503), fault(404)]))
        lines = self._lines(job, batch, command.sources)
        for number, line in enumerate(lines):
            if self.trouble() and self.dice.random() < 0.2:
                tally.bad += 1
                continue
            self._store(job, tally, line)
            if number and self.trouble():
                self.die()
                return self._ingest_failed(job, fault(502, "upstream_cut"))
        done, failed = self._stored(job)
        return tally.ingested(done=done, failed=failed)

    def _ingest_failed(self, job: Job, why: Fault) -> facts.JobFact:
        done, failed = self._stored(job)
        return facts.IngestFailed(fault=why, done=done, failed=failed)

    def _lines(self, job: Job, batch: Batch, sources: tuple[str, ...]) -> list[RowResult]:
        finished = batch.shown(self.now)
        lines = []
        for row, what in finished.items():
            source = f"out-{batch.id}" if what == "answer" else f"err-{batch.id}"
            if source not in sources:
                continue
            named = "foreign" if batch.foreign else custom_id(batch.tag, batch.rows.index(row))
            lines.append(RowResult(custom_id=named, outcome=_OUTCOMES[what](row)))
        self.dice.shuffle(lines)
        if self.trouble():
            lines += lines[:2]
        if self.trouble() and lines:
            lines.pop()
        if self.trouble() and lines:
            lines.append(RowResult(custom_id="ghost", outcome=None))
        return lines

    def _store(self, job: Job, tally: Tally, line: RowResult) -> None:
        meaning, position = tally.take(line)
        if meaning != "settles" or position not in self.open[job.id]:
            return
        outcome = line.outcome
        assert outcome is not None
        answered = isinstance(outcome, Answer)
        if isinstance(outcome, Answer):
            assert outcome.body.decode() == self.job_rows[job.id][position], "its own answer"
        self.end(job.id, position, "answer" if answered else "own fault")

    def _stored(self, job: Job) -> tuple[int, int]:
        ended = set(range(job.n)) - self.open[job.id]
        answered = sum(self.rows[self.job_rows[job.id][position]].ends[-1] == "answer" for position in ended)
        return answered, len(ended) - answered

    # Time

    def run(self) -> None:
        """To the end: first in trouble, then in calm weather, in which everything must end."""
        for turn in range(3000):
            waiting = [job for job in self.jobs.values() if job.state != "done" and not self._must_queue(job)]
            if not waiting:
                break
            self.calm = self.calm or turn > 150
            at, job_id = min((max(job.next_at or 0.0, self.lease.get(job.id, 0.0)), job.id) for job in waiting)
            self.now = max(self.now, at)
            for when, tag in [late for late in self.late if late[0] <= self.now]:
                self.late.remove((when, tag))
                self.made_late.add(self._create(tag).id)
            if self.calm:
                self._help(self.jobs[job_id])
            self.work(job_id)
        self.check()

    def _must_queue(self, job: Job) -> bool:
        """Where listings may not show tags, one create call at a time may be in doubt at one account."""
        others = [other for other in self.jobs.values() if other.id != job.id]
        in_doubt = any(other.state in ("submitting", "submit_unknown") for other in others)
        return self.rules.terms.serial and in_doubt and job.state in ("formed", "uploading", "uploaded")

    def _help(self, job: Job) -> None:
        """What only an owner can end: a batch that never does, a doubt that nobody can resolve."""
        batch = self.batches.get(job.provider_batch_id or "")
        stuck = batch is not None and batch.stuck and batch.cancelled_at is None
        if batch is not None and not job.proven:
            batch.stuck = False  # It may be somebody else's, so nobody cancels it; its window ends some day.
        if job.state == "submit_unknown" or stuck:
            self._tell(job.id, facts.CancelAsked(by="owner", why="the deadline came", then="fail"))

    def check(self) -> None:
        """What must hold when all is over."""
        for job_id in list(self.jobs)[:1]:
            assert self._tell(job_id, facts.CancelAsked(by="x", why="too late")) == ()
        for job in self.jobs.values():
            assert job.state == "done", job
        for name, row in self.rows.items():
            assert len(row.ends) == 1, (name, row.ends)
        self._check_live()
        self._check_paid()

    def _check_live(self) -> None:
        """No live batch carries the tag of a job that is done, if listings can show it at all."""
        if self.forgets or self.no_listing:
            return
        by_tag = {job.submit_tag: job for job in self.jobs.values()}
        swept = {batch.id for batch in stray_batches(map(self._view, self.batches.values()), by_tag)}
        for batch in self.batches.values():
            if batch.gone[1] < 1e8 and not batch.over(self.now):
                hidden = batch.gone != (0.0, 0.0)
                unchecked = "unchecked" in self.noted[batch.tag]
                assert batch.id in self.made_late or hidden or unchecked, (batch.id, self.noted[batch.tag])
                assert batch.id in swept, "the sweeper ends what came too late"

    def _check_paid(self) -> None:
        """A row is paid twice only where the owner was told, or where a listing could not show what there was."""
        if self.forgets or self.no_listing:
            return
        paid: dict[str, list[Batch]] = defaultdict(list)
        for batch in self.batches.values():
            for row, what in batch.finished(self.now).items():
                if what != "passing":
                    paid[row].append(batch)
        for row, batches in paid.items():
            told = {note for batch in batches for note in self.noted[batch.tag]} & {
                "duplicate",
                "lost",
                "gone",
                "unchecked",
            }
            hidden = any(batch.id in self.made_late or batch.gone != (0.0, 0.0) for batch in batches)
            assert len(batches) <= 1 or told or hidden, (row, [batch.id for batch in batches])


_OUTCOMES: dict[str, Callable[[str], Answer | Fault]] = {
    "answer": lambda row: Answer(body=row.encode()),
    "refused": lambda row: fault(400, message=row),
    "passing": lambda row: fault(500, message=row, passing=True),
}


def play(seed: int) -> World:
    """One history, to its end."""
    world = World(seed)
    world.run()
    return world
