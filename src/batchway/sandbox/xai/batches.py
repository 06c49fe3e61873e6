"""xAI's /v1/batches: made of a file, without a status, read by the page at any time, cancelled by a colon (§6)."""

import math
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from batchway.sandbox.batch_contract import Sight
from batchway.sandbox.batch_desk import Desk
from batchway.sandbox.batching import Batch
from batchway.sandbox.contract import Part, Plan, Refused, Visit
from batchway.sandbox.offers import seconds
from batchway.sandbox.openai.paging import answer, query
from batchway.sandbox.openai.parameters import JSON
from batchway.sandbox.openai.reading import read
from batchway.sandbox.state import Sandbox
from batchway.sandbox.xai.batch_lines import Lines
from batchway.sandbox.xai.files import Files, Listing, page

BATCHES = "/v1/batches"
CANCEL = ":cancel"
RESULTS = "/results"

KNOWN = frozenset({"input_file_id", "name"})

WRONG_FILE = "JSONL file validation failed: "


class Body(Struct):
    """What is asked for."""

    name: str
    input_file_id: str | None = None


class Ordered(Struct, frozen=True, kw_only=True):
    """A batch as xAI knows it: the machine, and what was said at its creation."""

    batch: Batch
    body: Body
    key: str


_decoder = msgspec.json.Decoder(Body)


class Batches:
    """The batches of xAI."""

    def __init__(self, sandbox: Sandbox, files: Files) -> None:
        self._sandbox = sandbox
        self._files = files
        self._desk: Desk[Ordered] = Desk(sandbox, _missing)

    def create(self, visit: Visit) -> Plan:
        """POST /v1/batches. (Batches that are filled afterwards are not simulated.)"""
        body = read(visit.body, _decoder, KNOWN, self._sandbox)
        if body.input_file_id is None:
            message = "The sandbox makes batches of uploaded files only: send input_file_id."
            raise Refused(400, message, param="input_file_id", code="missing_required_parameter")
        source = self._files.find(body.input_file_id, visit)
        if source is None:
            raise Refused(404, f"File {body.input_file_id} not found.", param="input_file_id")
        self._desk.allow(visit)
        work = Lines(self._sandbox, visit, "", source.content, _keep_nothing)
        window = seconds(self._sandbox.offer(visit.provider).windows[-1])
        batch = self._desk.begin(visit, f"batch_{visit.number:032x}", {"name": body.name}, work, window)
        ordered = Ordered(batch=batch, body=body, key=visit.key)
        self._desk.take(ordered)
        return answer(_shown(ordered, batch.sight(visit.at, polled=False)))

    def show(self, visit: Visit) -> Plan:
        """GET /v1/batches/{id}."""
        return answer(_shown(*self._desk.poll(_named(visit), visit)))

    def list(self, visit: Visit) -> Plan:
        """GET /v1/batches."""
        found = [_shown(*each) for each in self._desk.listed(visit)]
        rows, token = page(found, query(visit, Listing), "batch_id")
        return answer({"batches": rows, "pagination_token": token})

    def cancel(self, visit: Visit) -> Plan:
        """POST /v1/batches/{id}:cancel. What has ended is shown as it is."""
        ordered = self._desk.find(_named(visit), visit)
        ordered.batch.cancel(visit.at)
        return answer(_shown(ordered, ordered.batch.sight(visit.at, polled=False)))

    def results(self, visit: Visit) -> Plan:
        """GET /v1/batches/{id}/results: what there is by now."""
        batch = self._desk.find(_named(visit), visit).batch
        wanted = query(visit, Listing)
        start = _number(wanted.pagination_token)
        piles, done = (batch.output, batch.errors), len(batch.output) + len(batch.errors)
        end = min(start + wanted.limit, done)
        lines = [piles[0].line(n) if n < len(piles[0]) else piles[1].line(n - len(piles[0])) for n in range(start, end)]
        token = msgspec.json.encode(f"r{end}" if end < done else None)
        return Plan(headers=JSON, parts=(Part(b'{"results":[%s],"pagination_token":%s}' % (b",".join(lines), token)),))


def _keep_nothing(*_: object) -> None:
    """Results stay with the batch."""


def _named(visit: Visit) -> str:
    return visit.path.removeprefix(f"{BATCHES}/").removesuffix(CANCEL).removesuffix(RESULTS)


def _number(token: str | None) -> int:
    if token is None:
        return 0
    if not (token[:1] == "r" and token[1:].isascii() and token[1:].isdecimal()):
        raise Refused(400, "Invalid pagination token.", param="pagination_token")
    return int(token[1:])


def _missing(identity: str) -> Refused:
    return Refused(404, f"Batch {identity} not found.", param="batch_id")


def _shown(ordered: Ordered, sight: Sight) -> dict[str, Any]:
    batch = ordered.batch
    cancelled = batch.times.get("cancelling", batch.times.get("cancelled", batch.times.get("failed")))
    return {
        "batch_id": batch.order.id,
        "name": (sight.tags or {}).get("name", ""),
        "create_time": _day(batch.order.at),
        "expire_time": _day(batch.expires_at),
        "create_api_key_id": f"key-{ordered.key[-4:]}",
        "cancel_time": None if cancelled is None else _day(cancelled),
        "cancel_by_xai_message": _reason(batch),
        "state": _state(batch),
        "input_file_id": ordered.body.input_file_id,
    }


def _state(batch: Batch) -> dict[str, int]:
    left = batch.size - batch.done
    cancelled = left if batch.ended in ("cancelled", "failed") else 0
    return {
        "num_requests": batch.size,
        "num_pending": left - cancelled,
        "num_success": batch.done - batch.failed,
        "num_error": batch.failed,
        "num_cancelled": cancelled,
    }


def _reason(batch: Batch) -> str | None:
    """Why xAI ended it: the file is wrong, or what a fault says."""
    words = "; ".join([f"line {each.line}: {each.message}" if each.line else each.message for each in batch.problems])
    return f"{'' if batch.schedule.verdict else WRONG_FILE}{words}" if words else None


def _day(at: float) -> str | None:
    """Of a moment no more than the day is told."""
    if not math.isfinite(at):
        return None
    return datetime.fromtimestamp(at, UTC).date().isoformat()
