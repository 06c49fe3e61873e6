"""Batches by model, worked out by hand: what is in each, why and when it closes, and how long its requests waited."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from tests.simulate.batching import batched, lines, ready

from batchway.core.policy import RULES, Tolerance
from batchway.simulate.modelwise import ModelWise, Rule

# (id, at ms, model, tokens, latency tolerance)


def test_the_defaults_are_latency_first() -> None:
    rule = Rule()
    assert (rule.max_wait_ms, rule.max_batch_size, rule.max_batch_tokens) == (200, 8, 8_000)
    assert rule.window() == structs.replace(RULES["model"], max_wait=200.0)
    assert [rule.tolerance.patience(level) for level in ("low", "medium", "high")] == [0.25, 1, 4]


def test_one_open_batch_per_model() -> None:
    requests = [("a", 0, "x"), ("b", 10, "y"), ("c", 20, "x"), ("d", 30, "y")]
    assert lines(requests) == ["x: a c, 20 tokens, wait 0-200 (200)", "y: b d, 20 tokens, wait 10-210 (200)"]


def test_the_request_that_fills_it_closes_it_at_once() -> None:
    requests = [("a", 0), ("b", 5), ("c", 9), ("d", 9)]
    assert lines(requests, max_batch_size=3) == [
        "m: a b c, 30 tokens, size 0-9 (200)",
        "m: d, 10 tokens, wait 9-209 (200)",
    ]
    assert lines(requests[:2], max_batch_size=1) == [
        "m: a, 10 tokens, size 0-0 (200)",
        "m: b, 10 tokens, size 5-5 (200)",
    ]


def test_tokens_close_it_before_the_request_that_would_exceed_them() -> None:
    requests = [("a", 0, "m", 5_000), ("b", 10, "m", 3_000), ("c", 20, "m", 1)]
    assert lines(requests) == ["m: a b, 8000 tokens, tokens 0-20 (200)", "m: c, 1 tokens, wait 20-220 (200)"]
    assert lines(requests, max_batch_tokens=None) == ["m: a b c, 8001 tokens, wait 0-200 (200)"]


def test_too_large_a_request_goes_alone_and_leaves_the_open_batch_be() -> None:
    requests = [("a", 0), ("big", 10, "m", 8_001), ("b", 20)]
    assert lines(requests) == ["m: big, 8001 tokens, tokens 10-10 (200)", "m: a b, 20 tokens, wait 0-200 (200)"]


def test_wait_closes_it_before_a_request_of_the_same_instant() -> None:
    assert lines([("a", 0), ("b", 199)]) == ["m: a b, 20 tokens, wait 0-200 (200)"]
    assert lines([("a", 0), ("b", 200)]) == ["m: a, 10 tokens, wait 0-200 (200)", "m: b, 10 tokens, wait 200-400 (200)"]


def test_batches_close_in_the_order_of_their_times_whoever_comes_next() -> None:
    requests = [("a", 0, "x"), ("b", 50, "y", 10, "low"), ("c", 5_000, "z")]
    assert lines(requests) == [
        "y: b, 10 tokens, wait 50-100 (50)",
        "x: a, 10 tokens, wait 0-200 (200)",
        "z: c, 10 tokens, wait 5000-5200 (200)",
    ]


@pytest.mark.parametrize(("level", "wait"), [("low", 50), ("medium", 200), ("high", 800)])
def test_latency_tolerance_multiplies_the_wait(level: str, wait: int) -> None:
    assert lines([("a", 0, "m", 10, level)]) == [f"m: a, 10 tokens, wait 0-{wait} ({wait})"]


def test_the_least_patient_decides_from_its_own_arrival() -> None:
    assert lines([("a", 0, "m", 10, "high"), ("b", 300, "m", 10, "low")]) == ["m: a b, 20 tokens, wait 0-350 (50)"]
    # Patient company does not keep a batch open.
    assert lines([("a", 0, "m", 10, "low"), ("b", 40, "m", 10, "high")]) == ["m: a b, 20 tokens, wait 0-50 (50)"]


def test_the_multiples_come_from_the_policy() -> None:
    tolerance = Tolerance(low=0, medium=0.5, high=1)
    requests = [("a", 0, "x", 10, "low"), ("b", 0, "y"), ("c", 0, "z", 10, "high")]
    assert lines(requests, tolerance=tolerance, max_wait_ms=33) == [
        "x: a, 10 tokens, wait 0-0 (0)",
        "y: b, 10 tokens, wait 0-16.5 (16.5)",
        "z: c, 10 tokens, wait 0-33 (33)",
    ]


def test_what_a_cache_answers_is_not_batched_but_time_goes_on() -> None:
    requests = [ready(0, "a", 0), ready(1, "b", 10, cache_hit=True), ready(2, "c", 500, cache_hit=True)]
    batching = ModelWise(Rule())
    assert [*batching.arrive(requests[0]), *batching.arrive(requests[1])] == []
    (batch,) = batching.arrive(requests[2])
    assert batch.request_ids == ("a",)
    assert list(batching.finish()) == []


def test_a_worked_day_of_three_models() -> None:
    requests = [
        ("1", 0, "luna", 3_000, "high"),
        ("2", 10, "luna", 3_000, "high"),
        ("3", 20, "terra", 50, "medium"),
        ("4", 30, "luna", 2_500, "medium"),  # 8,500 would be too many: 1 and 2 go, 4 opens the next
        ("5", 40, "sol", 9_000, "low"),  # too large for any batch
        ("6", 60, "terra", 50, "low"),  # will be served at 110, and takes 3 with it
        ("7", 100, "luna", 10, "medium"),
        ("8", 105, "luna", 10, "medium"),  # three: full
        ("9", 110, "terra", 50, "medium"),  # the batch of 3 and 6 has closed at this very instant
    ]
    assert lines(requests, max_batch_size=3) == [
        "luna: 1 2, 6000 tokens, tokens 0-30 (800)",
        "sol: 5, 9000 tokens, tokens 40-40 (50)",
        "luna: 4 7 8, 2520 tokens, size 30-105 (200)",
        "terra: 3 6, 100 tokens, wait 20-110 (50)",
        "terra: 9, 50 tokens, wait 110-310 (200)",
    ]


def test_what_a_batch_says_of_its_requests() -> None:
    (batch,) = batched([ready(0, "a", 0, tokens=3), ready(1, "b", 150, tokens=4)])
    assert (batch.batch_id, batch.size, batch.tokens) == ("b1", 2, 7)
    assert (batch.waits_ms, batch.mean_wait_ms, batch.orders) == ((200, 50), 125, (0, 1))


def test_times_since_1970_stay_exact() -> None:
    start = 1_790_000_000_123
    (batch,) = batched([ready(0, "a", start), ready(1, "b", start + 1)], max_wait_ms=7)
    assert (batch.opened_at_ms, batch.closed_at_ms, batch.waits_ms) == (start, start + 7, (7, 6))
    assert str(batch.closed_at_ms) == "1790000000130", "a whole number, written as one"


def test_an_id_that_comes_again_is_another_request() -> None:
    assert [batch.request_ids for batch in batched([ready(0, "a", 0), ready(1, "a", 1)])] == [("a", "a")]


REQUESTS = st.lists(
    st.tuples(
        st.integers(0, 400), st.sampled_from("xyz"), st.integers(0, 60), st.sampled_from(["low", "medium", "high"])
    ),
    max_size=40,
)


@given(REQUESTS, st.integers(0, 300), st.integers(1, 5), st.integers(1, 100))
def test_whatever_comes_the_rule_is_kept(
    found: list[tuple[int, str, int, Any]], wait: int, size: int, tokens: int
) -> None:
    found.sort(key=lambda each: each[0])
    requests = [ready(order, f"r{order}", *each) for order, each in enumerate(found)]
    batches = batched(requests, max_wait_ms=wait, max_batch_size=size, max_batch_tokens=tokens)
    assert sorted(order for batch in batches for order in batch.orders) == list(range(len(requests)))
    assert [batch.closed_at_ms for batch in batches] == sorted(batch.closed_at_ms for batch in batches)
    multiples = {"low": 0.25, "medium": 1.0, "high": 4.0}
    for batch in batches:
        members = [requests[order] for order in batch.orders]
        assert batch.orders == tuple(sorted(batch.orders))
        assert {request.model for request in members} == {batch.model}
        assert batch.size <= size
        assert batch.tokens <= tokens or batch.size == 1
        for request, waited in zip(members, batch.waits_ms, strict=True):
            assert 0 <= waited <= wait * multiples[request.analysis.latency_tolerance] + 1e-3
        if batch.close_reason == "wait":
            ends = [each.at_ms + wait * multiples[each.analysis.latency_tolerance] for each in members]
            assert batch.closed_at_ms == pytest.approx(min(ends))
        if batch.close_reason == "size":
            assert batch.size == size and batch.closed_at_ms == members[-1].at_ms
    assert batched(requests, max_wait_ms=wait, max_batch_size=size, max_batch_tokens=tokens) == batches


def test_the_order_of_models_does_not_matter_to_their_batches() -> None:
    dice = random.Random(5)
    requests = [(f"r{at}", at * 7, dice.choice("xy"), dice.randrange(4_000)) for at in range(200)]
    both = [line for line in lines(requests) if line.startswith("x")]
    assert lines([request for request in requests if request[2] == "x"]) == both
