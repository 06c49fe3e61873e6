"""Replay: the gateway's own recorded traffic, what it was, and as requests that other policies may answer.

A first reading takes in what was, and learns how quick the providers are; each policy reads once more. An answer that
was given is taken for what any policy would have got: its tokens as they were billed, its time as it was. What never
had a call of its own (it was packed, in a batch, in the cache) takes the time that such a call usually took. A request
that failed fails again.
"""

from collections import Counter
from collections.abc import Callable, Iterator

from msgspec import Struct, structs

from batchway.core.catalog import Catalog, Rates
from batchway.core.types import Fault, Hints, Usage, Via
from batchway.simulate.blanks import Blanks
from batchway.simulate.outcome import Outcome
from batchway.simulate.world import Conditions, Recorded
from batchway.store.traffic import Overhead, Passed
from batchway.wire.outlines import Traits, prompt_of

ENOUGH = 30
"""Calls after which a provider's pace is taken as measured."""

Read = Callable[[], Iterator[Passed]]
"""Reads the recorded traffic from its beginning, in the order of asking."""


class Taken(Struct, frozen=True, kw_only=True):
    """What the first reading gives."""

    was: Outcome
    """As it is on record."""
    conditions: Conditions
    """Providers as quick as they were."""
    skipped: Counter[str]
    """Requests that are left out, by why."""
    untold: int
    """Requests whose traits were not recorded: they are never packed."""


def take_in(read: Read, overhead: Overhead, conditions: Conditions) -> Taken:
    """Read all of it once."""
    was, pace, skipped, untold = Outcome(), _Pace(), Counter[str](), 0
    for passed in read():
        if (why := _left_out(passed)) is not None:
            skipped[why] += 1
            continue
        untold += passed.traits is None
        _count(was, passed)
        if (seconds := _seconds(passed)) is not None and passed.usage is not None:
            pace.add(passed.usage.output, seconds)
    was.overhead.paid, was.overhead.unpriced = overhead.cost, overhead.unpriced
    # What failed is known of each request; nothing fails besides.
    learnt = structs.replace(pace.learnt(conditions), failing=0.0, row_failing=0.0, flex_refused=0.0)
    return Taken(was=was, conditions=learnt, skipped=skipped, untold=untold)


def requests(read: Read, catalog: Catalog, before: Hints) -> Iterator[Recorded]:
    """The same traffic as it was asked. `before`: the defaults that were in force then."""
    maker = _Maker(catalog, before)
    return (maker.request(passed) for passed in read() if _left_out(passed) is None)


def _left_out(passed: Passed) -> str | None:
    if passed.via is None and passed.fault is None:
        return "not answered yet, or cancelled"
    return None


def _count(was: Outcome, passed: Passed) -> None:
    if passed.fault is not None:
        was.refused[passed.fault.code or str(passed.fault.status)] += 1
        was.timeline.at(passed.finished_at).refused += 1
        return
    assert passed.via is not None, "it was answered"
    way, seconds = was.ways[passed.via], max(0.0, passed.finished_at - passed.asked_at)
    worth = None if passed.cost is None or passed.saved is None else passed.cost + passed.saved
    way.requests += 1
    way.charge(passed.cost, worth)
    way.waited.add(seconds)
    if not _patient(passed):
        was.waited.add(seconds)
    if passed.packed > 1:
        was.packed += 1
    stretch = was.timeline.at(passed.finished_at)
    stretch.answered[passed.via] = stretch.answered.get(passed.via, 0) + 1
    stretch.paid += passed.cost or 0
    stretch.worth += worth or 0


def _patient(passed: Passed) -> bool:
    return passed.strategy == "batch" or passed.priority == "low"


_OWN_CALL: frozenset[Via] = frozenset({"direct"})


def _seconds(passed: Passed) -> float | None:
    """What a call of its own took, where it had one."""
    if passed.via not in _OWN_CALL or passed.packed > 1 or passed.fault is not None:
        return None
    return max(0.0, passed.finished_at - passed.asked_at)


class _Pace:
    """How long answers take by their length: a straight line through what was measured."""

    def __init__(self) -> None:
        self._n = 0
        self._x = self._y = self._xx = self._xy = 0.0

    def add(self, output: int, seconds: float) -> None:
        """One call."""
        self._n += 1
        self._x += output
        self._y += seconds
        self._xx += output * output
        self._xy += output * seconds

    def learnt(self, conditions: Conditions) -> Conditions:
        """The conditions with the pace that was measured, if enough was."""
        if self._n < ENOUGH:
            return conditions
        spread = self._xx - self._x * self._x / self._n
        slope = (self._xy - self._x * self._y / self._n) / spread if spread > 0 else 0.0
        per_token = max(0.0, slope)
        first = max(0.0, (self._y - per_token * self._x) / self._n)
        return structs.replace(conditions, first_token=first, per_token=per_token)


class _Maker:
    """Makes requests of records."""

    def __init__(self, catalog: Catalog, before: Hints) -> None:
        self._catalog = catalog
        self._before = before
        self._blank = Blanks()

    def request(self, passed: Passed) -> Recorded:
        """The request, with its answer."""
        traits = passed.traits or _unknown(passed)
        usage = self._alone(passed)
        tokens = usage.input if usage is not None else max(1, passed.size // 4)
        return Recorded(
            id=passed.ask,
            ask=passed.ask,
            tenant=passed.tenant,
            key=passed.key,
            caller=passed.caller,
            provider=passed.provider,
            endpoint=passed.endpoint,
            body=self._blank(passed.size),
            prompt=prompt_of(traits, passed.model, tokens=tokens, answer=usage.output if usage is not None else 1),
            pack_key=traits.kin or None,
            fingerprint=passed.fingerprint,
            asked_at=passed.asked_at,
            deadline=passed.deadline,
            priority=passed.priority,
            strategy=passed.strategy,
            reuse=traits.reuse,
            packing=traits.packing,
            optimize=traits.optimize,
            on_deadline=passed.on_deadline,
            tokens=tokens,
            usage=usage,
            seconds=_seconds(passed),
            fault=_for_good(passed.fault),
            patient=passed.strategy == "batch" or (passed.priority == "low" and self._before.priority != "low"),
        )

    def _alone(self, passed: Passed) -> Usage | None:
        """What its answer would have taken, sent alone. The share of a packed call is less: its charge says how much
        it would have cost alone, and the price how many tokens that are."""
        usage = passed.usage
        if usage is None or passed.packed <= 1 or passed.cost is None or passed.saved is None:
            return usage
        rates = self._catalog.rates(passed.provider, passed.model, "direct", usage.input)
        if rates is None or not rates.input:
            return usage
        return Usage(input=_input(passed.cost + passed.saved, usage.output, rates, usage.input), output=usage.output)


def _input(worth: int, output: int, rates: Rates, least: int) -> int:
    return max(least, round((worth - output * rates.output) / rates.input))


def _unknown(passed: Passed) -> Traits:
    return Traits(reuse="all" if passed.shared else "off")


def _for_good(fault: Fault | None) -> Fault | None:
    """It is how the request ended, after all tries: it is not tried again."""
    return None if fault is None else structs.replace(fault, passing=False, body=None)
