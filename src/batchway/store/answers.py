"""Answers on disk, each written in one transaction with what it cost; the first to a request is its answer."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Select, select, update

from batchway.core.errors import Cancelled, wordless
from batchway.core.fingerprint import cacheable, reusable
from batchway.core.settlement import OVERHEAD
from batchway.core.types import Answer, Charge, Fault, Lane, Request, Via
from batchway.store.charges import book, booked_before, key_of
from batchway.store.lists import among
from batchway.store.requests import Entry, save_answered
from batchway.store.rows import Rows, insert_rows
from batchway.store.tables import answers, is_pending, requests

COMPLETED, FAILED = "completed", "failed"

CANCELLED_BY_OWNER = Cancelled("The request was cancelled by its owner.").fault

_json = msgspec.json.Encoder()
_answer = msgspec.json.Decoder(Answer)
_fault = msgspec.json.Decoder(Fault)


class Result(Struct, frozen=True, kw_only=True, gc=False):
    """The answer or fault of one request, and what is booked with it."""

    ask: str
    outcome: Answer | Fault
    via: Via
    finished_at: float
    batch_id: str | None = None
    packed: int = 1
    cost: int | None = None
    saved: int | None = None
    why: str = ""
    charges: tuple[Charge, ...] = ()
    late_call: str = ""
    """The call id of what is booked in their place if another answer was first."""


class Record(Struct, frozen=True, kw_only=True, gc=False):
    """A request that was not saved before, and its result."""

    entry: Entry
    result: Result
    bodies: bool = True
    """Keep what was asked and answered, not only that it was."""


class Stored(Struct, frozen=True, kw_only=True, gc=False):
    """A request as its tenant may see it, and its answer if there is one."""

    tenant: str
    request_id: str
    ask: str
    status: str
    """pending, completed, failed or cancelled."""
    provider: str
    model: str
    endpoint: str
    fingerprint: str
    lane: Lane
    asked_at: float
    deadline: float | None
    owner: str | None
    job_id: str | None
    routed: str
    """Why it took its lane."""
    tags: dict[str, object] | None
    outcome: Answer | Fault | None = None
    """Without its body where that was swept."""
    swept: bool = False
    """The body was not kept, or not so long."""
    via: Via | None = None
    batch_id: str | None = None
    packed: int = 1
    finished_at: float | None = None
    cost: int | None = None
    saved: int | None = None
    why: str | None = None


def add(connection: Connection, results: Sequence[Result]) -> list[bool]:
    """Write results of saved requests. Returns for each whether it was the first; one that came late, or after its
    request was cancelled, leaves only its late charges."""
    return end(connection, results, _lock(connection, [result.ask for result in results]))


def end(connection: Connection, results: Sequence[Result], waiting: dict[str, Any]) -> list[bool]:
    """As `add`, of requests that are locked: `waiting` has those without an answer, by their `ask`."""
    rows, first = [], []
    ended: dict[str, list[str]] = {COMPLETED: [], FAILED: []}
    for result in results:
        saved = waiting.pop(result.ask, None)
        first.append(saved is not None)
        if saved is not None:
            # What was made for another serves others by that one, and no longer than that.
            fingerprint = saved.fingerprint if saved.shared and result.via != "cache" else None
            rows.append(_row(result, fingerprint, saved.retention, bodies=True))
            ended[status_of(result)].append(result.ask)
    _insert(connection, rows)
    for status, asks in ended.items():
        if asks:
            connection.execute(update(requests).where(among(connection, requests.c.ask, asks)).values(status=status))
    book(connection, _booked(connection, results, first))
    return first


def record(connection: Connection, records: Sequence[Record]) -> None:
    """Write requests that were answered before they were written down, with their results."""
    save_answered(connection, [(each.entry, status_of(each.result), each.bodies) for each in records])
    rows = [
        _row(each.result, _shared(each.entry.request), each.entry.retention, bodies=each.bodies) for each in records
    ]
    _insert(connection, rows)
    book(connection, [charge for each in records for charge in each.result.charges])


def end_cancelled(connection: Connection, ask: str, now: float) -> None:
    """A request that was cancelled has its end too: whoever waits for it in another process hears of it, and its body
    is swept in its time."""
    its = select(requests.c.lane, requests.c.retention).where(requests.c.ask == ask)
    lane, retention = connection.execute(its).one()
    result = Result(ask=ask, outcome=CANCELLED_BY_OWNER, via=lane, finished_at=now, why="cancelled by its owner")
    _insert(connection, [_row(result, None, retention, bodies=True)])


def find(connection: Connection, tenant: str, request_id: str) -> Stored | None:
    """The tenant's request of this id."""
    return _one(connection, requests.c.tenant == tenant, requests.c.request_id == request_id)


def find_all(connection: Connection, named: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Stored]:
    """Those that are there of these tenants' ids."""
    ids: dict[str, list[str]] = {}
    for tenant, request_id in named:
        ids.setdefault(tenant, []).append(request_id)
    found: list[Stored] = []
    for tenant, some in ids.items():
        its = FOUND.where(requests.c.tenant == tenant, among(connection, requests.c.request_id, some))
        found += map(read_stored, connection.execute(its))
    return {(each.tenant, each.request_id): each for each in found}


def find_shared(
    connection: Connection, tenant: str, fingerprint: str, since: float, until: float | None = None
) -> Stored | None:
    """The tenant's newest request that was answered in this time and may serve others that ask the same."""
    same = [requests.c.tenant == tenant, answers.c.fingerprint == fingerprint, answers.c.finished_at >= since]
    if until is not None:
        same.append(answers.c.finished_at <= until)
    newest = FOUND.where(*same, answers.c.body.is_not(None)).order_by(answers.c.finished_at.desc()).limit(1)
    read = connection.execute(newest).one_or_none()
    return None if read is None else read_stored(read)


def outcomes(connection: Connection, asks: Sequence[str]) -> dict[str, tuple[str, Answer | Fault]]:
    """Those of these requests that have ended, with the job that brought it (else "")."""
    ended = FOUND.where(among(connection, requests.c.ask, asks), answers.c.ask.is_not(None))
    found = map(read_stored, connection.execute(ended))
    return {each.ask: (each.batch_id or "", each.outcome) for each in found if each.outcome is not None}


def status_of(result: Result) -> str:
    """What the status of its request is."""
    return COMPLETED if isinstance(result.outcome, Answer) else FAILED


def _lock(connection: Connection, asks: Sequence[str]) -> dict[str, Any]:
    """Those that wait for an answer. Locked in one order, so that two writers never wait for each other."""
    rows = select(requests.c.ask, requests.c.fingerprint, requests.c.shared, requests.c.retention)
    waiting = rows.where(among(connection, requests.c.ask, asks), is_pending)
    locked = waiting.order_by(requests.c.ask).with_for_update()
    return {read.ask: read for read in connection.execute(locked).all()}


def booked(result: Result, *, first: bool) -> tuple[Charge, ...]:
    """What it costs: its request, or, where another answer was first or none is wanted any more, nobody's."""
    if first:
        return result.charges
    return tuple(
        [
            msgspec.structs.replace(charge, call_id=result.late_call, request_id=OVERHEAD, counterfactual=0)
            for charge in result.charges
        ]
    )


def _booked(connection: Connection, results: Sequence[Result], first: Sequence[bool]) -> list[Charge]:
    """What was the first before is written again where its commit was in doubt: it is not late, but booked already."""
    late = [charge for result, was in zip(results, first, strict=True) if not was for charge in result.charges]
    known = booked_before(connection, late) if late else frozenset()
    return [
        charge
        for result, was in zip(results, first, strict=True)
        if was or known.isdisjoint(map(key_of, result.charges))
        for charge in booked(result, first=was)
    ]


def _shared(request: Request) -> str | None:
    """Its fingerprint, if its answer may serve others."""
    return request.fingerprint if reusable(request) is None else None


_COLUMNS = (
    "ask",
    "status",
    "body",
    "answer",
    "fault",
    "fingerprint",
    "via",
    "batch_id",
    "packed",
    "finished_at",
    "keep_until",
    "cost",
    "saved",
    "why",
)
_BODY = _COLUMNS.index("body")


def _insert(connection: Connection, rows: Rows) -> None:
    largest = max([len(row[_BODY] or b"") for row in rows], default=0)
    insert_rows(connection, answers, _COLUMNS, rows, largest=largest)


def _row(result: Result, fingerprint: str | None, retention: float | None, *, bodies: bool) -> tuple[Any, ...]:
    """`_COLUMNS` of an answer."""
    outcome = result.outcome
    rest = _json.encode(_rest(outcome, bodies=bodies)).decode()
    body = outcome.body if bodies else None
    return (
        result.ask,
        200 if isinstance(outcome, Answer) else outcome.status,
        body,
        rest if isinstance(outcome, Answer) else None,
        rest if isinstance(outcome, Fault) else None,
        fingerprint if body is not None and isinstance(outcome, Answer) and cacheable(outcome) else None,
        result.via,
        result.batch_id,
        result.packed,
        result.finished_at,
        None if retention is None or not bodies else result.finished_at + retention,
        result.cost,
        result.saved,
        result.why,
    )


def _rest(outcome: Answer | Fault, *, bodies: bool) -> Answer | Fault:
    """All of it but what was said: that stands in the body, if it is kept."""
    if isinstance(outcome, Answer):
        return msgspec.structs.replace(outcome, body=b"", said=None)
    return msgspec.structs.replace(outcome, body=None) if bodies else wordless(outcome)


def without_words(fault: str) -> str:
    """The same, as it is written."""
    return _json.encode(wordless(_fault.decode(fault))).decode()


FOUND: Select[Any] = select(
    requests.c.tenant,
    requests.c.request_id,
    requests.c.ask,
    requests.c.status,
    requests.c.provider,
    requests.c.model,
    requests.c.endpoint,
    requests.c.fingerprint,
    requests.c.lane,
    requests.c.asked_at,
    requests.c.deadline,
    requests.c.owner,
    requests.c.job_id,
    requests.c.tags,
    requests.c.why.label("routed"),
    answers.c.body,
    answers.c.answer,
    answers.c.fault,
    answers.c.via,
    answers.c.batch_id,
    answers.c.packed,
    answers.c.finished_at,
    answers.c.cost,
    answers.c.saved,
    answers.c.why,
).outerjoin(answers, answers.c.ask == requests.c.ask)
"""Requests with their answers, where there is one."""


def _one(connection: Connection, *conditions: ColumnElement[bool]) -> Stored | None:
    read = connection.execute(FOUND.where(*conditions)).one_or_none()
    return None if read is None else read_stored(read)


def read_stored(read: Any) -> Stored:
    """A row of `FOUND`."""
    fields = dict(read._mapping)
    body, answer, fault = fields.pop("body"), fields.pop("answer"), fields.pop("fault")
    fields["tags"] = None if fields["tags"] is None else msgspec.json.decode(fields["tags"])
    fields["packed"] = fields["packed"] or 1
    outcome: Answer | Fault | None = None
    if answer is not None:
        outcome = msgspec.structs.replace(_answer.decode(answer), body=body or b"")
    elif fault is not None:
        outcome = msgspec.structs.replace(_fault.decode(fault), body=body)
    return Stored(**fields, outcome=outcome, swept=answer is not None and body is None)
