"""The world of a simulation: how providers answer calls and batches, how long it takes them, and how they fail.

What is known of a request's real answer (`Recorded`) is taken as it was; the rest follows `Conditions`, which are
assumptions, and the request's luck (`simulate.modelled`).
"""

from typing import Literal, Protocol

from msgspec import Struct

from batchway.core.commands import Call
from batchway.core.errors import SettingsError
from batchway.core.facts import Failed, Finished
from batchway.core.job import Job
from batchway.core.types import Answer, Fault, Request, Usage


class Recorded(Request, frozen=True, kw_only=True, gc=False):
    """A request whose answer is known, because somebody gave it once."""

    usage: Usage | None = None
    """What its answer took, sent alone."""
    seconds: float | None = None
    """How long a call of its own takes; None where it never had one."""
    fault: Fault | None = None
    """How it ended instead of with an answer."""
    patient: bool = False
    """Its caller said that a batch is soon enough."""


class Conditions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How providers behave. All of these are assumptions; `--world FILE` (TOML, these names) replaces them."""

    first_token: float = 0.5
    """Seconds until an answer begins, in the middle."""
    per_token: float = 0.012
    """Seconds that each token of output takes, in the middle."""
    spread: float = 0.3
    """How both vary from call to call: the standard deviation of their logarithm."""
    flex_factor: float = 4.0
    """Times that a call takes longer by flex (Gemini aims at 1 to 15 minutes, OpenAI only says slower)."""
    flex_refused: float = 0.02
    """Share of flex calls that find no capacity: 429, not billed."""
    length_spread: float = 0.4
    """How the length of answers varies around what is expected: the standard deviation of its logarithm."""
    failing: float = 0.002
    """Share of calls that are refused because the provider is overloaded: 503, not billed."""
    untold: float = 0.01
    """Share of the items of packed calls without an answer that is certain."""
    differing: float = 0.02
    """Share of packed answers that differ from what the request gets alone."""
    turnaround: float = 1.0
    """Times that batches take longer than is reported of them (`core.turnaround.PRIOR`)."""
    batch_cached: float = 0.0
    """Share of the shared beginning of a batch's rows that is read from the provider's cache. (Best effort everywhere;
    76 % were seen of one batch at OpenAI, providers.md §3.)"""
    row_failing: float = 0.001
    """Share of the rows of a batch that end with an error of their own."""
    stranded: float = 0.3
    """Share of the rows that a batch which expires leaves undone."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            least, most = (0.0, 1.0) if name in _SHARES else (0.0, 1e6)
            if not least <= value <= most:
                raise SettingsError(f"{name} is {value}; it must be from {least:g} to {most:g}")


_SHARES = frozenset({"flex_refused", "failing", "untold", "differing", "row_failing", "stranded", "batch_cached"})


class Course(Struct, frozen=True, kw_only=True, gc=False):
    """What will become of a batch."""

    ends_at: float
    status: Literal["completed", "expired"]


class World(Protocol):
    """Everything around the gateway. Deterministic: equal questions in an equal order have equal answers."""

    def call(self, call: Call, now: float, /) -> tuple[float, Finished | Failed]:
        """When a call that is sent now has come back, and what it brings."""
        ...

    def batch(self, job: Job, now: float, /) -> Course:
        """What will become of a batch that is created now."""
        ...

    def row(self, request: Request, job: Job, course: Course, /) -> Answer | Fault | None:
        """What a row of a batch that is over has got; None: it was not done."""
        ...
