"""/v1/batch/jobs: create from files or inline, show, list, cancel, delete (shapes: SDK mistralai 3.7, BatchJob)."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta, Raw, Struct

from batchway.sandbox.batch_contract import Problem, Sight
from batchway.sandbox.batch_desk import Desk
from batchway.sandbox.batching import Batch
from batchway.sandbox.blobs import Blob, Pile
from batchway.sandbox.contract import Plan, Refused, Visit
from batchway.sandbox.mistral.batch_lines import ANSWERS, Lines
from batchway.sandbox.mistral.files import Files, identify
from batchway.sandbox.mistral.reading import explain, read
from batchway.sandbox.offers import HOUR
from batchway.sandbox.openai.files import File
from batchway.sandbox.openai.paging import answer
from batchway.sandbox.state import Sandbox

JOBS = "/v1/batch/jobs"
CANCEL = "/cancel"

MOST_INLINE = 10_000
"""Requests of a job without a file; fewer than this."""

STATES: Final[Mapping[str, str]] = {
    "validating": "QUEUED",
    "running": "RUNNING",
    "finalizing": "RUNNING",
    "completed": "SUCCESS",
    "failed": "FAILED",
    "expired": "TIMEOUT_EXCEEDED",
    "cancelling": "CANCELLATION_REQUESTED",
    "cancelled": "CANCELLED",
}
"""The machine's states by Mistral's names."""

_ROLES: Final[tuple[Literal["output", "errors"], ...]] = ("output", "errors")


class Body(Struct, forbid_unknown_fields=True):
    """What is asked for."""

    endpoint: str
    input_files: list[str] | None = None
    requests: list[Raw] | None = None
    model: str | None = None
    agent_id: str | None = None
    metadata: dict[str, str] | None = None
    timeout_hours: Annotated[int, Meta(ge=1, le=168)] = 24


class Listing(Struct):
    """How to list jobs. Whatever else is asked by is a filter on their metadata."""

    page: Annotated[int, Meta(ge=0)] = 0
    page_size: Annotated[int, Meta(ge=1)] = 100
    model: str | None = None
    agent_id: str | None = None
    created_after: datetime | None = None
    created_by_me: bool = False
    order_by: Literal["created", "-created"] = "-created"


class Ordered(Struct, frozen=True, kw_only=True):
    """A job as Mistral knows it: the machine, and what was said at its creation."""

    batch: Batch
    body: Body
    files: tuple[str, str]
    """Ids of the output and the error file."""


_decoder = msgspec.json.Decoder(Body)


class Batches:
    """The batch jobs of Mistral."""

    def __init__(self, sandbox: Sandbox, files: Files) -> None:
        self._sandbox = sandbox
        self._files = files
        self._desk: Desk[Ordered] = Desk(sandbox, _missing)

    def create(self, visit: Visit) -> Plan:
        """POST /v1/batch/jobs."""
        body = read(visit.body, _decoder)
        allowed = [each for each in self._sandbox.offer(visit.provider).endpoints if each in ANSWERS]
        if body.endpoint not in allowed:
            raise Refused(422, f"Input should be one of {allowed}", param="endpoint", code="enum")
        content = self._content(body, visit)
        self._desk.allow(visit)
        names = (identify("file", self._sandbox.next_number()), identify("file", self._sandbox.next_number()))
        identity = identify("jobs", visit.number)
        close = partial(self._store, identity, visit.key, names)
        work = Lines(self._sandbox, visit, body.endpoint, content, close, model=body.model)
        batch = self._desk.begin(visit, identity, body.metadata, work, body.timeout_hours * HOUR)
        ordered = Ordered(batch=batch, body=body, files=names)
        self._desk.take(ordered)
        return answer(_shown(ordered, batch.sight(visit.at, polled=False)))

    def show(self, visit: Visit) -> Plan:
        """GET /v1/batch/jobs/{id}; with `inline`, its results as well."""
        ordered, sight = self._desk.poll(_named(visit), visit)
        shown = _shown(ordered, sight)
        if dict(parse_qsl(visit.query.decode(errors="replace"))).get("inline") == "true":
            output = ordered.batch.output
            shown["outputs"] = [Raw(output.line(number)) for number in range(len(output))]
        return answer(shown)

    def list(self, visit: Visit) -> Plan:
        """GET /v1/batch/jobs."""
        given = parse_qsl(visit.query.decode(errors="replace"))
        known = {name: value for name, value in given if name in Listing.__struct_fields__}
        try:
            wanted = msgspec.convert(known, Listing, strict=False)
        except msgspec.ValidationError as error:
            raise explain(str(error)) from error
        states = {value for name, value in given if name == "status"}
        tags = {name: value for name, value in given if name not in known and name != "status"}
        found = [
            shown
            for each, sight in self._desk.listed(visit)
            if _matches(each, wanted, tags)
            and (shown := _shown(each, sight))["status"] in (states or {shown["status"]})
        ]
        if wanted.order_by == "created":
            found.reverse()
        start = wanted.page * wanted.page_size
        return answer({"object": "list", "data": found[start : start + wanted.page_size], "total": len(found)})

    def cancel(self, visit: Visit) -> Plan:
        """POST /v1/batch/jobs/{id}/cancel. (What is said of a job that has ended is not known: it is shown.)"""
        ordered = self._desk.find(_named(visit), visit)
        ordered.batch.cancel(visit.at)
        return answer(_shown(ordered, ordered.batch.sight(visit.at, polled=False)))

    def delete(self, visit: Visit) -> Plan:
        """DELETE /v1/batch/jobs/{id}."""
        identity = _named(visit)
        self._desk.drop(identity, visit)
        return answer({"id": identity, "object": "batch", "deleted": True})

    def _content(self, body: Body, visit: Visit) -> Blob:
        """All lines of the job, from wherever they come."""
        if bool(body.input_files) == bool(body.requests):
            raise Refused(422, "Either input_files or requests must be given", param="input_files")
        if body.requests and len(body.requests) >= MOST_INLINE:
            raise Refused(422, f"Fewer than {MOST_INLINE} requests can be given inline", param="requests")
        content = Blob()
        for inline in body.requests or ():
            content.append(bytes(inline).replace(b"\n", b" ") + b"\n")
        for name in body.input_files or ():
            source = self._files.find(name, visit)
            if source is None or source.purpose != "batch":
                raise Refused(404, f"File {name} not found", kind="invalid_request_error", param="input_files")
            for _, line in source.content.lines():
                content.append(line + b"\n")
        return content

    def _store(self, identity: str, key: str, names: tuple[str, str], output: Pile, errors: Pile, at: float) -> None:
        """Make files of the results."""
        for name, pile, role in zip(names, (output, errors), _ROLES, strict=True):
            if len(pile):
                filename = f"{identity}_{role}.jsonl"
                file = File(
                    id=name,
                    key=key,
                    purpose="batch",
                    filename=filename,
                    created_at=at,
                    expires_at=None,
                    content=pile.blob,
                    role=role,
                )
                self._files.add(file)


def _named(visit: Visit) -> str:
    return visit.path.removeprefix(f"{JOBS}/").removesuffix(CANCEL)


def _missing(identity: str) -> Refused:
    return Refused(404, f"Batch job {identity} not found", kind="invalid_request_error")


def _matches(ordered: Ordered, wanted: Listing, tags: Mapping[str, str]) -> bool:
    body, after = ordered.body, wanted.created_after
    return (
        wanted.model in (None, body.model)
        and wanted.agent_id in (None, body.agent_id)
        and (after is None or ordered.batch.order.at > after.timestamp())
        and tags.items() <= (body.metadata or {}).items()
    )


def _shown(ordered: Ordered, sight: Sight) -> dict[str, Any]:
    batch, body = ordered.batch, ordered.body
    output, errors = (
        name if sight.files and batch.ended is not None and len(pile) else sight.absent
        for name, pile in zip(ordered.files, (batch.output, batch.errors), strict=True)
    )
    return {
        "id": batch.order.id,
        "object": "batch",
        "input_files": body.input_files or [],
        "endpoint": body.endpoint,
        "model": body.model,
        "agent_id": body.agent_id,
        "metadata": sight.tags,
        "errors": [{"message": _words(problem), "count": 1} for problem in batch.problems],
        "status": STATES.get(sight.state, sight.state),
        "created_at": int(batch.order.at),
        "started_at": _at(batch, "running"),
        "completed_at": None if batch.ended is None else int(batch.times[batch.ended]),
        "total_requests": batch.size,
        "completed_requests": batch.done,
        "succeeded_requests": batch.done - batch.failed,
        "failed_requests": batch.failed,
        "output_file": output,
        "error_file": errors,
        "outputs": None,
    }


def _at(batch: Batch, state: Literal["running"]) -> int | None:
    return int(batch.times[state]) if state in batch.times else None


def _words(problem: Problem) -> str:
    return problem.message if problem.line is None else f"Line {problem.line}: {problem.message}"
