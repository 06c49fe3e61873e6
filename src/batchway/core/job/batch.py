"""What a provider says of a batch, and what its Batch API takes and can do: the same words for every vendor.

Handles are opaque to us: `output_file_id` is whatever the provider's dialect reads results by (a file id, a URL, the
batch id again). Sources of the shapes: providers.md §3 to §9 and §19.
"""

import re
from typing import Literal

from msgspec import Struct

from batchway.core.types import Answer, Endpoint, Fault

BatchStatus = Literal[
    "validating", "running", "finalizing", "cancelling", "completed", "failed", "expired", "cancelled", "unknown"
]
"""`unknown`: a word that we do not know. It says nothing, least of all that the batch is over."""

OVER: frozenset[BatchStatus] = frozenset({"completed", "failed", "expired", "cancelled"})
"""Statuses after which nothing more is done (Doubleword's `/retry` excepted, which we never use)."""

Tagging = Literal["listed", "perhaps", "results", "none"]
"""Where our tag can be read again: in listings (metadata, name, displayName); perhaps there (a compatible server may
forget metadata); in the custom_ids of the results only; or nowhere, because the provider cannot list."""


class Counts(Struct, frozen=True, kw_only=True):
    """Rows as the provider counts them. Providers miscount (failures.md #36): a hint, never a proof."""

    total: int = 0
    completed: int = 0
    failed: int = 0

    @property
    def finished(self) -> int:
        """Rows of which there should be a line."""
        return self.completed + self.failed


class Problem(Struct, frozen=True, kw_only=True):
    """One reason that the provider gives for a batch that failed."""

    code: str | None
    message: str
    line: int | None = None
    """The line of the upload that it is about; the first is 1."""
    limit: int | None = None
    """The bound on enqueued tokens, where the message names it."""


class ProviderBatch(Struct, frozen=True, kw_only=True):
    """A batch as the provider describes it at one moment."""

    id: str
    status: BatchStatus
    said: str
    """The provider's own word for the status."""
    created_at: float | None = None
    tag: str | None = None
    """Our `submit_tag`, where the provider gives it back."""
    counts: Counts | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    expires_at: float | None = None
    readable: bool = False
    """Results can be read now, while it is still running."""
    problems: tuple[Problem, ...] = ()

    @property
    def over(self) -> bool:
        """Nothing more will be done."""
        return self.status in OVER

    @property
    def sources(self) -> tuple[str, ...]:
        """Where its results are read, answers before errors, so that of two lines for one row the answer is first.

        Where one place holds both, both handles name it, and it is read once.
        """
        return tuple(dict.fromkeys([handle for handle in (self.output_file_id, self.error_file_id) if handle]))


class BatchPage(Struct, frozen=True, kw_only=True):
    """One page of a listing, newest first. `after`: what the next page is asked by; None: there is none."""

    batches: tuple[ProviderBatch, ...]
    after: str | None = None


class RowResult(Struct, frozen=True, kw_only=True):
    """One result line. `outcome` is None where it says only that the row was not done (expired, cancelled)."""

    custom_id: str
    outcome: Answer | Fault | None


class BatchTerms(Struct, frozen=True, kw_only=True):
    """What one provider's Batch API takes and can do. None: no bound is known."""

    endpoints: tuple[Endpoint, ...]
    windows: tuple[str, ...] = ("24h",)
    """Completion windows for sale, the shortest first."""
    max_requests: int | None = 50_000
    max_bytes: int | None = 200_000_000
    """Bytes of all lines together."""
    max_inputs: int | None = None
    """Inputs of all embeddings requests together."""
    one_model: bool = True
    """All rows of a job have the same model."""
    one_endpoint: bool = True
    uploads: bool = True
    """Rows travel in a file of their own; False: in the body of the create call."""
    announces: bool = False
    """How many bytes an upload has is said before it begins."""
    tagging: Tagging = "listed"
    deletes: bool = True
    """Files can be deleted."""

    @property
    def serial(self) -> bool:
        """Create calls at one account go one by one, none while the outcome of another is unknown: an untagged batch in
        a listing could be any of theirs."""
        return self.tagging in ("perhaps", "results")

    def window(self, asked: str) -> str:
        """The window that is sold in place of the one asked for: the shortest that is not shorter, else the longest.

        A window that is sold by this very name, such as Doubleword's `background`, is what it is.
        """
        if asked in self.windows:
            return asked
        wanted = window_seconds(asked)
        if wanted is None:
            return self.windows[-1]
        enough = [sold for sold in self.windows if (window_seconds(sold) or 0.0) >= wanted]
        return enough[0] if enough else self.windows[-1]


_WINDOW = re.compile(r"([0-9]{1,4})([hd])")


def window_seconds(window: str) -> float | None:
    """The seconds of a completion window such as `24h` or `7d`; None if it names no time (`background`)."""
    found = _WINDOW.fullmatch(window)
    if found is None:
        return None
    return int(found[1]) * (3600.0 if found[2] == "h" else 86_400.0)
