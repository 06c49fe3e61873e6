"""The row of a job: all that is remembered of one provider batch between two looks at it."""

import re
from typing import Literal

from msgspec import Struct

from batchway.core.job.batch import OVER, BatchStatus, Counts, Problem
from batchway.core.types import Endpoint

State = Literal[
    "formed",
    "uploading",
    "uploaded",
    "submitting",
    "submit_unknown",
    "submitted",
    "ingesting",
    "closing",
    "lost",
    "done",
]
"""`core.job.life` draws them."""

Then = Literal["fail", "requeue", "reroute"]
"""What becomes of rows that a cancelled job leaves without an outcome."""

_TAG = re.compile(r"[A-Za-z0-9_-]{8,30}")


class Wish(Struct, frozen=True, kw_only=True):
    """Somebody wants the job ended: a durable intent, tried again until the provider says that it is over."""

    by: str
    why: str
    then: Then = "fail"
    at: float


class Stray(Struct, frozen=True, kw_only=True):
    """A batch that carries our tag and is not the one we adopted: it is to be ended."""

    id: str
    first_404_at: float | None = None
    misses: int = 0


class Job(Struct, frozen=True, kw_only=True):
    """One batch at a provider's Batch API, as it is stored. Its rows are stored beside it, by position from 0.

    Written by `core.job.advance` alone, except where a new job is formed.
    """

    id: str
    submit_tag: str
    """Unique for ever and part of every custom_id: 8 to 30 of `A-Za-z0-9_-`. A new job has a new tag."""
    provider: str
    account: str
    """Which key of the provider: a batch is looked for only where it was made (failures.md #26)."""
    endpoint: Endpoint
    model: str
    window: str
    n: int
    """Rows."""
    size: int
    """Bytes of all lines."""
    tokens: int
    """Input tokens of all rows, for the provider's limit on what is enqueued."""
    content_hash: str = ""
    metadata: tuple[tuple[str, str], ...] = ()
    """Its owner's, put on the batch beside our tag where the provider keeps such."""
    created_at: float
    not_before: float = 0.0
    attempt: int = 1
    """The how manieth job this is for its rows, the same for all of them."""
    splits: int = 0
    """How often it was divided to find what the provider refuses."""
    crowded: int = 0
    """How often its rows met the limit on enqueued tokens."""

    state: State = "formed"
    next_at: float | None
    """When to look at it again; None once it is done. A worker's lease goes before it."""
    cancel: Wish | None = None
    failures: int = 0
    """Failed tries since the last that worked."""
    reason: str | None = None
    """In a word how its rows ended; set when they have."""
    last_error: str | None = None

    uploads: int = 0
    input_file_id: str | None = None

    submissions: int = 0
    """Create calls begun."""
    intent_at: float | None = None
    """When the first of them was: no batch of ours is older."""
    unknown_since: float | None = None
    listed_at: float | None = None
    """The last whole listing that did not show our batch."""
    silent_listings: int = 0
    """Such listings since the last create call."""
    check_at: float | None = None
    """When to list once more, to find what a delayed or repeated create call may have made beside our batch."""

    provider_batch_id: str | None = None
    proven: bool = True
    """It is certainly ours; False where only its size and time speak for it (`tagging` is `results`)."""
    not_ours: tuple[str, ...] = ()
    strays: tuple[Stray, ...] = ()
    duplicates: tuple[str, ...] = ()
    """Every batch ever seen beside the adopted one: what they cost was paid twice."""
    submitted_at: float | None = None
    status: BatchStatus = "unknown"
    provider_status: str | None = None
    """The provider's own word."""
    counts: Counts | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    expires_at: float | None = None
    problems: tuple[Problem, ...] = ()
    over_at: float | None = None

    polls: int = 0
    first_404_at: float | None = None
    misses: int = 0
    """404s in a row."""
    fileless_polls: int = 0
    """Polls that saw it over and without its files."""

    downloads: int = 0
    done: int = 0
    """Rows with an answer."""
    failed: int = 0
    """Rows with a fault of their own."""
    ghosts: int = 0
    """Result lines with ids that are not ours, ignored."""
    bad: int = 0
    """Result lines that could not be read in the last download."""

    def __post_init__(self) -> None:
        if not _TAG.fullmatch(self.submit_tag):
            raise ValueError(f"submit_tag is {self.submit_tag!r}; it must be 8 to 30 characters of A-Z a-z 0-9 _ -")

    @property
    def shown(self) -> str:
        """Its status as people see it: the provider's word while it has a batch there, our state before that.

        It is over when its rows are, not before: what is tidied up at the provider after that nobody waits for.
        """
        if self.ended:
            return self.status if self.status in OVER else "failed" if self.cancel is None else "cancelled"
        if self.status in OVER:
            return "finalizing"
        return self.state if self.provider_batch_id is None else self.status

    @property
    def ended(self) -> bool:
        """Whether every row has its end (see `life`)."""
        return self.state in ("closing", "lost", "done")

    @property
    def open(self) -> int:
        """Rows without an outcome, as far as read."""
        return self.n - self.done - self.failed

    @property
    def sources(self) -> tuple[str, ...]:
        """Where its results are read, as last told."""
        return tuple(dict.fromkeys([handle for handle in (self.output_file_id, self.error_file_id) if handle]))
