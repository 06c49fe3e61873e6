"""Facts: what a job is told. Each is something that has happened; all but two answer a command."""

from msgspec import Struct

from batchway.core.job.batch import ProviderBatch
from batchway.core.job.row import Then
from batchway.core.types import Fault


class Claimed(Struct, frozen=True, tag=True):
    """A worker took the row: its time has come, or the worker before it died, and what that one began is unknown."""


class CancelAsked(Struct, frozen=True, kw_only=True, tag=True):
    """Somebody wants it ended. Only noted: the next claim acts on it."""

    by: str
    why: str
    then: Then = "fail"


class Uploaded(Struct, frozen=True, tag=True):
    """Answers Upload."""

    file_id: str


class UploadFailed(Struct, frozen=True, tag=True):
    """Answers Upload."""

    fault: Fault


class Submitted(Struct, frozen=True, tag=True):
    """Answers Submit: the provider made this batch."""

    batch: ProviderBatch


class SubmitFailed(Struct, frozen=True, tag=True):
    """Answers Submit. `sent`: at least one byte may have arrived (False: no connection, or the lease was too short)."""

    fault: Fault
    sent: bool = True


class Listed(Struct, frozen=True, kw_only=True, tag=True):
    """Answers List."""

    batches: tuple[ProviderBatch, ...]
    complete: bool
    """It was read to its end or past the time asked for; otherwise what it does not show proves nothing."""
    claimed: frozenset[str] = frozenset()
    """Ids of batches that other jobs have recorded."""


class ListFailed(Struct, frozen=True, tag=True):
    """Answers List."""

    fault: Fault


class Polled(Struct, frozen=True, tag=True):
    """Answers Poll."""

    batch: ProviderBatch


class PollFailed(Struct, frozen=True, tag=True):
    """Answers Poll. It says nothing about the batch."""

    batch_id: str
    fault: Fault


class Ingested(Struct, frozen=True, kw_only=True, tag=True):
    """Answers Ingest: the results were read to their end, and what they settle is stored."""

    done: int
    """Rows of the job that have an answer now, by whatever reading."""
    failed: int
    """Rows of the job that have a fault now."""
    seen: int
    """Rows of which this reading had a line, settled or not."""
    bad: int = 0
    """Lines that cannot be read."""
    ghosts: int = 0
    """Lines with ids that are not this job's."""


class IngestFailed(Struct, frozen=True, kw_only=True, tag=True):
    """Answers Ingest: it broke off. What it settled before stays settled, and is counted as in Ingested."""

    fault: Fault
    done: int
    failed: int


class Cancelled(Struct, frozen=True, tag=True):
    """Answers CancelBatch: the provider took it. `batch` is None where it shows none."""

    batch_id: str
    batch: ProviderBatch | None = None


class CancelFailed(Struct, frozen=True, tag=True):
    """Answers CancelBatch."""

    batch_id: str
    fault: Fault


class FilesDeleted(Struct, frozen=True, tag=True):
    """Answers DeleteFiles; a file that was gone already counts as deleted."""


class DeleteFailed(Struct, frozen=True, tag=True):
    """Answers DeleteFiles."""

    fault: Fault


JobFact = (
    Claimed
    | CancelAsked
    | Uploaded
    | UploadFailed
    | Submitted
    | SubmitFailed
    | Listed
    | ListFailed
    | Polled
    | PollFailed
    | Ingested
    | IngestFailed
    | Cancelled
    | CancelFailed
    | FilesDeleted
    | DeleteFailed
)
