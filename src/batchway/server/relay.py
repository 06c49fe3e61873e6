"""The relayed surface: OpenAI's own files, batches, stored completions and responses, passed on to where they are.

Plain ASGI, since uploads and contents may be large: neither is held whole. What a call is about is its tenant's own, or
not there (`engine.relay`).
"""

from collections.abc import AsyncIterator, Mapping
from urllib.parse import quote

import structlog
from msgspec import structs

from batchway.core.errors import BadRequest, Internal, MethodNotAllowed, Refusal
from batchway.engine.intake import Intake
from batchway.engine.relay import Caller, Relay
from batchway.ports import Flow, IncomingStream, Relayed
from batchway.server.access import Access
from batchway.server.exchange import (
    JSON,
    PRIVATE,
    Gone,
    Headers,
    Message,
    Receive,
    Scope,
    Send,
    body_pieces,
    declared_length,
    read_body,
    read_headers,
    send_body,
    send_fault,
    write,
)
from batchway.server.visits import Visit, Visits
from batchway.wire import objects
from batchway.wire.endpoints import FRONTS
from batchway.wire.objects import Act, Place

MAX_UPLOAD = 2**29 + 2**20
"""Bytes: the largest file that OpenAI takes (512 MB, providers.md §3.1), and the form around it."""

ASKED = ("accept", "content-type", "openai-beta")
"""Headers of a request that go to the provider. Authorization is not one of them: the key is ours."""

ANSWERED = ("content-type", "content-disposition", "x-incomplete", "x-last-line")
"""Headers of a response that come back (the last two: of a file that is read while it grows, providers.md §9)."""

_log = structlog.get_logger()


class Relayer:
    """All relayed routes. `max_body`: bytes of a body that is not an upload."""

    def __init__(self, relay: Relay, intake: Intake, access: Access, visits: Visits, *, max_body: int) -> None:
        self._relay = relay
        self._intake = intake
        self._access = access
        self._visits = visits
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Its path is one of `wire.objects`."""
        answer = _Answer(send)
        try:
            with self._visits.begin(receive, answer.send) as visit:
                call = await self._take(scope, receive, visit)
                await call.serve()
        except Gone:
            return
        except Refusal as refusal:
            if answer.begun:
                # What was sent cannot be taken back: an answer without its end closes the connection.
                _log.warning("a relayed answer broke off", path=scope["path"], reason=refusal.fault.message)
                return
            allow = [(b"allow", _allowed(scope).encode())] if isinstance(refusal, MethodNotAllowed) else None
            await send_fault(send, refusal.fault, None, allow)
        except Exception:  # noqa: BLE001  # A defect: its caller is told in a shape that it can read.
            _log.exception("a relayed request failed by a defect", path=scope["path"])
            if not answer.begun:
                await send_fault(send, Internal("A defect of batchway; its log has the details.").fault, None)

    async def _take(self, scope: Scope, receive: Receive, visit: Visit) -> "_Call":
        """Whoever may not ask is told so before its body is read."""
        headers = read_headers(scope)
        self._access.check_site(scope["method"], headers)
        place = objects.find(scope["path"])
        assert place is not None, "only paths of these objects come here"
        act = place.acts.get(scope["method"])
        if act is None:
            raise MethodNotAllowed(f"{scope['path']} takes {_allowed(scope)}, not {scope['method']}.")
        identity = self._access.identify(headers)
        tenant, authorization = self._intake.account(self._intake.default_provider, identity)
        caller = Caller(tenant=tenant, authorization=authorization)
        await self._relay.check(caller, place)
        relayed = _relayed(scope, headers)
        return _Call(self._relay, caller, place, act, relayed, receive, headers, visit, self._max_body)


class _Call:
    """One call about an object."""

    def __init__(
        self,
        relay: Relay,
        caller: Caller,
        place: Place,
        act: Act,
        relayed: Relayed,
        receive: Receive,
        headers: Mapping[str, str],
        visit: Visit,
        max_body: int,
    ) -> None:
        self._relay = relay
        self._caller = caller
        self._place = place
        self._act = act
        self._relayed = relayed
        self._receive = receive
        self._headers = headers
        self._visit = visit
        self._max_body = max_body

    async def serve(self) -> None:
        """Pass it on as it is best passed on."""
        if self._place.kind == "file" and self._act == "create":
            await self._upload()
        elif self._act == "read":
            await self._read()
        elif self._act == "list":
            self._visit.has_asked()
            await self._answer(await self._relay.list(self._caller, self._place.kind, self._relayed))
        else:
            await self._pass_on()

    async def _pass_on(self) -> None:
        """Body and answer are small."""
        content = await read_body(self._receive, self._headers, self._max_body)
        self._visit.has_asked()
        if self._place.kind == "batch" and self._act == "create":
            await self._relay.check_input(self._caller, content)
        incoming = await self._relay.send(self._caller, structs.replace(self._relayed, body=content))
        await self._settle(incoming.body)

    async def _upload(self) -> None:
        """A form, passed on as it comes."""
        upload = _Upload(self._receive, self._headers, self._visit)
        try:
            async with self._relay.open(self._caller, self._relayed, Flow(upload.pieces(), upload.length)) as incoming:
                answer = await incoming.body()
        except Refusal:
            if upload.error is not None:
                # The provider only saw a body that broke off.
                raise upload.error from None
            raise
        await self._settle(answer)

    async def _settle(self, answer: bytes) -> None:
        await self._relay.settle(self._caller, self._place, self._act, answer)
        await self._answer(answer)

    async def _answer(self, content: bytes) -> None:
        await send_body(self._visit.send, 200, [JSON, PRIVATE], content)

    async def _read(self) -> None:
        """What is in an object, passed back as it comes."""
        self._visit.has_asked()
        async with self._relay.open(self._caller, self._relayed) as incoming:
            start = {"type": "http.response.start", "status": incoming.status, "headers": _shown(incoming)}
            await self._visit.send(start)
            async for piece in incoming.chunks():
                await write(self._visit.send, piece, more=True)
        await write(self._visit.send, b"", more=False)


class _Answer:
    """Knows whether the answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def send(self, message: Message) -> None:
        self.begun = True
        await self._send(message)


class _Upload:
    """A body as it comes, within bounds: of its size, and of the time between two pieces (it may well take long)."""

    def __init__(self, receive: Receive, headers: Mapping[str, str], visit: Visit) -> None:
        self.length = declared_length(headers, MAX_UPLOAD)
        self.error: Refusal | Gone | None = None
        self._receive = receive
        self._visit = visit

    async def pieces(self) -> AsyncIterator[bytes]:
        try:
            async for piece in body_pieces(self._receive, MAX_UPLOAD):
                self._visit.goes_on()
                yield piece
        except (Refusal, Gone) as error:
            self.error = error
            raise
        self._visit.has_asked()


def _relayed(scope: Scope, headers: Mapping[str, str]) -> Relayed:
    query = scope["query_string"].decode("latin-1")
    passed = tuple([(name, headers[name]) for name in ASKED if name in headers])
    if not all(text.isascii() and text.isprintable() for text in (query, *[value for _, value in passed])):
        raise BadRequest("Send query and headers in printable ASCII characters.")
    path = quote(scope["path"].removeprefix("/v1"), safe="/")
    return Relayed(method=scope["method"], path=path, query=query, headers=passed)


def _shown(incoming: IncomingStream) -> Headers:
    found = [(name.encode(), incoming.headers[name].encode("latin-1")) for name in ANSWERED if name in incoming.headers]
    return [*found, PRIVATE]


_ANSWERING = frozenset({"/v1" + front.path for front in FRONTS.values()})
"""Where a POST makes an object by asking for an answer: `server.openai` serves it."""


def _allowed(scope: Scope) -> str:
    place = objects.find(scope["path"])
    assert place is not None, "only paths of these objects come here"
    return ", ".join(sorted({*place.acts, *(("POST",) if scope["path"] in _ANSWERING else ())}))
