"""The arithmetic of packing, by hand and by its properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchway.core.catalog import Rates
from batchway.core.cost import cost
from batchway.core.packing import FORMATS
from batchway.core.packing_worth import LEAST_GAIN, LONGER, Load, alone, shares, together, weigh
from batchway.core.types import Usage

XML = FORMATS["xml"]
RATES = Rates(input=100, output=400, cached=10, cache_written=100, cache_written_hour=200)


def load(shared: int, item: int, answer: int, count: int) -> Load:
    return Load(shared=shared, items=(item,) * count, answers=(answer,) * count)


def test_a_single_call_by_hand() -> None:
    assert alone(1000, 50, 10, RATES, 0.0) == 1050 * 100 + 10 * 400
    assert alone(1000, 50, 10, RATES, 0.5) == 550 * 100 + 500 * 10 + 10 * 400


def test_a_packed_call_by_hand() -> None:
    plain = 1000 + 3 * 50 + XML.overhead + 3 * XML.per_item
    assert together(load(1000, 50, 10, 3), XML, RATES, 0.0) == plain * 100 + 3 * (10 + XML.per_answer) * 400
    assert (
        together(load(1000, 50, 10, 3), XML, RATES, 0.5)
        == (plain - 500) * 100 + 500 * 10 + 3 * (10 + XML.per_answer) * 400
    )


def test_writing_to_the_providers_cache_is_reckoned_on_the_packed_call_alone() -> None:
    dear = Rates(input=100, output=400, cached=10, cache_written=125)
    assert together(load(1000, 50, 10, 3), XML, dear, 0.0) > together(load(1000, 50, 10, 3), XML, RATES, 0.0)
    assert alone(1000, 50, 10, dear, 0.0) == alone(1000, 50, 10, RATES, 0.0)


def test_a_long_shared_beginning_is_worth_it_and_a_short_one_is_not() -> None:
    long = weigh(load(3000, 30, 10, 6), XML, RATES, cached=0.0, failing=0.1, sampled=0.02)
    assert long.packs
    assert long.why.startswith("cheaper: 6 together cost 0.00000")
    short = weigh(load(20, 30, 10, 6), XML, RATES, cached=0.0, failing=0.0, sampled=0.0)
    assert not short.packs
    assert short.why.startswith("not cheaper")


def test_the_providers_cache_and_failures_and_samples_take_the_gain() -> None:
    weighed = [
        weigh(load(1000, 30, 10, 3), XML, RATES, cached=cached, failing=failing, sampled=sampled)
        for cached, failing, sampled in ((0.0, 0.0, 0.0), (0.98, 0.0, 0.0), (0.0, 0.7, 0.0), (0.0, 0.0, 1.9))
    ]
    assert [verdict.packs for verdict in weighed] == [True, False, False, False]
    assert weighed[0].saving == weighed[0].alone - weighed[0].together
    assert weighed[2].saving == weighed[0].saving - round(0.7 * weighed[0].alone)
    assert weighed[3].saving == weighed[0].saving - round(1.9 * weighed[0].alone / 3)


def test_a_small_gain_is_no_gain() -> None:
    verdict = weigh(load(600, 100, 30, 2), XML, RATES, cached=0.0, failing=0.0, sampled=0.0)
    share = verdict.saving / verdict.alone
    failing = share - LEAST_GAIN / 2
    assert share > LEAST_GAIN
    assert weigh(load(600, 100, 30, 2), XML, RATES, cached=0.0, failing=failing, sampled=0.0).saving > 0
    assert not weigh(load(600, 100, 30, 2), XML, RATES, cached=0.0, failing=failing, sampled=0.0).packs


def test_what_is_free_is_not_packed() -> None:
    free = Rates(input=0, output=0, cached=0, cache_written=0)
    assert not weigh(load(3000, 30, 10, 6), XML, free, cached=0.0, failing=0.0, sampled=0.0).packs


def test_longer_answers_are_at_risk() -> None:
    verdict = weigh(load(3000, 30, 10, 3), XML, RATES, cached=0.0, failing=0.0, sampled=0.0)
    assert verdict.at_risk == together(load(3000, 30, 10 * LONGER, 3), XML, RATES, 0.0)


kinds = st.integers(0, 10_000)


@given(
    parts=st.tuples(kinds, kinds, kinds, kinds, kinds, kinds),
    weights=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=8),
)
def test_shares_add_up_kind_by_kind_and_are_usages_themselves(
    parts: tuple[int, int, int, int, int, int], weights: list[tuple[int, int]]
) -> None:
    plain, cached, minutes, hour, said, reasoning = parts
    whole = Usage(
        input=plain + cached + minutes + hour,
        cached=cached,
        cache_written=minutes + hour,
        cache_written_hour=hour,
        output=said + reasoning,
        reasoning=reasoning,
        tier="flex",
    )
    found = shares(whole, [one for one, _ in weights], [other for _, other in weights])
    for kind in ("input", "output", "cached", "cache_written", "cache_written_hour", "reasoning"):
        assert sum(getattr(share, kind) for share in found) == getattr(whole, kind)
    assert all(s.cached + s.cache_written <= s.input and s.reasoning <= s.output and s.tier == "flex" for s in found)
    assert all(share.cache_written_hour <= share.cache_written for share in found)
    assert sum(cost(share, RATES) for share in found) == cost(whole, RATES)


def test_shares_follow_the_weights() -> None:
    found = shares(Usage(input=100, output=10), [3, 1], [0, 5])
    assert [(share.input, share.output) for share in found] == [(75, 0), (25, 10)]
    with pytest.raises(ValueError, match="weights"):
        shares(Usage(), [], [])
