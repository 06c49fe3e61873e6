"""The modelled world: providers that behave as the conditions have it, each request with its own luck."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from zlib import crc32

from msgspec import Struct, structs

from batchway.core.analysis import analyse
from batchway.core.commands import Call
from batchway.core.errors import UpstreamMalformed
from batchway.core.facts import Failed, Finished
from batchway.core.job import Job
from batchway.core.packing import FORMATS, Format
from batchway.core.packing_worth import shares
from batchway.core.turnaround import PRIOR
from batchway.core.types import Answer, Fault, Lane, Request, Usage
from batchway.simulate.blanks import Blanks
from batchway.simulate.luck import Luck
from batchway.simulate.world import Conditions, Course, Recorded


class Prefix(Struct, frozen=True, kw_only=True):
    """When a provider reads the beginning of a prompt from its cache."""

    least: int = 1024
    """Tokens below which it does not."""
    step: int = 128
    seconds: float = 300.0
    """After the beginning was last read or written."""


PREFIXES: Mapping[str, Prefix | None] = {
    # providers.md §16; where the least or the lifetime is unconfirmed there, OpenAI's older ones stand in.
    "openai": Prefix(),
    "anthropic": None,  # it has to be asked for in the body, and batchway does not
    "gemini": Prefix(least=4096),
}
"""By provider; who is not named has `Prefix()`. None: it never does by itself."""

FLEX_FULL = Fault(
    whose="theirs",
    status=429,
    type="rate_limit_error",
    code="resource_unavailable",
    message="no capacity",
    passing=True,
)
OVERLOADED = Fault(
    whose="theirs",
    status=503,
    type="server_error",
    code="overloaded",
    message="overloaded",
    passing=True,
    healthy=False,
)
ROW_FAILED = Fault(whose="theirs", status=400, type="invalid_request_error", code="row_failed", message="a row failed")

REMEMBERED = 10_000
"""Beginnings of prompts that the provider's cache is followed for."""

TELLING = 20
"""Measured batches from which on they say more than what is reported of batches."""

REFUSED_AFTER = 0.2
"""Seconds that a refusal takes."""

# Which draw of a request's luck decides what; the attempts of a call are told apart by hundreds.
_SPEED, _LENGTH, _FAILS, _UNTOLD, _DIFFERS, _ROW, _STRANDED = range(7)
_ATTEMPT = 100


class Modelled:
    """The world as the conditions have it."""

    def __init__(self, conditions: Conditions, luck: Luck, *, measured: Sequence[float] = ()) -> None:
        """`measured`: seconds that batches took; enough of them stand in for what is reported of batches."""
        self._conditions = conditions
        self._measured = sorted(measured) if len(measured) >= TELLING else None
        self._luck = luck
        self._seen: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._blank = Blanks()

    # Calls

    def call(self, call: Call, now: float) -> tuple[float, Finished | Failed]:
        refused = self._refusal(call)
        if refused is not None:
            return now + REFUSED_AFTER, Failed(call.call_id, refused)
        if call.packed is None:
            return self._single(call, call.requests[0], now)
        return self._packed(call, FORMATS[call.packed.format], now)

    def _refusal(self, call: Call) -> Fault | None:
        first = call.requests[0]
        if isinstance(first, Recorded) and first.fault is not None and len(call.requests) == 1:
            return first.fault
        die = self._luck.draw(first.ask, _ATTEMPT * call.attempt + _FAILS)
        if die < self._conditions.failing:
            return OVERLOADED
        if call.lane == "flex" and die < self._conditions.failing + self._conditions.flex_refused:
            return FLEX_FULL
        return None

    def _single(self, call: Call, request: Request, now: float) -> tuple[float, Finished]:
        usage = self._usage(request, now)
        at = now + self._seconds(call.lane, [request], usage.output, call.attempt)
        answer = self._answer(request, usage, at, said=_said(request, differs=False))
        return at, Finished(call.call_id, (answer,))

    def _packed(self, call: Call, form: Format, now: float) -> tuple[float, Finished]:
        items = [_item(request) for request in call.requests]
        shared = max(0, min([_input(request) - item for request, item in zip(call.requests, items, strict=True)]))
        outputs = [self._output(request) for request in call.requests]
        whole = self._cached(
            call.requests[0],
            shared,
            Usage(
                input=shared + sum(items) + form.overhead + form.per_item * len(items),
                output=sum(outputs) + form.per_answer * len(items),
            ),
            now,
        )
        at = now + self._seconds(call.lane, call.requests, whole.output, call.attempt)
        parts = shares(whole, [item + 1 for item in items], [output + 1 for output in outputs])
        results = tuple([self._part(request, part, at) for request, part in zip(call.requests, parts, strict=True)])
        return at, Finished(call.call_id, results, usage=whole, said=4 * whole.output)

    def _part(self, request: Request, share: Usage, at: float) -> Answer | Fault:
        failed = isinstance(request, Recorded) and request.fault is not None
        if failed or self._luck.draw(request.ask, _UNTOLD) < self._conditions.untold:
            return structs.replace(UNTOLD, usage=share)
        differs = self._luck.draw(request.ask, _DIFFERS) < self._conditions.differing
        return self._answer(request, share, at, said=_said(request, differs=differs))

    def _answer(self, request: Request, usage: Usage, at: float, *, said: str) -> Answer:
        bound = request.prompt.max_output
        return Answer(
            body=self._blank(400 + 4 * usage.output),
            usage=usage,
            complete=bound is None or usage.output < bound * request.prompt.n,
            finished_at=at,
            said=said,
        )

    # Usage

    def _usage(self, request: Request, now: float) -> Usage:
        """Of a call of its own."""
        if isinstance(request, Recorded) and request.usage is not None:
            return request.usage
        usage = Usage(input=_input(request), output=self._output(request))
        return self._cached(request, usage.input - _item(request), usage, now)

    def _output(self, request: Request) -> int:
        if isinstance(request, Recorded) and request.usage is not None:
            return request.usage.output
        if request.endpoint == "embeddings":
            return 0
        drawn = round(_expected(request) * self._luck.factor(request.ask, _LENGTH, self._conditions.length_spread))
        bound = request.prompt.max_output
        return max(1, drawn if bound is None else min(bound, drawn)) * request.prompt.n

    def _cached(self, request: Request, shared: int, usage: Usage, now: float) -> Usage:
        """The usage with what the provider's cache had of the shared beginning, or has taken in."""
        rule = PREFIXES.get(request.provider, _ANY)
        if rule is None or shared < rule.least or request.endpoint == "embeddings":
            return usage
        key = (request.provider, request.prompt.model, _kin(request))
        last = self._seen.pop(key, None)
        self._seen[key] = now
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        kept = shared // rule.step * rule.step
        if last is not None and now - last <= rule.seconds:
            return structs.replace(usage, cached=kept)
        return structs.replace(usage, cache_written=kept)

    # Time

    def _seconds(self, lane: Lane, requests: Sequence[Request], output: int, attempt: int) -> float:
        """What a call takes: as recorded, the answers of a packed call one after the other; else as is usual."""
        found = self._conditions
        known = [request.seconds for request in requests if isinstance(request, Recorded) and request.seconds]
        if len(known) == len(requests):
            seconds = found.first_token + sum([max(0.0, each - found.first_token) for each in known])
            seconds = known[0] if len(known) == 1 else seconds
        else:
            seconds = found.first_token + found.per_token * output
            seconds *= self._luck.factor(requests[0].ask, _ATTEMPT * attempt + _SPEED, found.spread)
        return seconds * found.flex_factor if lane == "flex" else seconds

    # Batches

    def batch(self, job: Job, now: float) -> Course:
        share = self._luck.draw(job.id, _SPEED)
        usual = _reported(share) if self._measured is None else self._measured[int(share * len(self._measured))]
        seconds = usual * self._conditions.turnaround
        if seconds >= DAY:
            return Course(ends_at=now + DAY, status="expired")
        return Course(ends_at=now + seconds, status="completed")

    def row(self, request: Request, job: Job, course: Course) -> Answer | Fault | None:
        if isinstance(request, Recorded) and request.fault is not None:
            return request.fault
        tried = _ATTEMPT * job.attempt
        if course.status == "expired" and self._luck.draw(request.ask, tried + _STRANDED) < self._conditions.stranded:
            return None
        if self._luck.draw(request.ask, tried + _ROW) < self._conditions.row_failing:
            return ROW_FAILED
        cached = int((_input(request) - _item(request)) * self._conditions.batch_cached)
        usage = Usage(input=_input(request), output=self._output(request), cached=cached)
        if isinstance(request, Recorded) and request.usage is not None:
            cached = min(cached, request.usage.input)
            usage = structs.replace(request.usage, cached=cached, cache_written=0, cache_written_hour=0)
        return self._answer(request, usage, course.ends_at, said="")


UNTOLD = UpstreamMalformed("in its packed call no answer came with its id", code="unpacked").fault

DAY = 86_400.0
"""The completion window that all providers sell."""

_ANY = Prefix()


def _reported(share: float) -> float:
    """Seconds within which that share of batches is back, as is reported of them."""
    before, share_before = 0.0, 0.0
    for point, reached in PRIOR:
        if share < reached:
            return before + (point - before) * (share - share_before) / (reached - share_before)
        before, share_before = point, reached
    return PRIOR[-1][0]


def _input(request: Request) -> int:
    return max(1, request.likely_tokens)


def _item(request: Request) -> int:
    outline = request.prompt.outline
    item = outline.item if outline is not None else len(request.prompt.last_user or "") // 4
    return min(item or 0, _input(request))


def _kin(request: Request) -> str:
    outline = request.prompt.outline
    return outline.kin if outline is not None else request.prompt.system


def _expected(request: Request) -> int:
    outline = request.prompt.outline
    return outline.answer if outline is not None else analyse(request.prompt).output_tokens


def _said(request: Request, *, differs: bool) -> str:
    """A text within the request's bound, however tokens are counted; equal for equal questions, hardly for others."""
    bound = request.prompt.max_output
    text = f"{crc32(f'{request.fingerprint}{differs}'.encode()):08x}"
    return text if bound is None else text[: max(1, bound)]
