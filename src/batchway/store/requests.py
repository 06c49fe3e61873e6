"""Requests on disk: saving them before they are acknowledged, reading them back as they were, and whose they are.

A request belongs to the process that accepted it (`owner`), until that one's lease is over and another takes it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import structlog
from msgspec import Struct
from sqlalchemy import Connection, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from batchway.core.errors import Refusal
from batchway.core.fingerprint import reusable
from batchway.core.types import Lane, Prompt, Request
from batchway.ports import Orphans, Pending
from batchway.store import owners
from batchway.store.failures import Taken
from batchway.store.lists import among
from batchway.store.rows import Rows, insert_rows
from batchway.store.tables import PENDING, bodies, is_pending, requests
from batchway.wire.endpoints import FRONTS
from batchway.wire.outlines import traits_of

CANCELLED = "cancelled"

_NO_PROMPT = Prompt(model="")
_encode = msgspec.msgpack.Encoder().encode
_rest = msgspec.msgpack.Decoder(Request)
_json = msgspec.json.Encoder()
_log = structlog.get_logger()


class Entry(Struct, frozen=True, kw_only=True, gc=False):
    """A request as it is to be kept."""

    request: Request
    lane: Lane
    owner: str | None
    """The process that sees to it; None: it is answered already."""
    rescue_at: float | None = None
    """When it must leave the batch lane to be in time."""
    retention: float | None = None
    """Seconds that bodies are kept after the answer; None: for good."""
    why: str = ""
    """Of its lane."""


def save(connection: Connection, entries: Sequence[Entry]) -> None:
    """Put pending requests on disk. Raises Taken where its tenant has a request of the same id."""
    _insert(connection, [_row(entry, PENDING) for entry in entries])
    _insert_bodies(connection, [entry.request for entry in entries])


def save_answered(connection: Connection, entries: Sequence[tuple[Entry, str, bool]]) -> None:
    """Put requests on disk that have been answered (the status), with or without their bodies. Raises Taken."""
    _insert(connection, [_row(entry, status) for entry, status, _ in entries])
    _insert_bodies(connection, [entry.request for entry, _, kept in entries if kept])


def forget(connection: Connection, asks: Sequence[str]) -> None:
    """Take requests back that nobody was told of: saving them ended in StoreDown, so that they may be there or not."""
    waiting = select(requests.c.ask).where(among(connection, requests.c.ask, asks), is_pending)
    found = connection.scalars(waiting.order_by(requests.c.ask).with_for_update()).all()
    connection.execute(delete(bodies).where(among(connection, bodies.c.ask, found)))
    connection.execute(delete(requests).where(among(connection, requests.c.ask, found)))


def load(connection: Connection, ask: str) -> Request | None:
    """The request as it was saved, but for the caller's bearer. None: it is unknown, or its body was swept."""
    found = load_many(connection, [ask])
    return found[ask].request if found else None


def load_many(connection: Connection, asks: Iterable[str]) -> dict[str, Pending]:
    """Those of the requests whose bodies are there, by their `ask`, answered ones included."""
    reads = connection.execute(_READ.where(among(connection, requests.c.ask, list(asks))))
    return {pending.request.ask: pending for pending in _pending(reads)}


def backlog(connection: Connection, owner: str, until: float) -> int:
    """How many of the owner's requests have to be rescued until then."""
    mine = requests.c.owner == owner, requests.c.rescue_at <= until, requests.c.on_deadline != "fail"
    return connection.scalar(select(func.count()).where(is_pending, *mine)) or 0


def due(connection: Connection, owner: str, now: float, until: float, limit: int) -> list[Pending]:
    """The owner's requests whose time to be rescued comes until then, the most urgent first; those that are to fail
    have until now."""
    mine = requests.c.owner == owner, requests.c.rescue_at <= until
    its_time = or_(requests.c.on_deadline != "fail", requests.c.rescue_at <= now)
    found = _READ.where(is_pending, *mine, its_time).order_by(*_URGENCY).limit(limit)
    return list(_pending(connection.execute(found)))


def unseated(connection: Connection, owner: str, before: float) -> list[str]:
    """The owner's requests, asked before then, that wait and are in no job."""
    mine = requests.c.owner == owner, requests.c.job_id.is_(None), requests.c.asked_at < before
    return list(connection.scalars(select(requests.c.ask).where(is_pending, *mine)))


def dead_owners(connection: Connection) -> list[str]:
    """Owners of pending requests whose lease is over. From one owner to the next in the index, however many requests
    each has."""
    alive, dead = owners.alive(connection), []
    after: str | None = ""
    while after is not None:
        after = connection.scalar(select(func.min(requests.c.owner)).where(is_pending, requests.c.owner > after))
        if after is not None and after not in alive:
            dead.append(after)
    return dead


def take_over(connection: Connection, owner: str, limit: int) -> Orphans:
    """Make requests of dead owners this owner's. None, if its own lease is over."""
    dead = dead_owners(connection)
    if not dead or owner not in owners.alive(connection):
        return Orphans(taken=0, adrift=())
    orphans = (
        select(requests.c.ask, _RIDES)
        .where(is_pending, requests.c.owner.in_(dead))
        .order_by(*_URGENCY)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rides = {read.ask: read.rides for read in connection.execute(orphans)}
    connection.execute(update(requests).where(among(connection, requests.c.ask, list(rides))).values(owner=owner))
    adrift = load_many(connection, [ask for ask, rides_on in rides.items() if not rides_on])
    return Orphans(taken=len(rides), adrift=tuple(adrift[ask] for ask in rides if ask in adrift))


def requeue(connection: Connection, asks: Sequence[str], owner: str | None) -> None:
    """Take pending requests out of their jobs, for this owner to find them another lane."""
    free = update(requests).where(among(connection, requests.c.ask, asks), is_pending)
    connection.execute(free.values(job_id=None, owner=owner))


def set_lane(connection: Connection, asks: Sequence[str], lane: Lane, owner: str) -> list[str]:
    """They travel by another lane from now on. Returns those that still wait and are this owner's: no other is sent.
    Locked in one order, so that two writers never wait for each other."""
    mine = select(requests.c.ask).where(among(connection, requests.c.ask, asks), is_pending, requests.c.owner == owner)
    found = list(connection.scalars(mine.order_by(requests.c.ask).with_for_update()))
    these = among(connection, requests.c.ask, found)
    connection.execute(update(requests).where(these).values(lane=lane, rescue_at=None))
    return found


def cancel(connection: Connection, tenant: str, request_id: str) -> str | None:
    """Its tenant wants no answer any more. Returns its `ask`; None: there is no such pending request."""
    mine = requests.c.tenant == tenant, requests.c.request_id == request_id
    cancelled = update(requests).where(*mine, is_pending).values(status=CANCELLED).returning(requests.c.ask)
    ask: str | None = connection.scalar(cancelled)
    return ask


_COLUMNS = (
    "ask",
    "tenant",
    "request_id",
    "key",
    "caller",
    "provider",
    "model",
    "endpoint",
    "priority",
    "strategy",
    "on_deadline",
    "lane",
    "status",
    "fingerprint",
    "asked_at",
    "deadline",
    "rescue_at",
    "attempts",
    "owner",
    "tags",
    "tokens",
    "size",
    "named",
    "forwarded",
    "retention",
    "shared",
    "why",
    "traits",
)


def _row(entry: Entry, status: str) -> tuple[Any, ...]:
    """`_COLUMNS` of a request: what statements look at. `bodies` holds what it is made of again."""
    request = entry.request
    return (
        request.ask,
        request.tenant,
        request.id,
        request.key,
        readable(request.caller),
        request.provider,
        readable(request.prompt.model),
        request.endpoint,
        request.priority,
        request.strategy,
        request.on_deadline,
        entry.lane,
        status,
        request.fingerprint,
        request.asked_at,
        request.deadline,
        entry.rescue_at,
        0,
        entry.owner,
        None if request.tags is None else _json.encode(request.tags).decode(),
        request.tokens,
        request.size,
        request.named,
        request.authorization is not None,
        entry.retention,
        reusable(request) is None,
        entry.why,
        _json.encode(traits_of(request)).decode(),
    )


_BODY = ("ask", "body", "rest")


def _insert_bodies(connection: Connection, kept: Sequence[Request]) -> None:
    largest = max([len(request.body) for request in kept], default=0)
    insert_rows(connection, bodies, _BODY, list(map(_body_row, kept)), largest=largest)


def _body_row(request: Request) -> tuple[str, bytes, bytes]:
    """What the request is made of again. Its prompt is what wire reads from the body, so it is not written twice; the
    caller's own bearer is not written at all."""
    rest = msgspec.structs.replace(request, body=b"", prompt=_NO_PROMPT, authorization=None)
    return request.ask, request.body, _encode(rest)


def restored(body: bytes, rest: bytes) -> Request:
    """A request from its row in `bodies`."""
    request = _rest.decode(rest)
    return msgspec.structs.replace(request, body=body, prompt=FRONTS[request.endpoint].read(body).prompt)


def readable(text: str) -> str:
    """The text as a column can hold it: PostgreSQL's have no NUL. What is exact stands in `bodies`."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _insert(connection: Connection, rows: Rows) -> None:
    try:
        insert_rows(connection, requests, _COLUMNS, rows)
    except IntegrityError as error:
        raise Taken("a request of this tenant has the same request_id") from error


# The one that must leave first; what has no time to be rescued comes after all others, oldest first.
_URGENCY = requests.c.rescue_at.asc().nulls_last(), requests.c.asked_at

# In a job, and not asked directly beside it: whoever drives the job sees to it.
_RIDES = (requests.c.job_id.is_not(None) & (requests.c.lane == "batch")).label("rides")

_READ = select(
    requests.c.ask,
    requests.c.lane,
    requests.c.job_id,
    requests.c.attempts,
    requests.c.rescue_at,
    requests.c.forwarded,
    bodies.c.body,
    bodies.c.rest,
).join(bodies, bodies.c.ask == requests.c.ask)


def _pending(reads: Iterable[Any]) -> Iterator[Pending]:
    """What nobody can read (a newer batchway wrote it, or it is damaged) stays as it is, and holds up no other."""
    for read in reads:
        try:
            request = restored(read.body, read.rest)
        except (msgspec.DecodeError, Refusal) as error:
            _log.error("a request on disk cannot be read", ask=read.ask, error=str(error)[:200])
            continue
        yield Pending(
            request=request,
            lane=read.lane,
            job_id=read.job_id,
            attempts=read.attempts,
            rescue_at=read.rescue_at,
            forwarded=read.forwarded,
        )
