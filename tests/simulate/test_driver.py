"""The offline driver: hand-worked runs, every way of an answer, and the same bytes for the same seed."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any, get_args

import msgspec
import pytest
from msgspec import structs
from tests.simulate.traffic import CALM, START, lab, mixed, request

from batchway.core.commands import Command
from batchway.core.events import TOLD, Accepted, CallEnded, Event, Rescued
from batchway.core.policy import Policy, WindowRule
from batchway.core.rescue import RescueRule
from batchway.core.types import Usage
from batchway.simulate.lab import Lab
from batchway.simulate.outcome import Outcome
from batchway.simulate.policies import Defaults, Setup, named
from batchway.simulate.world import Conditions, Recorded


class Everything:
    """A listener that keeps all it hears."""

    def __init__(self) -> None:
        self.heard: list[Event] = []

    @property
    def hears(self) -> Mapping[type, Callable[..., None]]:
        return dict.fromkeys([Accepted, CallEnded, Rescued, *[event for event, _ in TOLD.values()]], self.heard.append)

    def of(self, name: str) -> list[Any]:
        return [event for event in self.heard if type(event).__name__ == name]


def run(setup: Setup, *requests: Recorded, where: Lab | None = None) -> tuple[Outcome, Everything]:
    outcome, everything = Outcome(), Everything()
    simulation = (where or lab()).simulation(setup, outcome, everything, watch=outcome.watch)
    simulation.run(map(Defaults(setup.requests), requests))
    return outcome, everything


PLAIN = named("transparent")


def with_policy(**fields: Any) -> Setup:
    return structs.replace(PLAIN, policy=Policy(**fields))


def test_a_direct_request_costs_and_takes_what_is_worked_out_by_hand() -> None:
    outcome, everything = run(PLAIN, request("a", answer=50))
    # 1,000 tokens in at $1 a million, 50 out at $4; a call takes its one second.
    assert outcome.paid == outcome.worth == 1_000 * 1_000_000 + 50 * 4_000_000
    assert outcome.ways["direct"].waited.most == pytest.approx(1.0)
    (answered,) = everything.of("Answered")
    assert (answered.at, answered.via) == (START + 1.0, "direct")


def test_twins_share_a_call_and_later_ones_get_its_answer() -> None:
    twins = [request(name, after, temperature=0.0, fingerprint="f") for name, after in (("a", 0), ("b", 0.5), ("c", 9))]
    outcome, everything = run(PLAIN, *twins)
    assert {via: way.requests for via, way in outcome.ways.items() if way.requests} == {
        "direct": 1,
        "coalesced": 1,
        "cache": 1,
    }
    assert outcome.paid * 3 == outcome.worth
    assert [event.seconds for event in everything.of("Answered")] == pytest.approx([1.0, 0.5, 0.0])


def test_a_window_of_packed_calls_closes_by_size_and_by_wait() -> None:
    setup = with_policy(pack=WindowRule(max_wait=0.2, max_size=2), pack_stake=10**15)
    outcome, everything = run(
        setup, *[request(name, after, packing="always") for name, after in (("a", 0), ("b", 0.1), ("c", 0.15))]
    )
    assert [(window.size, window.reason) for window in outcome.windows["pack"].first] == [(2, "size"), (1, "wait")]
    assert [event.at - START for event in everything.of("CallSent")] == pytest.approx([0.1, 0.35])
    assert (outcome.packs, outcome.packed) == (1, 2)
    # Two items behind a shared 980: 96 + 2 x 16 of form, and 2 x (10 + 16) out.
    assert outcome.ways["direct"].paid == (980 + 40 + 128) * 1_000_000 + 52 * 4_000_000 + 1_040_000_000


def test_requests_of_one_moment_share_the_window_that_closes_in_it() -> None:
    setup = with_policy(pack=WindowRule(max_wait=0.5, max_size=9))
    outcome, _ = run(setup, *[request(name, 0.5 * at, packing="always") for at, name in enumerate("ab")])
    assert [window.size for window in outcome.windows["pack"].first] == [2]


def test_a_batch_brings_its_answers_at_half_the_price_after_its_time() -> None:
    setup = with_policy(job=WindowRule(max_wait=60.0, max_size=3))
    rows = [request(name, 0.0, strategy="batch", answer=100) for name in "abc"]
    outcome, everything = run(setup, *rows)
    assert outcome.jobs == 1 and outcome.windows["job"].reasons == {"size": 1}
    assert outcome.paid * 2 == outcome.worth == 3 * (1_000 * 1_000_000 + 100 * 4_000_000)
    assert {event.via for event in everything.of("Answered")} == {"batch"}
    assert outcome.ways["batch"].waited.quantile(0.5) > 60


def test_a_row_that_would_be_late_is_rescued_and_its_row_is_overhead() -> None:
    setup = with_policy(job=WindowRule(max_wait=1.0, max_size=1))
    slow = structs.replace(CALM, turnaround=1000.0, stranded=0.0)
    row = request("a", 0.0, strategy="batch", deadline=START + 3600, answer=100)
    outcome, everything = run(setup, row, where=lab(slow))
    (answered,) = everything.of("Answered")
    # 60 seconds before: 30 of margin, 30 that a call may need.
    assert (answered.via, answered.at - START) == ("direct", pytest.approx(3600 - 60 + 1))
    assert outcome.ways["direct"].paid == 1_000 * 1_000_000 + 100 * 4_000_000
    assert outcome.overhead.paid * 2 == outcome.ways["direct"].paid


SLOW = structs.replace(CALM, turnaround=1000.0)


def test_many_that_share_a_deadline_leave_earlier_than_one() -> None:
    setup = with_policy(job=WindowRule(max_wait=1.0, max_size=500))
    rows = [request(f"r{at}", strategy="batch", deadline=START + 3600, answer=100) for at in range(200)]
    _, everything = run(setup, *rows, where=lab(SLOW))
    rescued = everything.of("Rescued")
    # Four turns of 64: three of 30 seconds before the time that holds for one alone.
    assert {event.at - START for event in rescued} == {3600 - 60 - 3 * 30}
    assert len(rescued) == 200 and all(event.job_id for event in rescued)


def test_rescues_cost_no_more_than_they_may() -> None:
    one = 1_000 * 1_000_000 + 500 * 4_000_000
    setup = with_policy(job=WindowRule(max_wait=1.0, max_size=500))
    capped = structs.replace(lab(SLOW), rescue=RescueRule(cap=3 * one))
    rows = [request(f"r{at}", strategy="batch", deadline=START + 3600, answer=100) for at in range(5)]
    _, everything = run(setup, *rows, where=capped)
    assert [event.measure for event in everything.of("Rescued")] == ["send"] * 3 + ["leave"] * 2


def test_what_still_waits_for_company_is_rescued_too() -> None:
    setup = with_policy(job=WindowRule(max_wait=3600.0, max_size=500))
    outcome, everything = run(setup, request("a", strategy="batch", deadline=START + 300))
    (rescued,) = everything.of("Rescued")
    assert (rescued.at - START, rescued.job_id) == (300 - 60, "")
    assert outcome.ways["direct"].requests == 1 and outcome.jobs == 0


def test_rows_that_an_expired_batch_left_undone_get_one_more_job_and_then_a_fault() -> None:
    stranded = structs.replace(CALM, turnaround=1000.0, stranded=1.0)
    setup = with_policy(job=WindowRule(max_wait=1.0, max_size=2))
    outcome, everything = run(setup, *[request(name, strategy="batch") for name in "ab"], where=lab(stranded))
    assert outcome.refused == {"batch_expired": 2}
    (first, _) = everything.of("Refused")
    assert 2 * 86_400 < first.at - START < 2 * 86_400 + 3600
    assert outcome.paid == 0


def test_a_deadline_that_fails_is_a_fault_and_what_comes_late_is_paid() -> None:
    setup = with_policy(job=WindowRule(max_wait=1.0, max_size=1))
    row = request("a", strategy="batch", deadline=START + 60, on_deadline="fail")
    outcome, everything = run(setup, row)
    assert outcome.refused == {"deadline_passed": 1}
    (refused,) = everything.of("Refused")
    assert refused.at == START + 60
    assert outcome.ways["batch"].paid > 0 and outcome.ways["batch"].requests == 0


def test_calls_that_fail_are_tried_again_and_then_refused() -> None:
    outcome, everything = run(PLAIN, request("a"), where=lab(structs.replace(CALM, failing=1.0)))
    assert [event.attempt for event in everything.of("CallSent")] == [1, 2, 3]
    assert outcome.refused == {"overloaded": 1} and outcome.failed == 3 and outcome.paid == 0


def test_flex_without_capacity_goes_another_way() -> None:
    full = structs.replace(CALM, flex_refused=1.0)
    outcome, everything = run(PLAIN, request("a", strategy="flex"), where=lab(full))
    assert [event.lane for event in everything.of("CallSent")] == ["flex", "direct"]
    assert outcome.ways["direct"].requests == 1


def test_a_prompt_that_is_too_long_is_made_to_fit_where_that_is_asked_for() -> None:
    setup = with_policy(context_tokens=600)
    outcome, everything = run(setup, request("a", optimize="fit", answer=10))
    (waits,) = everything.of("Waits")
    assert "are more than its 600" in waits.reason
    assert outcome.paid < 600 * 1_000_000 + 10 * 4_000_000


def test_a_recorded_answer_is_taken_as_it_was() -> None:
    was = request("a", usage=Usage(input=500, output=7, cached=100), seconds=3.5)
    outcome, everything = run(PLAIN, was)
    assert outcome.paid == 400 * 1_000_000 + 100 * 100_000 + 7 * 4_000_000
    assert everything.of("Answered")[0].seconds == pytest.approx(3.5)


def test_what_a_recorded_answer_had_kept_for_an_hour_costs_that_directly_and_nothing_in_a_batch() -> None:
    usage = Usage(input=500, output=7, cache_written=300, cache_written_hour=200)
    direct, _ = run(PLAIN, request("a", usage=usage, seconds=1.0))
    assert direct.paid == 300 * 1_000_000 + 200 * 2_000_000 + 7 * 4_000_000
    setup = with_policy(job=WindowRule(max_wait=1.0, max_size=1))
    batched, _ = run(
        setup, request("a", usage=usage, strategy="batch"), where=lab(structs.replace(CALM, batch_cached=0))
    )
    assert batched.paid == 500 * 500_000 + 7 * 2_000_000


def test_the_providers_cache_reads_a_beginning_that_it_has_seen() -> None:
    requests = [request(name, after, tokens=2_020) for name, after in (("a", 0), ("b", 10), ("c", 1000))]
    _, everything = run(PLAIN, *requests)
    usages = [event.charge.usage for event in everything.of("Charged")]
    # 2,000 shared tokens, read in steps of 128, for five minutes after they were last seen.
    assert [(usage.cached, usage.cache_written) for usage in usages] == [(0, 1920), (1920, 0), (0, 1920)]


def test_every_command_of_the_planner_is_obeyed() -> None:
    assert set(lab().simulation(PLAIN)._do) == set(get_args(Command))


# Bytes


def digest(seed: int, profile: str, count: int) -> str:
    """A hash of everything that is heard in a run, in its order."""
    everything, outcome, setup = Everything(), Outcome(), named(profile)
    rough = Conditions(failing=0.05, untold=0.1, row_failing=0.05)
    simulation = lab(rough, seed=seed).simulation(setup, outcome, everything, watch=outcome.watch)
    simulation.run(map(Defaults(setup.requests), mixed(count)))
    whole = hashlib.sha256()
    for event in everything.heard:
        whole.update(type(event).__name__.encode())
        whole.update(msgspec.msgpack.encode(event))
    return whole.hexdigest()


def test_the_same_trace_and_seed_give_the_same_bytes() -> None:
    """In processes of different hash seeds, so that an order taken from a set or an id would show."""
    profiles = ("transparent", "saver", "batcher")
    command = f"from tests.simulate.test_driver import digest; print(*[digest(3, name, 400) for name in {profiles}])"
    runs = [
        subprocess.run(
            [sys.executable, "-c", command],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert len({*runs[0], *[digest(4, name, 400) for name in profiles]}) == 6


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("profile", ["transparent", "saver", "batcher"])
def test_every_request_ends_once_whatever_happens(seed: int, profile: str) -> None:
    rough = Conditions(failing=0.1, untold=0.2, row_failing=0.05, stranded=0.5, turnaround=4.0, flex_refused=0.3)
    setup = named(profile)
    outcome, everything = run(setup, *mixed(600, per_second=50.0), where=lab(rough, seed=seed))
    asked = [event.request.ask for event in everything.of("Accepted")]
    ended = [event.request.ask for event in everything.of("Answered") + everything.of("Refused")]
    assert sorted(ended) == sorted(asked)
    assert outcome.requests == 600
