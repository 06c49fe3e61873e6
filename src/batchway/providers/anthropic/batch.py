"""Anthropic's Message Batches: rows in the create call, our tag in their custom_ids, results as JSON Lines.

Shapes: providers.md §4; anthropic 2.11, types/messages. A batch of theirs does not fail or expire as a whole, its rows
do, one by one: our word for how it ended is taken from the counts.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from batchway.core.errors import BadRequest, UpstreamMalformed
from batchway.core.job import LONGEST_ID, BatchPage, BatchStatus, BatchTerms, Counts, Job, ProviderBatch, RowResult
from batchway.core.types import Answer, Fault, Request
from batchway.ports import Dialect, Incoming, Outgoing, OutgoingRows
from batchway.providers.anthropic import faults
from batchway.providers.anthropic.dialect import AnthropicDialect
from batchway.providers.batch_reading import is_good, latest, repaired, text, whole
from batchway.providers.json_lines import LineCutter
from batchway.wire import body

TERMS = BatchTerms(
    endpoints=("chat",),
    max_requests=100_000,
    max_bytes=255_000_000,  # 256 MB, and room for the commas.
    one_model=False,
    uploads=False,
    tagging="results",
    # Only whole batches can be deleted, and one that was adopted by its looks may turn out to be somebody else's.
    # Results go by themselves, 29 days after their batch was created.
    deletes=False,
)

STATUSES: Mapping[str, BatchStatus] = {
    "in_progress": "running",
    "canceling": "cancelling",
    "cancelling": "cancelling",
    "ended": "completed",
}
"""Their words and ours; `_end` is more precise about an end."""

UNDONE = frozenset({"canceled", "cancelled", "expired"})
"""Types of results of rows that were never done."""

PAGE = 100
"""Batches asked for at a time, of at most 1,000."""

OWNERS = faults.FINAL | {"claude_code_key_creator_not_member", "cmek_key_disabled", "workspace_human_review_disabled"}
"""Codes of refusals that only the owner of the account can mend. Some come with 400, as if the rows were to blame
(anthropic 2.11, _error_classes; resources/messages/batches names those of a create call)."""

SPENT = "insufficient_quota"
"""OpenAI's word for that, by which `core.job` knows it."""

_PATH = re.compile(r"/[!-~]*")


class _List(Struct):
    data: list[Raw]
    has_more: bool | None = None
    last_id: str | None = None


class _Result(Struct):
    type: str = ""
    message: Raw = Raw(b"null")
    error: Raw = Raw(b"null")


class _Line(Struct):
    custom_id: str
    result: _Result


_list = msgspec.json.Decoder(_List)
_line = msgspec.json.Decoder(_Line)
_encode = msgspec.json.Encoder().encode


class AnthropicBatchDialect:
    """Encodes and decodes for one account. See `ports.BatchDialect`.

    `version` and `errors`: as for `AnthropicDialect`. All rows of a batch are done by the version that created it.
    """

    terms = TERMS

    def __init__(self, name: str, base_url: str, key: str | None, version: str, *, errors: Dialect) -> None:
        self._name = name
        self._direct = AnthropicDialect(name, base_url, key, version, errors=errors)
        self._batches = f"{self._direct.root}/v1/messages/batches"
        parts = urlsplit(self._batches)
        self._host = f"{parts.scheme}://{parts.netloc}"
        self._path = parts.path

    # Rows going out

    def line(self, request: Request, custom_id: str) -> bytes:
        """The request as one of `requests`. Raises BadRequest that names what cannot be expressed."""
        message = self._direct.message(request, stream=False)
        if message.pop("speed", "standard") != "standard":
            raise _too_fast(request)
        row = _encode({"custom_id": custom_id, "params": message})
        return row.replace(b"\r", b" ").replace(b"\n", b" ")  # JSON has them between its tokens only.

    def measure(self, request: Request) -> int:
        """By writing it: it is translated, and may not be translatable."""
        return len(self.line(request, LONGEST_ID))

    def encode_upload_start(self, _job: Job) -> None:
        """Nothing."""

    def encode_upload(self, _job: Job, _started: Incoming | None = None) -> OutgoingRows:
        """Never asked for: rows travel in the create call."""
        raise NotImplementedError("Anthropic takes no uploads for batches")

    def decode_upload(self, _incoming: Incoming) -> str | Fault:
        """Never asked for: rows travel in the create call."""
        raise NotImplementedError("Anthropic takes no uploads for batches")

    # Batches

    def encode_create(self, _job: Job) -> OutgoingRows:
        """POST /v1/messages/batches. It has no place for a tag but the custom_ids."""
        return OutgoingRows(
            method="POST",
            url=self._batches,
            headers=self._direct.headers(None),
            before=b'{"requests":[',
            between=b",",
            after=b"]}",
        )

    def encode_get(self, batch_id: str) -> Outgoing:
        """GET /v1/messages/batches/{id}."""
        return self._outgoing("GET", f"/{quote(batch_id, safe='')}")

    def decode_batch(self, incoming: Incoming) -> ProviderBatch | Fault:
        """A batch object."""
        if not is_good(incoming):
            return self.fault(incoming)
        try:
            return self._batch(body.parse(incoming.body))
        except ValueError as error:
            return self._malformed("a batch", error)

    def encode_list(self, _tag: str | None, after: str | None) -> Outgoing:
        """GET /v1/messages/batches: it cannot filter."""
        asked = {"limit": str(PAGE)} | ({"after_id": after} if after is not None else {})
        return self._outgoing("GET", f"?{urlencode(asked)}")

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
        """POST /v1/messages/batches/{id}/cancel."""
        return self._outgoing("POST", f"/{quote(batch_id, safe='')}/cancel")

    def decode_cancel(self, incoming: Incoming) -> ProviderBatch | Fault | None:
        """The batch, where it is shown: that the call was taken is what counts."""
        if not is_good(incoming):
            return self.fault(incoming)
        shown = self.decode_batch(incoming)
        return None if isinstance(shown, Fault) else shown

    def _batch(self, said: Any) -> ProviderBatch:
        if not isinstance(said, dict) or not text(said.get("id")):
            raise ValueError("no object with an id")
        word = text(said.get("processing_status")) or ""
        counts = said.get("request_counts")
        counts = counts if isinstance(counts, dict) else {}
        results = self._results(said["id"], said.get("results_url"))
        return ProviderBatch(
            id=said["id"],
            status=_end(counts) if word == "ended" else STATUSES.get(word, "unknown"),
            said=word[:100],
            created_at=latest(said.get("created_at")),
            counts=_counts(counts) if counts else None,
            output_file_id=results,
            error_file_id=results,  # They are lines of the same file.
            expires_at=latest(said.get("expires_at")),
        )

    def _results(self, batch_id: str, url: Any) -> str | None:
        """The path at our own host where the results are; None: there are none yet, or no more.

        A URL of another host is not followed, our key would go with it: the results are where they are documented to
        be. (A gateway between us and Anthropic passes such a URL on, and answers at its own.)
        """
        named = text(url)
        if named is None:
            return None
        path = self._path_of(named)
        return path if path is not None else f"{self._path}/{quote(batch_id, safe='')}/results"

    def _path_of(self, url: str) -> str | None:
        """Path and query of a URL of exactly our host; None for any other."""
        try:
            parts = urlsplit(url)
            ours = _origin(url) == _origin(self._host)
        except ValueError:
            return None
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        return path if ours and _PATH.fullmatch(path) else None

    # Results

    def encode_results(self, source: str, _after: str | None = None) -> Outgoing:
        """GET the results: `source` is a path, so that no handle leads to another host."""
        path = source if _PATH.fullmatch(source) else f"/{quote(source)}"
        headers = (("accept", "application/binary"), *self._direct.headers(None))
        return Outgoing(method="GET", url=self._host + path, headers=headers, body=b"")

    def result_reader(self, _headers: Mapping[str, str]) -> LineCutter:
        """JSON Lines."""
        return LineCutter()

    def read_result(self, line: bytes, _job: Job, now: float) -> RowResult:
        """A line. Raises ValueError if it cannot be read."""
        try:
            read = _line.decode(line)
        except UnicodeDecodeError:
            read = _line.decode(repaired(line))
        return RowResult(custom_id=read.custom_id, outcome=self._outcome(read.result, now))

    def _outcome(self, result: _Result, now: float) -> Answer | Fault | None:
        """A message is an answer; the rest is a fault, or a row that was not done."""
        if result.type in UNDONE:
            return None
        message = body.given(result.message)
        if result.type == "succeeded" and message is not None:
            return self._direct.answer(message, now)
        error = body.given(result.error)
        if error is None:
            unexplained = f"The provider gave neither an answer nor an error for this row, but '{result.type[:40]}'."
            return replace(self._direct.error_frame(_encode({"message": unexplained})), healthy=True)
        refused = Incoming(status=faults.status_of(error), headers={}, body=error)
        # One row of a batch says nothing about the provider's health.
        return replace(self._direct.fault(refused), healthy=True)

    # Files

    def encode_delete(self, _file_id: str) -> None:
        """Nothing: see `TERMS`."""

    def decode_delete(self, incoming: Incoming) -> Fault | None:
        """What is gone already is deleted."""
        return None if is_good(incoming) or incoming.status in (404, 410) else self.fault(incoming)

    def fault(self, incoming: Incoming) -> Fault:
        """As for direct calls, but what only the account's owner can mend has the word for it that jobs know."""
        fault = self._direct.fault(incoming)
        return fault if OWNERS.isdisjoint((fault.code, fault.type)) else replace(fault, type=SPENT)

    def _outgoing(self, method: str, path: str) -> Outgoing:
        return Outgoing(method=method, url=self._batches + path, headers=self._direct.headers(None), body=b"")

    def _malformed(self, what: str, cause: Exception) -> Fault:
        return UpstreamMalformed(f"'{self._name}' sent what is not {what} ({cause}).").fault


def _too_fast(request: Request) -> BadRequest:
    """What to raise for a request in fast mode, whichever field asked for it."""
    field = "speed" if body.given(body.fields(request.body).get("speed", msgspec.UNSET)) else "service_tier"
    message = f"{field}: Anthropic's batches have no fast mode; leave it out, or send the request directly."
    return BadRequest(message, param=field, code="unsupported_parameter")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port. Raises ValueError for what has none."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _end(counts: Mapping[str, Any]) -> BatchStatus:
    """How a batch ended: by what became of the rows that were not done."""
    if whole(counts.get("canceled")):
        return "cancelled"
    return "expired" if whole(counts.get("expired")) else "completed"


def _counts(said: Mapping[str, Any]) -> Counts:
    """Every row has its line in the end, those that were not done as well."""
    states = ("processing", "succeeded", "errored", "canceled", "expired")
    waiting, done, *others = (whole(said.get(state)) for state in states)
    return Counts(total=waiting + done + sum(others), completed=done, failed=sum(others))
