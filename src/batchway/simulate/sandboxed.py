"""A world in which the sandbox's own model answers: the same words, token counts and faults as over HTTP, without it.

What a trace costs in it is what the sandbox bills for a live run of that trace, to the last token. An answer takes as
long as the sandbox was told to delay it, and no longer.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec import structs

from batchway.core.commands import Call
from batchway.core.errors import Refusal
from batchway.core.facts import Failed, Finished
from batchway.core.job import Job
from batchway.core.types import Answer, Fault, Request
from batchway.engine import packing
from batchway.ports import Dialect, Incoming, Outgoing
from batchway.sandbox.contract import Dialect as Desk
from batchway.sandbox.contract import Plan, Refused, Visit
from batchway.sandbox.dialects import speak
from batchway.sandbox.state import Sandbox
from batchway.simulate.world import Course
from batchway.wire import body, chat, sse


class Sandboxed:
    """Answers by `sandbox`, spoken to in each provider's dialect, as the engine does."""

    def __init__(self, sandbox: Sandbox, dialects: Mapping[str, Dialect], *, batch_seconds: float = 2.0) -> None:
        """`batch_seconds`: from a batch's creation to its completion."""
        self._sandbox = sandbox
        self._batch_seconds = batch_seconds
        self._dialects = dialects
        self._desks: dict[str, Desk] = {}

    def call(self, call: Call, now: float) -> tuple[float, Finished | Failed]:
        """When it has come back, and what it brings."""
        request = call.requests[0] if call.packed is None else packing.pack(call, call.packed)
        if call.lane == "flex":
            request = _flexible(request)
        dialect = self._dialects[request.provider]
        try:
            outgoing = dialect.encode(request)
        except Refusal as refusal:
            return now, Failed(call.call_id, refusal.fault)
        plan = self._answer(request.provider, outgoing, now)
        at = now + plan.delay
        result = _read(dialect, request, plan, at)
        report = dialect.report(_headers(plan), at)
        if isinstance(result, Fault):
            return at, Failed(call.call_id, result, report)
        if call.packed is not None:
            return at, packing.unpack(call, call.packed, result, report)
        if call.compared:
            result = structs.replace(result, said=chat.content(result.body))
        return at, Finished(call.call_id, (result,), report)

    def batch(self, _job: Job, now: float, /) -> Course:
        """It takes as long as this world was told that batches take."""
        return Course(ends_at=now + self._batch_seconds, status="completed")

    def row(self, request: Request, _job: Job, course: Course, /) -> Answer | Fault | None:
        """What the model says to it, whichever way it is asked."""
        dialect = self._dialects[request.provider]
        plan = self._answer(request.provider, dialect.encode(request), course.ends_at)
        return _read(dialect, request, plan, course.ends_at)

    def _answer(self, provider: str, outgoing: Outgoing, now: float) -> Plan:
        desk = self._desks.get(provider)
        if desk is None:
            desk = self._desks[provider] = speak(provider, self._sandbox)
        headers = tuple([(name.lower().encode(), value.encode()) for name, value in outgoing.headers])
        # The sandbox has each provider's API below the provider's name.
        path = urlsplit(outgoing.url).path.removeprefix(f"/{provider}")
        route = desk.find(outgoing.method, path)
        assert route is not None, f"the sandbox's {provider} has no {path}"
        visit = Visit(
            number=self._sandbox.next_number(),
            at=now,
            provider=provider,
            method=outgoing.method,
            path=path,
            headers=headers,
            body=outgoing.body,
            key=desk.key(headers),
        )
        rules = self._sandbox.faults.strike(route.endpoint, visit, desk)
        visit = structs.replace(visit, faults=rules) if rules else visit
        try:
            admitted = desk.admit(visit)
            plan = route.answer(visit)
            plan = structs.replace(plan, headers=(*plan.headers, *admitted))
        except Refused as refused:
            plan = desk.refusal(refused)
        for rule in rules:
            if rule.for_streams in (None, plan.streaming):
                plan = rule.bend(plan, desk)
        return plan


def _flexible(request: Request) -> Request:
    fields = body.fields(request.body)
    fields["service_tier"] = body.raw("flex")
    return structs.replace(request, body=body.join(fields))


def _headers(plan: Plan) -> dict[str, str]:
    return {name.decode().lower(): value.decode() for name, value in plan.headers}


def _read(dialect: Dialect, request: Request, plan: Plan, now: float) -> Answer | Fault:
    content = b"".join([part.data for part in plan.parts])
    if request.prompt.stream and plan.status < 300:
        return _follow(dialect, request, content, now)
    return dialect.decode(request, Incoming(status=plan.status, headers=_headers(plan), body=content), now)


def _follow(dialect: Dialect, request: Request, content: bytes, now: float) -> Answer | Fault:
    reader = dialect.follow(request, fold=True)
    for frame in sse.FrameCutter(len(content) + 1).feed(content):
        data = sse.payload(frame)
        if data is not None:
            reader.read(frame, data)
        if reader.error is not None:
            return dialect.error_frame(reader.error)
    return reader.answer(now)
