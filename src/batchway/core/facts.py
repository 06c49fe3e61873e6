"""Facts: what the planner is told. Each is something that has happened; none says what to do about it."""

from msgspec import Struct

from batchway.core.limits import Report
from batchway.core.turnaround import Turnaround
from batchway.core.types import Answer, Charge, Fault, Lane, Request, Usage


class Asked(Struct, frozen=True, tag=True, gc=False):
    """A caller asked; the request is well formed and its provider is known."""

    request: Request


class Known(Struct, frozen=True, kw_only=True, gc=False):
    """What the store has of an equal request, or of one with the same `request_id`."""

    request: Request
    """As it was saved."""
    result: Answer | Fault | None
    """None: it is under way."""
    call_id: str = ""
    """The call or job that answered it."""


class Looked(Struct, frozen=True, tag=True, gc=False):
    """The store was asked for an earlier answer to this request; `known` is None if it has none."""

    ask: str
    known: Known | None = None


class Fitted(Struct, frozen=True, tag=True, gc=False):
    """A prompt was made to fit, as far as that could be done: what is asked instead, and what was left out."""

    ask: str
    request: Request
    removed: str


class Saved(Struct, frozen=True, tag=True, gc=False):
    """The durable request is on disk."""

    ask: str


class NotSaved(Struct, frozen=True, tag=True, gc=False):
    """The durable request could not be put on disk: it is not accepted."""

    ask: str
    fault: Fault


class Unbatchable(Struct, frozen=True, tag=True, gc=False):
    """Its provider's Batch API does not take such a request; it was not put on disk."""

    ask: str
    fault: Fault
    """What is wrong with it, for a caller who wants a batch and nothing else."""


class Kept(Struct, frozen=True, tag=True, gc=False):
    """How the durable request ended is on disk, or the store is down and it will be there later."""

    ask: str


class Landed(Struct, frozen=True, tag=True, gc=False):
    """A request of a job has its outcome, which is on disk with its charge."""

    ask: str
    job_id: str
    result: Answer | Fault
    charge: Charge | None = None
    first: bool = True
    """False: another answer was first, and this one was paid for nothing."""
    heard: bool = False
    """It was found on disk: whoever put it there has counted its charge."""


class Resumed(Struct, frozen=True, tag=True, gc=False):
    """A request that is on disk needs a way: its job could not do it, or the process that had it is gone."""

    request: Request
    why: str
    barred: Lane | None = None
    """The lane that did not take it, and would not take it again."""


class Rescue(Struct, frozen=True, tag=True, gc=False):
    """A request of a job would miss its deadline there: it is to be asked directly as well; the first answer wins."""

    request: Request
    job_id: str
    """Empty: it waits in a window still."""
    why: str


class Withdrawn(Struct, frozen=True, tag=True, gc=False):
    """Its owner cancelled this request."""

    ask: str


class Offered(Struct, frozen=True, tag=True, gc=False):
    """A provider does not offer a lane for a model after all, and why; None: it may be tried (again)."""

    provider: str
    model: str
    lane: Lane
    closed: str | None


class Measured(Struct, frozen=True, tag=True, gc=False):
    """A batch came back, after so long."""

    turnaround: Turnaround


class Started(Struct, frozen=True, tag=True, gc=False):
    """The first bytes of a streamed call reached its callers: it can no longer be repeated unnoticed."""

    call_id: str


class Finished(Struct, frozen=True, tag=True, gc=False):
    """A call ended well. `answers` holds one answer (or fault) per request of the call, in the call's order."""

    call_id: str
    answers: tuple[Answer | Fault, ...]
    report: Report | None = None
    usage: Usage | None = None
    """What the whole call used, where it was packed: the usages of its answers and faults add up to it."""
    said: int = 0
    """Characters of all that the model said, where it was packed."""


class Failed(Struct, frozen=True, tag=True, gc=False):
    """A call ended with a fault that holds for all its requests."""

    call_id: str
    fault: Fault
    report: Report | None = None


class Left(Struct, frozen=True, tag=True, gc=False):
    """A caller is gone without its answer. `keep`: the request goes on all the same (its `?timeout=` ran out)."""

    ask: str
    keep: bool = False


class TimePassed(Struct, frozen=True, tag=True, gc=False):
    """The planner's deadline has come."""


class Flush(Struct, frozen=True, tag=True, gc=False):
    """Someone asked to close the open windows of one provider, or of all."""

    provider: str | None = None


class Stopping(Struct, frozen=True, tag=True, gc=False):
    """The gateway is shutting down: nothing new is accepted, what is under way may end."""


class TimeUp(Struct, frozen=True, tag=True, gc=False):
    """The gateway ends now: what has not come by now comes from the disk, or not at all."""


Fact = (
    Asked
    | Looked
    | Fitted
    | Saved
    | NotSaved
    | Unbatchable
    | Kept
    | Started
    | Finished
    | Failed
    | Landed
    | Resumed
    | Rescue
    | Withdrawn
    | Offered
    | Measured
    | Left
    | TimePassed
    | Flush
    | Stopping
    | TimeUp
)
