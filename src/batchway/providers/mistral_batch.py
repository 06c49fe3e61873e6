"""The Mistral dialect of batches: OpenAI's files, jobs of its own, rows and answers as in its direct calls.

Shapes: providers.md §8 and SDK mistralai 3.7 (`batch.jobs`, `files`, `extra.batch`). The job names the model, so lines
do not; nor do they name a method or a path.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Raw, Struct

from batchway.core.job import (
    BatchPage,
    BatchStatus,
    BatchTerms,
    Counts,
    Job,
    Problem,
    ProviderBatch,
    window_seconds,
)
from batchway.core.types import Answer, Endpoint, Fault
from batchway.ports import Incoming, Outgoing
from batchway.providers.batch_forms import BatchForm
from batchway.providers.batch_reading import is_good, number, text, whole
from batchway.providers.mistral import MistralDialect
from batchway.providers.mistral.answers import completion
from batchway.providers.openai import OpenAIDialect
from batchway.providers.openai_batch import MAX_PROBLEMS, TAG, OpenAIBatchDialect, path_of
from batchway.wire import body

FORM = BatchForm(
    # `timeout_hours` (1 to 168) is when Mistral gives up, not when it promises to be done: less than a day would only
    # throw away what waits in its queue. The size of a file is unconfirmed, and learnt where it is less.
    terms=BatchTerms(
        endpoints=("chat", "embeddings"),
        windows=tuple(f"{24 * days}h" for days in range(1, 8)),
        max_requests=1_000_000,
        max_bytes=100_000_000,
    )
)

PAGE = 100
"""Jobs on the first page of a listing (Mistral's default)."""

LAST_PAGE = PAGE // 2 - 1
"""Counted from 0. Beyond it pages would begin where earlier ones did; 2,550 jobs have been shown then."""

STATUSES: Mapping[str, BatchStatus] = {
    "QUEUED": "validating",
    "RUNNING": "running",
    "SUCCESS": "completed",
    "FAILED": "failed",
    "TIMEOUT_EXCEEDED": "expired",
    "CANCELLATION_REQUESTED": "cancelling",
    "CANCELLED": "cancelled",
}
"""Its words (§8) and ours."""


class _List(Struct):
    data: list[Raw] = []
    total: int = 0


_list = msgspec.json.Decoder(_List)
_encode = msgspec.json.Encoder().encode


class MistralBatchDialect(OpenAIBatchDialect):
    """Encodes and decodes for one account. See `ports.BatchDialect`."""

    def __init__(self, name: str, base_url: str, key: str | None) -> None:
        direct = MistralDialect(OpenAIDialect(name, base_url, key))
        super().__init__(name, base_url, key, FORM, direct)

    def _row(self, _endpoint: Endpoint, custom_id: str, content: bytes) -> bytes:
        fields = {name: value for name, value in body.fields(content).items() if name != "model"}
        return _encode({"custom_id": custom_id, "body": fields})

    # Jobs

    def encode_create(self, job: Job) -> Outgoing:
        """POST /batch/jobs."""
        content = {
            "input_files": [job.input_file_id],
            "endpoint": path_of(job.endpoint),
            "model": job.model,
            "metadata": {**dict(job.metadata), TAG: job.submit_tag},
            "timeout_hours": int(window_seconds(job.window) or 86_400) // 3600,
        }
        return self._outgoing("POST", "/batch/jobs", _encode(content))

    def encode_get(self, batch_id: str) -> Outgoing:
        """GET /batch/jobs/{id}."""
        return self._outgoing("GET", f"/batch/jobs/{quote(batch_id, safe='')}")

    def encode_cancel(self, batch_id: str) -> Outgoing:
        """POST /batch/jobs/{id}/cancel."""
        return self._outgoing("POST", f"/batch/jobs/{quote(batch_id, safe='')}/cancel")

    def encode_list(self, tag: str | None, after: str | None) -> Outgoing:
        """GET /batch/jobs, newest first, filtered by metadata, which are parameters of their own.

        Pages have numbers, and an answer does not say which page it is; so its length does. Page n is asked with n jobs
        fewer than the first, and so overlaps the one before it.
        """
        page = int(after or 0)
        given = {"page": page, "page_size": PAGE - page, "order_by": "-created"} | ({TAG: tag} if tag else {})
        return self._outgoing("GET", "/batch/jobs?" + urlencode(given))

    def decode_list(self, incoming: Incoming) -> BatchPage | Fault:
        """A page; which one, `encode_list` says. One that is shorter than any full page is the last."""
        if not is_good(incoming):
            return self.fault(incoming)
        try:
            read = _list.decode(incoming.body)
            batches = tuple([self._batch(body.parse(bytes(entry))) for entry in read.data])
        except ValueError as error:
            return self._malformed("a list of batch jobs", error)
        page = PAGE - len(batches)
        if page > LAST_PAGE or read.total <= max(1, page + 1) * len(batches):
            return BatchPage(batches=batches)
        if not 0 <= page < LAST_PAGE:
            return self._malformed("a list that can be read to its end", ValueError(f"{read.total} batch jobs"))
        return BatchPage(batches=batches, after=str(page + 1))

    def _batch(self, said: Any) -> ProviderBatch:
        if not isinstance(said, dict) or not text(said.get("id")):
            raise ValueError("no object with an id")
        word = text(said.get("status")) or ""
        metadata = said.get("metadata")
        total, succeeded, failed = (whole(said.get(f"{what}_requests")) for what in ("total", "succeeded", "failed"))
        return ProviderBatch(
            id=said["id"],
            status=STATUSES.get(word.upper(), "unknown"),
            said=word[:100],
            created_at=number(said.get("created_at")),
            tag=text(metadata.get(TAG)) if isinstance(metadata, dict) else None,
            counts=Counts(total=total, completed=succeeded, failed=failed),
            output_file_id=text(said.get("output_file")),
            error_file_id=text(said.get("error_file")),
            problems=_problems(said.get("errors")),
        )

    # Results

    def _answer(self, content: bytes, endpoint: Endpoint, now: float) -> Answer | Fault:
        return super()._answer(completion(content) if endpoint == "chat" else content, endpoint, now)


def _problems(said: Any) -> tuple[Problem, ...]:
    """The reasons that it gives, each for a number of rows: words only."""
    listed = said if isinstance(said, list) else []
    words = [text(entry.get("message")) for entry in listed[:MAX_PROBLEMS] if isinstance(entry, dict)]
    return tuple([Problem(code=None, message=each[:1000]) for each in words if each is not None])
