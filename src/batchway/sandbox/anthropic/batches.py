"""/v1/messages/batches: create, show, list, cancel, delete and read (shapes: anthropic 2.11, types/messages)."""

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta, Struct

from batchway.sandbox.anthropic.batch_rows import Rows, read
from batchway.sandbox.anthropic.body import explain
from batchway.sandbox.anthropic.caching import PromptCache
from batchway.sandbox.batch_contract import Sight
from batchway.sandbox.batch_desk import Desk
from batchway.sandbox.batching import Batch
from batchway.sandbox.blobs import Blob, Blocks
from batchway.sandbox.contract import Part, Plan, Refused, Visit
from batchway.sandbox.offers import DAY, seconds
from batchway.sandbox.openai.parameters import JSON
from batchway.sandbox.state import Sandbox

BATCHES = "/v1/messages/batches"
CANCEL = "/cancel"
RESULTS = "/results"

KEPT = 29 * DAY
"""Seconds from the creation of a batch during which its results can be read."""

STATES = {
    "validating": "in_progress",
    "running": "in_progress",
    "finalizing": "in_progress",
    "cancelling": "canceling",
    "completed": "ended",
    "failed": "ended",
    "expired": "ended",
    "cancelled": "ended",
}
"""The machine's states by Anthropic's names."""

LINES = ((b"content-type", b"application/x-jsonl"),)


class Listing(Struct):
    """How to list batches."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 20
    after_id: str | None = None
    before_id: str | None = None


class Ordered(Struct, frozen=True):
    """A batch and its work."""

    batch: Batch
    work: Rows

    def results(self, at: float) -> Blob | None:
        """The results, as long as they are kept."""
        return self.work.results if at < self.batch.order.at + KEPT else None


class Batches:
    """The batches of one provider."""

    def __init__(self, sandbox: Sandbox, cache: PromptCache) -> None:
        self._sandbox = sandbox
        self._cache = cache
        self._desk: Desk[Ordered] = Desk(sandbox, _missing)

    def create(self, visit: Visit) -> Plan:
        """POST /v1/messages/batches. Only the envelope is judged here; requests fail one by one."""
        offer = self._sandbox.offer(visit.provider)
        if visit.size > offer.most_bytes:
            raise Refused(413, f"Request exceeds the maximum size of {offer.most_bytes} bytes")
        requests = read(visit.body)
        if offer.most_requests is not None and len(requests) > offer.most_requests:
            raise Refused(413, f"requests: List should have at most {offer.most_requests} items")
        self._check_queue(visit, len(requests))
        self._desk.allow(visit)
        work = Rows(self._sandbox, visit, requests, self._cache)
        identity, window = f"msgbatch_{visit.number:024x}", seconds(offer.windows[0])
        ordered = Ordered(self._desk.begin(visit, identity, None, work, window, sound=True), work)
        self._desk.take(ordered)
        return _answer(_shown(ordered, ordered.batch.sight(visit.at, polled=False), visit))

    def show(self, visit: Visit) -> Plan:
        """GET /v1/messages/batches/{id}."""
        ordered, sight = self._desk.poll(_named(visit), visit)
        return _answer(_shown(ordered, sight, visit))

    def list(self, visit: Visit) -> Plan:
        """GET /v1/messages/batches: the newest first."""
        try:
            wanted = msgspec.convert(dict(parse_qsl(visit.query.decode())), Listing, strict=False)
        except (msgspec.ValidationError, UnicodeDecodeError) as error:
            raise Refused(400, explain(str(error))) from error
        return _page([_shown(each, sight, visit) for each, sight in self._desk.listed(visit)], wanted)

    def cancel(self, visit: Visit) -> Plan:
        """POST /v1/messages/batches/{id}/cancel."""
        ordered = self._desk.find(_named(visit), visit)
        batch = ordered.batch
        if batch.ended is not None:
            raise Refused(400, f"Message batch {batch.order.id} has ended and cannot be canceled")
        batch.cancel(visit.at)
        return _answer(_shown(ordered, batch.sight(visit.at, polled=False), visit))

    def delete(self, visit: Visit) -> Plan:
        """DELETE /v1/messages/batches/{id}: only of what has ended."""
        batch = self._desk.find(_named(visit), visit).batch
        if batch.ended is None:
            raise Refused(400, f"Message batch {batch.order.id} is being processed: cancel it first")
        self._desk.drop(batch.order.id, visit)
        return _answer({"id": batch.order.id, "type": "message_batch_deleted"})

    def results(self, visit: Visit) -> Plan:
        """GET /v1/messages/batches/{id}/results."""
        ordered = self._desk.find(_named(visit), visit)
        results = ordered.results(visit.at)
        if results is None:
            raise Refused(404, f"Message batch {ordered.batch.order.id} has no available results")
        return Plan(headers=LINES, parts=Blocks(results))

    def _check_queue(self, visit: Visit, more: int) -> None:
        """Raises Refused where the key has too much under way."""
        offer = self._sandbox.offer(visit.provider)
        live = self._desk.live(visit)
        queued = sum(each.batch.size for each in live) + more
        for limit, wanted, what in (
            (offer.live_requests, queued, "batch requests in the processing queue"),
            (offer.live_batches, len(live) + 1, "batches"),
        ):
            if limit is not None and wanted > limit:
                raise Refused(429, f"This request would exceed your organization's limit of {limit} {what}")


def _named(visit: Visit) -> str:
    return visit.path.removeprefix(f"{BATCHES}/").removesuffix(CANCEL).removesuffix(RESULTS)


def _missing(identity: str) -> Refused:
    return Refused(404, f"message_batch: {identity}")


def _page(shown: list[dict[str, Any]], wanted: Listing) -> Plan:
    """At most `limit` of them: those after one, or right before one."""
    ids = [each["id"] for each in shown]
    for name, value in (("after_id", wanted.after_id), ("before_id", wanted.before_id)):
        if value is not None and value not in ids:
            raise Refused(400, f"{name}: there is no message batch {value}")
    if wanted.before_id is not None:
        end = ids.index(wanted.before_id)
        start = max(0, end - wanted.limit)
        more = start > 0
    else:
        start = ids.index(wanted.after_id) + 1 if wanted.after_id is not None else 0
        end = start + wanted.limit
        more = end < len(shown)
    data = shown[start:end]
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return _answer({"data": data, "has_more": more, **ends})


def _shown(ordered: Ordered, sight: Sight, visit: Visit) -> dict[str, Any]:
    batch = ordered.batch
    ended = None if batch.ended is None else batch.times[batch.ended]
    archived = batch.order.at + KEPT
    kept = ordered.results(visit.at) is not None and sight.files
    return {
        "id": batch.order.id,
        "type": "message_batch",
        "processing_status": STATES.get(sight.state, sight.state),
        "request_counts": _counts(batch),
        "created_at": _instant(batch.order.at),
        "expires_at": _instant(min(batch.expires_at, batch.order.at + DAY)),
        "ended_at": _instant(ended),
        "cancel_initiated_at": _instant(batch.times.get("cancelling")),
        "archived_at": _instant(archived) if ended is not None and visit.at >= archived else None,
        "results_url": _results_url(batch, visit) if kept else sight.absent,
    }


def _counts(batch: Batch) -> dict[str, int]:
    """All are processing until the batch has ended; the five always add up to all requests."""
    counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
    if batch.ended is None:
        return counts | {"processing": batch.size}
    undone = batch.size - batch.done
    rest = {"cancelled": "canceled", "expired": "expired", "failed": "errored", "completed": "succeeded"}[batch.ended]
    counts |= {"succeeded": batch.done - batch.failed, "errored": batch.failed}
    counts[rest] += undone
    return counts


def _results_url(batch: Batch, visit: Visit) -> str:
    """Absolute, at the address by which the visitor came."""
    return f"http://{visit.header(b'host')}/{visit.provider}{BATCHES}/{batch.order.id}{RESULTS}"


def _instant(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat()


def _answer(value: object) -> Plan:
    return Plan(headers=JSON, parts=(Part(msgspec.json.encode(value)),))
