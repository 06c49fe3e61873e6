"""The OpenAI dialect of batches: files, batches and result lines, as OpenAI and those who imitate it speak them.

Shapes: providers.md §3, §7 to §9. What is unconfirmed there is read defensively: a word that is not known is `unknown`,
a field of another type than expected is as if it were not there, and either kind of line may be in either file. Those
who differ in more than terms (`xai_batch`, `mistral_batch`, …) begin here, and say what is otherwise.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from batchway.core.errors import BadRequest, UpstreamMalformed
from batchway.core.job import (
    LONGEST_ID,
    BatchPage,
    BatchStatus,
    BatchTerms,
    Counts,
    Job,
    Problem,
    ProviderBatch,
    RowResult,
)
from batchway.core.job.forming import FRAMING
from batchway.core.types import Answer, Endpoint, Fault, Request
from batchway.ports import Dialect, Incoming, Outgoing, OutgoingRows, ResultReader
from batchway.providers.batch_forms import BatchForm
from batchway.providers.batch_reading import is_good, number, repaired, text, whole
from batchway.providers.json_lines import LineCutter
from batchway.providers.openai import OpenAIDialect
from batchway.wire import body
from batchway.wire.endpoints import FRONTS

TAG = "batchway"
"""The key of `metadata` that holds a job's tag."""

STATUSES: Mapping[str, BatchStatus] = {
    "validating": "validating",
    "in_progress": "running",
    "finalizing": "finalizing",
    "completed": "completed",
    "failed": "failed",
    "expired": "expired",
    "cancelling": "cancelling",
    "canceling": "cancelling",
    "cancelled": "cancelled",
    "canceled": "cancelled",
}
"""Their words (§3.4) and ours; the second spelling is met at imitators."""

UNFINISHED = frozenset({"batch_expired", "batch_cancelled", "batch_canceled"})
"""Codes of error lines of rows that were never done (§3.4; the second and third by analogy)."""

MAX_PROBLEMS = 1000
"""Reasons read of a batch that failed."""

_LIMIT = re.compile(r"Limit: ([0-9,]{1,20}) enqueued tokens")
_DIRECT_ONLY = ("stream", "stream_options")
"""Fields that say how one direct answer travels; a line with them is refused by some (§3.2)."""


class _List(Struct):
    data: list[Raw]
    has_more: bool | None = None
    last_id: str | None = None


class _Response(Struct):
    status_code: int | None = None
    body: Raw = Raw(b"null")


class _Line(Struct):
    custom_id: str
    response: _Response | None = None
    error: Raw = Raw(b"null")


class _File(Struct):
    id: str


_list = msgspec.json.Decoder(_List)
_line = msgspec.json.Decoder(_Line)
_file = msgspec.json.Decoder(_File)
_encode = msgspec.json.Encoder().encode
_JSON = ("content-type", "application/json")


class OpenAIBatchDialect:
    """Encodes and decodes for one account. See `ports.BatchDialect`."""

    _upload_fields: tuple[tuple[str, str], ...] = (("purpose", "batch"),)
    """Of the form that a file is uploaded by, before the file."""

    def __init__(
        self, name: str, base_url: str, key: str | None, form: BatchForm, direct: Dialect | None = None
    ) -> None:
        """`direct`: how direct calls of the account are spoken, if not as OpenAI's; rows and faults are its."""
        self._name = name
        self._base = base_url.rstrip("/")
        self._form = form
        self._direct = OpenAIDialect(name, base_url, key) if direct is None else direct
        self._translates = direct is not None
        self._auth = (("authorization", f"Bearer {key}"),) if key is not None else ()

    @property
    def terms(self) -> BatchTerms:
        """What it takes and can do."""
        return self._form.terms

    # Rows going out

    def line(self, request: Request, custom_id: str) -> bytes:
        """The request as a direct call sends it, but on one line: JSON has its line breaks between tokens only."""
        content = self._direct.encode(request).body
        if b'"stream' in content:
            fields = body.fields(content)
            content = body.join({name: value for name, value in fields.items() if name not in _DIRECT_ONLY})
        most = self._form.max_body
        if most is not None and len(content) > most:
            message = (
                f"The request has {len(content)} bytes; '{self._name}' takes {most} in a batch. Shorten it, or send it "
                "directly (strategy=direct)."
            )
            raise BadRequest(message, code="request_too_large")
        return self._row(request.endpoint, custom_id, content.replace(b"\r", b" ").replace(b"\n", b" "))

    def measure(self, request: Request) -> int:
        """Where a body goes as it is, there is nothing to find out but its length; else by writing the row."""
        most = self._form.max_body
        if self._translates or (most is not None and request.size > most):
            return len(self.line(request, LONGEST_ID))
        return request.size + FRAMING

    def _row(self, endpoint: Endpoint, custom_id: str, content: bytes) -> bytes:
        return _encode({"custom_id": custom_id, "method": "POST", "url": path_of(endpoint), "body": Raw(content)})

    def encode_upload_start(self, _job: Job) -> None:
        """Nothing."""

    def encode_upload(self, job: Job, _started: Incoming | None = None) -> OutgoingRows:
        """POST /files, multipart, the file last (§3.1). Lines hold no carriage return, and so no boundary."""
        boundary = f"batchway-{job.submit_tag}"
        disposition = f"--{boundary}\r\ncontent-disposition: form-data; name="
        before = "".join([f'{disposition}"{name}"\r\n\r\n{value}\r\n' for name, value in self._upload_fields])
        before += (
            f'{disposition}"file"; filename="{job.submit_tag}.jsonl"\r\ncontent-type: application/octet-stream\r\n\r\n'
        )
        return OutgoingRows(
            method="POST",
            url=f"{self._base}/files",
            headers=(("content-type", f"multipart/form-data; boundary={boundary}"), *self._auth),
            before=before.encode(),
            between=b"\n",
            after=f"\n\r\n--{boundary}--\r\n".encode(),
        )

    def decode_upload(self, incoming: Incoming) -> str | Fault:
        """The file's id."""
        if not is_good(incoming):
            return self.fault(incoming)
        try:
            return _file.decode(incoming.body).id
        except ValueError as error:
            return self._malformed("a file", error)

    # Batches

    def encode_create(self, job: Job) -> Outgoing | OutgoingRows:
        """POST /batches."""
        content = {
            "input_file_id": job.input_file_id,
            "endpoint": path_of(job.endpoint),
            "completion_window": job.window,
            "metadata": {**dict(job.metadata), TAG: job.submit_tag},
        }
        return self._outgoing("POST", "/batches", _encode(content))

    def encode_get(self, batch_id: str) -> Outgoing:
        """GET /batches/{id}."""
        return self._outgoing("GET", f"/batches/{quote(batch_id, safe='')}")

    def decode_batch(self, incoming: Incoming) -> ProviderBatch | Fault:
        """A batch object."""
        if not is_good(incoming):
            return self.fault(incoming)
        try:
            return self._batch(body.parse(incoming.body))
        except ValueError as error:
            return self._malformed("a batch", error)

    def encode_list(self, _tag: str | None, after: str | None) -> Outgoing:
        """GET /batches: it cannot filter (§3.1)."""
        given = {"limit": self._form.page_size, "after": after}
        query = urlencode({name: value for name, value in given.items() if value is not None})
        return self._outgoing("GET", f"/batches?{query}" if query else "/batches")

    def decode_list(self, incoming: Incoming) -> BatchPage | Fault:
        """A page."""
        if not is_good(incoming):
            return self.fault(incoming)
        try:
            page = _list.decode(incoming.body)
            batches = tuple([self._batch(body.parse(bytes(entry))) for entry in page.data])
        except ValueError as error:
            return self._malformed("a list of batches", error)
        more = page.has_more is True and len(batches) > 0
        return BatchPage(batches=batches, after=(page.last_id or batches[-1].id) if more else None)

    def encode_cancel(self, batch_id: str) -> Outgoing:
        """POST /batches/{id}/cancel."""
        return self._outgoing("POST", f"/batches/{quote(batch_id, safe='')}/cancel")

    def decode_cancel(self, incoming: Incoming) -> ProviderBatch | Fault | None:
        """The batch, where it is shown: that the call was taken is what counts."""
        if not is_good(incoming):
            return self.fault(incoming)
        shown = self.decode_batch(incoming)
        return None if isinstance(shown, Fault) else shown

    def _batch(self, said: Any) -> ProviderBatch:
        if not isinstance(said, dict) or not text(said.get("id")):
            raise ValueError("no object with an id")
        word = text(said.get("status")) or ""
        status = STATUSES.get(word.lower(), "unknown")
        counts = _counts(said.get("request_counts"))
        output = self._file(said.get("output_file_id"), counts, counts.completed if counts else 0)
        metadata = said.get("metadata")
        return ProviderBatch(
            id=said["id"],
            status=status,
            said=word[:100],
            created_at=number(said.get("created_at")),
            tag=text(metadata.get(TAG)) if isinstance(metadata, dict) else None,
            counts=counts,
            output_file_id=output,
            error_file_id=self._file(said.get("error_file_id"), counts, counts.failed if counts else 0),
            expires_at=number(said.get("expires_at")),
            readable=self._form.shows_early and output is not None,
            problems=problems_of(said.get("errors")),
        )

    def _file(self, handle: Any, counts: Counts | None, counted: int) -> str | None:
        """A result file. One that is named from the beginning is not there before something is counted for it, and
        asking for it is a 404 (§9); who does not count is believed."""
        is_there = not self._form.names_early or counts is None or not counts.total or counted > 0
        return text(handle) if is_there else None

    # Results

    def encode_results(self, source: str, after: str | None = None) -> Outgoing:
        """GET /files/{id}/content. The next page by either name that is said to be its own (§9)."""
        query = "" if after is None else "?" + urlencode({"skip": after, "offset": after})
        url = f"{self._base}/files/{quote(source, safe='')}/content{query}"
        return Outgoing(method="GET", url=url, headers=(("accept", "application/binary"), *self._auth), body=b"")

    def result_reader(self, headers: Mapping[str, str]) -> ResultReader:
        """JSON Lines. After a full page, who says that there is more is asked for it by the number of lines (§9)."""
        return LineCutter(headers.get("x-last-line") if headers.get("x-incomplete") == "true" else None)

    def read_result(self, line: bytes, job: Job, now: float) -> RowResult:
        """A line of either file (§3.5). Raises ValueError if it cannot be read."""
        try:
            read = _line.decode(line)
        except UnicodeDecodeError:
            read = _line.decode(repaired(line))
        return RowResult(custom_id=read.custom_id, outcome=self._outcome(read, job.endpoint, now))

    def _outcome(self, line: _Line, endpoint: Endpoint, now: float) -> Answer | Fault | None:
        """200 with a body that can be read is an answer; the rest is a fault, or a row that was not done."""
        response = line.response
        content = body.given(response.body) if response is not None else None
        error = body.given(line.error)
        status = (response.status_code or 0) if response is not None else self._status_of(error)
        if content is not None and 200 <= status < 300:
            return self._answer(content, endpoint, now)
        if 400 <= status < 600:
            words = content or (b'{"error":' + error + b"}" if error is not None else b"")
            # One row of a batch says nothing about the provider's health.
            return replace(self._direct.fault(Incoming(status=status, headers={}, body=words)), healthy=True)
        if error is not None and _code(error) in UNFINISHED:
            return None
        unexplained = b'{"message":"The provider gave neither an answer nor an error for this row."}'
        return replace(self._direct.error_frame(error or unexplained), healthy=True)

    def _status_of(self, _error: bytes | None) -> int:
        """The status of HTTP that the error of a row without a response stands for; 0: none is known."""
        return 0

    def _answer(self, content: bytes, endpoint: Endpoint, now: float) -> Answer | Fault:
        try:
            return FRONTS[endpoint].answer(repaired(content), now)
        except ValueError as error:
            return self._malformed(f"a {endpoint} object in a result line", error)

    # Files

    def encode_delete(self, file_id: str) -> Outgoing | None:
        """DELETE /files/{id}."""
        return self._outgoing("DELETE", f"/files/{quote(file_id, safe='')}")

    def decode_delete(self, incoming: Incoming) -> Fault | None:
        """What is gone already is deleted."""
        return None if is_good(incoming) or incoming.status in (404, 410) else self.fault(incoming)

    def fault(self, incoming: Incoming) -> Fault:
        """As for direct calls."""
        return self._direct.fault(incoming)

    def _outgoing(self, method: str, path: str, content: bytes = b"") -> Outgoing:
        return Outgoing(method=method, url=self._base + path, headers=(_JSON, *self._auth), body=content)

    def _malformed(self, what: str, cause: Exception) -> Fault:
        return UpstreamMalformed(f"'{self._name}' sent what is not {what} ({cause}).").fault


def path_of(endpoint: Endpoint) -> str:
    """An endpoint as batches name it, whatever the base URL."""
    return f"/v1{FRONTS[endpoint].path}"


def _counts(said: Any) -> Counts | None:
    if not isinstance(said, dict):
        return None
    total, completed, failed = (whole(said.get(name)) for name in ("total", "completed", "failed"))
    return Counts(total=total, completed=completed, failed=failed)


def problems_of(said: Any) -> tuple[Problem, ...]:
    """The reasons in a list, or in an object that holds one."""
    listed = said.get("data") if isinstance(said, dict) else said
    if not isinstance(listed, list):
        return ()
    return tuple([_problem(entry) for entry in listed[:MAX_PROBLEMS] if isinstance(entry, dict)])


def _problem(said: dict[str, Any]) -> Problem:
    message = (text(said.get("message")) or "The provider gave no reason.")[:1000]
    limit = _LIMIT.search(message)
    return Problem(
        code=text(said.get("code")),
        message=message,
        line=whole(said.get("line")) or None,
        limit=int(limit[1].replace(",", "")) if limit else None,
    )


def _code(error: bytes) -> str | None:
    said = body.parse(error)
    return text(said.get("code")) if isinstance(said, dict) else None
