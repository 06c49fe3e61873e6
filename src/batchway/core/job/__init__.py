"""The life of a provider batch: `advance` takes the row of a job and a fact, and gives the row after it and commands.

The driver claims a row, tells it `Claimed`, and then, until nothing is left to do: stores the row and its writes in one
fenced transaction, obeys the action, and tells the fact that came of it. It decides nothing.
"""

from batchway.core.job.batch import (
    OVER,
    BatchPage,
    BatchStatus,
    BatchTerms,
    Counts,
    Problem,
    ProviderBatch,
    RowResult,
    Tagging,
    window_seconds,
)
from batchway.core.job.life import advance
from batchway.core.job.policy import JobPolicy, Rules
from batchway.core.job.reading import LONGEST_ID, Tally, custom_id, position_of, settles, shares, successor
from batchway.core.job.row import Job, State, Wish
from batchway.core.job.submission import look_again, stray_batches

__all__ = [
    "LONGEST_ID",
    "OVER",
    "BatchPage",
    "BatchStatus",
    "BatchTerms",
    "Counts",
    "Job",
    "JobPolicy",
    "Problem",
    "ProviderBatch",
    "RowResult",
    "Rules",
    "State",
    "Tagging",
    "Tally",
    "Wish",
    "advance",
    "custom_id",
    "look_again",
    "position_of",
    "settles",
    "shares",
    "stray_batches",
    "successor",
    "window_seconds",
]
