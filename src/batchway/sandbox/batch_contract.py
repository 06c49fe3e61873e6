"""What passes between a batch, the dialect that does its lines, and the faults that befall it."""

import math
from collections.abc import Generator, Mapping
from typing import Literal, Protocol

from msgspec import Struct

from batchway.sandbox.blobs import Pile
from batchway.sandbox.contract import Bill

Ending = Literal["completed", "failed", "expired", "cancelled"]
State = Literal["validating", "running", "finalizing", "cancelling"] | Ending

SHORTEST = 1e-3
"""Seconds that the lines of a batch take at least: they are done one after another."""


class Problem(Struct, frozen=True, kw_only=True):
    """Why a batch failed as a whole. `line` counts from 1."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class Pause(Struct, frozen=True, kw_only=True):
    """The work rests for so many seconds once `lines` are done."""

    lines: int
    seconds: float


class Verdict(Struct, frozen=True, kw_only=True):
    """The provider ends the batch itself once `lines` are done."""

    state: Ending
    lines: int
    problem: Problem | None = None


class Schedule(Struct, frozen=True, kw_only=True):
    """How long each step takes, in seconds, and what becomes of the batch."""

    validating: float = 0.2
    running: float = 1.6
    """For all lines together."""
    per_line: float | None = None
    """For each line, instead of `running`."""
    finalizing: float = 0.2
    cancelling: float = 0.2
    window: float = math.inf
    """From creation to expiry."""
    pause: Pause | None = None
    verdict: Verdict | None = None
    cancel: Literal["heeded", "late", "ignored"] = "heeded"
    """heeded: work stops when cancelling begins. late: it goes on until it has ended. ignored: it is completed."""
    fails_if_all_fail: bool = False
    """Ends `failed` instead of `completed` when no line went well."""

    def pace(self, lines: int) -> float:
        """Seconds per line."""
        return self.per_line or max(self.running, SHORTEST) / max(lines, 1)


def lasting(seconds: float) -> Schedule:
    """The schedule of a batch that is completed so long after its creation."""
    tenth = seconds / 10
    return Schedule(validating=tenth, running=8 * tenth, finalizing=tenth, cancelling=tenth)


class Failure(Struct, frozen=True, kw_only=True):
    """How a line is made to fail. With no status it failed before there was an answer."""

    status: int | None
    code: str
    message: str
    place: Literal["output", "errors"] = "errors"
    counted: bool = True
    """Among the failed; otherwise among the completed."""


class Done(Struct, frozen=True, kw_only=True):
    """What became of one line."""

    custom_id: str
    data: bytes
    """The result line as the provider writes it, without a newline."""
    place: Literal["output", "errors"]
    failed: bool
    status: int | None
    endpoint: str
    bill: Bill
    request_id: str
    request_hash: str


class Work(Protocol):
    """The dialect's side of a batch: reads the input, does its lines, writes results in the provider's shape."""

    in_order: bool
    """Results come in the order of the input."""

    @property
    def size(self) -> int:
        """Lines of the input, once it was checked."""
        ...

    def check(self, at: float) -> Generator[None, None, tuple[Problem, ...]]:
        """Read the whole input, in slices. Returns why it cannot be worked on, as things are at that moment."""
        ...

    def do(self, index: int, at: float, failure: Failure | None) -> Done:
        """Do one line, or let it fail."""
        ...

    def give_up(self, index: int, ending: Ending) -> bytes | None:
        """The result line of a line that was not done before the end, if there is one."""
        ...

    def close(self, output: Pile, errors: Pile, at: float) -> None:
        """The batch has ended: nothing will be added to its results."""
        ...


class Sight(Struct, frozen=True, kw_only=True):
    """What a poll is told."""

    state: str
    found: bool = True
    listed: bool = True
    files: bool = True
    """The result files are named."""
    absent: str | None = None
    """What stands for a file that there is not."""
    tags: Mapping[str, str] | None = None


class Look(Struct, frozen=True, kw_only=True):
    """When a poll came: seconds since creation; polls since creation and since the end, this one among them."""

    age: float
    polls: int
    polls_since_end: int


class Trouble(Protocol):
    """What goes wrong with a batch (`batch_faults`): each method leaves its argument as it is unless it is its own."""

    @property
    def kind(self) -> str:
        """The name of the fault."""
        ...

    def reschedule(self, schedule: Schedule) -> Schedule:
        """Other times, another end."""
        ...

    def look(self, sight: Sight, look: Look) -> Sight:
        """Tell a poll something else."""
        ...

    def fail(self, nth: int) -> Failure | None:
        """Let the nth line to be done fail; from 0."""
        ...

    def write(self, nth: int, done: Done, lines: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Write something else than the result of the nth line."""
        ...

    def close(self, output: Pile) -> None:
        """Damage the results as a whole."""
        ...


class Order(Struct, frozen=True, kw_only=True):
    """Who wants what done, and since when."""

    id: str
    provider: str
    key: str
    at: float
    tags: Mapping[str, str] | None = None
