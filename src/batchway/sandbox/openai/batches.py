"""/v1/batches: create, show, list and cancel (shapes: OpenAI SDK 3.52 types/batch; providers.md §3)."""

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from batchway.sandbox.batch_contract import Sight
from batchway.sandbox.batch_desk import Desk
from batchway.sandbox.batching import Batch
from batchway.sandbox.blobs import Pile
from batchway.sandbox.contract import Plan, Refused, Visit
from batchway.sandbox.offers import seconds
from batchway.sandbox.openai.batch_lines import ENDPOINTS, Lines
from batchway.sandbox.openai.files import KEPT, File, Files, lifetime
from batchway.sandbox.openai.paging import answer, page, query
from batchway.sandbox.openai.reading import read
from batchway.sandbox.state import Sandbox

BATCHES = "/v1/batches"
CANCEL = "/cancel"

KNOWN = frozenset({"completion_window", "endpoint", "input_file_id", "metadata", "output_expires_after"})

Tags = Annotated[dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)]


class Lifetime(Struct):
    """How long results are kept."""

    anchor: Literal["created_at"]
    seconds: int


class Body(Struct):
    """What is asked for."""

    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: Tags | None = None
    output_expires_after: Lifetime | None = None


class Listing(Struct):
    """How to list batches."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    after: str | None = None


class Ordered(Struct, frozen=True, kw_only=True):
    """A batch as OpenAI knows it: the machine, and what was said at its creation."""

    batch: Batch
    work: Lines
    body: Body
    files: tuple[str, str]
    """Ids of the output and the error file."""
    early: bool
    """They are named and can be read from the beginning."""


_decoder = msgspec.json.Decoder(Body)

TIMES = ("in_progress_at", "finalizing_at", "completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at")

_ROLES: Final[tuple[Literal["output", "errors"], ...]] = ("output", "errors")

STATES = {"running": "in_progress"}
"""The machine's states by OpenAI's names, where they differ."""


class Batches:
    """The batches of one provider."""

    def __init__(self, sandbox: Sandbox, files: Files) -> None:
        self._sandbox = sandbox
        self._files = files
        self._desk: Desk[Ordered] = Desk(sandbox, _missing)

    def create(self, visit: Visit) -> Plan:
        """POST /v1/batches."""
        body = read(visit.body, _decoder, KNOWN, self._sandbox)
        offer = self._sandbox.offer(visit.provider)
        _require(body.endpoint, "endpoint", tuple(each for each in offer.endpoints if each in ENDPOINTS))
        _require(body.completion_window, "completion_window", offer.windows)
        source = self._files.find(body.input_file_id, visit)
        if source is None or source.purpose != "batch":
            message = f"No file with the purpose 'batch' has the id '{body.input_file_id}'."
            raise Refused(400, message, param="input_file_id", code="invalid_input_file")
        self._desk.allow(visit)
        ordered = self._order(visit, body, source)
        self._desk.take(ordered)
        return answer(_shown(ordered, ordered.batch.sight(visit.at, polled=False)), offer.created_status)

    def show(self, visit: Visit) -> Plan:
        """GET /v1/batches/{id}."""
        return answer(_shown(*self._desk.poll(_named(visit), visit)))

    def list(self, visit: Visit) -> Plan:
        """GET /v1/batches: the newest first."""
        wanted = query(visit, Listing)
        return page([_shown(*each) for each in self._desk.listed(visit)], wanted.after, wanted.limit)

    def cancel(self, visit: Visit) -> Plan:
        """POST /v1/batches/{id}/cancel. (What OpenAI says of a batch that has ended is not known: §3.4.)"""
        ordered = self._desk.find(_named(visit), visit)
        batch = ordered.batch
        if batch.ended is not None:
            raise Refused(400, f"Cannot cancel a batch with status '{batch.ended}'.", code="invalid_batch_status")
        batch.cancel(visit.at)
        return answer(_shown(ordered, batch.sight(visit.at, polled=False)))

    def _order(self, visit: Visit, body: Body, source: File) -> Ordered:
        files = (f"file-{self._sandbox.next_number():024x}", f"file-{self._sandbox.next_number():024x}")
        identity, early = f"batch_{visit.number:032x}", self._sandbox.offer(visit.provider).readable_early
        store = partial(self._store, identity, visit.key, files, _kept(body))
        work = Lines(self._sandbox, visit, body.endpoint, source.content, _leave if early else store)
        batch = self._desk.begin(visit, identity, body.metadata, work, seconds(body.completion_window))
        if early:
            store(batch.output, batch.errors, visit.at, lambda: batch.ended is not None)
        return Ordered(batch=batch, work=work, body=body, files=files, early=early)

    def _store(
        self,
        identity: str,
        key: str,
        files: tuple[str, str],
        kept: int,
        output: Pile,
        errors: Pile,
        at: float,
        complete: Callable[[], bool] | None = None,
    ) -> None:
        """Make files of the results. With `complete`, they can be read while they grow."""
        for name, pile, role in zip(files, (output, errors), _ROLES, strict=True):
            file = File(
                id=name,
                key=key,
                purpose="batch_output",
                filename=f"{identity}_{role}.jsonl",
                created_at=at,
                expires_at=at + kept,
                content=pile.blob,
                role=role,
            )
            if complete is not None:
                file.pile, file.complete = pile, complete
            if complete is not None or len(pile):
                self._files.add(file)


def _named(visit: Visit) -> str:
    return visit.path.removeprefix(f"{BATCHES}/").removesuffix(CANCEL)


def _leave(_output: Pile, _errors: Pile, _at: float) -> None:
    """The results are files already."""


def _kept(body: Body) -> int:
    """For how many seconds from their creation result files are kept."""
    asked = body.output_expires_after
    return KEPT if asked is None else lifetime(asked.seconds, "output_expires_after.seconds")


def _require(value: str, param: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        message = f"Invalid value for '{param}': '{value}'. Supported values are: {', '.join(allowed)}."
        raise Refused(400, message, param=param, code="invalid_value")


def _missing(identity: str) -> Refused:
    return Refused(404, f"No batch found with id '{identity}'.", param="batch_id")


def _shown(ordered: Ordered, sight: Sight) -> dict[str, Any]:
    batch, body = ordered.batch, ordered.body
    output, error = (
        _file_id(ordered, sight, identity, pile)
        for identity, pile in zip(ordered.files, (batch.output, batch.errors), strict=True)
    )
    return {
        "id": batch.order.id,
        "object": "batch",
        "endpoint": body.endpoint,
        "model": ordered.work.model if batch.size else None,
        "errors": {"object": "list", "data": batch.problems} if batch.problems else None,
        "input_file_id": body.input_file_id,
        "completion_window": body.completion_window,
        "status": STATES.get(sight.state, sight.state),
        "output_file_id": output,
        "error_file_id": error,
        "created_at": int(batch.order.at),
        "expires_at": int(batch.expires_at) if math.isfinite(batch.expires_at) else None,
        **_times(batch),
        "request_counts": {"total": batch.size, "completed": batch.done - batch.failed, "failed": batch.failed},
        "metadata": sight.tags,
        "usage": _usage(batch),
    }


def _file_id(ordered: Ordered, sight: Sight, identity: str, pile: Pile) -> str | None:
    named = ordered.early or (ordered.batch.ended is not None and len(pile) > 0)
    return identity if sight.files and named else sight.absent


def _times(batch: Batch) -> dict[str, int | None]:
    """When each state began, for OpenAI's names of them; null for those that it was not in."""
    moments = {f"{STATES.get(state, state)}_at": int(at) for state, at in batch.times.items()}
    return dict.fromkeys(TIMES, None) | moments


def _usage(batch: Batch) -> dict[str, Any]:
    return {
        "input_tokens": batch.input,
        "input_tokens_details": {"cached_tokens": batch.cached},
        "output_tokens": batch.generated,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": batch.input + batch.generated,
    }
