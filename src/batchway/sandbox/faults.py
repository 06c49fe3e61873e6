"""Fault switches: rules that say which calls go wrong and how. Each kind bends the plan of an answer.

A rule is a JSON object: `kind`, that kind's parameters, `match` (which calls; empty: all), `count` (how many times; 1
by default, null for always) and `skip` (let that many matching calls pass first). Every rule that matches a call is
applied, in the order in which the rules were given.
"""

import math
from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, structs

from batchway.sandbox import packed
from batchway.sandbox.batch_faults import BatchFault
from batchway.sandbox.contract import Dialect, Fault, Part, Peek, Plan, Refused, Visit
from batchway.sandbox.rules import NotNegative, Positive, Rule

FILLER = 65536
"""Bytes of the block that an oversized body repeats, so that the sandbox itself stays small."""


class Status(Rule, frozen=True, kw_only=True, tag="status"):
    """An HTTP error. `accepted`: the work was done and is billed all the same (the answer was lost on the way)."""

    status: Annotated[int, Meta(ge=400, le=599)]
    body: Raw | UnsetType = UNSET
    """Sent as it is; by default the dialect's error shape with `code`, `type` and `message`."""
    code: str | None = None
    type: str | None = None
    message: str | None = None
    retry_after: Annotated[float, Meta(ge=0)] | None = None
    """Seconds, sent as the Retry-After header."""
    accepted: bool = False

    @property
    def refuses(self) -> bool:
        return not self.accepted

    def bend(self, plan: Plan, dialect: Dialect, /) -> Plan:
        error = dialect.refusal(_refused(self.status, self.message, self.type, self.code, self.retry_after))
        return structs.replace(
            error,
            parts=error.parts if self.body is UNSET else (Part(bytes(self.body)),),
            bill=plan.bill,
            outcome="cut",
            delay=plan.delay,
            rate=plan.rate,
        )


class Delay(Rule, frozen=True, kw_only=True, tag="delay"):
    """The first byte comes `seconds` later."""

    seconds: Annotated[float, Meta(gt=0)]

    def bend(self, plan: Plan, _: Dialect, /) -> Plan:
        return structs.replace(plan, delay=plan.delay + self.seconds)


class SlowBody(Rule, frozen=True, kw_only=True, tag="slow_body"):
    """The body, or the stream, trickles."""

    bytes_per_second: Annotated[float, Meta(gt=0)]

    def bend(self, plan: Plan, _: Dialect, /) -> Plan:
        return structs.replace(plan, rate=self.bytes_per_second)


class CutStream(Rule, frozen=True, kw_only=True, tag="cut_stream"):
    """The connection breaks after `after` frames of a stream."""

    for_streams = True
    after: NotNegative = 2

    def bend(self, plan: Plan, _: Dialect, /) -> Plan:
        return structs.replace(plan, parts=plan.parts[: self.after] or (Part(b""),), **BROKEN)


class CutBody(Rule, frozen=True, kw_only=True, tag="cut_body"):
    """The connection breaks amid a body of declared length: after `after` bytes, by default half."""

    for_streams = False
    after: NotNegative | None = None

    def bend(self, plan: Plan, _: Dialect, /) -> Plan:
        body = _body(plan)
        end = len(body) // 2 if self.after is None else min(self.after, len(body) - 1)
        return structs.replace(plan, parts=(Part(body[:end]),), length=len(body), hang_up=True, outcome="cut")


class NoDone(Rule, frozen=True, kw_only=True, tag="no_done"):
    """The stream ends properly, but without its last word (`[DONE]`); `finish` false: nor a finish reason."""

    for_streams = True
    finish: bool = True

    def bend(self, plan: Plan, _: Dialect, /) -> Plan:
        left_out = {"done"} if self.finish else {"done", "finish"}
        return structs.replace(plan, parts=tuple(p for p in plan.parts if p.place not in left_out), outcome="cut")


class MalformedBody(Rule, frozen=True, kw_only=True, tag="malformed_body"):
    """Status 200, but not JSON: `text`, or else half of the right answer (of a stream: of its second frame)."""

    text: str | None = None

    def bend(self, plan: Plan, _: Dialect, /) -> Plan:
        if plan.streaming:
            return structs.replace(plan, parts=(*plan.parts[:1], self._frame(plan)), outcome="cut", partial=True)
        body = _body(plan)
        wrong = body[: len(body) // 2] if self.text is None else self.text.encode()
        return structs.replace(plan, parts=(Part(wrong),), outcome="cut")

    def _frame(self, plan: Plan) -> Part:
        frame = plan.parts[min(1, len(plan.parts) - 1)].data
        wrong = frame[: len(frame) // 2] if self.text is None else b"data: " + self.text.encode()
        return Part(wrong + b"\n\n")


class OversizedBody(Rule, frozen=True, kw_only=True, tag="oversized_body"):
    """A well-formed JSON body (of a stream: one frame) of about `bytes` bytes, never held in memory as a whole.

    `declared` false leaves the length out. `status` other than 200 makes it an error body.
    """

    bytes: Positive
    status: Annotated[int, Meta(ge=200, le=599)] = 200
    declared: bool = True

    def bend(self, plan: Plan, _: Dialect, /) -> Plan:
        head, tail = (b'data: {"filler":"', b'"}\n\n') if plan.streaming else (b'{"filler":"', b'"}')
        block = Part(b"x" * FILLER)
        parts = (Part(head), *[block] * math.ceil(self.bytes / FILLER), Part(tail))
        streaming = plan.streaming or not self.declared
        return structs.replace(plan, status=self.status, parts=parts, streaming=streaming, outcome="cut")


class Drop(Rule, frozen=True, kw_only=True, tag="drop"):
    """The connection is closed before any answer. `accepted`: the work was done and is billed all the same."""

    accepted: bool = False

    @property
    def refuses(self) -> bool:
        return not self.accepted

    def bend(self, plan: Plan, _: Dialect, /) -> Plan:
        return structs.replace(plan, parts=(), hang_up=True, outcome="cut")


class ErrorFrame(Rule, frozen=True, kw_only=True, tag="error_frame"):
    """A stream that started well, then an error frame after `after` frames, and the end."""

    for_streams = True
    after: NotNegative = 1
    status: int = 500
    """Chooses the default texts only: the HTTP status has gone out as 200."""
    code: str | None = None
    type: str | None = None
    message: str | None = None

    def bend(self, plan: Plan, dialect: Dialect, /) -> Plan:
        frame = Part(dialect.error_frame(_refused(self.status, self.message, self.type, self.code, None)))
        return structs.replace(plan, parts=(*plan.parts[: self.after], frame), outcome="cut", partial=True)


class EmptyBody(Rule, frozen=True, kw_only=True, tag="empty_body"):
    """Status 200 and not a byte."""

    def bend(self, plan: Plan, _: Dialect, /) -> Plan:
        return structs.replace(plan, parts=(Part(b""),), outcome="cut")


class WrongShape(Rule, frozen=True, kw_only=True, tag="wrong_shape"):
    """Status 200 and JSON, but not the endpoint's object."""

    body: Raw = Raw(b'{"unexpected":true}')

    def bend(self, plan: Plan, _: Dialect, /) -> Plan:
        wrong = bytes(self.body)
        parts = (Part(b"data: " + wrong + b"\n\n"), *_done(plan)) if plan.streaming else (Part(wrong),)
        return structs.replace(plan, parts=parts, outcome="cut")


class Packed(Rule, frozen=True, kw_only=True, tag="packed"):
    """The model answers a packed prompt wrongly: `how`, for `share` (0 to 1) of them, chosen by `seed`."""

    how: packed.How
    share: Annotated[float, Meta(ge=0, le=1)] = 1.0
    seed: int = 0

    @property
    def refuses(self) -> bool:
        return self.how == "filtered"

    def hits(self, visit: Visit) -> bool:
        """Whether it is a packed prompt, and of the share that goes wrong."""
        return packed.is_packed(visit.body) and packed.struck(self.seed, visit.body, self.share)

    def bend(self, plan: Plan, dialect: Dialect, /) -> Plan:
        """Only a content filter shows here: all else is in the model's words already (`misbehaviour`)."""
        return dialect.refusal(Refused(400, FILTERED, code="content_filter")) if self.refuses else plan


def misbehaviour(faults: Iterable[Fault]) -> packed.How | None:
    """How the model goes wrong in a visit with these faults, if it does. What it says must be known before it is
    counted and billed, so this fault cannot bend a plan as the others do."""
    return next((fault.how for fault in faults if isinstance(fault, Packed)), None)


FILTERED = "The response was filtered due to the prompt triggering the content management policy."
"""As Azure OpenAI says it, with status 400 and code `content_filter`; nothing is billed."""

BROKEN = {"hang_up": True, "outcome": "cut", "partial": True}

AnyRule = (
    Status
    | Delay
    | SlowBody
    | CutStream
    | CutBody
    | NoDone
    | MalformedBody
    | OversizedBody
    | Drop
    | ErrorFrame
    | EmptyBody
    | WrongShape
    | Packed
)
"""What can go wrong with a call."""

AnyFault = AnyRule | BatchFault
"""And with a batch."""

_rules = msgspec.json.Decoder(list[AnyFault])


def read(body: bytes) -> list[AnyFault]:
    """Rules from JSON. Raises msgspec.DecodeError, which says what is wrong and where."""
    return _rules.decode(body)


class Armed(Struct):
    """A rule and how often it has matched and been applied."""

    rule: AnyFault
    matched: int = 0
    applied: int = 0

    def fire(self) -> bool:
        """Count a matching call; True if the fault applies to it."""
        if self.rule.count is not None and self.applied >= self.rule.count:
            return False
        self.matched += 1
        if self.matched <= self.rule.skip:
            return False
        self.applied += 1
        return True


class Faults:
    """The rules that are switched on."""

    def __init__(self) -> None:
        self.armed: list[Armed] = []

    def switch_on(self, rules: list[AnyFault]) -> None:
        """Add rules after those that are on already."""
        self.armed += [Armed(rule) for rule in rules]

    def switch_off(self) -> None:
        """Remove all rules."""
        self.armed = []

    def strike(self, endpoint: str, visit: Visit, dialect: Dialect) -> tuple[AnyFault, ...]:
        """The rules that apply to this call, each counted."""
        if not self.armed:
            return ()
        peek = dialect.peek(visit)
        return tuple(armed.rule for armed in self.armed if _matches(armed.rule, endpoint, visit, peek) and armed.fire())


def _matches(rule: Rule, endpoint: str, visit: Visit, peek: Peek) -> bool:
    match = rule.match
    return (
        match.provider in (None, visit.provider)
        and match.endpoint in (None, endpoint)
        and match.model in (None, peek.model)
        and rule.for_endpoint in (None, endpoint)
        and (match.text is None or match.text.encode() in visit.body)
        and (match.larger is None or visit.size > match.larger)
        and rule.for_streams in (None, peek.stream)
        and (not isinstance(rule, Packed) or rule.hits(visit))
    )


_DEFAULTS = {
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist or you do not have access to it."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached. Please try again later."),
    503: ("server_error", None, "The engine is currently overloaded, please try again later."),
}


def _refused(
    status: int, message: str | None, kind: str | None, code: str | None, retry_after: float | None
) -> Refused:
    whose = "server_error" if status >= 500 else "invalid_request_error"
    usual = _DEFAULTS.get(status, (whose, None, f"The sandbox was told to fail with {status}."))
    return Refused(status, message or usual[2], kind=kind or usual[0], code=code or usual[1], retry_after=retry_after)


def _body(plan: Plan) -> bytes:
    return b"".join(part.data for part in plan.parts)


def _done(plan: Plan) -> tuple[Part, ...]:
    return tuple(part for part in plan.parts if part.place == "done")
