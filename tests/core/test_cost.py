"""Costs are exact, shares add up, and what is billed follows the tier that the provider used."""

from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from batchway.core.catalog import Catalog, Model, Rates, Step
from batchway.core.cost import charged, cost, counterfactual, dollars, expected_cost, price_list, split
from batchway.core.types import Lane, Prompt, Request, Usage

LUNA = Rates(input=100_000, output=500_000, cached=10_000, cache_written=125_000, cache_written_hour=200_000)
"""gpt-6-luna, direct: 0.1, 0.5, 0.01 and 0.125 USD per million tokens; and a price for an hour in the cache."""

tokens = st.integers(0, 2_000_000)
prices = st.decimals(0, 100, places=6)
rates = st.builds(Rates, **{field: st.integers(0, 10**8) for field in Rates.__struct_fields__})


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    plain, cached, written = draw(tokens), draw(tokens), draw(tokens)
    return Usage(
        input=plain + cached + written,
        cached=cached,
        cache_written=written,
        cache_written_hour=draw(st.integers(0, written)),
        output=draw(tokens),
    )


def halved(given_rates: Rates, factor: int) -> tuple[Step, ...]:
    fields = {field: getattr(given_rates, field) // factor for field in given_rates.__struct_fields__}
    return (Step(from_tokens=0, rates=Rates(**fields)),)


CATALOG = Catalog.of(
    [
        Model(
            provider="openai",
            id="luna",
            prices={
                "direct": (*halved(LUNA, 1), Step(from_tokens=1000, rates=halved(LUNA, 1)[0].rates)),
                "flex": halved(LUNA, 2),
                "batch": halved(LUNA, 5),
                "priority": (Step(from_tokens=0, rates=Rates(input=1, output=1, cached=1, cache_written=1)),),
            },
        ),
        Model(provider="openai", id="direct-only", prices={"direct": halved(LUNA, 1)}),
    ]
)


def request(model: str = "luna") -> Request:
    return Request(
        id="r",
        ask="a",
        tenant="t",
        key="k",
        caller="c",
        provider="openai",
        endpoint="chat",
        body=b"{}",
        prompt=Prompt(model=model),
        fingerprint="f",
        tokens=1,
        asked_at=0.0,
    )


def test_each_kind_of_token_has_its_rate() -> None:
    usage = Usage(input=1000, cached=600, cache_written=100, output=50, reasoning=20)
    assert cost(usage, LUNA) == 300 * 100_000 + 600 * 10_000 + 100 * 125_000 + 50 * 500_000


def test_what_is_kept_for_an_hour_has_a_rate_of_its_own_where_one_is_known() -> None:
    usage = Usage(input=1000, cached=600, cache_written=100, cache_written_hour=30)
    assert cost(usage, LUNA) == 300 * 100_000 + 600 * 10_000 + 70 * 125_000 + 30 * 200_000
    assert cost(usage, replace(LUNA, cache_written_hour=None)) == cost(replace(usage, cache_written_hour=0), LUNA)
    assert cost(usage, replace(LUNA, cache_written_hour=0)) == 300 * 100_000 + 600 * 10_000 + 70 * 125_000


def test_more_cached_than_input_never_turns_negative() -> None:
    assert cost(Usage(input=5, cached=9), LUNA) == 9 * 10_000


@given(usages(), rates)
def test_more_tokens_or_higher_rates_never_cost_less(usage: Usage, some: Rates) -> None:
    base = cost(usage, some)
    assert base >= 0
    assert cost(replace(usage, input=usage.input + 1), some) >= base
    assert cost(replace(usage, output=usage.output + 1), some) >= base
    for field in some.__struct_fields__:
        dearer = {name: getattr(some, name) + (name == field) for name in some.__struct_fields__}
        assert cost(usage, Rates(**dearer)) >= base


@given(usages(), prices, prices, prices, prices, prices)
def test_it_is_exact_against_decimal_arithmetic(
    usage: Usage, price: Decimal, output: Decimal, cached: Decimal, written: Decimal, hour: Decimal
) -> None:
    amounts = (price, output, cached, written, hour)
    per_token = {name: int(amount * 10**6) for name, amount in zip(Rates.__struct_fields__, amounts, strict=True)}
    found = cost(usage, Rates(**per_token))
    with localcontext(prec=60):
        plain = usage.input - usage.cached - usage.cache_written
        minutes = usage.cache_written - usage.cache_written_hour
        bill = plain * price + usage.output * output + usage.cached * cached
        bill += minutes * written + usage.cache_written_hour * hour
        assert Decimal(dollars(found)) == bill / 10**6


def test_the_expected_cost_knows_the_cache() -> None:
    assert expected_cost(1000, 50, LUNA) == 1000 * 100_000 + 50 * 500_000
    assert expected_cost(1000, 50, LUNA, cached=900) == 100 * 100_000 + 900 * 10_000 + 50 * 500_000


@pytest.mark.parametrize(
    ("lane", "tier", "billed"),
    [
        ("direct", None, "direct"),
        ("direct", "default", "direct"),
        ("direct", "standard", "direct"),
        ("direct", "on_demand", "direct"),
        ("direct", "flex", "flex"),
        ("direct", "priority", "priority"),
        ("flex", None, "flex"),
        ("flex", "auto", "flex"),
        ("flex", "flex", "flex"),
        ("flex", "default", "direct"),
        ("batch", None, "batch"),
        ("batch", "default", "batch"),
        ("batch", "priority", "batch"),
    ],
)
def test_the_tier_that_was_used_is_billed(lane: Lane, tier: str | None, billed: str) -> None:
    assert price_list(lane, tier) == billed


def test_a_charge_follows_the_lane_and_the_tier() -> None:
    usage = Usage(input=100, output=10)
    direct = cost(usage, LUNA)
    assert charged(usage, request(), "direct", CATALOG) == direct
    assert charged(usage, request(), "flex", CATALOG) == direct // 2
    assert charged(usage, request(), "batch", CATALOG) == direct // 5
    assert charged(Usage(input=100, output=10, tier="default"), request(), "flex", CATALOG) == direct
    assert charged(Usage(input=100, output=10, tier="priority"), request(), "direct", CATALOG) == 110


def test_a_charge_is_unknown_where_its_price_is() -> None:
    usage = Usage(input=100, output=10)
    assert charged(None, request(), "direct", CATALOG) is None
    assert charged(usage, request("nope"), "direct", CATALOG) is None
    assert charged(usage, request("direct-only"), "batch", CATALOG) is None
    assert charged(Usage(input=1, tier="priority"), request("direct-only"), "direct", CATALOG) is None
    assert charged(Usage(input=1, tier="scale"), request(), "direct", CATALOG) is None


def test_the_length_that_picks_the_step_is_the_billed_input() -> None:
    long = Model(
        provider="openai",
        id="long",
        prices={
            "direct": (
                Step(from_tokens=0, rates=Rates(input=1, output=1, cached=1, cache_written=1)),
                Step(from_tokens=101, rates=Rates(input=2, output=3, cached=2, cache_written=2)),
            )
        },
    )
    catalog = Catalog.of([long])
    assert charged(Usage(input=100, output=10), request("long"), "direct", catalog) == 110
    assert charged(Usage(input=101, output=10), request("long"), "direct", catalog) == 202 + 30


def test_the_counterfactual_is_direct_but_keeps_a_premium_that_was_asked_for() -> None:
    direct = cost(Usage(input=100, output=10), LUNA)
    for tier in (None, "flex", "batch", "default"):
        assert counterfactual(Usage(input=100, output=10, tier=tier), request(), CATALOG) == direct
    assert counterfactual(Usage(input=100, output=10, tier="priority"), request(), CATALOG) == 110
    assert counterfactual(None, request(), CATALOG) is None
    assert counterfactual(Usage(input=1), request("nope"), CATALOG) is None


@given(st.integers(-(10**15), 10**15), st.lists(st.integers(0, 10**9), min_size=1, max_size=40))
def test_shares_add_up_and_are_fair(total: int, weights: list[int]) -> None:
    shares = split(total, weights)
    whole = sum(weights)
    assert sum(shares) == total
    assert len(shares) == len(weights)
    for share, weight in zip(shares, weights, strict=True):
        fair = Fraction(total * weight, whole) if whole else Fraction(total, len(weights))
        assert abs(share - fair) < 1


@given(st.integers(0, 10**15), st.lists(st.integers(1, 10**9), min_size=1, max_size=40))
def test_a_share_is_never_negative_and_never_grows_with_a_smaller_weight(total: int, weights: list[int]) -> None:
    by_weight = sorted(zip(weights, split(total, weights), strict=True))
    assert all(share >= 0 for _, share in by_weight)
    for (lighter, less), (heavier, more) in pairwise(by_weight):
        assert less <= more or lighter == heavier


@pytest.mark.parametrize(
    ("total", "weights", "shares"),
    [
        (100, [1, 1, 1], (34, 33, 33)),
        (101, [1, 1, 1], (34, 34, 33)),
        (2, [0, 0, 0], (1, 1, 0)),
        (10, [3, 0, 1], (8, 0, 2)),
        (10, [1, 0, 3], (3, 0, 7)),
        (0, [5, 6], (0, 0)),
        (7, [9], (7,)),
    ],
)
def test_ties_go_to_the_earlier_share(total: int, weights: list[int], shares: tuple[int, ...]) -> None:
    assert split(total, weights) == shares


@pytest.mark.parametrize("weights", [[], [1, -1]])
def test_weights_that_cannot_be_shared_by_are_refused(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights must be"):
        split(1, weights)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0"),
        (1, "0.000000000001"),
        (123_000_000, "0.000123"),
        (10**12, "1"),
        (1_500_000_000_000, "1.5"),
        (20 * 10**12, "20"),
        (-250_000_000_000, "-0.25"),
    ],
)
def test_dollars_are_plain_decimals(amount: int, text: str) -> None:
    assert dollars(amount) == text


@given(st.integers(-(10**30), 10**30))
def test_dollars_lose_nothing(amount: int) -> None:
    text = dollars(amount)
    assert "e" not in text.lower()
    assert Fraction(text) == Fraction(amount, 10**12)
