"""Facts: what the planner is told. Each is something that has happened; none says what to do about it."""

from msgspec import Struct

from batchway.core.limits import Report
from batchway.core.types import Answer, Fault, Request, Usage


class Asked(Struct, frozen=True, tag=True, gc=False):
    """A caller asked; the request is well formed and its provider is known."""

    request: Request


class Looked(Struct, frozen=True, tag=True, gc=False):
    """The store was asked for an earlier answer to this request; `answer` is None if it has none."""

    ask: str
    answer: Answer | None = None


class Fitted(Struct, frozen=True, tag=True, gc=False):
    """A prompt was made to fit, as far as that could be done: what is asked instead, and what was left out."""

    ask: str
    request: Request
    removed: str


class Saved(Struct, frozen=True, tag=True, gc=False):
    """The durable request is on disk."""

    ask: str


class Started(Struct, frozen=True, tag=True, gc=False):
    """The first bytes of a streamed call reached its callers: it can no longer be repeated unnoticed."""

    call_id: str


class Finished(Struct, frozen=True, tag=True, gc=False):
    """A call ended well. `answers` holds one answer (or fault) per request of the call, in the call's order."""

    call_id: str
    answers: tuple[Answer | Fault, ...]
    report: Report | None = None
    usage: Usage | None = None
    """What the whole call used, where it answered several: the usages of its answers and faults add up to it."""


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


Fact = Asked | Looked | Fitted | Saved | Started | Finished | Failed | Left | TimePassed | Flush | Stopping
