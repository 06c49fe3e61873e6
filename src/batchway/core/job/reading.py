"""Rows on the wire: their ids, what a result line means for its row, and how rows are dealt out to further jobs."""

import re
from typing import Literal

from batchway.core.job.batch import RowResult
from batchway.core.job.commands import Requeue
from batchway.core.job.facts import Ingested
from batchway.core.job.row import Job
from batchway.core.types import Answer, Fault

Meaning = Literal["settles", "open", "ghost"]
"""What a line means: its outcome is the row's, the row stays open, or no row of ours has this id."""

_POSITION = re.compile(r"0|[1-9][0-9]{0,8}")


LONGEST_ID = "b" * 40
"""As long as a custom_id can be."""


def custom_id(submit_tag: str, position: int) -> str:
    """Of row `position` (from 0), at most 40 of `A-Za-z0-9_-` (failures.md #7).

    It holds the tag, so that results prove whose batch they are of where listings do not (Anthropic).
    """
    return f"{submit_tag}-{position}"


def position_of(submit_tag: str, custom_id: str) -> int | None:
    """The row that has this id; None if it is not of this job's making."""
    tag, dash, digits = custom_id.rpartition("-")
    if tag != submit_tag or not dash or not _POSITION.fullmatch(digits):
        return None
    return int(digits)


def settles(outcome: Answer | Fault | None, *, last: bool) -> bool:
    """Whether this is the end of its row. A passing fault is not, while another job may follow."""
    if outcome is None:
        return False
    return isinstance(outcome, Answer) or last or not outcome.passing


class Tally:
    """Counts one reading of a job's results. A line is matched by id only, never by its place (failures.md #42).

    A bit of memory for each row, whatever the lines hold.
    """

    def __init__(self, job: Job, *, last: bool) -> None:
        self._tag = job.submit_tag
        self._last = last
        self._seen = bytearray(job.n)
        self.bad = 0
        self.ghosts = 0

    def take(self, result: RowResult) -> tuple[Meaning, int]:
        """What the line means, and the position of its row (-1: none).

        Of several lines for a row the first that settles it counts: whoever stores them ignores what comes for a row
        that has an outcome.
        """
        position = position_of(self._tag, result.custom_id)
        if position is None or position >= len(self._seen):
            self.ghosts += 1
            return "ghost", -1
        self._seen[position] = 1
        return ("settles" if settles(result.outcome, last=self._last) else "open"), position

    def ingested(self, *, done: int, failed: int) -> Ingested:
        """The fact, when the results were read to their end. `done`, `failed`: rows as they are stored now."""
        return Ingested(done=done, failed=failed, seen=self._seen.count(1), bad=self.bad, ghosts=self.ghosts)


def shares(n: int, parts: int) -> list[range]:
    """How `n` rows in their order are dealt out: at most `parts` runs, none empty, sizes differing by one at most."""
    parts = min(parts, n)
    return [range(n * part // parts, n * (part + 1) // parts) for part in range(parts)]


def successor(
    job: Job,
    requeue: Requeue,
    *,
    id: str,  # noqa: A002  # The field's name.
    submit_tag: str,
    n: int,
    size: int,
    tokens: int,
    content_hash: str = "",
    now: float,
) -> Job:
    """The job that takes on some of another's rows: of the same kind, with an id and a tag of its own."""
    return Job(
        id=id,
        submit_tag=submit_tag,
        provider=job.provider,
        account=job.account,
        endpoint=job.endpoint,
        model=job.model,
        window=job.window,
        n=n,
        size=size,
        tokens=tokens,
        content_hash=content_hash,
        metadata=job.metadata,
        created_at=now,
        not_before=requeue.not_before,
        attempt=requeue.attempt,
        splits=requeue.splits,
        crowded=requeue.crowded,
        next_at=max(now, requeue.not_before),
    )
