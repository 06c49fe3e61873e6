"""Making one upstream call: send it, read it, report to the engine what came of it."""

from collections.abc import Mapping
from typing import Protocol

import msgspec
import structlog
from msgspec import structs

from batchway.core import facts
from batchway.core.commands import Call
from batchway.core.errors import (
    Internal,
    KeyRefused,
    Refusal,
    Unconfigured,
    UpstreamCut,
    UpstreamMalformed,
    UpstreamTooLarge,
)
from batchway.core.fingerprint import reusable
from batchway.core.limits import Report
from batchway.core.types import Answer, Fault, Lane, Request
from batchway.engine import packing
from batchway.engine.tape import Tape
from batchway.ports import Clock, Dialect, Incoming, IncomingStream, Sender
from batchway.wire import body, chat, sse
from batchway.wire.endpoints import StreamReader
from batchway.wire.sse import Frame

_log = structlog.get_logger()


class Desk(Protocol):
    """Whom a call reports to."""

    def tell(self, fact: facts.Fact) -> None: ...
    def begin(self, call_id: str, tape: Tape) -> None:
        """The first frames are there: whoever waits for this call follows its tape."""
        ...


class Calls:
    """Makes calls through the dialect of each request's provider."""

    def __init__(
        self,
        dialects: Mapping[str, Dialect],
        sender: Sender,
        clock: Clock,
        desk: Desk,
        *,
        max_body: int,
        key_settings: Mapping[str, str],
    ) -> None:
        """`key_settings`: where the gateway's own keys are set, by provider."""
        self._dialects = dialects
        self._sender = sender
        self._clock = clock
        self._desk = desk
        self._max_body = max_body
        self._key_settings = key_settings

    def reaches(self, provider: str) -> bool:
        """Whether there is a way to it."""
        return provider in self._dialects

    async def make(self, call: Call) -> None:
        """Make this call and report `Finished` or `Failed`, whatever happens but cancellation."""
        request = call.requests[0]
        tape = Tape(keep=request.named or reusable(request) is None) if request.prompt.stream else None
        try:
            dialect = self._dialect_of(request)
            if tape is None:
                ended = await self._send(call, dialect)
            else:
                ended = await self._stream(call.call_id, _tiered(request, call.lane), dialect, tape)
        except Refusal as refusal:
            ended = facts.Failed(call.call_id, refusal.fault)
        except Exception as error:  # noqa: BLE001  # A defect: it may fail this call, never the gateway.
            _log.exception("a call failed by a defect", call_id=call.call_id, provider=request.provider)
            fault = Internal(f"A call failed by a defect of batchway ({type(error).__name__}); see the log.").fault
            ended = facts.Failed(call.call_id, fault)
        if isinstance(ended, facts.Failed):
            setting = self._key_settings.get(request.provider)
            ended = structs.replace(ended, fault=KeyRefused.or_as_it_is(ended.fault, request.provider, setting))
        # The callers hear how it ended before the tape says that it has.
        self._desk.tell(ended)
        if tape is not None:
            tape.end()

    def _dialect_of(self, request: Request) -> Dialect:
        dialect = self._dialects.get(request.provider)
        if dialect is None:
            raise Unconfigured.any_more(request.provider)
        return dialect

    async def _send(self, call: Call, dialect: Dialect) -> facts.Fact:
        request = call.requests[0] if call.packed is None else packing.pack(call, call.packed)
        incoming = await self._sender.send(dialect.encode(_tiered(request, call.lane)), call.timeout)
        now = self._clock.now()
        result, report = dialect.decode(request, incoming, now), dialect.report(incoming.headers, now)
        if call.packed is not None and isinstance(result, Answer):
            return packing.unpack(call, call.packed, result, report)
        if call.compared and isinstance(result, Answer):
            result = structs.replace(result, said=chat.content(result.body))
        return _ended(call.call_id, result, report)

    async def _stream(self, call_id: str, request: Request, dialect: Dialect, tape: Tape) -> facts.Fact:
        async with self._sender.stream(dialect.encode(request)) as incoming:
            now = self._clock.now()
            report = dialect.report(incoming.headers, now)
            if not 200 <= incoming.status < 300:
                whole = Incoming(status=incoming.status, headers=incoming.headers, body=await incoming.body())
                return _ended(call_id, dialect.decode(request, whole, now), report)
            # What stays at the provider is known by the name in its answer.
            reader = dialect.follow(request, fold=tape.keep or "stateful" in request.prompt.features)
            fault = await self._copy(call_id, incoming, reader, dialect, tape)
            return _ended(call_id, fault or reader.answer(self._clock.now()), report)

    async def _copy(
        self, call_id: str, incoming: IncomingStream, reader: StreamReader, dialect: Dialect, tape: Tape
    ) -> Fault | None:
        """Write the frames to the tape as they come. The fault, if the stream has one or ends too early."""
        cutter = sse.FrameCutter(self._max_body)
        begun = False
        size = 0
        async for data in incoming.chunks():
            size += len(data)
            if size > self._max_body:
                return UpstreamTooLarge(self._max_body).fault
            try:
                frames, broken = _read(cutter.feed(data), reader)
            except ValueError as error:
                frames, broken = [], error
            if frames:
                if not begun:
                    begun = True
                    self._desk.begin(call_id, tape)
                await tape.write(frames)
            if broken is not None:
                return UpstreamMalformed(f"The stream holds a frame that cannot be read ({broken}).").fault
            if reader.error is not None:
                return dialect.error_frame(reader.error)
            if reader.done:
                break
        if reader.whole:
            return None
        return UpstreamCut("The provider's stream stopped before the answer ended.").fault


def _tiered(request: Request, lane: Lane) -> Request:
    """The flex lane is asked for as OpenAI's front asks for it; a dialect that says it otherwise translates that."""
    if lane != "flex":
        return request
    fields = body.fields(request.body)
    fields["service_tier"] = body.raw("flex")
    return structs.replace(request, body=body.join(fields))


def _read(frames: list[bytes], reader: StreamReader) -> tuple[list[Frame], Exception | None]:
    """The frames to pass on, up to an error or one that cannot be read."""
    passed: list[Frame] = []
    for frame in frames:
        data = sse.payload(frame)
        if data is None:
            # A comment: providers send them to keep the connection alive, ours to the caller needs that too.
            passed.append((frame, False))
            continue
        try:
            passed += reader.read(frame, data)
        except msgspec.DecodeError as error:
            return passed, error
        if reader.error is not None:
            break
    return passed, None


def _ended(call_id: str, result: Answer | Fault, report: Report | None) -> facts.Fact:
    if isinstance(result, Fault):
        return facts.Failed(call_id, result, report)
    return facts.Finished(call_id, (result,), report)
