"""The shadow: a second planner beside the live one, of another policy, fed with what the live one's traffic was.

It is a listener. Of every request that was answered it asks first whether the other policy would have treated it in any
other way; most are not touched by it, and cost the same. Of the others it rehearses the `FIRST` of one slice of time in
`EVERY`: by the live planner itself, offline and on metadata alone, with the answers that were really given. What those
would have cost, scaled by what all of them did cost, is the estimate; all three figures stand side by side.

What it does for one request is bounded: a few comparisons, and for one in `EVERY` a rehearsal. It works in small
portions as events come, never all at once, and holds no text.
"""

from collections.abc import Callable, Mapping
from datetime import date
from heapq import heappop, heappush

from msgspec import Struct, structs

from batchway.assemble.policies import defaults_of
from batchway.core.analysis import analyse
from batchway.core.commands import Reply
from batchway.core.cost import dollars
from batchway.core.events import Answered, Charged, Refused
from batchway.core.packing_fit import LONGEST_ANSWER
from batchway.core.types import Hints, Request, Usage
from batchway.settings import Settings
from batchway.simulate.blanks import Blanks
from batchway.simulate.driver import Simulation
from batchway.simulate.lab import Lab, make_lab
from batchway.simulate.modelled import Modelled
from batchway.simulate.policies import Defaults, Setup, named, on
from batchway.simulate.sketch import Sketch
from batchway.simulate.world import Recorded
from batchway.wire.outlines import prompt_of, traits_of

SLICE = 60.0
"""Seconds of a slice. Windows of packed calls are a thousand times shorter."""

EVERY = 8
"""Of so many slices one is rehearsed: a request costs 20 µs at most, in the mean (`python -m bench.shadow`)."""

FIRST = 1_000
"""Requests of a slice that are rehearsed, its first ones: a busy gateway need not rehearse thousands each second."""

LAG = 30.0
"""Seconds that a request is held back before it is rehearsed: answers come in another order than questions."""

MOST = 10_000
"""Requests that may be under way in the shadow; more are not taken in. Batches take hours."""

PORTION = 2
"""Requests that are rehearsed at one event, at most: nobody waits for a shadow."""


class WhatIf(Struct, frozen=True, kw_only=True):
    """What the other policy would have made of the traffic since the start. Money in picodollars."""

    policy: str
    requests: int
    """Answered, as far as their price is known."""
    paid: int
    """For all of them."""
    touched: int
    """Those that it would have treated otherwise."""
    touched_paid: int
    rehearsed: int
    """Those of them that were rehearsed to their end."""
    rehearsed_paid: int
    rehearsed_would_pay: int
    """With the overhead that it would have had."""
    waited_p95: float
    """Seconds, of the rehearsed: as it was."""
    would_wait_p95: float

    @property
    def would_have_saved(self) -> int:
        """Beyond what was saved: what the rehearsed show, scaled to all that it would have treated otherwise."""
        if not self.rehearsed_paid:
            return 0
        gain = self.rehearsed_paid - self.rehearsed_would_pay
        return round(gain * self.touched_paid / self.rehearsed_paid)


class Shadow:
    """A listener. `report` says what it found."""

    def __init__(self, setup: Setup, lab: Lab, before: Hints) -> None:
        """`before`: the defaults that are in force."""
        self._fill = Defaults(setup.requests, before)
        self._reuses = "reuse" in self._fill.fields
        self._packs_alone = self._fill.fields <= {"packing", "optimize"}
        self._name = setup.name
        self._would = _Would()
        world = Modelled(structs.replace(lab.conditions, failing=0.0, row_failing=0.0, flex_refused=0.0), lab.luck())
        self._simulation: Simulation = lab.simulation(setup, self._would, world=world)
        self._blank = Blanks()
        self._waiting: list[tuple[float, int, Recorded]] = []
        self._taken = 0
        self._slice = self._drawn = 0
        self._requests = self._paid = self._touched = self._touched_paid = 0

    @property
    def hears(self) -> Mapping[type, Callable[..., None]]:
        return {Answered: self._answered}

    def report(self) -> WhatIf:
        """As it stands."""
        would = self._would
        return WhatIf(
            policy=self._name,
            requests=self._requests,
            paid=self._paid,
            touched=self._touched,
            touched_paid=self._touched_paid,
            rehearsed=would.ended,
            rehearsed_paid=would.was_paid,
            rehearsed_would_pay=would.paid,
            waited_p95=would.was_waited.quantile(0.95),
            would_wait_p95=would.waited.quantile(0.95),
        )

    def figures(self) -> dict[str, object]:
        """The same for `/stats`: money in US dollars as decimal text, waiting in seconds."""
        found = self.report()
        return {
            "policy": found.policy,
            "would_have_saved_usd": dollars(found.would_have_saved),
            "requests": found.requests,
            "paid_usd": dollars(found.paid),
            "treated_otherwise": found.touched,
            "rehearsed": found.rehearsed,
            "rehearsed_paid_usd": dollars(found.rehearsed_paid),
            "rehearsed_would_pay_usd": dollars(found.rehearsed_would_pay),
            "waited_p95_seconds": round(found.waited_p95, 3),
            "would_wait_p95_seconds": round(found.would_wait_p95, 3),
        }

    def _answered(self, event: Answered) -> None:
        if self._waiting:
            self._rehearse(event.at)
        reply = event.reply
        cost, usage = reply.cost, reply.answer.usage
        if cost is None or usage is None:
            return
        self._requests += 1
        self._paid += cost
        if not self._is_touched(reply, usage):
            return
        self._touched += 1
        self._touched_paid += cost
        if self._is_drawn(reply.request):
            self._take(self._fill(reply.request), usage, event)

    def _is_drawn(self, request: Request) -> bool:
        """Whether it is one of those that are rehearsed."""
        number = int(request.asked_at / SLICE)
        if number % EVERY or self._would.under_way >= MOST:
            return False
        if number != self._slice:
            self._slice, self._drawn = number, 0
        self._drawn += 1
        return self._drawn <= FIRST

    def _is_touched(self, reply: Reply, usage: Usage) -> bool:
        """Whether the other policy could make a difference to it, as far as is seen at a glance."""
        if reply.via not in _CALLED and not self._reuses:
            return False
        if self._packs_alone and (usage.output > LONGEST_ANSWER or _goes_alone(reply.request)):
            return False
        return self._fill.touch(reply.request)

    def _take(self, other: Request, usage: Usage, event: Answered) -> None:
        """Keep what a rehearsal needs."""
        traits, analysis = traits_of(other), analyse(other.prompt)
        prompt = prompt_of(traits, other.prompt.model, tokens=usage.input, answer=analysis.output_tokens)
        if prompt.outline is not None:
            outline = structs.replace(prompt.outline, tolerance=analysis.latency_tolerance)
            prompt = structs.replace(prompt, outline=outline)
        recorded = Recorded(
            id=other.ask,
            ask=other.ask,
            tenant=other.tenant,
            key=other.key,
            caller=other.caller,
            provider=other.provider,
            endpoint=other.endpoint,
            body=self._blank(other.size),
            prompt=prompt,
            pack_key=traits.kin or None,
            fingerprint=other.fingerprint,
            asked_at=other.asked_at,
            deadline=other.deadline,
            priority=other.priority,
            strategy=other.strategy,
            reuse=other.reuse,
            packing=other.packing,
            on_deadline=other.on_deadline,
            lanes=other.lanes,
            tokens=usage.input,
            usage=usage,
            seconds=event.seconds if event.via == "direct" else None,
        )
        self._would.expect(other.ask, event.reply.cost or 0, event.seconds)
        self._taken += 1
        heappush(self._waiting, (other.asked_at, self._taken, recorded))

    def _rehearse(self, now: float) -> None:
        """Let a portion of what has waited long enough be asked in the shadow."""
        for _ in range(PORTION):
            if not self._waiting or self._waiting[0][0] > now - LAG:
                return
            self._simulation.ask(heappop(self._waiting)[2])


_CALLED = frozenset({"direct", "flex", "batch"})
"""Ways for which a call was made. What a cache or a twin gave costs nothing, whatever else the other policy does."""


def _goes_alone(request: Request) -> bool:
    prompt = request.prompt
    return (
        prompt.stream or prompt.last_user is None or request.endpoint != "chat" or bool(prompt.features) or prompt.n > 1
    )


def make_shadow(settings: Settings, profile: str, today: date) -> Shadow:
    """The shadow of a gateway with these settings. `today` (UTC): whose prices hold. Raises SettingsError."""
    lab = make_lab(settings, today=today)
    return Shadow(named(profile, on(settings)), lab, defaults_of(settings))


class _Would:
    """A listener to the shadow's own planner: what comes of each request that it was given, beside what it did cost."""

    def __init__(self) -> None:
        self.ended = 0
        self.paid = 0
        self.was_paid = 0
        self.waited = Sketch()
        self.was_waited = Sketch()
        self._was: dict[str, tuple[int, float]] = {}

    @property
    def hears(self) -> Mapping[type, Callable[..., None]]:
        return {Charged: self._charged, Answered: self._answered, Refused: self._refused}

    @property
    def under_way(self) -> int:
        """Requests that have not ended in the shadow."""
        return len(self._was)

    def expect(self, ask: str, paid: int, seconds: float) -> None:
        """This request was paid so much, and waited so long."""
        self._was[ask] = (paid, seconds)

    def _charged(self, event: Charged) -> None:
        # A charge comes before its answer, in the same moment: so what is paid belongs to what has ended.
        self.paid += event.charge.cost or 0

    def _answered(self, event: Answered) -> None:
        found = self._was.pop(event.request.ask, None)
        if found is not None:
            self.ended += 1
            self.was_paid += found[0]
            self.was_waited.add(found[1])
            self.waited.add(event.seconds)

    def _refused(self, event: Refused) -> None:
        """Nothing was paid for it, so it is no part of the comparison."""
        self._was.pop(event.request.ask, None)
