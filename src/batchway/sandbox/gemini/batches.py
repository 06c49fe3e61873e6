"""batches: created of a model, shown as long-running operations (shapes: google-genai 3.4 batches.py; §5.1)."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from batchway.sandbox.batch_contract import Sight
from batchway.sandbox.batch_desk import Desk
from batchway.sandbox.batching import Batch
from batchway.sandbox.blobs import Blob, Pile
from batchway.sandbox.contract import Plan, Refused, Visit
from batchway.sandbox.gemini.batch_rows import RPC, Rows
from batchway.sandbox.gemini.files import Files, answer, instant, page
from batchway.sandbox.gemini.models import require_model
from batchway.sandbox.gemini.reading import read
from batchway.sandbox.offers import DAY, MEGABYTE
from batchway.sandbox.state import Sandbox

WINDOW = 2 * DAY
"""Seconds after which a batch that has not ended expires, with no results at all."""

INLINE = 20 * MEGABYTE
"""Bytes that a batch may have whose requests are in the call itself."""

STATES: Mapping[str, str] = {
    "validating": "PENDING",
    "running": "RUNNING",
    "finalizing": "RUNNING",
    "cancelling": "RUNNING",
    "completed": "SUCCEEDED",
    "failed": "FAILED",
    "expired": "EXPIRED",
    "cancelled": "CANCELLED",
}
"""The machine's states by Google's names, without their prefix."""

PREFIX = "type.googleapis.com/google.ai.generativelanguage.v1main."
KINDS = {"batchGenerateContent": "GenerateContentBatch", "asyncBatchEmbedContent": "EmbedContentBatch"}


class Inlined(Struct):
    """A request in the call itself."""

    request: dict[str, Any]
    metadata: dict[str, Any] | None = None


class _Requests(Struct):
    requests: list[Inlined]


class InputConfig(Struct, rename="camel"):
    """Where the requests are."""

    file_name: str | None = None
    requests: _Requests | None = None


class Asked(Struct, rename="camel"):
    """A batch to create."""

    input_config: InputConfig
    display_name: str | None = None
    priority: int | str = 0
    webhook_config: dict[str, Any] | None = None


class _Body(Struct):
    batch: Asked


class Ordered(Struct, kw_only=True):
    """A batch as Google knows it: the machine, and what was said at its creation."""

    batch: Batch
    work: Rows
    model: str
    kind: str
    inline: bool
    file: str | None = None
    """The name of the result file, once there is one."""


_encode = msgspec.json.Encoder().encode


class Batches:
    """The batches of one provider."""

    def __init__(self, sandbox: Sandbox, files: Files) -> None:
        self._sandbox = sandbox
        self._files = files
        self._desk: Desk[Ordered] = Desk(sandbox, _missing)

    def create(self, model: str, method: str, visit: Visit) -> Plan:
        """POST models/{model}:batchGenerateContent, or :asyncBatchEmbedContent (`batch_rows.ENDPOINTS`)."""
        asked = read(visit.body, _Body, frozenset({"batch"})).batch
        require_model(self._sandbox, model)
        work = Rows(self._sandbox, visit, model, method, self._input(asked.input_config, visit))
        self._check_limits(work, model, visit)
        self._desk.allow(visit)
        tags = {"displayName": asked.display_name} if asked.display_name is not None else None
        batch = self._desk.begin(visit, f"batches/{visit.number:036x}", tags, work, WINDOW)
        inline = asked.input_config.requests is not None
        ordered = Ordered(batch=batch, work=work, model=model, kind=KINDS[method], inline=inline)
        work.close = lambda output, _errors, at: self._keep(ordered, output, at)
        self._desk.take(ordered)
        return answer(_shown(ordered, batch.sight(visit.at, polled=False), visit.at))

    def show(self, name: str, visit: Visit) -> Plan:
        """GET batches/{id}."""
        ordered, sight = self._desk.poll(name, visit)
        return answer(_shown(ordered, sight, visit.at))

    def list(self, visit: Visit) -> Plan:
        """GET batches: the newest first, without the results that are in them."""
        shown = [_shown(each, sight, visit.at, whole=False) for each, sight in self._desk.listed(visit)]
        return page("operations", shown, visit)

    def cancel(self, name: str, visit: Visit) -> Plan:
        """POST batches/{id}:cancel."""
        batch = self._desk.find(name, visit).batch
        if batch.ended is not None:
            raise Refused(400, f"The batch {name} has ended and cannot be cancelled.")
        batch.cancel(visit.at)
        return answer({})

    def delete(self, name: str, visit: Visit) -> Plan:
        """DELETE batches/{id}: nobody is interested any more. It goes on all the same."""
        self._desk.drop(name, visit)
        return answer({})

    def _input(self, config: InputConfig, visit: Visit) -> Blob:
        if config.file_name is not None:
            return self._files.find(config.file_name, visit).content
        if config.requests is None:
            raise Refused(400, "A batch needs requests, or a file of them.", param="batch.input_config")
        if visit.size > INLINE:
            raise Refused(400, f"Inline requests may have {INLINE} bytes together: upload a file.")
        content = Blob()
        for inlined in config.requests.requests:
            line = {"request": inlined.request} | ({"metadata": inlined.metadata} if inlined.metadata else {})
            content.append(_encode(line) + b"\n")
        return content

    def _check_limits(self, work: Rows, model: str, visit: Visit) -> None:
        """Raises Refused where the key has too much under way: nothing is created."""
        offer, live = self._sandbox.offer(visit.provider), self._desk.live(visit)
        if offer.live_batches is not None and len(live) >= offer.live_batches:
            raise _exhausted(f"You may have {offer.live_batches} batches under way")
        if offer.enqueued_tokens is not None:
            enqueued = sum(each.work.tokens() for each in live if each.model == model) + work.tokens()
            if enqueued > offer.enqueued_tokens:
                raise _exhausted(f"You may have {offer.enqueued_tokens} tokens enqueued for {model}")

    def _keep(self, ordered: Ordered, output: Pile, at: float) -> None:
        """Results are kept only of what succeeded."""
        if ordered.batch.ended == "completed" and not ordered.inline:
            ordered.file = self._files.store(ordered.batch.order.key, output.blob, at)


def _exhausted(why: str) -> Refused:
    return Refused(429, f"You exceeded your current quota: {why}. Please try again later.")


def _missing(name: str) -> Refused:
    return Refused(404, f"Requested entity was not found: {name}.")


def _shown(ordered: Ordered, sight: Sight, at: float, *, whole: bool = True) -> dict[str, Any]:
    batch = ordered.batch
    ended = None if batch.ended is None else batch.times[batch.ended]
    output = _output(ordered, sight, whole)
    metadata = {
        "@type": PREFIX + ordered.kind,
        "model": f"models/{ordered.model}",
        "displayName": sight.tags["displayName"] if sight.tags else None,
        "output": output,
        "createTime": instant(batch.order.at),
        "endTime": None if ended is None else instant(ended),
        "updateTime": instant(at if ended is None else ended),
        "batchStats": _stats(batch),
        "state": f"BATCH_STATE_{STATES[sight.state]}" if sight.state in STATES else sight.state,
        "name": batch.order.id,
    }
    return {
        "name": batch.order.id,
        "metadata": {name: value for name, value in metadata.items() if value is not None},
        **_end(batch, output, ordered.kind),
    }


def _end(batch: Batch, output: dict[str, Any] | None, kind: str) -> dict[str, Any]:
    """How the operation ended: with what it gives, or with an error."""
    if batch.ended is None:
        return {}
    if batch.ended == "completed":
        return {"done": True, "response": {"@type": f"{PREFIX}{kind}Output", **(output or {})}}
    crowded = any(problem.code == "token_limit_exceeded" for problem in batch.problems)
    status = {"cancelled": 499, "expired": 504, "failed": 429 if crowded else 400}[batch.ended]
    said = "; ".join(problem.message for problem in batch.problems)
    return {"done": True, "error": {"code": RPC[status], "message": said or f"The batch has {batch.ended}."}}


def _output(ordered: Ordered, sight: Sight, whole: bool) -> dict[str, Any] | None:
    """Where the results are, or the results themselves."""
    if ordered.inline:
        return _inlined(ordered.batch) if whole and ordered.batch.ended == "completed" else None
    name = ordered.file if sight.files and ordered.file is not None else sight.absent
    return None if name is None else {"responsesFile": name}


def _inlined(batch: Batch) -> dict[str, Any]:
    lines = [Raw(batch.output.line(number)) for number in range(len(batch.output))]
    return {"inlinedResponses": {"inlinedResponses": lines}}


def _stats(batch: Batch) -> dict[str, str]:
    """64-bit numbers are texts, and zeros are left out."""
    counts = {
        "requestCount": batch.size,
        "pendingRequestCount": batch.size - batch.done,
        "successfulRequestCount": batch.done - batch.failed,
        "failedRequestCount": batch.failed,
    }
    return {name: str(count) for name, count in counts.items() if count}
