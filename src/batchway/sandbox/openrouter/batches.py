"""OpenRouter's /v1/batches: rows in, results out with the batch itself, none while it runs (SDK openrouter 1.3.84)."""

import math
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct, structs

from batchway.sandbox.batch_contract import Sight
from batchway.sandbox.batch_desk import Desk
from batchway.sandbox.batching import Batch
from batchway.sandbox.blobs import Blob, Pile
from batchway.sandbox.contract import Plan, Refused, Visit
from batchway.sandbox.offers import seconds
from batchway.sandbox.openai.batch_lines import ENDPOINTS, LONGEST_ID, Lines, Outcome, Wanted
from batchway.sandbox.openai.batches import STATES
from batchway.sandbox.openai.paging import answer, page, query
from batchway.sandbox.openai.reading import read
from batchway.sandbox.state import Sandbox

BATCHES = "/v1/batches"

KNOWN: Final = frozenset({"callback_url", "completion_window", "endpoint", "model", "provider", "requests"})

KINDS: Final = {400: "invalid_request", 404: "not_found", 429: "rate_limit_exceeded", 500: "server"}
"""Statuses of HTTP, as it calls what a row failed by. Others are its provider's."""


class Body(Struct):
    """What is asked for."""

    endpoint: str
    model: str
    requests: Annotated[list[Raw], Meta(min_length=1)]
    completion_window: Literal["24h"] = "24h"


class Row(Struct):
    """One of the requests."""

    custom_id: Annotated[str, Meta(min_length=1, max_length=LONGEST_ID)]
    body: dict[str, Raw]


class Listing(Struct):
    """How to list batches."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    after: str | None = None


class Ordered(Struct, frozen=True, kw_only=True):
    """A batch as OpenRouter knows it: the machine, and what was said at its creation."""

    batch: Batch
    body: Body


_decoder = msgspec.json.Decoder(Body)
_row = msgspec.json.Decoder(Row)
_names = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode


class Rows(Lines):
    """The work of one batch."""

    def __init__(self, sandbox: Sandbox, batch: Visit, body: Body, content: Blob) -> None:
        super().__init__(sandbox, batch, body.endpoint, content, _keep)
        self._named = body.model

    def parse(self, line: bytes) -> Wanted:
        """What a row wants: the batch's model, which it may name again."""
        row = _row.decode(line)
        body = row.body | {"model": Raw(_encode(self._named))}
        if bytes(row.body.get("model", body["model"])) != bytes(body["model"]):
            raise Refused(400, f"The row names another model than the batch's '{self._named}'.", code="invalid_request")
        return Wanted(custom_id=row.custom_id, method="POST", url=self.endpoint, body=Raw(_encode(body)))

    def write(self, number: int, custom_id: str, outcome: Outcome) -> bytes:
        """A result: an answer, or an error that has a name and no status."""
        if outcome.answer is not None:
            return super().write(number, custom_id, structs.replace(outcome, answer=_native(outcome.answer)))
        kind = KINDS.get(outcome.status or 0, "provider_unavailable")
        words = outcome.refused.message if outcome.refused else (outcome.error or {}).get("message", "")
        error = {"message": words, "type": "upstream_error", "param": None, "error_type": kind}
        return _encode({"id": f"batch_req_{number:024x}", "custom_id": custom_id, "response": None, "error": error})


class Batches:
    """The batches of OpenRouter."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._desk: Desk[Ordered] = Desk(sandbox, _missing)

    def create(self, visit: Visit) -> Plan:
        """POST /v1/batches."""
        _check_order(visit.body)
        body = read(visit.body, _decoder, KNOWN, self._sandbox)
        offer = self._sandbox.offer(visit.provider)
        if body.endpoint not in ENDPOINTS or body.endpoint not in offer.endpoints:
            raise Refused(400, f"The endpoint '{body.endpoint}' cannot be batched.", param="endpoint")
        if len(visit.body) > offer.most_bytes:
            raise Refused(413, f"The batch is larger than {offer.most_bytes} bytes.")
        if offer.most_requests is not None and len(body.requests) > offer.most_requests:
            raise Refused(400, f"A batch takes at most {offer.most_requests} requests.", param="requests")
        self._desk.allow(visit)
        content = Blob()
        for row in body.requests:
            content.append(bytes(row).replace(b"\n", b" ") + b"\n")
        work = Rows(self._sandbox, visit, body, content)
        batch = self._desk.begin(visit, f"batch_{visit.number:032x}", None, work, seconds(body.completion_window))
        ordered = Ordered(batch=batch, body=body)
        self._desk.take(ordered)
        return answer(_shown(ordered, batch.sight(visit.at, polled=False)), offer.created_status)

    def show(self, visit: Visit) -> Plan:
        """GET /v1/batches/{id}; with its results, once it has ended."""
        ordered, sight = self._desk.poll(_named(visit), visit)
        shown = _shown(ordered, sight)
        if ordered.batch.ended is not None and sight.files:
            shown["results"] = _results(ordered.batch)
        return answer(shown)

    def list(self, visit: Visit) -> Plan:
        """GET /v1/batches: the newest first, without results."""
        wanted = query(visit, Listing)
        return page([_shown(*each) for each in self._desk.listed(visit)], wanted.after, wanted.limit)

    def delete(self, visit: Visit) -> Plan:
        """DELETE /v1/batches/{id}: of what has ended."""
        identity = _named(visit)
        if self._desk.find(identity, visit).batch.ended is None:
            raise Refused(409, "The batch is still in progress.")
        self._desk.drop(identity, visit)
        return answer({"id": identity, "object": "batch", "deletion": {"openrouter": "deleted"}})


def _native(content: bytes) -> bytes:
    """The answer with the finish reasons that its provider gave, which are OpenRouter's here."""
    whole = msgspec.json.decode(content)
    for choice in whole.get("choices", ()):
        choice["native_finish_reason"] = choice["finish_reason"]
    return _encode(whole)


def _check_order(content: bytes) -> None:
    """It is read as it comes: what is said of all rows has to come before them. Raises Refused."""
    try:
        names = list(_names.decode(content))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return  # It is said below what is wrong with it.
    before = names[: names.index("requests")] if "requests" in names else []
    if not {"endpoint", "model"} <= set(before):
        raise Refused(400, "'endpoint' and 'model' must come before 'requests'.", param="requests")


def _keep(_output: Pile, _errors: Pile, _at: float) -> None:
    """Results stay with the batch."""


def _named(visit: Visit) -> str:
    return visit.path.removeprefix(f"{BATCHES}/")


def _missing(identity: str) -> Refused:
    return Refused(404, f"Batch {identity} not found.")


def _results(batch: Batch) -> Raw:
    lines = [pile.line(number) for pile in (batch.output, batch.errors) for number in range(len(pile))]
    return Raw(b"[" + b",".join(lines) + b"]")


def _shown(ordered: Ordered, sight: Sight) -> dict[str, Any]:
    batch, body = ordered.batch, ordered.body
    finished = None if batch.ended is None else int(batch.times[batch.ended])
    return {
        "id": batch.order.id,
        "object": "batch",
        "endpoint": body.endpoint,
        "model": body.model,
        "completion_window": body.completion_window,
        "status": STATES.get(sight.state, sight.state),
        "created_at": int(batch.order.at),
        "finalized_at": finished,
        "expires_at": int(batch.expires_at) if math.isfinite(batch.expires_at) else None,
        "provider": "Sandbox",
        "request_counts": {"total": batch.size, "completed": batch.done - batch.failed, "failed": batch.failed},
        "usage": None,
        "results": None,
        "error": {"message": batch.problems[0].message} if batch.problems else None,
    }
