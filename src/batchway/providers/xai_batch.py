"""The xAI dialect of batches: OpenAI's files and lines, but counters in place of a status, and results by the page.

Shapes: providers.md §6, and what two clients were written for that read the real thing: LiteLLM 1.109 (`llms/xai`) and
the AI SDK of github vercel/ai (`packages/xai`, 2026-08). A batch that is made of a file is sealed at once.
"""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from batchway.core.job import BatchPage, BatchStatus, BatchTerms, Counts, Job, Problem, ProviderBatch, RowResult
from batchway.core.types import Answer, Fault
from batchway.ports import Incoming, Outgoing, ResultReader
from batchway.providers.batch_forms import BatchForm
from batchway.providers.batch_reading import is_good, latest, repaired, text, whole
from batchway.providers.json_entries import EntryCutter
from batchway.providers.openai_batch import OpenAIBatchDialect
from batchway.wire import body

FORM = BatchForm(
    # Answers to lines for /v1/responses come as chat completions (vercel/ai), which nobody asked for. What is known of
    # a file's size is second-hand; the number of lines is that from which xAI may slow down.
    terms=BatchTerms(endpoints=("chat",), max_requests=100_000, max_bytes=48_000_000, one_model=False)
)

BATCH = "batch_"
"""How ids of batches begin: results are read by them, and they are no files to be deleted."""

PAGE = 1000
"""Batches or results on a page."""

STATUSES: Mapping[int, int] = {
    2: 500,
    3: 400,
    4: 504,
    5: 404,
    6: 409,
    7: 403,
    8: 429,
    9: 400,
    10: 409,
    11: 400,
    12: 501,
    13: 500,
    14: 503,
    15: 500,
    16: 401,
}
"""The codes of google.rpc, by which rows fail, as statuses of HTTP."""

CANCELLED = frozenset({"1", "cancelled", "batch_cancelled"})
"""Codes of rows that were never done."""

MODEL_REFUSED = "is not supported for batch"
"""What xAI says of a file whose model it does not batch."""

FILE_REFUSED = "validation failed"
"""What it says of a file that it does not take, before the reason."""


class _Page(Struct):
    batches: list[Raw] = []
    pagination_token: str | None = None


class _Outcome(Struct):
    response: dict[str, Raw] | None = None
    error: Any = None


class _Entry(Struct):
    batch_request_id: str
    batch_result: _Outcome | None = None
    error_message: Any = None


_page = msgspec.json.Decoder(_Page)
_entry = msgspec.json.Decoder(_Entry)
_encode = msgspec.json.Encoder().encode


class XAIBatchDialect(OpenAIBatchDialect):
    """Encodes and decodes for one account. See `ports.BatchDialect`."""

    _upload_fields = (("purpose", "batch"), ("expires_after", "2592000"))
    # Seconds. A file has no end unless it is given one: so an upload that nobody remembers goes by itself.

    def __init__(self, name: str, base_url: str, key: str | None) -> None:
        super().__init__(name, base_url, key, FORM)

    def encode_create(self, job: Job) -> Outgoing:
        """POST /batches: all there is room for is a name."""
        return self._outgoing("POST", "/batches", _encode({"name": job.submit_tag, "input_file_id": job.input_file_id}))

    def encode_list(self, _tag: str | None, after: str | None) -> Outgoing:
        """GET /batches: it cannot filter."""
        return self._outgoing("GET", "/batches?" + _paged(after))

    def decode_list(self, incoming: Incoming) -> BatchPage | Fault:
        """A page. In which order xAI lists is not known: times that do not run back say nothing, and all is read."""
        if not is_good(incoming):
            return self.fault(incoming)
        try:
            page = _page.decode(incoming.body)
            batches = [self._batch(body.parse(bytes(entry))) for entry in page.batches]
        except ValueError as error:
            return self._malformed("a list of batches", error)
        times = [batch.created_at for batch in batches if batch.created_at is not None]
        if len(times) < len(batches) or times != sorted(times, reverse=True) or times[:1] == times[-1:]:
            batches = [replace(batch, created_at=None) for batch in batches]
        return BatchPage(batches=tuple(batches), after=(page.pagination_token or None) if batches else None)

    def encode_cancel(self, batch_id: str) -> Outgoing:
        """POST /batches/{id}:cancel."""
        return self._outgoing("POST", f"/batches/{quote(batch_id, safe='')}:cancel")

    def decode_batch(self, incoming: Incoming) -> ProviderBatch | Fault:
        """A batch object. One that is past its end by xAI's own clock has expired, whatever is pending."""
        shown = super().decode_batch(incoming)
        if isinstance(shown, Fault) or shown.over or shown.expires_at is None:
            return shown
        now = _clock(incoming.headers)
        is_past = now is not None and now >= shown.expires_at
        return replace(shown, status="expired", said=f"{shown.said}, expired") if is_past else shown

    def _batch(self, said: Any) -> ProviderBatch:
        if not isinstance(said, dict) or not text(said.get("batch_id")):
            raise ValueError("no object with a batch_id")
        state = said.get("state")
        counters: dict[str, Any] = state if isinstance(state, dict) else {}
        total, pending, success, error = (
            whole(counters.get(f"num_{what}")) for what in ("requests", "pending", "success", "error")
        )
        reason = text(said.get("cancel_by_xai_message"))
        status, word = _status(total, pending, cancelled=text(said.get("cancel_time")) is not None, reason=reason)
        results = said["batch_id"] if success + error else None
        return ProviderBatch(
            id=said["batch_id"],
            status=status,
            said=word,
            created_at=latest(said.get("create_time")),
            tag=text(said.get("name")),
            counts=Counts(total=total, completed=success, failed=error),
            output_file_id=results,
            error_file_id=results,
            expires_at=latest(said.get("expire_time")),
            readable=results is not None,
            problems=(_problem(reason),) if reason is not None else (),
        )

    # Results

    def encode_results(self, source: str, after: str | None = None) -> Outgoing:
        """GET /batches/{id}/results, at any time."""
        return self._outgoing("GET", f"/batches/{quote(source, safe='')}/results?{_paged(after)}")

    def result_reader(self, _headers: Mapping[str, str]) -> ResultReader:
        """One page."""
        return EntryCutter("results", next_page="pagination_token")

    def read_result(self, line: bytes, job: Job, now: float) -> RowResult:
        """An entry of a page. Raises ValueError if it cannot be read."""
        try:
            entry = _entry.decode(line)
        except UnicodeDecodeError:
            entry = _entry.decode(repaired(line))
        result = entry.batch_result or _Outcome()
        answers = [content for value in (result.response or {}).values() if (content := body.given(value)) is not None]
        outcome: Answer | Fault | None
        if answers:
            outcome = self._answer(answers[0], job.endpoint, now)
        else:
            outcome = self._failure(result.error, text(entry.error_message))
        return RowResult(custom_id=entry.batch_request_id, outcome=outcome)

    def _failure(self, error: Any, message: str | None) -> Fault | None:
        """What a row without an answer failed by; None: it was not done."""
        said = error if isinstance(error, dict) else {"message": error}
        code = said.get("code")
        if str(code).lower() in CANCELLED:
            return None
        words = message or text(said.get("message")) or "xAI gave neither an answer nor an error for this row."
        told = {"message": words, "type": "upstream_error", "param": None, "code": None if code is None else str(code)}
        status = _status_of(code)
        if status is None:
            return replace(self._direct.error_frame(_encode(told)), healthy=True)
        failed = Incoming(status=status, headers={}, body=_encode({"error": told}))
        # One row of a batch says nothing about the provider's health.
        return replace(self._direct.fault(failed), healthy=True)

    # Files

    def encode_delete(self, file_id: str) -> Outgoing | None:
        """DELETE /files/{id}; a batch cannot be deleted."""
        return None if file_id.startswith(BATCH) else super().encode_delete(file_id)


def _paged(after: str | None) -> str:
    return urlencode({"limit": PAGE} | ({"pagination_token": after} if after is not None else {}))


def _clock(headers: Mapping[str, str]) -> float | None:
    """What time it is where the answer comes from."""
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (TypeError, ValueError):
        return None


def _status(total: int, pending: int, *, cancelled: bool, reason: str | None) -> tuple[BatchStatus, str]:
    """What the counters mean, and how to call it for people: xAI has no word of its own (§6).

    What is pending when it is cancelled may still be done and billed, so that is not its end.
    """
    if cancelled or reason is not None:
        if pending:
            return "cancelling", f"cancelled, {pending} of {total} pending"
        return ("cancelled", "cancelled") if reason is None else ("failed", f"cancelled by xAI: {reason}"[:100])
    if not total:
        return "validating", "no requests yet"
    return ("running", f"{pending} of {total} pending") if pending else ("completed", "nothing pending")


def _problem(reason: str) -> Problem:
    """Why xAI ended the batch, by the codes that `core.job` knows; its own words are all that there is."""
    if MODEL_REFUSED in reason:
        return Problem(code="model_not_batchable", message=reason[:1000])
    return Problem(code="invalid_request" if FILE_REFUSED in reason else None, message=reason[:1000])


def _status_of(code: Any) -> int | None:
    """The HTTP status of an error code, which is of google.rpc, or of HTTP; None if it says nothing."""
    number = int(code) if isinstance(code, str) and code.isascii() and code.isdecimal() and len(code) < 4 else code
    if not isinstance(number, int):
        return None
    return number if 400 <= number < 600 else STATUSES.get(number)
