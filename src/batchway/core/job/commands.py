"""Commands: what a job wants done.

Two kinds, and the difference is the whole of crash safety. *Writes* are stored in the same transaction as the row they
came with. *Actions* talk to the provider after that transaction, at most one for each fact, and are answered by a fact.
A worker that finds itself fenced off when it stores the row drops both.
"""

from typing import Literal

from msgspec import Struct

from batchway.core.types import Fault

Learnt = Literal["no_batch", "no_listing", "no_tags", "longest_window", "max_bytes", "enqueued_tokens"]
"""Facts about a provider (and model) that outlive the job. `no_listing` makes its `BatchTerms.tagging` `none`,
`no_tags` makes it `results`; `longest_window` leaves only the last of its windows; `no_batch` takes the lane away until
it is probed again."""

Noted = Literal[
    "unknown",
    "adopted",
    "duplicate",
    "unchecked",
    "lost",
    "gone",
    "held",
    "crowded",
    "window",
    "overdue",
    "strange_status",
    "cancel_failed",
]


# Actions


class Upload(Struct, frozen=True, kw_only=True, tag=True):
    """Send all rows as a file. Answered by Uploaded or UploadFailed."""

    why: str


class Submit(Struct, frozen=True, kw_only=True, tag=True):
    """Create the batch, once, without retries of any layer. Answered by Submitted or SubmitFailed.

    To be sent only if the lease outlasts the call: otherwise give it back with `SubmitFailed(…, sent=False)`.
    """

    why: str


class List(Struct, frozen=True, kw_only=True, tag=True):
    """List the account's batches, newest first, until one is older than `since`. Answered by Listed or ListFailed."""

    tag: str
    since: float
    why: str


class Poll(Struct, frozen=True, kw_only=True, tag=True):
    """Look at a batch. Answered by Polled or PollFailed."""

    batch_id: str
    why: str


class Ingest(Struct, frozen=True, kw_only=True, tag=True):
    """Read these results in this order and store what they settle (`core.job.Tally`). Answered by Ingested or
    IngestFailed."""

    sources: tuple[str, ...]
    last: bool
    """No other job may follow: a passing fault ends its row too."""
    why: str


class CancelBatch(Struct, frozen=True, kw_only=True, tag=True):
    """Cancel a batch. Answered by Cancelled or CancelFailed."""

    batch_id: str
    why: str


class DeleteFiles(Struct, frozen=True, kw_only=True, tag=True):
    """Delete our files at the provider. Answered by FilesDeleted or DeleteFailed."""

    file_ids: tuple[str, ...]
    why: str


# Writes


class Requeue(Struct, frozen=True, kw_only=True, tag=True):
    """Form `parts` new jobs of the rows without an outcome (`core.job.shares`, `core.job.successor`); none, if a
    reading that broke off has settled them all."""

    parts: int = 1
    attempt: int
    splits: int
    crowded: int
    not_before: float
    why: str


class Reroute(Struct, frozen=True, kw_only=True, tag=True):
    """The rows without an outcome leave the batch lane: the planner finds them another, or refuses with this fault."""

    fault: Fault
    why: str


class Fail(Struct, frozen=True, kw_only=True, tag=True):
    """This fault is the outcome of these rows (positions from 0), or of all, as far as they have none."""

    fault: Fault
    positions: tuple[int, ...] | None = None
    why: str


class Learn(Struct, frozen=True, kw_only=True, tag=True):
    """Remember this of the job's provider and model."""

    name: Learnt
    value: float
    why: str


class Note(Struct, frozen=True, kw_only=True, tag=True):
    """Tell the owner: it becomes an event, and some are alarms."""

    kind: Noted
    why: str


JobAction = Upload | Submit | List | Poll | Ingest | CancelBatch | DeleteFiles
JobWrite = Requeue | Reroute | Fail | Learn | Note
JobCommand = JobAction | JobWrite
