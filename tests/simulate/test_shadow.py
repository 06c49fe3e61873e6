"""The shadow: what another policy would have made of the live traffic, at a glance and by rehearsal."""

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from msgspec import structs
from tests.gate import MODEL, open_gate, settings_of
from tests.simulate.traffic import START

from batchway.assemble import gateway, load_settings
from batchway.core.types import Hints
from batchway.engine.intake import Identity
from batchway.simulate.lab import Lab, make_lab
from batchway.simulate.outcome import Outcome
from batchway.simulate.policies import Defaults, Setup, named
from batchway.simulate.shadow import EVERY, FIRST, LAG, SLICE, Shadow, make_shadow
from batchway.simulate.world import Conditions, Recorded
from batchway.wire import chat
from batchway.wire.endpoints import FRONTS

SYSTEM = "You sort letters to a shop into complaints, orders and questions. " * 60


def asked(number: int, at: float, **fields: Any) -> Recorded:
    """A request with its text, as the live gateway has it."""
    user = {"role": "user", "content": f"Where is my parcel {number}?"}
    body = json.dumps({"model": MODEL, "messages": [{"role": "system", "content": SYSTEM}, user], **fields}).encode()
    return Recorded(
        id=f"r{number}",
        ask=f"r{number}",
        tenant="t",
        key="k",
        caller="c",
        provider="openai",
        endpoint="chat",
        body=body,
        prompt=chat.read(body).prompt,
        pack_key="letters",
        fingerprint=f"f{number}",
        asked_at=START + at,
        tokens=900,
    )


def letters(seconds: float, per_second: float = 8.0, **fields: Any) -> Iterator[Recorded]:
    for number in range(int(seconds * per_second)):
        yield asked(number, number / per_second, max_tokens=12, **fields)


def lab() -> Lab:
    return make_lab(load_settings({}, environment={}).settings, conditions=Conditions(failing=0.0))


def rich(setup: Setup) -> Setup:
    window = structs.replace(setup.policy.pack, max_wait=0.5)
    return structs.replace(setup, policy=structs.replace(setup.policy, pack_stake=10**15, pack=window))


def watched(shadow: Shadow, requests: Iterator[Recorded]) -> Outcome:
    """The live gateway's part is played by the offline driver: its events are the same."""
    outcome = Outcome()
    lab().simulation(named("transparent"), outcome, shadow).run(requests)
    return outcome


LONG = SLICE * EVERY * 2 + LAG + 60


def test_the_estimate_is_near_what_the_other_policy_would_have_cost() -> None:
    saver = rich(named("saver"))
    shadow = Shadow(saver, lab(), Hints())
    was = watched(shadow, letters(LONG))
    found = shadow.report()
    (would,) = lab().rehearse([saver], letters(LONG))
    assert found.requests == was.requests and found.paid == was.paid
    assert found.touched == found.requests
    # Two whole slices, and perhaps the edge of a third.
    assert 0.1 < found.rehearsed / found.requests < 0.25
    assert found.would_have_saved == pytest.approx(was.paid - would.paid, rel=0.15)
    assert found.would_have_saved > 0.3 * was.paid


def test_a_busy_gateway_rehearses_no_more_for_it() -> None:
    saver = rich(named("saver"))
    shadow = Shadow(saver, lab(), Hints())
    seconds = SLICE * EVERY + LAG + 60
    was = watched(shadow, letters(seconds, per_second=40.0))
    found = shadow.report()
    assert found.touched == found.requests == was.requests
    assert FIRST / 2 < found.rehearsed <= 2 * FIRST < SLICE * 40
    assert found.would_have_saved > 0.3 * was.paid


def test_what_the_other_policy_would_not_touch_is_not_rehearsed() -> None:
    shadow = Shadow(rich(named("saver")), lab(), Hints())
    was = watched(shadow, letters(200, stream=True))
    found = shadow.report()
    assert (found.requests, found.paid) == (was.requests, was.paid)
    assert (found.touched, found.rehearsed, found.would_have_saved) == (0, 0, 0)


def test_what_a_cache_or_a_twin_gave_is_left_alone() -> None:
    shadow = Shadow(rich(named("saver")), lab(), Hints())

    def twins() -> Iterator[Recorded]:
        for request in letters(120, temperature=0):
            yield structs.replace(request, fingerprint="same")

    was = watched(shadow, twins())
    calls = was.ways["direct"].requests
    assert was.ways["cache"].requests > 100 * calls
    assert shadow.report().touched == calls


def test_a_policy_of_batches_is_told_by_what_has_come_back() -> None:
    shadow = Shadow(named("batcher"), lab(), Hints())
    watched(shadow, letters(6 * 3600, per_second=0.2))
    found = shadow.report()
    assert found.rehearsed > 50
    assert found.rehearsed_would_pay == pytest.approx(found.rehearsed_paid / 2, rel=0.02)
    assert found.would_have_saved == pytest.approx(found.touched_paid / 2, rel=0.02)
    assert found.would_wait_p95 > 600 > found.waited_p95


def test_the_same_policy_saves_nothing() -> None:
    shadow = Shadow(named("transparent"), lab(), Hints())
    watched(shadow, letters(100))
    found = shadow.report()
    assert found.requests == 800 and (found.touched, found.would_have_saved) == (0, 0)


def test_the_figures_are_for_programs() -> None:
    shadow = make_shadow(load_settings({}, environment={}).settings, "saver", date(2026, 11, 27))
    json.dumps(shadow.figures())
    assert shadow.figures()["policy"] == "saver"
    assert shadow.figures()["would_have_saved_usd"] == "0"


async def test_it_listens_to_a_live_gateway() -> None:
    settings = settings_of(database_url="none")
    shadow = make_shadow(settings, "saver", date(2026, 11, 27))
    async with (
        open_gate(database_url="none") as gate,
        gateway(settings, sandbox=gate.upstream, listeners=[shadow]) as served,
    ):
        identity = Identity(tenant="t", key="k")
        for number in range(5):
            body = asked(number, 0.0, max_tokens=12).body
            taken = served.intake.take(FRONTS["chat"], body, {}, identity, served.clock.now())
            await served.engine.ask(taken.request)
        assert (shadow.report().requests, shadow.report().touched) == (5, 5)
        assert shadow.report().paid == served.stats.paid > 0


def test_defaults_say_what_they_touch() -> None:
    saver = Defaults(named("saver").requests)
    assert saver.fields == {"packing", "optimize"}
    assert saver.touch(asked(1, 0.0))
    assert not saver.touch(structs.replace(asked(1, 0.0), packing="always", optimize="fit"))
    dated = Defaults(Hints(deadline=60.0))
    assert dated.fields == {"deadline"}
    assert dated.touch(asked(1, 0.0)) and not dated.touch(structs.replace(asked(1, 0.0), deadline=1.0))
