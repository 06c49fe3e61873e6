"""One trace, live and simulated: the engine over real HTTP to the sandbox, and the offline driver, do the same.

The live clock is moved by hand, from one thing that is due to the next, and stands still while HTTP is under way.
"""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from tests.clock import HandClock
from tests.gate import settings_of, until

from batchway import sandbox as simulated
from batchway.assemble import Gateway, gateway, make_counts
from batchway.assemble.accounts import offers_of
from batchway.assemble.storage import no_batch_lane
from batchway.core.catalog import Catalog
from batchway.core.cost import charged
from batchway.core.events import Accepted, Answered, CallSent, Charged, Joined, Refused
from batchway.core.job import BatchTerms
from batchway.core.types import Lane, Request, Usage
from batchway.data.prices import finder
from batchway.engine.driver import Outcome, Stream
from batchway.engine.intake import Identity
from batchway.sandbox import Sandbox, faults
from batchway.sandbox.ledger import Line
from batchway.simulate.lab import Lab
from batchway.simulate.outcome import Outcome as Came
from batchway.simulate.policies import Setup
from batchway.simulate.sandboxed import Sandboxed
from batchway.wire.endpoints import FRONTS

LATENCY = 0.7003
"""Seconds that the simulated provider thinks, on the hand-moved clock: no answer comes in the moment of a question."""

START = 1_795_780_800.0
"""27 November 2026, when the catalogue knows prices of every lane."""

MODEL = "gpt-5-mini"
"""It has a price by every lane, and does not reason, so that `auto` may pack it."""
SYSTEM = "You sort letters to a shop into kinds. " * 200


class Doing:
    """A listener that keeps what was done, each call by the order in which it was first spoken of."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.done: list[tuple[Any, ...]] = []
        self._calls: dict[str, int] = {}

    @property
    def hears(self) -> Mapping[type, Callable[..., None]]:
        return {
            Accepted: lambda event: self.requests.append(event.request),
            CallSent: lambda event: self._note(event, self._call(event.call_id), event.lane, event.ids, event.attempt),
            Joined: lambda event: self._note(event, self._call(event.call_id), event.request_id),
            Charged: self._charged,
            Answered: lambda event: self._note(event, event.request.id, event.via, event.reply.cost, event.reply.saved),
            Refused: lambda event: self._note(event, event.request.id, event.fault.code),
        }

    def _charged(self, event: Charged) -> None:
        charge = event.charge
        name = charge.request_id
        self._note(
            event, self._call(charge.call_id), name, charge.via, charge.usage, charge.cost, charge.counterfactual
        )

    def _note(self, event: Any, *what: object) -> None:
        self.done.append((type(event).__name__, round(event.at - START, 6), *what, event.reason))

    def _call(self, call_id: str | None) -> int | None:
        return None if call_id is None else self._calls.setdefault(call_id, len(self._calls))

    def by_request(self) -> dict[str, list[tuple[Any, ...]]]:
        """What was done about each request, in its order."""
        found: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        for each in self.done:
            for name in {str(word) for word in each if isinstance(word, str)} | {
                name for word in each if isinstance(word, tuple) for name in word
            }:
                if any(name == request.id for request in self.requests):
                    found[name].append(each)
        return found


class PatientClock(HandClock):
    """A clock that may stop short of ringing what is due."""

    def due(self) -> float | None:
        """When the next alarm rings."""
        return min((at for at, _, alarm in self._alarms if alarm.action is not None), default=None)

    def wait_until(self, when: float) -> None:
        """Move there without ringing."""
        self._now = max(self._now, when)


class Standstill:
    """The hand-moved clock, and how many calls are asleep at the sandbox."""

    def __init__(self) -> None:
        self.clock = PatientClock(START)
        self.asleep = 0

    async def sleep(self, seconds: float) -> None:
        """The sandbox's: wakes when the hand gets there."""
        woken = asyncio.get_running_loop().create_future()

        def wake() -> None:
            self.asleep -= 1
            if not woken.done():
                woken.set_result(None)

        self.asleep += 1
        self.clock.call_at(self.clock.now() + seconds, wake)
        await woken

    async def settle(self, served: Gateway) -> None:
        """Wait until all calls under way are asleep at the sandbox: only time can go on from there."""
        await until(lambda: served.engine.load().flights == self.asleep)
        await asyncio.sleep(0)

    async def move_to(self, when: float, served: Gateway) -> None:
        """From one thing that is due before then to the next, letting each have its consequences at its own time.

        What is due at that very moment waits for those who ask in it, as it does within one turn of a loop.
        """
        while (due := self.clock.due()) is not None and due < when:
            self.clock.move(max(0.0, due - self.clock.now()))
            await self.settle(served)
        self.clock.wait_until(when)


def chat(text: str, **fields: Any) -> bytes:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
    return json.dumps({"model": MODEL, "temperature": 0, "max_tokens": 100, "messages": messages} | fields).encode()


Trace = Sequence[tuple[float, bytes, Mapping[str, str]]]
"""Seconds from the start, body, headers."""


def trace(count: int, seed: int) -> Trace:
    """Twins, repeats, company for packed calls, streams, seeds, priorities."""
    dice, at, found = Random(seed), 0.0, []
    for number in range(count):
        at += dice.choice([0.01, 0.03, 0.1, 1.0]) * (0.5 + dice.random())
        fields: dict[str, Any] = {}
        headers: dict[str, str] = {}
        kind = dice.choice(["pack", "pack", "pack", "pack", "twin", "twin", "seed", "stream", "flex", "high"])
        text = f"Where is my parcel {number}? Answer with one word."
        if kind == "pack":
            headers["x-batchway-packing"] = dice.choice(["auto", "always"])
        elif kind == "twin":
            text = f"Is this a complaint, {dice.randrange(5)}?"
            found.append((at - 0.004, chat(text), headers))
        elif kind == "seed":
            fields["seed"] = number
        elif kind == "stream":
            fields |= {"stream": True, "stream_options": {"include_usage": True}}
        elif kind == "flex":
            headers["x-batchway-strategy"] = "flex"
        else:
            headers["x-batchway-priority"] = "high"
        found.append((at, chat(text, **fields), headers))
    return found + [(at + later, chat("Is this the last one?"), {}) for later in (3.0, 3.1, 9.0)]


FAULTS = [
    {"kind": "delay", "seconds": LATENCY, "count": None},
    # Each takes a time of its own, so that no two sent in one moment end in one.
    *[
        {"kind": "delay", "seconds": number * 0.61803 % 1, "count": None, "match": {"text": f"parcel {number}?"}}
        for number in range(1, 60)
    ],
    *[{"kind": "status", "status": 503, "count": 1, "match": {"text": f"parcel {number}?"}} for number in (5, 12, 33)],
    {"kind": "status", "status": 429, "retry_after": 2, "count": 1, "match": {"text": "parcel 21?"}},
    *[
        {"kind": "packed", "how": "missing", "count": 1, "match": {"text": f"parcel {number}?"}}
        for number in range(0, 60, 7)
    ],
]
"""Struck by what is asked, not by its turn: HTTP promises no order of what happens at once."""


def make_sandbox(now: Callable[[], float], sleep: Any) -> Sandbox:
    sandbox = Sandbox(now=now, sleep=sleep)
    sandbox.faults.switch_on(faults.read(json.dumps(FAULTS).encode()))
    return sandbox


async def wait_for(outcome: "asyncio.Future[Outcome]") -> None:
    """As a caller does: to the end of a stream."""
    found = await outcome
    if isinstance(found, Stream):
        async for _ in found.tape.follow():
            pass


async def run_live(found: Trace, **settings: Any) -> tuple[Doing, list[Line], Gateway]:
    still, doing = Standstill(), Doing()
    sandbox = make_sandbox(still.clock.now, still.sleep)
    given = settings_of(database_url="none", **settings)
    async with (
        simulated.serve(simulated.app(sandbox)) as upstream,
        gateway(given, sandbox=upstream, clock=still.clock, dice=Random(11), listeners=[doing]) as served,
    ):
        waiting: list[asyncio.Task[None]] = []
        identity = Identity(tenant="t", key="k")
        for after, body, headers in found:
            await still.move_to(START + after, served)
            taken = served.intake.take(FRONTS["chat"], body, headers, identity, still.clock.now())
            waiting.append(asyncio.create_task(wait_for(served.engine.ask(taken.request))))
            await still.settle(served)
        while served.engine.load().waiting or served.engine.load().flights:
            due = still.clock.due()
            assert due is not None
            await still.move_to(due + 1e-3, served)
        await asyncio.gather(*waiting)
        return doing, list(sandbox.ledger.view({}, 100_000).lines), served


def run_offline(live: Doing, served: Gateway) -> tuple[Doing, Came]:
    """The very requests, by the same planner's rules, in a world that answers as the sandbox does."""
    doing, outcome = Doing(), Came()
    now = [START]
    sandbox = make_sandbox(lambda: now[0], None)
    no_batch = no_batch_lane(served.settings)
    where = Lab(
        catalog=CATALOG,
        offers={name: offers_of(account, None, no_batch) for name, account in served.accounts.items()},
        terms={"openai": BatchTerms(endpoints=("chat",))},
        counts=make_counts,
    )
    setup = Setup(name="live", profile="transparent", policy=served.planner.policy)
    world = Sandboxed(sandbox, served.dialects)
    simulation = where.simulation(setup, outcome, doing, world=world, dice=Random(11))
    simulation.run(live.requests)
    return doing, outcome


CATALOG = Catalog(finder(date(2026, 11, 27)))


def bill(lines: Sequence[Line], requests: Sequence[Request]) -> int:
    """Picodollars that the provider's ledger comes to."""
    total = 0
    for line in lines:
        usage = Usage(input=line.input, output=line.output, cached=line.cached, tier=line.tier)
        cost = charged(usage, requests[0], cast("Lane", line.lane), CATALOG)
        assert cost is not None
        total += cost
    return total


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_engine_and_the_offline_driver_do_the_same(seed: int) -> None:
    live, lines, served = await run_live(trace(60, seed), pack_stake_usd=1.0, batch_window_ms=300)
    offline, outcome = run_offline(live, served)
    assert offline.by_request() == live.by_request()
    assert sorted(map(str, offline.done)) == sorted(map(str, live.done))
    assert outcome.paid == bill(lines, live.requests)
    assert {each[0] for each in live.done} >= {"CallSent", "Joined", "Charged", "Answered"}
    assert outcome.packs > 2 and outcome.failed > 0
    assert {via for via, way in outcome.ways.items() if way.requests} >= {"direct", "flex", "coalesced", "cache"}


QUICK = {"batch_size": 3, "flush_interval": 0.2, "poll_interval": 0.2}


async def test_batches_cost_offline_what_the_sandbox_bills(tmp_path: Path) -> None:
    """The batch lane lives by the database's clock, so here only what is billed is compared, not when."""
    doing = Doing()
    sandbox = Sandbox(now=time.time, sleep=asyncio.sleep, batch_seconds=0.3)
    given = settings_of({"BATCHWAY_SETTLE": "0.2"}, database_url=str(tmp_path / "s.db"), unsafe_store=True, **QUICK)
    async with (
        simulated.serve(simulated.app(sandbox)) as upstream,
        gateway(given, sandbox=upstream, listeners=[doing]) as served,
    ):
        identity = Identity(tenant="t", key="k")
        outcomes = []
        for number in range(8):
            headers = {"x-batchway-strategy": "batch"} if number % 2 else {"x-batchway-priority": "low"}
            for body, more in ((chat(f"Where is my parcel {number}?"), headers), (chat(f"Who is {number}?"), {})):
                taken = served.intake.take(FRONTS["chat"], body, more, identity, served.clock.now())
                outcomes.append(served.engine.ask(taken.request))
        async with asyncio.timeout(30):
            await asyncio.gather(*outcomes)
        lines = list(sandbox.ledger.view({}, 1000).lines)
        billed = [line for line in lines if line.endpoint in ("chat", "/v1/chat/completions")]
        was_paid = served.stats.paid
    offline, outcome = run_offline(doing, served)
    assert outcome.ways["batch"].requests == outcome.ways["direct"].requests == 8
    assert sum(line.lane == "batch" for line in billed) == 8
    assert outcome.paid == bill(billed, doing.requests) == was_paid
    assert {each[2] for each in offline.done if each[0] == "Answered"} == {request.id for request in doing.requests}
