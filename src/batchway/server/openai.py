"""The OpenAI surface: chat completions, embeddings and responses, as plain ASGI since it is the hot path.

`/submit` is chat completions under another path; `Prefer: respond-async` asks any of them for a 202 instead.
"""

import asyncio
import functools
from urllib.parse import parse_qs, quote

import structlog

from batchway.core.commands import Acknowledge, Refuse, Reply
from batchway.core.cost import dollars
from batchway.core.errors import BadRequest, Internal, MethodNotAllowed, Refusal, WaitOver
from batchway.core.types import Request
from batchway.engine.driver import Engine, Outcome, Stream
from batchway.engine.intake import Intake, Taken
from batchway.engine.relay import Relay
from batchway.server.access import Access
from batchway.server.exchange import (
    JSON,
    PRIVATE,
    Gone,
    Headers,
    Receive,
    Scope,
    Send,
    id_headers,
    money_headers,
    read_body,
    read_headers,
    refuse_packed,
    send_body,
    send_fault,
    way_headers,
    why_header,
    write,
)
from batchway.server.visits import Visit, Visits
from batchway.wire import sse
from batchway.wire.endpoints import Front
from batchway.wire.hints import prefers_async
from batchway.wire.native import envelope, error_body, pending

EVENT_STREAM = (b"content-type", b"text/event-stream; charset=utf-8")
UNBUFFERED = (b"x-accel-buffering", b"no")

_log = structlog.get_logger()


class Endpoint:
    """One endpoint of the front, for all its requests."""

    def __init__(
        self,
        front: Front,
        engine: Engine,
        intake: Intake,
        access: Access,
        visits: Visits,
        relay: Relay,
        *,
        max_body: int,
        retries: bool,
        native: bool = False,
        recorded: bool = False,
    ) -> None:
        """`max_body` in bytes; `retries`: we try again ourselves; `native`: answers carry `content`, whoever asks;
        `recorded`: how a request ended can be looked up later."""
        self._front = front
        self._engine = engine
        self._intake = intake
        self._access = access
        self._visits = visits
        self._relay = relay
        self._max_body = max_body
        self._retries = retries
        self._native = native
        self._recorded = recorded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        taken = None
        try:
            with self._visits.begin(receive, send) as visit:
                taken, timeout = await self._take(scope, receive)
                visit.has_asked()
                if taken.refers and self._access.keyed:
                    await self._relay.check_used(taken.request, taken.continues)
                if timeout is None and taken.request.on_deadline != "fail" and not taken.request.detached:
                    ended = await self._drive(taken.request, visit)
                else:
                    outcome = self._engine.ask(taken.request)
                    ended = await (outcome if timeout is None else self._within(timeout, taken, outcome))
                await self._render(taken, ended, visit)
        except Refusal as refusal:
            allow = [(b"allow", b"POST")] if isinstance(refusal, MethodNotAllowed) else None
            await send_fault(send, refusal.fault, taken.request.id if taken else None, allow)
        except Gone:
            if taken is not None:
                self._engine.leave(taken.request.ask)
        except Exception:  # noqa: BLE001  # A defect: its caller is told in a shape that it can read.
            _log.exception("a request failed by a defect", path=scope["path"])
            if taken is not None:
                self._engine.leave(taken.request.ask)
            defect = Internal("A defect of batchway; its log has the details.").fault
            await send_fault(send, defect, taken.request.id if taken else None)

    async def _take(self, scope: Scope, receive: Receive) -> tuple[Taken, float | None]:
        """Whoever may not ask is told so before its body is read."""
        headers = read_headers(scope)
        self._access.check_site(scope["method"], headers)
        if scope["method"] != "POST":
            raise MethodNotAllowed(f"{scope['path']} takes POST, not {scope['method']}.")
        identity = self._access.identify(headers)
        timeout = _timeout(scope["query_string"])
        refuse_packed(headers)
        detached = "prefer" in headers and prefers_async(headers)
        content = await read_body(receive, headers, self._max_body)
        now = self._engine.clock.now()
        return self._intake.take(self._front, content, headers, identity, now, detached=detached), timeout

    async def _drive(self, request: Request, visit: Visit) -> Outcome:
        """The outcome, the request's own call made by this very task: it goes on when its caller leaves."""
        outcome = self._engine.ask(request, driving=visit.task)
        call = self._engine.drive(request.ask)
        if call is None:
            return await outcome
        visit.driving = functools.partial(self._engine.leave, request.ask)
        try:
            await call
        except asyncio.CancelledError:
            # The call was ended; whoever still waits has been told how.
            if visit.left or not outcome.done():
                raise
            visit.task.uncancel()
        visit.driving = None
        if visit.left:
            raise Gone
        return await outcome

    async def _within(self, timeout: float, taken: Taken, outcome: "asyncio.Future[Outcome]") -> Outcome:
        """The outcome, or WaitOver after the caller's own `?timeout=`; the request then goes on without it."""
        done, _ = await asyncio.wait([outcome], timeout=timeout)
        if done:
            return outcome.result()
        streams = taken.request.prompt.stream
        self._engine.leave(taken.request.ask, keep=not streams)
        rest = "The stream was ended." if streams else self._goes_on(taken.request)
        raise WaitOver(f"No answer within {timeout:g} seconds (?timeout=). {rest}")

    def _goes_on(self, request: Request) -> str:
        # A twin that waits no more has no answer of its own.
        known = request.durable or self._engine.holds(request.tenant, request.id)
        if known and self._recorded and request.retention != "none":
            return f"The request goes on; GET {path_of(request.id)} tells how it ended."
        return "The request goes on; send it again for its answer."

    async def _render(self, taken: Taken, outcome: Outcome, visit: Visit) -> None:
        send = visit.send
        if isinstance(outcome, Stream):
            await self._render_stream(taken, outcome, send)
        elif isinstance(outcome, Refuse):
            await send_fault(send, outcome.fault, taken.request.id, [why_header(outcome.why)], retries=self._retries)
        elif isinstance(outcome, Acknowledge):
            await send_body(send, 202, _accepted(outcome.request.id), pending(outcome.request.id))
        elif taken.request.prompt.stream:
            await self._replay(taken, outcome, send)
        else:
            await send_body(send, 200, _reply_headers(outcome, taken), self._content(taken, outcome))

    def _content(self, taken: Taken, reply: Reply) -> bytes:
        if not self._front.enveloped:
            return reply.answer.body
        return envelope(
            reply.answer.body,
            request_id=taken.request.id,
            provider=taken.request.provider,
            via=reply.via,
            batch_id=reply.batch_id,
            completed_at=reply.answer.finished_at,
            with_content=taken.native or self._native,
        )

    async def _render_stream(self, taken: Taken, stream: Stream, send: Send) -> None:
        names = _names(taken, stream.via, stream.why)
        headers: Headers = [EVENT_STREAM, PRIVATE, UNBUFFERED, *names]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for frames in stream.tape.follow():
            passed = b"".join([frame for frame, only_usage in frames if taken.include_usage or not only_usage])
            if passed:
                await write(send, passed, more=True)
        await self._end_stream(await stream.ending, send)

    async def _replay(self, taken: Taken, reply: Reply, send: Send) -> None:
        """An answer that is there already, as the stream that was asked for."""
        assert self._front.unfold is not None, "only endpoints that stream take requests that stream"
        headers: Headers = [EVENT_STREAM, UNBUFFERED, *_reply_headers(reply, taken)[1:]]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        frames = self._front.unfold(reply.answer.body)
        shown = [frame for frame, only_usage in frames if taken.include_usage or not only_usage]
        await write(send, b"".join(shown), more=True)
        await self._end_stream(reply, send)

    async def _end_stream(self, ending: Reply | Refuse, send: Send) -> None:
        """Say the money in a comment and end as the endpoint ends its streams; a fault is a frame, and no end mark."""
        if isinstance(ending, Refuse):
            await write(send, sse.frame(error_body(ending.fault, ending.request.id)), more=False)
            return
        last = sse.comment(f"batchway {_money_text(ending)}")
        await write(send, last + (sse.DONE if self._front.end_mark else b""), more=False)


def _timeout(query: bytes) -> float | None:
    """`?timeout=` in seconds."""
    if not query:
        return None
    given = parse_qs(query.decode("latin-1")).get("timeout")
    if given is None:
        return None
    try:
        timeout = float(given[-1])
    except ValueError:
        timeout = 0.0
    if not 0 < timeout < float("inf"):
        raise BadRequest(f"timeout: '{given[-1][:50]}' is not a number of seconds above 0.", param="timeout")
    return timeout


def _accepted(request_id: str) -> Headers:
    headers = [JSON, PRIVATE, *id_headers(request_id)]
    return [*headers, (b"location", path_of(request_id).encode()), (b"preference-applied", b"respond-async")]


def path_of(request_id: str) -> str:
    """Where a request is looked up."""
    return "/requests/" + (request_id if request_id.replace("-", "").isalnum() else quote(request_id, safe=""))


def _names(taken: Taken, via: str, why: str) -> Headers:
    if taken.chosen is not None:
        why = f"{why}; model: {taken.chosen}"
    return [*id_headers(taken.request.id), *way_headers(via, why)]


def _reply_headers(reply: Reply, taken: Taken) -> Headers:
    headers: Headers = [JSON, PRIVATE, *_names(taken, reply.via, reply.why), *money_headers(reply.cost, reply.saved)]
    if reply.age is not None:
        headers.append((b"age", b"%d" % reply.age))
    if reply.packed > 1:
        headers.append((b"x-batchway-packed", b"%d" % reply.packed))
    if reply.fitted is not None:
        headers.append((b"x-batchway-fitted", reply.fitted.encode("ascii", "replace")))
    return headers


def _money_text(reply: Reply) -> str:
    cost = dollars(reply.cost) if reply.cost is not None else "unknown"
    saved = dollars(reply.saved) if reply.saved is not None else "unknown"
    return f"request_id={reply.request.id} routed_via={reply.via} cost_usd={cost} saved_usd={saved}"
