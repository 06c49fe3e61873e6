"""The OpenRouter dialect of batches: OpenAI's batches and result lines, but rows and results travel with the batch.

Shapes: providers.md §8 and SDK openrouter 1.3.84 (`batch`). There is no tag but our custom_ids, and no call that
cancels: what is asked of the one that OpenAI has is a 404, and the batch runs to its end.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Raw, Struct, structs
from msgspec.structs import replace

from batchway.core.job import BatchTerms, Job, ProviderBatch
from batchway.core.types import Endpoint, Fault
from batchway.ports import Incoming, Outgoing, OutgoingRows, ResultReader
from batchway.providers.batch_forms import BatchForm
from batchway.providers.batch_reading import is_good
from batchway.providers.json_entries import EntryCutter
from batchway.providers.openai_batch import OpenAIBatchDialect, path_of, problems_of

FORM = BatchForm(
    # It takes 5,000 rows. A batch that is over is shown with all its results at every look, and a look has to stay
    # within the bound on responses. The bound on bytes is unconfirmed, and learnt where it is less.
    terms=BatchTerms(
        endpoints=("chat", "embeddings", "responses"),
        max_requests=1_000,
        max_bytes=100_000_000,
        uploads=False,
        tagging="results",
    )
)

STATUSES: Mapping[str, int] = {
    "authentication": 401,
    "content_policy_violation": 400,
    "context_length_exceeded": 400,
    "image_download_failed": 400,
    "image_not_found": 400,
    "image_too_large": 400,
    "image_too_small": 400,
    "invalid_image": 400,
    "invalid_prompt": 400,
    "invalid_request": 400,
    "max_tokens_exceeded": 400,
    "not_found": 404,
    "payload_too_large": 413,
    "payment_required": 402,
    "permission_denied": 403,
    "precondition_failed": 412,
    "provider_overloaded": 503,
    "provider_unavailable": 503,
    "rate_limit_exceeded": 429,
    "refusal": 400,
    "server": 500,
    "string_too_long": 400,
    "timeout": 504,
    "token_limit_exceeded": 400,
    "unprocessable": 422,
    "unsupported_image_format": 400,
}
"""What it calls errors (SDK openrouter 1.3.84, APIErrorType), as statuses of HTTP: its rows fail without one."""


class _Error(Struct):
    error_type: Any = None


class _Shown(Struct):
    """What is read of a batch that is looked at: all but its results."""

    id: Any = None
    status: Any = None
    created_at: Any = None
    expires_at: Any = None
    request_counts: Any = None
    error: Any = None


_error = msgspec.json.Decoder(_Error)
_shown = msgspec.json.Decoder(_Shown)
_encode = msgspec.json.Encoder().encode


class OpenRouterBatchDialect(OpenAIBatchDialect):
    """Encodes and decodes for one account. See `ports.BatchDialect`."""

    def __init__(self, name: str, base_url: str, key: str | None) -> None:
        super().__init__(name, base_url, key, FORM)

    def _row(self, _endpoint: Endpoint, custom_id: str, content: bytes) -> bytes:
        return _encode({"custom_id": custom_id, "body": Raw(content)})

    def encode_create(self, job: Job) -> OutgoingRows:
        """POST /batches. The server reads as it comes, and wants the rows last."""
        head = _encode({"endpoint": path_of(job.endpoint), "model": job.model, "completion_window": job.window})
        outgoing = self._outgoing("POST", "/batches")
        return OutgoingRows(
            method=outgoing.method,
            url=outgoing.url,
            headers=outgoing.headers,
            before=head[:-1] + b',"requests":[',
            between=b",",
            after=b"]}",
        )

    def decode_batch(self, incoming: Incoming) -> ProviderBatch | Fault:
        """A batch object, without reading its results."""
        if not is_good(incoming):
            return self.fault(incoming)
        try:
            return self._batch(structs.asdict(_shown.decode(incoming.body)))
        except ValueError as error:
            return self._malformed("a batch", error)

    def _batch(self, said: Any) -> ProviderBatch:
        shown = super()._batch(said)
        results = shown.id if shown.over else None
        return replace(shown, output_file_id=results, error_file_id=results, problems=problems_of([said.get("error")]))

    def encode_results(self, source: str, _after: str | None = None) -> Outgoing:
        """GET /batches/{id} again: its results are in it."""
        return self.encode_get(source)

    def result_reader(self, _headers: Mapping[str, str]) -> ResultReader:
        """The results of a batch object; lines as OpenAI has them."""
        return EntryCutter("results")

    def _status_of(self, error: bytes | None) -> int:
        try:
            kind = _error.decode(error or b"{}").error_type
        except ValueError:
            return 0
        return STATUSES.get(kind, 0) if isinstance(kind, str) else 0

    def encode_delete(self, file_id: str) -> Outgoing:
        """DELETE /batches/{id}: the rows and results that are kept of it."""
        return self._outgoing("DELETE", f"/batches/{quote(file_id, safe='')}")
