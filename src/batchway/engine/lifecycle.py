"""Lifecycle events of provider batches as JSON lines, for log collectors: seeds/002's names and fields.

Every line has `source`, `event` and `ts` (seconds since the epoch); `batch_id` is the provider's, `metadata` the
owner's, and `counts` are the provider's own.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from batchway.core.events import JobMoved, JobNoted
from batchway.core.job import OVER, Counts, Job
from batchway.core.types import Endpoint

SOURCE = "batchway"

_encode = msgspec.json.Encoder(order="sorted").encode


class Lifecycle:
    """A listener. `write` gets each line, its end included; `paths` is how endpoints are called upstream."""

    def __init__(
        self,
        write: Callable[[bytes], None],
        metadata: Mapping[str, str],
        paths: Mapping[Endpoint, str],
        now: Callable[[], float],
    ) -> None:
        self._write = write
        self._metadata = dict(metadata)
        self._paths = paths
        self._now = now

    @property
    def hears(self) -> Mapping[type, Callable[..., None]]:
        """What it tells of."""
        return {JobMoved: self._on_moved, JobNoted: self._on_noted}

    def closing(self) -> None:
        """The gateway ends; its batches go on."""
        self._tell("client_closing", {"metadata": self._metadata})

    def _on_moved(self, event: JobMoved) -> None:
        job, before = event.job, event.before
        if before is None:
            return
        if job.provider_batch_id is not None and before.provider_batch_id != job.provider_batch_id:
            self._tell("batch_submitted", self._submitted(job), event.at)
        if _asked_to_cancel(before, job):
            self._tell("batch_cancel_requested", self._of(job), event.at)
        if job.counts is not None and job.counts != before.counts:
            self._tell(
                "batch_progress", self._of(job) | {"counts": _counts(job.counts), "status": job.status}, event.at
            )
        if job.status in OVER and before.status != job.status:
            if job.status == "completed":
                self._tell("batch_completed", self._of(job) | {"counts": _counts(job.counts)}, event.at)
            if job.status == "cancelled":
                self._tell("batch_cancelled_upstream", self._of(job), event.at)
            self._tell("batch_terminal", self._of(job) | {"status": job.status}, event.at)

    def _on_noted(self, event: JobNoted) -> None:
        if event.kind == "cancel_failed":
            self._tell("batch_cancel_failed", self._of(event.job) | {"error": event.reason}, event.at)

    def _submitted(self, job: Job) -> dict[str, Any]:
        return self._of(job) | {
            "completion_window": job.window,
            "endpoint": self._paths[job.endpoint],
            "input_file_id": job.input_file_id,
            "models": [job.model],
            "request_count": job.n,
        }

    def _of(self, job: Job) -> dict[str, Any]:
        return {"batch_id": job.provider_batch_id, "metadata": self._metadata, "provider": job.provider}

    def _tell(self, name: str, fields: Mapping[str, Any], at: float | None = None) -> None:
        line = {"event": name, "source": SOURCE, "ts": self._now() if at is None else at, **fields}
        self._write(_encode(line) + b"\n")


def _asked_to_cancel(before: Job, job: Job) -> bool:
    return before.cancel is None and job.cancel is not None and job.provider_batch_id is not None


def _counts(counts: Counts | None) -> dict[str, int]:
    counts = counts or Counts()
    return {"completed": counts.completed, "failed": counts.failed, "total": counts.total}
