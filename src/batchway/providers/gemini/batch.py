"""Gemini's batches: the rows in a file of JSON Lines, our tag in the display name, the results in another file.

Shapes: providers.md §5.1; google-genai 3.4, batches.py and files.py. A batch is shown as a long-running operation.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from batchway.core.errors import UpstreamMalformed
from batchway.core.job import LONGEST_ID, BatchPage, BatchTerms, Job, ProviderBatch, RowResult
from batchway.core.types import Endpoint, Fault, Request
from batchway.ports import Incoming, Outgoing, OutgoingRows
from batchway.providers.batch_reading import is_good
from batchway.providers.gemini.batch_rows import encode_row, read_row
from batchway.providers.gemini.dialect import VERSION
from batchway.providers.gemini.errors import Faults
from batchway.providers.gemini.models import resource_of
from batchway.providers.gemini.operations import DOWNLOAD, read_operation
from batchway.providers.json_lines import LineCutter
from batchway.wire import body

TERMS: Final = BatchTerms(
    endpoints=("chat", "embeddings"),
    max_requests=None,
    max_bytes=2_000_000_000,
    announces=True,
)

METHODS: Final[Mapping[Endpoint, str]] = {"chat": "batchGenerateContent", "embeddings": "asyncBatchEmbedContent"}
"""What a model is asked to do with a batch."""

KIND: Final = "application/jsonl"
PAGE: Final = 100
"""Batches asked for at a time."""

_LOST_FILE = re.compile(r"access the File \S+ or it may not exist")
"""How a file that has gone is spoken of, with 403: what is missing is the file, not a right."""

_JSON = ("content-type", "application/json")


class _List(Struct, rename="camel"):
    operations: list[Raw] = []
    next_page_token: str | None = None


_list = msgspec.json.Decoder(_List)
_encode = msgspec.json.Encoder().encode


class GeminiBatchDialect:
    """Encodes and decodes for one account. See `ports.BatchDialect`."""

    terms = TERMS

    def __init__(self, name: str, base_url: str, key: str | None, version: str | None = None) -> None:
        self._name = name
        base = base_url.rstrip("/")
        self._root = f"{base}/{version or VERSION}"
        self._uploads = f"{base}/upload/{version or VERSION}/files"
        self._auth = (("x-goog-api-key", key),) if key is not None else ()
        self._faults = Faults(name, key)

    # Rows going out

    def line(self, request: Request, custom_id: str) -> bytes:
        """The request under its key. Raises BadRequest, naming the field, for what cannot be asked in a batch."""
        return encode_row(self._name, request, custom_id)

    def measure(self, request: Request) -> int:
        """By writing it: it is translated, and may not be translatable."""
        return len(self.line(request, LONGEST_ID))

    def encode_upload_start(self, job: Job) -> Outgoing:
        """POST /upload/{version}/files: its answer says where the bytes go, each line of them ended by a newline."""
        length = job.size + job.n
        headers = (
            _JSON,
            ("x-goog-upload-protocol", "resumable"),
            ("x-goog-upload-command", "start"),
            ("x-goog-upload-header-content-length", str(length)),
            ("x-goog-upload-header-content-type", KIND),
            *self._auth,
        )
        file = {"display_name": job.submit_tag, "mime_type": KIND, "size_bytes": length}
        return Outgoing(method="POST", url=self._uploads, headers=headers, body=_encode({"file": file}))

    def encode_upload(self, _job: Job, started: Incoming | None) -> OutgoingRows:
        """POST all bytes to where the answer said. Raises UpstreamMalformed if it did not say."""
        named = started.headers.get("x-goog-upload-url") if started is not None and is_good(started) else None
        if named is None:
            raise UpstreamMalformed(f"'{self._name}' did not say where the rows of a batch are to be uploaded.")
        headers = (
            ("content-type", KIND),
            ("x-goog-upload-command", "upload, finalize"),
            ("x-goog-upload-offset", "0"),
            *self._auth,
        )
        url = self._at_home(named)
        return OutgoingRows(method="POST", url=url, headers=headers, before=b"", between=b"\n", after=b"\n")

    def _at_home(self, url: str) -> str:
        """The URL at our own host, whatever host it names: our key and our rows go nowhere else. Raises
        UpstreamMalformed.

        Of another host's only the query counts, which names the upload: a gateway between us and Google passes such a
        URL on, and answers at its own. (Google's SDK keeps to its own host, too.)
        """
        ours = urlsplit(self._uploads)
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise UpstreamMalformed(f"'{self._name}' named no address for an upload ({error}).") from error
        if (parts.scheme, parts.netloc) != (ours.scheme, ours.netloc):
            return f"{self._uploads}?{parts.query}"
        return f"{ours.scheme}://{ours.netloc}/{parts.path.lstrip('/')}?{parts.query}"

    def decode_upload(self, incoming: Incoming) -> str | Fault:
        """The file's name, if all of it has arrived."""
        if not is_good(incoming):
            return self.fault(incoming)
        if incoming.headers.get("x-goog-upload-status", "final") != "final":
            return self._malformed("a finished upload", ValueError("it wants more bytes"))
        try:
            file = body.parse(incoming.body)["file"]
            if file.get("state") == "FAILED":
                return self._malformed("a file that it can use", ValueError(f"{file.get('error')}"[:200]))
            return str(file["name"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return self._malformed("a file", error)

    # Batches

    def encode_create(self, job: Job) -> Outgoing:
        """POST /models/{model}:batchGenerateContent, or :asyncBatchEmbedContent."""
        batch = {"displayName": job.submit_tag, "inputConfig": {"fileName": job.input_file_id}}
        path = f"{resource_of(job.model)}:{METHODS[job.endpoint]}"
        return self._outgoing("POST", path, _encode({"batch": batch}))

    def encode_get(self, batch_id: str) -> Outgoing:
        """GET /batches/{id}."""
        return self._outgoing("GET", _resource("batches", batch_id))

    def decode_batch(self, incoming: Incoming) -> ProviderBatch | Fault:
        """An operation."""
        if not is_good(incoming):
            return self.fault(incoming)
        try:
            return read_operation(body.parse(incoming.body))
        except ValueError as error:
            return self._malformed("a batch", error)

    def encode_list(self, _tag: str | None, after: str | None) -> Outgoing:
        """GET /batches: it cannot filter."""
        asked = {"pageSize": PAGE} | ({"pageToken": after} if after is not None else {})
        return self._outgoing("GET", f"batches?{urlencode(asked)}")

    def decode_list(self, incoming: Incoming) -> BatchPage | Fault:
        """A page. Nobody says that the newest come first: where a page does not show it, its batches are given without
        their times, so that whoever looks for one reads to the end."""
        if not is_good(incoming):
            return self.fault(incoming)
        try:
            page = _list.decode(incoming.body)
            batches = [read_operation(body.parse(bytes(entry))) for entry in page.operations]
        except ValueError as error:
            return self._malformed("a list of batches", error)
        if not _is_newest_first([batch.created_at for batch in batches]):
            batches = [replace(batch, created_at=None) for batch in batches]
        return BatchPage(batches=tuple(batches), after=page.next_page_token or None)

    def encode_cancel(self, batch_id: str) -> Outgoing:
        """POST /batches/{id}:cancel."""
        return self._outgoing("POST", f"{_resource('batches', batch_id)}:cancel")

    def decode_cancel(self, incoming: Incoming) -> Fault | None:
        """It shows no batch."""
        return None if is_good(incoming) else self.fault(incoming)

    # Results

    def encode_results(self, source: str, _after: str | None = None) -> Outgoing:
        """GET /files/{id}:download."""
        return self._outgoing("GET", f"{_resource('files', source.removesuffix(DOWNLOAD))}{DOWNLOAD}?alt=media")

    def result_reader(self, _headers: Mapping[str, str]) -> LineCutter:
        """JSON Lines."""
        return LineCutter()

    def read_result(self, line: bytes, job: Job, now: float) -> RowResult:
        """A line. Raises ValueError if it cannot be read."""
        return read_row(self._name, self._faults, line, job, now)

    # Files

    def encode_delete(self, file_id: str) -> Outgoing | None:
        """DELETE /files/{id}, of the rows; the results need not be (`DOWNLOAD`)."""
        return None if file_id.endswith(DOWNLOAD) else self._outgoing("DELETE", _resource("files", file_id))

    def decode_delete(self, incoming: Incoming) -> Fault | None:
        """What is gone already is deleted."""
        if is_good(incoming):
            return None
        fault = self.fault(incoming)
        return None if fault.status in (404, 410) else fault

    def fault(self, incoming: Incoming) -> Fault:
        """As for direct calls, but a wrong key is a 401 and a lost file a 404, by which `core.job` knows them."""
        fault = self._faults.of_status(incoming)
        if fault.code == "api_key_invalid":
            return replace(fault, status=401, type="authentication_error")
        if _LOST_FILE.search(fault.message):
            return replace(fault, status=404, param="input_file_id")
        return fault

    def _outgoing(self, method: str, path: str, content: bytes = b"") -> Outgoing:
        return Outgoing(method=method, url=f"{self._root}/{path}", headers=(_JSON, *self._auth), body=content)

    def _malformed(self, what: str, cause: Exception) -> Fault:
        return UpstreamMalformed(f"'{self._name}' sent what is not {what} ({cause}).").fault


def _is_newest_first(times: Sequence[float | None]) -> bool:
    """Whether these times fall, none of them missing."""
    known = [at for at in times if at is not None]
    falling = all(earlier >= later for earlier, later in pairwise(known))
    return falling and 1 < len(known) == len(times) and known[0] > known[-1]


def _resource(kind: str, name: str) -> str:
    """The path of `batches/…` or `files/…`, with nothing in it that could lead elsewhere."""
    return f"{kind}/{quote(name.removeprefix(f'{kind}/'), safe='')}"
