"""How patient we are with provider batches, and the rules that one job lives by.

Durations are seconds of the database's clock. Every one is a setting, so that proofs run in parts of a second.
"""

from math import isfinite
from typing import Literal

from msgspec import Struct

from batchway.core.errors import SettingsError
from batchway.core.job.batch import BatchTerms
from batchway.core.limits import Dice


class JobPolicy(Struct, frozen=True, kw_only=True):
    """Graces, intervals and bounds of a job's life."""

    settle: float = 60.0
    """By then a batch that was created shows in listings (Anthropic: 404 some seconds after it; failures.md §5)."""
    skew: float = 300.0
    """How far the provider's clock may be behind ours: listings are read so much further back than the intent."""
    poll_interval: float = 60.0
    """Mean time between two looks at a batch: each is half to one and a half times as long, so that many spread out."""
    backoff_cap: float = 900.0
    """The longest time between two tries, however often they failed."""
    vanish_grace: float = 900.0
    """A batch or a result that is answered with 404 this long (and `vanish_polls` times) is lost (failures.md #21)."""
    vanish_polls: int = 5
    files_grace: int = 5
    """Polls that a batch which is over may take to show its files (failures.md #37)."""
    downloads: int = 3
    """Times that results are read when rows are missing which the provider counts as finished."""
    max_jobs_per_row: int = 2
    """Jobs that a row may be in. What the provider refused or never began does not count."""
    on_unknown: Literal["hold", "resubmit", "fail"] = "hold"
    """When nobody can say whether a create call was accepted, because the provider cannot list: wait for the owner,
    send it again (it may be paid twice), or fail the rows (they may be paid for nothing)."""
    on_overdue: Literal["wait", "requeue", "reroute"] = "wait"
    """When a batch outlives its window by `overdue_grace`: wait, or cancel it and send what is unfinished by a new job
    or another lane. Nothing is sent elsewhere before the provider has confirmed the end (failures.md #18, #19)."""
    overdue_grace: float = 3600.0
    hold: float = 600.0
    """Time between two looks at what only the owner can resolve: a doubt, a refused key, an empty account."""
    refusal_wait: float = 2.0
    """First wait after a refusal without Retry-After; doubled for each further one."""
    token_wait: float = 300.0
    """First wait after the provider's limit on enqueued tokens was met; doubled for each further one."""
    token_cap: float = 3600.0
    max_crowded: int = 24
    """Times that a job may meet that limit before its rows are told (a day of waiting)."""
    partial_step: float = 0.05
    """Share of the rows that must have been finished anew before results are read while the batch is running."""
    tidy_tries: int = 3
    """Tries to delete our files and to list once more, after all rows have their outcome."""

    def __post_init__(self) -> None:
        for name in ("settle", "skew", "vanish_grace", "overdue_grace", "partial_step"):
            _require(name, getattr(self, name), 0.0)
        for name in ("poll_interval", "backoff_cap", "hold", "refusal_wait", "token_wait", "token_cap"):
            _require(name, getattr(self, name), 0.001)
        for name in ("vanish_polls", "downloads", "max_jobs_per_row", "max_crowded", "tidy_tries"):
            _require(name, getattr(self, name), 1)
        _require("files_grace", self.files_grace, 0)


def _require(name: str, value: float, least: float) -> None:
    if not (isfinite(value) and value >= least):
        raise SettingsError(f"{name} is {value}; it must be a finite number of at least {least}")


class Rules(Struct, frozen=True, kw_only=True):
    """What decides about a job besides its row: our policy, the provider's terms, and dice."""

    policy: JobPolicy
    terms: BatchTerms
    dice: Dice
