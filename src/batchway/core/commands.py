"""Commands: what the planner wants done. The engine obeys them in order and decides nothing.

Every command carries `why`, the reason in words: it becomes an event (`core.events.tell`), a response header and,
later, a line of `batchway explain`.
"""

from msgspec import Struct

from batchway.core.types import Answer, Charge, Fault, Lane, Request, Via


class Look(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Ask the store whether this request has an answer already; report with `Looked`."""

    request: Request
    why: str


class Fit(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Shorten the prompt to at most `budget` tokens, what is protected untouched; report with `Fitted`."""

    request: Request
    budget: int
    why: str


class Save(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Put the request on disk, with the lane that was chosen for it and why; report with `Saved`."""

    request: Request
    lane: Lane
    why: str


class Keep(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Put on disk how a durable request ended, with its charges; report with `Kept`. Callers are told after that."""

    request: Request
    result: Answer | Fault
    via: Via
    call_id: str
    packed: int
    charges: tuple[Charge, ...]
    cost: int | None
    saved: int | None
    why: str


class Packed(Struct, frozen=True, kw_only=True, gc=False):
    """How several requests are written into one call and their answers told apart (`core.packing`)."""

    format: str
    nonces: tuple[str, ...]
    """The id of each request's item, in the order of the requests."""
    max_output: int | None
    """Output tokens of the whole call at most; None: no bound was given."""


class Call(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Send one upstream call for these requests (more than one: packed); report `Finished` or `Failed`."""

    call_id: str
    lane: Lane
    requests: tuple[Request, ...]
    riders: tuple[str, ...]
    """`ask` of everyone who waits for it already, followers included; later ones come by `Join`."""
    attempt: int
    packed: Packed | None = None
    compared: bool = False
    """The planner wants to know the text of the answer."""
    timeout: float | None = None
    """Seconds after which it is given up; None: as the settings say."""
    why: str


class FormJob(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Form a provider batch of these requests: durable from here on, it lives in rows."""

    job_id: str
    requests: tuple[Request, ...]
    why: str


class Join(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """This request waits for a call that is under way for its twin; a stream is followed from its beginning."""

    request: Request
    call_id: str | None
    """None while the twin itself still waits to be sent."""
    why: str


class Reply(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Give the caller its answer."""

    request: Request
    answer: Answer
    via: Via
    why: str
    cost: int | None
    """Picodollars that this request was charged; None: unknown."""
    saved: int | None
    age: float | None = None
    """Seconds since a cached answer was made."""
    packed: int = 1
    """Requests that shared the call."""
    fitted: str | None = None
    """What was left out of the prompt to make it fit, in words."""
    batch_id: str | None = None
    on_disk: bool = False
    """The request and its answer are there already."""


class Refuse(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Give the caller a fault."""

    request: Request
    fault: Fault
    why: str
    on_disk: bool = False
    """The request is there, and how it ended is or will be: nothing is recorded beside it."""
    taken: bool = True
    """False: it never was a request of its own, since its id stands for another. It is refused, and has not failed."""


class Acknowledge(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Tell a caller that does not wait for the answer that its request is on disk."""

    request: Request
    why: str


class Record(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Have it written behind how a request ended that nobody waits for any more: it may be looked up."""

    ending: Reply | Refuse
    why: str


class Cancel(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """End this call upstream: nobody waits for it any more."""

    call_id: str
    why: str


class Book(Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Write this charge, whoever still waits for the answer."""

    charge: Charge
    why: str
    on_disk: bool = False
    """It is there already, beside the outcome that it belongs to."""


Command = Look | Fit | Save | Keep | Call | FormJob | Join | Reply | Refuse | Acknowledge | Record | Cancel | Book
