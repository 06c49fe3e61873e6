"""Keeping: what must outlast this process, whatever stores it."""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol, TypeVar

from msgspec import Struct

from batchway.core.commands import Keep, Reply, Save
from batchway.core.facts import Known
from batchway.core.job import Job
from batchway.core.job.commands import JobWrite, Learnt
from batchway.core.job.facts import CancelAsked
from batchway.core.turnaround import Turnaround
from batchway.core.types import Answer, Charge, Fault, Lane, Request

Made = TypeVar("Made")


class Journal(Protocol):
    """The requests that were accepted, and how they ended.

    Each of these returns when it is on disk, and raises a Refusal (the store is down) if it cannot be, unless it says
    otherwise.
    """

    async def look(self, asked: Sequence[Request]) -> "list[Known | Exception | None]":
        """What is known of each: of the same `request_id` of its tenant, or of an equal request whose answer may be
        shared. Or why that cannot be found out."""
        ...

    async def save(self, saves: Sequence[Save]) -> "list[Known | Exception | None]":
        """Put requests on disk as pending, each by itself: None when it is. If its id is there already nothing is done,
        and that one is returned; or why it could not be put there."""
        ...

    async def keep(self, keep: Keep) -> None:
        """Put on disk how it ended, with its charges."""
        ...

    async def outcomes(self, asks: Collection[str]) -> dict[str, tuple[str, Answer | Fault]]:
        """Those of these requests that have ended, with the job that brought it: other processes answer too."""
        ...


class Behind(Protocol):
    """What is written behind what happened: nobody waits for it, and none of it is lost without being counted."""

    def answered(self, reply: Reply) -> None:
        """A request was answered that was not on disk before."""
        ...

    def refused(self, request: Request, fault: Fault, why: str) -> None:
        """Or refused."""
        ...

    def charged(self, charge: Charge) -> None:
        """A call was charged. Charges outlast a store that is down."""
        ...


class Pending(Struct, frozen=True, kw_only=True, gc=False):
    """A request without an answer, as it is found on disk."""

    request: Request
    lane: Lane
    job_id: str | None
    """The job that it is in."""
    attempts: int
    """Jobs that it was in, this one included."""
    rescue_at: float | None
    forwarded: bool
    """It came with its caller's own bearer, which is never written down: it can be refused, but not sent."""


class Orphans(Struct, frozen=True, kw_only=True):
    """Requests of dead processes that were made ours."""

    taken: int
    """How many they were."""
    adrift: tuple[Pending, ...]
    """Those of them that somebody here has to see to; the others ride in jobs, which any process drives."""


class Custody(Protocol):
    """Whose requests are whose: this process lives by a lease, and takes over from those that are dead."""

    async def enter(self) -> None:
        """Begin a lease under a new name: what the old one had may be taken by anybody, this process included."""
        ...

    async def beat(self) -> bool:
        """Prolong the lease. False: it is over."""
        ...

    async def leave(self) -> None:
        """End the lease: what was ours may be taken at once."""
        ...

    async def accompanied(self) -> bool:
        """Whether other processes that share the store are alive."""
        ...

    async def orphaned(self) -> bool:
        """Whether there are requests of dead processes. Asked all the time: it costs no write."""
        ...

    async def take_over(self, limit: int) -> Orphans:
        """Make up to so many requests of dead processes ours."""
        ...

    async def backlog(self, until: float) -> int:
        """How many requests of ours must leave the batch lane by then to be in time."""
        ...

    async def rescued(self, day: int) -> int:
        """What requests of jobs cost that were asked directly as well, in picodollars. `day`: since the epoch, UTC."""
        ...

    async def due(self, now: float, until: float, limit: int) -> list[Pending]:
        """Those, the most urgent first, and those that fail, because their deadline has passed now."""
        ...

    async def attend(self, asks: Sequence[str], lane: Lane) -> list[str]:
        """They travel by this lane from now on, and are not due for rescue any more. Returns those that still wait and
        are ours; of the others nothing was changed."""
        ...

    async def unseated(self, before: float) -> list[str]:
        """Requests of ours, asked before then, that wait and are in no job."""
        ...

    async def load(self, asks: Sequence[str]) -> list[Pending]:
        """Requests as they are on disk now."""
        ...

    async def sweep(self) -> int:
        """Sweep bodies whose time is over. Returns how many requests; 0: none are left."""
        ...


class Held(Struct, frozen=True, kw_only=True):
    """A job that was taken, until its lease is over or another takes it."""

    job: Job
    fence: int
    lease_until: float
    """By the database's clock."""
    taken_at: float
    """The database's time when it was taken."""
    cancel: CancelAsked | None = None
    """What was asked for since it was written last; writing it takes note of this."""


class Landing(Struct, frozen=True, kw_only=True, gc=False):
    """The outcome of one row, on disk with what it cost."""

    ask: str
    result: Answer | Fault
    first: bool
    """It is its request's answer; otherwise another was first, and this one is paid for nothing."""
    charge: Charge | None = None


class Successor(Struct, frozen=True, kw_only=True):
    """Names for a job that takes on rows of another."""

    id: str
    tag: str


class Stepped(Struct, frozen=True, kw_only=True):
    """What a step did."""

    held: Held
    """The job as it is held now (let go of, where the step released it)."""
    landed: tuple[Landing, ...] = ()
    rerouted: tuple[Pending, ...] = ()
    """Requests that left the batch lane, ours from now on."""
    formed: tuple[Job, ...] = ()
    """Jobs that took on rows of this one."""


class Occupied(Exception):
    """Other jobs of the account are in the way: one create call is under way or in doubt, or too much is enqueued."""


class Berth(Struct, frozen=True, kw_only=True):
    """What has to be free at the account before a job may be submitted there."""

    serial: bool
    """No other create call is under way or in doubt."""
    enqueued: int | None
    """Tokens that may be enqueued for the model, this job's included; None: no limit is known."""


class Lesson(Struct, frozen=True, kw_only=True):
    """Something that a provider taught about its Batch API."""

    provider: str
    model: str
    name: Learnt
    value: float
    at: float


class JobStore(Protocol):
    """Jobs on disk. Each operation is one transaction; those that take `Held` do nothing if another has taken the job.

    All raise a Refusal while the store is down.
    """

    async def form(self, job: Job, asks: Sequence[str]) -> list[str]:
        """Form a job of requests of ours. Returns those that are not ours any more or not waiting: then nothing is
        formed."""
        ...

    async def claim(self, limit: int, seconds: float) -> list[Held]:
        """Take jobs whose time has come and that nobody holds, for so many seconds."""
        ...

    async def next_at(self) -> float | None:
        """Seconds until a job is due, by the database's clock (negative: it is overdue); None: there is none."""
        ...

    async def prolong(self, held: Held, seconds: float) -> Held | None:
        """Hold it so much longer from now on. None: another has taken it."""
        ...

    async def step(
        self,
        held: Held,
        job: Job,
        writes: Sequence[JobWrite],
        names: Sequence[Successor],
        berth: Berth | None,
        told: Sequence[tuple[str, str]],
        *,
        release: bool,
    ) -> Stepped | None:
        """Write the job as it is now and all that comes with it. None: another has taken it.

        `names`: for the jobs that a Requeue may form. `berth`: raises Occupied, and writes nothing, if it is not free.
        `told`: what happened, as kind and reason, for whoever asks later.
        """
        ...

    async def rows(
        self, job: Job, after: int, limit: int, make: Callable[[int, Request], Made]
    ) -> list[tuple[int, Made]]:
        """Positions from behind one on, with what is made there of each request, off the loop. The requests are known
        as far as lines are made of them: where they go, and what they say."""
        ...

    async def land(self, held: Held, outcomes: Sequence[tuple[int, Answer | Fault]]) -> list[Landing] | None:
        """Write outcomes of rows by position; returns those that were new. Rows that have an outcome keep it. None:
        another has taken the job."""
        ...

    async def count(self, job_id: str) -> tuple[int, int]:
        """Rows with an answer, and rows with a fault of their own."""
        ...

    async def recorded(self, account: str, but: str) -> frozenset[str]:
        """The provider's ids of the account's batches that other jobs than this have."""
        ...

    async def by_tags(self, tags: Collection[str]) -> dict[str, Job]:
        """Jobs by their tags."""
        ...

    async def hurry(self, only: str | None = None) -> list[str]:
        """Have every job, or this one, looked at now if its rows may have their answers. Returns their ids."""
        ...

    async def cancel(self, job_id: str, wish: CancelAsked) -> bool:
        """Leave a wish, whoever holds the job. False: it is done already."""
        ...

    async def look_again(self, job_id: str) -> bool:
        """Have a job look for batches beside its own once more (`core.job.look_again`). False: nothing was changed, it
        looks by itself or somebody holds it."""
        ...

    async def let_go(self) -> None:
        """Hand back every job that this process holds."""
        ...

    async def accounts(self, since: float) -> list[str]:
        """Accounts at which jobs were formed since then."""
        ...

    async def learnt(self) -> list[Lesson]:
        """What is remembered of providers and models."""
        ...

    async def turnarounds(self, since: float) -> list[Turnaround]:
        """How long batches took, since then."""
        ...

    async def add_turnaround(self, measured: Turnaround) -> None:
        """One more."""
        ...
