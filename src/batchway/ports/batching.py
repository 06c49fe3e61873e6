"""Batching: how the Batch API of a provider is spoken to."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from batchway.core.job import BatchPage, BatchTerms, Job, ProviderBatch, RowResult
from batchway.core.types import Fault, Request
from batchway.ports.calling import Incoming, Outgoing


class OutgoingRows(Struct, frozen=True, kw_only=True, gc=False):
    """An HTTP request that carries the rows of a job: its body is `before`, the lines joined by `between`, `after`.

    The lines are not in it: they may be 200 MB, and are streamed from the store.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    before: bytes
    between: bytes
    after: bytes

    def length(self, n: int, size: int) -> int:
        """Bytes of the whole body with `n` lines of `size` bytes together."""
        return len(self.before) + size + len(self.between) * max(0, n - 1) + len(self.after)


class ResultReader(Protocol):
    """Cuts one response with results into lines as it comes."""

    @property
    def after(self) -> str | None:
        """When it is read: what the next page is asked by (`encode_results`); None: that was all."""
        ...

    def feed(self, data: bytes) -> Sequence[bytes]:
        """The lines that are whole now."""
        ...

    def end(self) -> Sequence[bytes]:
        """The response has ended as it should: the lines that are left."""
        ...


class BatchDialect(Protocol):
    """How the Batch API of one provider is spoken to, for one account: pure encoding and decoding.

    `decode_*` take any response. What is not what was asked for is a Fault; after a create call that is an unknown
    outcome, unless it is a refusal (`core.job` knows).

    | provider | rows travel | tag is found in | results are read by | pages |
    |---|---|---|---|---|
    | OpenAI, compatible | multipart upload, then create | `metadata` | file ids, JSON Lines | one |
    | Anthropic | in the create call (OutgoingRows) | custom_ids only | `results_url`, JSON Lines | one |
    | Gemini | resumable upload (`encode_upload_start` gets its URL) | `displayName` | `files/…`, JSON Lines | one |
    | xAI | multipart upload, then create | `name` | the batch's id, JSON | `pagination_token` |
    | Mistral | multipart upload, then create | `metadata`, filtered there | file ids, JSON Lines | numbered |
    | OpenRouter | in the create call | custom_ids only | the batch's id, JSON | one |

    (providers.md §3 to §9.)
    """

    @property
    def terms(self) -> BatchTerms:
        """What it takes and can do."""
        ...

    def line(self, request: Request, custom_id: str) -> bytes:
        """One row as it is sent, without a newline in it. Raises BadRequest, naming the field, for what cannot be sent
        this way."""
        ...

    def measure(self, request: Request) -> int:
        """Bytes that its row has, or at most `FRAMING` more: what it may be refused for is found out when it is
        accepted. Raises as `line` does."""
        ...

    def encode_upload_start(self, job: Job) -> Outgoing | None:
        """What has to be sent before the upload itself; None: nothing. `job.size` is exact where `terms.announces`."""
        ...

    def encode_upload(self, job: Job, started: Incoming | None) -> OutgoingRows:
        """The upload of the job's rows, after the answer to `encode_upload_start`."""
        ...

    def decode_upload(self, incoming: Incoming) -> str | Fault:
        """The id of the uploaded file."""
        ...

    def encode_create(self, job: Job) -> Outgoing | OutgoingRows:
        """The call that creates the batch, with its tag; with its rows where `terms.uploads` is False."""
        ...

    def encode_get(self, batch_id: str) -> Outgoing:
        """The call that asks how a batch is."""
        ...

    def decode_batch(self, incoming: Incoming) -> ProviderBatch | Fault:
        """What creating or asking gives."""
        ...

    def encode_list(self, tag: str | None, after: str | None) -> Outgoing:
        """The call for a page of batches, newest first; of this tag alone, where the provider can filter."""
        ...

    def decode_list(self, incoming: Incoming) -> BatchPage | Fault:
        """A page of batches. A page with one batch that cannot be read proves nothing, and is a Fault."""
        ...

    def encode_cancel(self, batch_id: str) -> Outgoing:
        """The call that cancels a batch."""
        ...

    def decode_cancel(self, incoming: Incoming) -> ProviderBatch | Fault | None:
        """What cancelling gives; None where it was taken and no batch is shown."""
        ...

    def encode_results(self, source: str, after: str | None) -> Outgoing:
        """The call for the results of one of `ProviderBatch.sources`, or for their next page."""
        ...

    def result_reader(self, headers: Mapping[str, str]) -> ResultReader:
        """A reader of one 2xx response to it."""
        ...

    def read_result(self, line: bytes, job: Job, now: float) -> RowResult:
        """What a result line says. Raises ValueError if it cannot be read."""
        ...

    def encode_delete(self, file_id: str) -> Outgoing | None:
        """The call that deletes one of our files; None: this one need not be."""
        ...

    def decode_delete(self, incoming: Incoming) -> Fault | None:
        """None: it is gone."""
        ...

    def fault(self, incoming: Incoming) -> Fault:
        """The fault that an error status is."""
        ...
