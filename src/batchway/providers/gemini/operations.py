"""A long-running operation of Google's as a batch: its state, what became of its rows, where its results are."""

import re
from collections.abc import Mapping
from typing import Any, Final

from batchway.core.job import BatchStatus, Counts, Problem, ProviderBatch
from batchway.providers.batch_reading import latest, text, whole
from batchway.providers.gemini.errors import CANCELLED, http_status

STATUSES: Final[Mapping[str, BatchStatus]] = {
    "PENDING": "validating",
    "QUEUED": "validating",
    "RUNNING": "running",
    "PAUSED": "running",
    "UPDATING": "running",
    "CANCELLING": "cancelling",
    "SUCCEEDED": "completed",
    "PARTIALLY_SUCCEEDED": "completed",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "EXPIRED": "expired",
}
"""Their words, without `BATCH_STATE_` or `JOB_STATE_`, and ours. Half of them are Vertex AI's."""

CODES: Final[Mapping[int, str]] = {400: "invalid_request", 429: "token_limit_exceeded"}
"""What a batch failed of, by the HTTP status of its error, in the words that `core.job` knows."""

DOWNLOAD: Final = ":download"
"""Ends the handle of a result file. Google refuses to delete those, whose names are longer than it allows names to be
(failures.md #17); they go by themselves after two days."""

_PREFIX = re.compile(r"^(?:BATCH|JOB)_STATE_")


def read_operation(said: Any) -> ProviderBatch:
    """What it says of its batch. Raises ValueError for what is no operation."""
    if not isinstance(said, dict) or not text(said.get("name")):
        raise ValueError("no operation with a name")
    metadata = _fields(said.get("metadata"))
    word = text(metadata.get("state")) or _end(said)
    results = _results(metadata, said)
    return ProviderBatch(
        id=said["name"],
        status=STATUSES.get(_PREFIX.sub("", word), "unknown"),
        said=word[:100],
        created_at=latest(metadata.get("createTime")),
        tag=text(metadata.get("displayName")),
        counts=_counts(metadata.get("batchStats")),
        output_file_id=results,
        error_file_id=results,  # They are lines of the same file.
        problems=_problems(said.get("error")),
    )


def _end(said: Mapping[str, Any]) -> str:
    """The state of an operation that has ended and does not name it."""
    if said.get("done") is not True:
        return ""
    if "error" not in said:
        return "SUCCEEDED"
    return "CANCELLED" if http_status(said["error"]) == CANCELLED else "FAILED"


def _results(metadata: Mapping[str, Any], said: Mapping[str, Any]) -> str | None:
    """The handle of the result file, which is named in either of two places, or in both."""
    places = (_fields(metadata.get("output")), _fields(said.get("response")))
    name = next((found for place in places if (found := text(place.get("responsesFile")))), None)
    return None if name is None else name + DOWNLOAD


def _counts(said: Any) -> Counts | None:
    """Rows by what became of them; Google leaves out zeros."""
    if not isinstance(said, dict):
        return None
    names = ("requestCount", "successfulRequestCount", "failedRequestCount")
    total, done, failed = (_count(said.get(name)) for name in names)
    return Counts(total=total, completed=done, failed=failed)


def _count(said: Any) -> int:
    """A 64-bit number, which Google writes as a text."""
    return int(said) if isinstance(said, str) and said.isascii() and said.isdigit() and len(said) < 19 else whole(said)


def _problems(error: Any) -> tuple[Problem, ...]:
    """Why a batch failed as a whole."""
    if not isinstance(error, dict):
        return ()
    message = text(error.get("message")) or "The provider gave no reason."
    return (Problem(code=CODES.get(http_status(error)), message=message[:1000]),)


def _fields(said: Any) -> dict[str, Any]:
    return said if isinstance(said, dict) else {}
