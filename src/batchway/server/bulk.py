"""Bulk: many requests in one call, as JSON Lines, each taken or refused by itself; their answers are fetched later.

A body is read as it comes and never held whole. What became of its lines is said when all of them have come: whoever
sends a large body does not read before its end, and would wait for us as we for it.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from math import inf
from tempfile import SpooledTemporaryFile
from urllib.parse import parse_qs

import structlog
from msgspec import Struct, field
from msgspec.structs import replace

from batchway.core.commands import Acknowledge, Refuse, Reply
from batchway.core.errors import BadRequest, Internal, Refusal, TooLarge
from batchway.core.types import Fault, Hints, Request
from batchway.engine.driver import Engine, Outcome
from batchway.engine.intake import Identity, Intake, Naming
from batchway.engine.relay import Relay
from batchway.engine.scratch import minding_room
from batchway.server.access import Access
from batchway.server.exchange import (
    BOUND,
    PRIVATE,
    App,
    Gone,
    Headers,
    Receive,
    Scope,
    Send,
    body_pieces,
    read_headers,
    refuse_packed,
    send_fault,
    why_header,
    write,
)
from batchway.server.visits import Visit, Visits
from batchway.store import Database, answers
from batchway.wire import lines
from batchway.wire.hints import check_id, from_headers, overlay

TOGETHER = 1000
"""Lines that are put on disk at a time: one commit for all of them."""

HEAVY = 4 << 20
"""Bytes of lines that are held at a time, or little more."""

CROWDED = 0.05
"""Seconds to the next look whether more can be held for the providers' slots."""

IN_MEMORY = 1 << 20
"""Bytes of what is said of the lines; what is more is kept in a file."""

PIECE = 64 << 10

AT_LEISURE = Hints(priority="low")
"""Who hands in many waits for none: they take the cheapest way, unless they or their key say otherwise."""

JSON_LINES = (b"content-type", lines.MEDIA_TYPE.encode())

_NO_HEADERS: dict[str, str] = {}

_log = structlog.get_logger()


def either(single: App, bulk: App) -> App:
    """JSON Lines that are posted to the one, everything else to the other."""

    async def submit(scope: Scope, receive: Receive, send: Send) -> None:
        kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
        many = kind.partition(b";")[0].strip().lower() in lines.MEDIA_TYPES
        await (bulk if many and scope["method"] == "POST" else single)(scope, receive, send)

    return submit


class _Submission(Struct):
    """One call, and what became of its lines so far."""

    identity: Identity
    prefix: str | None
    said: "SpooledTemporaryFile[bytes]"
    taken: int = 0
    refused: int = 0
    first: Fault | None = None
    """Why the first that was refused was refused."""
    kinds: set[tuple[str, str, str]] = field(default_factory=set)
    """Provider, model and endpoint of those whose lane has been looked up."""
    dear: str | None = None
    """Why some that can wait go directly all the same."""


class Bulk:
    """`POST /submit` with JSON Lines."""

    def __init__(
        self,
        engine: Engine,
        intake: Intake,
        access: Access,
        visits: Visits,
        relay: Relay,
        *,
        database: Database | None,
        longest: int,
    ) -> None:
        """`longest`: bytes that a line may have."""
        self._database = database
        self._engine = engine
        self._intake = intake
        self._access = access
        self._visits = visits
        self._relay = relay
        self._longest = longest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        try:
            with (
                minding_room(),
                self._visits.begin(receive, send) as visit,
                SpooledTemporaryFile(IN_MEMORY) as said,
            ):
                submission = self._begin(scope, said)
                await self._take_all(submission, receive, visit)
                visit.has_asked()
                await _answer(submission, visit.send)
        except Refusal as refusal:
            await send_fault(send, refusal.fault, None)
        except Gone:
            return
        except Exception:  # noqa: BLE001  # A defect: its caller is told in a shape that it can read.
            _log.exception("a submission failed by a defect")
            await send_fault(send, Internal("A defect of batchway; its log has the details.").fault, None)

    def _begin(self, scope: Scope, said: "SpooledTemporaryFile[bytes]") -> _Submission:
        """Whoever may not ask is told so before a line is read."""
        headers = read_headers(scope)
        self._access.check_site(scope["method"], headers)
        identity = self._access.identify(headers)
        refuse_packed(headers)
        hints = from_headers(headers)
        if hints.request_id is not None:
            raise BadRequest(
                "request_id: one id cannot name many lines; give each its own (or a custom_id), and ?prefix= before "
                "all of them.",
                param="request_id",
            )
        identity = replace(identity, defaults=overlay(hints, identity.defaults, AT_LEISURE))
        prefix = parse_qs(scope["query_string"].decode("latin-1")).get("prefix", [None])[-1]
        if prefix is not None:
            check_id("prefix", prefix)
        return _Submission(identity, prefix, said)

    async def _take_all(self, submission: _Submission, receive: Receive, visit: Visit) -> None:
        cutter = lines.Cutter(self._longest)
        group: list[tuple[int, bytes]] = []
        weight = 0
        async for piece in body_pieces(receive, inf):
            group += cutter.feed(piece)
            weight += len(piece)
            if len(group) >= TOGETHER or weight >= HEAVY:
                visit.is_kept_waiting()
                await self._take(submission, group)
                group, weight = [], 0
                while self._engine.crowded() and not self._engine.stopping:
                    await asyncio.sleep(CROWDED)
            visit.goes_on()
        visit.is_kept_waiting()
        group += cutter.end()
        await self._take(submission, group)
        if not submission.taken + submission.refused:
            raise BadRequest("There is no line in the body; send one request per line.", code="invalid_json")

    async def _take(self, submission: _Submission, group: list[tuple[int, bytes]]) -> None:
        """Have them put on disk, and keep what became of each, in their order."""
        requests: list[Request] = []
        numbers: list[int] = []
        said: dict[int, bytes] = {}
        for number, content in group:
            name = None
            try:
                if len(content) > self._longest:
                    raise TooLarge(f"The line is longer than {self._longest} bytes{BOUND}.")
                line = lines.read(content)
                name = None if line.custom_id is None else (submission.prefix or "") + line.custom_id
                requests.append(await self._request(submission, number, line))
                numbers.append(number)
            except Refusal as refusal:
                said[number] = _refused(submission, number, name, refusal.fault)
        outcomes = await self._ask(requests)
        waiting = [request for request, outcome in zip(requests, outcomes, strict=True) if _waits(request, outcome)]
        await self._look_at_prices(submission, waiting)
        for number, request, outcome in zip(numbers, requests, outcomes, strict=True):
            said[number] = _told(submission, number, request.id, outcome)
        submission.said.write(b"".join([said[number] for number, _ in group]))

    async def _request(self, submission: _Submission, number: int, line: lines.Line) -> Request:
        naming = None
        if line.custom_id is not None or submission.prefix is not None:
            naming = Naming(submission.prefix or "", str(number) if line.custom_id is None else line.custom_id)
        taken = self._intake.take(
            line.front,
            line.content,
            _NO_HEADERS,
            submission.identity,
            self._engine.clock.now(),
            detached=True,
            naming=naming,
        )
        if taken.refers and self._access.keyed:
            await self._relay.check_used(taken.request, taken.continues)
        return taken.request

    async def _ask(self, requests: list[Request]) -> list[Outcome]:
        outcomes = self._engine.ask_all(requests)
        try:
            # One after the other: with the first, most of them are done, and cost nothing more.
            return [await outcome for outcome in outcomes]
        except asyncio.CancelledError:
            # Whoever sent them is gone: what is on disk, or about to be, goes on.
            for request in requests:
                self._engine.leave(request.ask)
            raise

    async def _look_at_prices(self, submission: _Submission, taken: Iterable[Request]) -> None:
        """Whoever hands in what can wait expects it to go by batch. Why it does not is on disk beside each request; the
        first of each kind is looked up."""
        firsts: dict[tuple[str, str, str], Request] = {}
        for request in taken:
            firsts.setdefault((request.provider, request.prompt.model, request.endpoint), request)
        unknown = [request for kind, request in firsts.items() if kind not in submission.kinds]
        if self._database is None or not unknown or submission.dear is not None:
            return
        submission.kinds |= firsts.keys()
        named = [(request.tenant, request.id) for request in unknown]
        # It is a remark: a store that went down just now refuses nothing that it has.
        with suppress(Refusal):
            found = await self._database.read(answers.find_all, named)
            direct = [f"{stored.model}: {stored.routed}" for stored in found.values() if stored.lane == "direct"]
            submission.dear = next(iter(direct), None)


def _waits(request: Request, outcome: Outcome) -> bool:
    """Whether it was taken, is not answered yet, and wants the batch lane."""
    strategy = request.strategy
    wants = strategy == "batch" or (strategy == "auto" and request.priority == "low")
    return wants and isinstance(outcome, Acknowledge)


def _told(submission: _Submission, number: int, name: str, outcome: Outcome) -> bytes:
    if isinstance(outcome, Refuse) and not outcome.on_disk:
        return _refused(submission, number, name, outcome.fault)
    submission.taken += 1
    if isinstance(outcome, Refuse):
        return lines.failed(number, name, outcome.fault)
    return lines.taken(number, name, "completed" if isinstance(outcome, Reply) else "pending")


def _refused(submission: _Submission, number: int, name: str | None, fault: Fault) -> bytes:
    """`name`: its id, as far as one is known."""
    submission.refused += 1
    submission.first = submission.first or fault
    return lines.refused(number, name, fault)


async def _answer(submission: _Submission, send: Send) -> None:
    """202 if there is anything to come back for."""
    status = 202 if submission.taken or submission.first is None else submission.first.status
    headers: Headers = [
        JSON_LINES,
        PRIVATE,
        (b"x-batchway-taken", b"%d" % submission.taken),
        (b"x-batchway-refused", b"%d" % submission.refused),
    ]
    if submission.dear is not None:
        headers.append((b"x-batchway-at-full-price", why_header(submission.dear)[1]))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    submission.said.seek(0)
    while piece := submission.said.read(PIECE):
        await write(send, piece, more=True)
    await write(send, b"", more=False)
