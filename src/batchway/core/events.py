"""Events: what happened to a request or a call, with the time and the reason. Metrics, logs, the page and `explain`
only listen to these; nobody else tells them anything.

An event is the image of a command (`tell`) or of a fact about a call or a caller, so none can be forgotten: what the
planner decided is what is told. Those that come with every request hold what they are the image of, and show it: to
copy it out cost more than all who listen.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct

from batchway.core import commands
from batchway.core.facts import Failed, Finished
from batchway.core.job import Job
from batchway.core.types import Charge, Fault, Lane, Request, Usage, Via


class Accepted(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """A request was read and handed to the planner."""

    at: float
    request: Request
    reason: str = "well formed"


class CallSent(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """A call goes upstream."""

    at: float
    call_id: str
    provider: str
    model: str
    lane: Lane
    ids: tuple[str, ...]
    attempt: int
    reason: str


class CallEnded(Struct, frozen=True, tag=True, gc=False):
    """A call came back, well or not."""

    call: commands.Call
    fact: Finished | Failed
    sent_at: float
    at: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.at - self.sent_at

    @property
    def usage(self) -> Usage | None:
        """What it cost in tokens, where that is known."""
        if isinstance(self.fact, Failed):
            return None
        if len(self.fact.answers) != 1:
            return self.fact.usage
        answer = self.fact.answers[0]
        return None if isinstance(answer, Fault) else answer.usage

    @property
    def fault(self) -> Fault | None:
        """Why it failed; None: it was answered."""
        return self.fact.fault if isinstance(self.fact, Failed) else None

    @property
    def reason(self) -> str:
        """In words."""
        return "answered" if self.fault is None else self.fault.message


class Joined(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """A request waits for its twin's call."""

    at: float
    request_id: str
    call_id: str | None
    reason: str


class Waits(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """A request is being looked up, fitted or put on disk before it may go on."""

    at: float
    request_id: str
    reason: str


class JobFormed(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """A provider batch was formed."""

    at: float
    job_id: str
    ids: tuple[str, ...]
    reason: str


class Answered(Struct, frozen=True, tag=True, gc=False):
    """A caller has its answer."""

    reply: commands.Reply
    at: float

    @property
    def request(self) -> Request:
        """Whose it is."""
        return self.reply.request

    @property
    def via(self) -> Via:
        """How it was answered."""
        return self.reply.via

    @property
    def seconds(self) -> float:
        """Since it was asked."""
        return self.at - self.reply.request.asked_at

    @property
    def reason(self) -> str:
        """In words."""
        return self.reply.why


class Refused(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """A caller has a fault."""

    at: float
    request: Request
    fault: Fault
    seconds: float
    on_disk: bool
    taken: bool
    """False: it never was a request of its own, which could have failed."""
    reason: str


class Acknowledged(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """A caller that does not wait was told that its request is on disk."""

    at: float
    request: Request
    reason: str


class Unclaimed(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """A request ended when nobody waited for it any more, and how that was is on no disk yet."""

    at: float
    ending: commands.Reply | commands.Refuse
    reason: str


class Cancelled(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """A call was ended because nobody waits for it."""

    at: float
    call_id: str
    reason: str


class Charged(Struct, frozen=True, tag=True, gc=False):
    """A charge was booked."""

    book: commands.Book
    at: float

    @property
    def charge(self) -> Charge:
        """What was booked."""
        return self.book.charge

    @property
    def reason(self) -> str:
        """In words."""
        return self.book.why


class JobMoved(Struct, frozen=True, kw_only=True, tag=True):
    """A job was formed (`before` is None), or something about it changed."""

    at: float
    job: Job
    before: Job | None
    reason: str


class JobNoted(Struct, frozen=True, kw_only=True, tag=True):
    """Its owner should know this of a job; some of it is an alarm."""

    at: float
    job: Job
    kind: str
    reason: str


class Rescued(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """A request leaves the batch lane to meet its deadline, or does not, since rescues have cost enough today."""

    at: float
    request: Request
    job_id: str
    measure: str
    reason: str


class CallerLeft(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """A caller went away before its answer."""

    at: float
    request_id: str
    reason: str


Event = (
    Accepted
    | CallSent
    | CallEnded
    | Joined
    | Waits
    | JobFormed
    | Answered
    | Refused
    | Acknowledged
    | Unclaimed
    | Cancelled
    | Charged
    | CallerLeft
    | JobMoved
    | JobNoted
    | Rescued
)


def _refused(command: commands.Refuse, at: float) -> Refused:
    seconds = at - command.request.asked_at
    return Refused(
        at=at,
        request=command.request,
        fault=command.fault,
        seconds=seconds,
        on_disk=command.on_disk,
        taken=command.taken,
        reason=command.why,
    )


def _call_sent(command: commands.Call, at: float) -> CallSent:
    first = command.requests[0]
    return CallSent(
        at=at,
        call_id=command.call_id,
        provider=first.provider,
        model=first.prompt.model,
        lane=command.lane,
        ids=tuple([request.id for request in command.requests]),
        attempt=command.attempt,
        reason=command.why,
    )


def _acknowledged(command: commands.Acknowledge, at: float) -> Acknowledged:
    return Acknowledged(at=at, request=command.request, reason=command.why)


def _unclaimed(command: commands.Record, at: float) -> Unclaimed:
    return Unclaimed(at=at, ending=command.ending, reason=command.why)


def _joined(command: commands.Join, at: float) -> Joined:
    return Joined(at=at, request_id=command.request.id, call_id=command.call_id, reason=command.why)


def _cancelled(command: commands.Cancel, at: float) -> Cancelled:
    return Cancelled(at=at, call_id=command.call_id, reason=command.why)


def _job_formed(command: commands.FormJob, at: float) -> JobFormed:
    ids = tuple([request.id for request in command.requests])
    return JobFormed(at=at, job_id=command.job_id, ids=ids, reason=command.why)


def _waits(command: commands.Look | commands.Fit | commands.Save | commands.Keep, at: float) -> Waits:
    return Waits(at=at, request_id=command.request.id, reason=command.why)


TOLD: Mapping[type, tuple[type, Callable[..., Event]]] = {
    commands.Reply: (Answered, Answered),
    commands.Refuse: (Refused, _refused),
    commands.Acknowledge: (Acknowledged, _acknowledged),
    commands.Record: (Unclaimed, _unclaimed),
    commands.Call: (CallSent, _call_sent),
    commands.Book: (Charged, Charged),
    commands.Join: (Joined, _joined),
    commands.Cancel: (Cancelled, _cancelled),
    commands.FormJob: (JobFormed, _job_formed),
    commands.Look: (Waits, _waits),
    commands.Fit: (Waits, _waits),
    commands.Save: (Waits, _waits),
    commands.Keep: (Waits, _waits),
}
"""For every command the kind of event that obeying it is, and how it is told. What nobody hears need not be told."""


def tell(command: commands.Command, at: float) -> Event:
    """The event that obeying this command is."""
    return TOLD[type(command)][1](command, at)
