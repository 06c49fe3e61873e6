"""Prices as published, lanes that stay unknown, and the owner's rows over all of it."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices.data import providers
from genai_prices.types import ClauseEquals, ConditionalPrice, ModelInfo, ModelPrice, TimeOfDateConstraint

from batchway.core.catalog import Find, Model, Rates
from batchway.core.cost import cost, dollars
from batchway.core.errors import SettingsError
from batchway.core.types import Usage
from batchway.data.prices import LISTED, RATE_FIELDS, finder, read_model, tiered

TODAY = date(2026, 11, 20)


@pytest.fixture(scope="module")
def find() -> Find:
    return finder(TODAY)


def usd(rates: Rates | None) -> tuple[float, ...] | None:
    """USD per million tokens: input, output, cached, cache_written."""
    return None if rates is None else tuple(getattr(rates, field) / 10**6 for field in RATE_FIELDS)


def known(find: Find, provider: str, name: str) -> Model:
    model = find(provider, name)
    assert model is not None
    return model


def own(row: Mapping[str, object], key: str = "generic/llama") -> Model:
    provider, _, name = key.partition("/")
    return known(finder(TODAY, {key: row}), provider, name)


@pytest.mark.parametrize(
    ("provider", "name", "direct", "batch"),
    [
        ("openai", "gpt-6-astra", (10, 50, 1, 12.5), (5, 25, 0.5, 6.25)),
        ("openai", "gpt-6.1-sol", (2, 10, 0.1, 2.5), (1, 5, 0.05, 1.25)),
        ("openai", "gpt-6-luna", (0.1, 0.5, 0.01, 0.125), (0.05, 0.25, 0.005, 0.0625)),
        ("openai", "gpt-6-luna-2026-09-22", (0.1, 0.5, 0.01, 0.125), (0.05, 0.25, 0.005, 0.0625)),
        ("openai", "gpt-5.6-terra", (2, 12, 0.2, 2.5), (1, 6, 0.1, 1.25)),
        ("openai", "text-embedding-3-small", (0.02, 0, 0.02, 0.02), (0.01, 0, 0.01, 0.01)),
        ("openai", "text-embedding-3-large", (0.13, 0, 0.13, 0.13), (0.065, 0, 0.065, 0.065)),
        ("openai", "text-embedding-ada-002", (0.1, 0, 0.1, 0.1), None),
        ("openai", "gpt-3.5-turbo-1106", (1, 2, 1, 1), None),
        ("anthropic", "claude-fable-5-1", (10, 50, 0.25, 12.5), (5, 25, 0.125, 6.25)),
        ("anthropic", "claude-sonnet-5-5", (2, 10, 0.1, 2.5), (1, 5, 0.05, 1.25)),
        ("anthropic", "claude-opus-4-1", (15, 75, 1.5, 18.75), (7.5, 37.5, 0.75, 9.375)),
        ("gemini", "gemini-4-argon", (2, 10, 0.1, 2), (1, 5, 0.05, 1)),
        ("gemini", "gemini-3.8-flash", (0.75, 3.75, 0.075, 0.75), (0.375, 1.875, 0.0375, 0.375)),
        ("gemini", "gemini-embedding-2", (0.2, 0, 0.2, 0.2), (0.1, 0, 0.1, 0.1)),
        ("gemini", "gemini-embedding-001", (0.15, 0, 0.15, 0.15), (0.075, 0, 0.075, 0.075)),
        ("grok", "grok-4.7", (2, 6, 0.5, 2), (1.6, 4.8, 0.4, 1.6)),
        ("xai", "grok-4.3", (1.25, 2.5, 0.2, 1.25), (1, 2, 0.16, 1)),
        ("grok", "grok-4.6", (2, 6, 0.5, 2), None),
        ("grok", "grok-build-0.1", (1, 2, 0.2, 1), None),
        ("deepinfra", "deepseek-ai/DeepSeek-V4.1-Flash", (0.14, 0.42, 0.0042, 0.14), (0.112, 0.336, 0.00336, 0.112)),
        ("deepinfra", "openai/gpt-oss-120b", (0.037, 0.17, 0.037, 0.037), (0.0296, 0.136, 0.0296, 0.0296)),
        ("mistral", "mistral-large-latest", (0.5, 1.5, 0.05, 0.5), (0.25, 0.75, 0.025, 0.25)),
        ("mistral", "mistral-medium-3.5", (1.5, 7.5, 0.15, 1.5), (0.75, 3.75, 0.075, 0.75)),
        ("mistral", "mistral-large-4", (0.7, 2.1, 0.07, 0.7), (0.35, 1.05, 0.035, 0.35)),
        ("groq", "openai/gpt-oss-20b", (0.075, 0.3, 0.0375, 0.075), (0.0375, 0.15, 0.0375, 0.0375)),
        ("groq", "qwen/qwen3.8-27b", (0.8, 4, 0.8, 0.8), None),
        ("groq", "llama-3.3-70b-versatile", (0.59, 0.79, 0.59, 0.59), None),
        ("together", "zai-org/GLM-5.3", (1.4, 4.4, 0.26, 1.4), None),
        (
            "fireworks",
            "accounts/fireworks/models/deepseek-v4p1-flash-1017",
            (0.3, 1.2, 0.006, 0.3),
            (0.15, 0.6, 0.003, 0.15),
        ),
        ("doubleword", "openai/gpt-oss-20b", (0.04, 0.3, 0.04, 0.04), None),
        ("openrouter", "openai/gpt-6-luna", (0.1, 0.5, 0.01, 0.125), None),
    ],
)
def test_published_prices(
    find: Find, provider: str, name: str, direct: tuple[float, ...], batch: tuple[float, ...] | None
) -> None:
    model = known(find, provider, name)
    assert usd(model.rates("direct", 1000)) == direct
    assert usd(model.rates("batch", 1000)) == batch


@pytest.mark.parametrize(
    ("provider", "name", "last", "above", "batch_above"),
    [
        ("openai", "gpt-6.1-sol", 272_000, (4, 15, 0.2, 5), (2, 7.5, 0.1, 2.5)),
        ("grok", "grok-4.7", 199_999, (4, 12, 1, 4), (3.2, 9.6, 0.8, 3.2)),
        ("anthropic", "claude-haiku-5-5", 100_000, (0.5, 2.5, 0.05, 0.625), (0.25, 1.25, 0.025, 0.3125)),
    ],
)
def test_a_long_prompt_has_other_rates(
    find: Find, provider: str, name: str, last: int, above: tuple[float, ...], batch_above: tuple[float, ...]
) -> None:
    model = known(find, provider, name)
    assert model.rates("direct", last) == model.rates("direct", 0)
    assert usd(model.rates("direct", last + 1)) == above
    assert usd(model.rates("batch", last + 1)) == batch_above


@pytest.mark.parametrize(
    ("provider", "name", "price_list", "expected"),
    [
        ("openai", "gpt-6-luna", "flex", (0.05, 0.25, 0.005, 0.0625)),
        ("openai", "gpt-6-luna", "priority", (0.2, 1, 0.02, 0.25)),
        ("openai", "gpt-4o-mini", "flex", None),
        ("gemini", "gemini-3.8-flash", "flex", (0.375, 1.875, 0.0375, 0.375)),
        ("gemini", "gemini-3.5-flash-lite", "flex", (0.15, 1.25, 0.02, 0.15)),
        ("anthropic", "claude-opus-5-5", "fast", (8, 40, 0.4, 10)),
        ("anthropic", "claude-sonnet-5-5", "flex", None),
        ("groq", "qwen/qwen3.8-27b", "flex", (0.8, 4, 0.8, 0.8)),
        ("grok", "grok-4.7", "priority", None),
    ],
)
def test_service_tiers(
    find: Find, provider: str, name: str, price_list: str, expected: tuple[float, ...] | None
) -> None:
    assert usd(known(find, provider, name).rates(price_list, 1000)) == expected


def hour(model: Model, price_list: str, tokens: int = 1000) -> float | None:
    """USD per million tokens that the provider's cache keeps for an hour."""
    rates = model.rates(price_list, tokens)
    assert rates is not None
    return None if rates.cache_written_hour is None else rates.cache_written_hour / 10**6


@pytest.mark.parametrize(
    ("name", "price_list", "tokens", "expected"),
    [
        ("claude-fable-5-1", "direct", 1000, 20),
        ("claude-fable-5-1", "batch", 1000, 10),
        ("claude-opus-5-5", "fast", 1000, 16),
        ("claude-haiku-5-5", "direct", 100_001, 1),
        ("claude-haiku-5-5", "batch", 100_001, 0.5),
        ("claude-haiku-4-5", "batch", 1000, 1),
    ],
)
def test_an_hour_in_anthropics_cache_costs_twice_the_input_in_every_price_list(
    find: Find, name: str, price_list: str, tokens: int, expected: float
) -> None:
    assert hour(known(find, "anthropic", name), price_list, tokens) == expected


def test_every_priced_model_of_anthropics_has_a_price_for_an_hour_and_others_have_none(find: Find) -> None:
    (listed,) = [provider for provider in providers if provider.id == "anthropic"]
    every = [step.rates for info in listed.models for steps in known(find, "anthropic", info.id).prices.values()
             for step in steps]  # fmt: skip
    assert len(every) > 20
    assert all(rates.cache_written_hour == 2 * rates.input for rates in every)
    assert hour(known(find, "openai", "gpt-6-luna"), "direct") is None


def test_announced_price_changes_come_with_their_day() -> None:
    before = finder(date(2026, 11, 30))("gemini", "gemini-4-argon")
    after = finder(date(2026, 12, 1))("gemini", "gemini-4-argon")
    assert before is not None
    assert after is not None
    for price_list, old, new in (("direct", 2, 4), ("batch", 1, 2), ("flex", 1, 2)):
        assert (usd(before.rates(price_list, 1)) or ())[0] == old
        assert (usd(after.rates(price_list, 1)) or ())[0] == new


def test_a_batch_price_that_has_not_begun_is_unknown() -> None:
    model = known(finder(date(2026, 10, 13)), "openai", "gpt-6-luna")
    assert model.rates("direct", 1) is not None
    assert model.rates("batch", 1) is None


def test_windows_and_abilities(find: Find) -> None:
    luna = known(find, "openai", "gpt-6-luna")
    assert (luna.window, luna.max_output, luna.abilities) == (1_050_000, 128_000, ("reasoning",))
    embedding = known(find, "openai", "text-embedding-3-small")
    assert (embedding.window, embedding.max_output, embedding.abilities) == (8192, None, ("embeddings",))
    assert known(find, "grok", "grok-4.20-0309-non-reasoning").abilities == ()
    assert known(find, "openai", "gpt-4o-mini").abilities == ("sampling",)
    assert known(find, "openai", "gpt-4.1-nano").abilities is None


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        ("openai", "no-such-model"),
        ("generic", "gpt-6-luna"),
        ("azure", "gpt-6-luna"),
        ("gemini", "claude-sonnet-5-5"),
        ("deepinfra", "no/such"),
        ("openai", ""),
    ],
)
def test_other_names_are_unknown(find: Find, provider: str, name: str) -> None:
    assert find(provider, name) is None


def test_a_model_without_a_token_price_is_known_but_unpriced(find: Find) -> None:
    assert known(find, "groq", "whisper-large-v3").prices == {}


def test_a_price_that_changes_by_the_hour_is_unknown() -> None:
    price = ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1))
    night = TimeOfDateConstraint(start_time=time(16, 30), end_time=time(0, 30))
    prices = [ConditionalPrice(prices=price), ConditionalPrice(night, prices=price)]
    info = ModelInfo(id="m", match=ClauseEquals("m"), prices=prices)
    assert read_model("p", info, datetime(2026, 11, 20, tzinfo=UTC)).prices == {}


@pytest.mark.parametrize("output", [{"output_reasoning_mtok": Decimal(3)}, {"requests_kcount": Decimal(5)}])
def test_a_price_that_rates_cannot_say_is_unknown(output: dict[str, Decimal]) -> None:
    price = ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1), **output)
    info = ModelInfo(id="m", match=ClauseEquals("m"), prices=price)
    assert read_model("p", info, datetime(2026, 11, 20, tzinfo=UTC)).prices == {}


def test_a_chat_model_without_an_output_price_is_unpriced() -> None:
    for name, priced in (("m", False), ("m-embed", True)):
        info = ModelInfo(id=name, match=ClauseEquals(name), prices=ModelPrice(input_mtok=Decimal(1)))
        assert bool(read_model("p", info, datetime(2026, 11, 20, tzinfo=UTC)).prices) is priced


CONTEXTS = {
    "direct": None,
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
}


def test_every_listed_model_costs_what_genai_prices_computes() -> None:
    """All providers, price lists and steps, to the picodollar (openrouter's cache writes are thirds: left out)."""
    moment = datetime(2026, 11, 20, tzinfo=UTC)
    compared = 0
    for provider in providers:
        for info in provider.models if provider.id in LISTED else ():
            model = read_model(provider.id, info, moment)
            for price_list, context in CONTEXTS.items():
                for size in (1_000, 900_000) if price_list in model.prices else ():
                    written = 0 if provider.id == "openrouter" else size // 10
                    rates = model.rates(price_list, size)
                    assert rates is not None
                    ours = cost(Usage(input=size, output=77, cached=size // 2, cache_written=written), rates)
                    usage = TheirUsage(
                        input_tokens=size, output_tokens=77, cache_read_tokens=size // 2, cache_write_tokens=written
                    )
                    if "embeddings" in (model.abilities or ()):
                        continue
                    theirs = info.calc_price(
                        usage, provider, genai_request_timestamp=moment, price_context=context
                    ).total_price
                    assert Decimal(dollars(ours)) == theirs, (provider.id, info.id, price_list, size)
                    compared += 1
    assert compared > 2000


# The owner's rows


def test_a_self_hosted_model_may_cost_nothing() -> None:
    model = own({"input": 0, "output": 0, "window": 32_768, "max_output": 4096})
    assert usd(model.rates("direct", 1)) == (0, 0, 0, 0)
    assert (model.window, model.max_output) == (32_768, 4096)
    assert model.rates("batch", 1) is None


@pytest.mark.parametrize("price", [0.1, "0.1", Decimal("0.1")])
def test_a_price_is_read_as_it_was_written(price: object) -> None:
    rates = own({"input": price, "output": 3, "cached": "0.01", "cache_written": 0.125}).rates("direct", 1)
    assert rates == Rates(input=100_000, output=3_000_000, cached=10_000, cache_written=125_000)


def test_the_owner_may_say_what_an_hour_in_the_cache_costs() -> None:
    row = {"input": 3, "output": 15, "cached": 0.3, "cache_written": 3.75}
    key = "anthropic/claude-sonnet-5-5"
    assert hour(own(row, key), "direct") is None, "his price is not added to behind his back"
    mine = own({**row, "cache_written_hour": 5, "batch_discount": 0.5}, key)
    assert (hour(mine, "direct"), hour(mine, "batch")) == (5, 2.5)
    lane = own({"batch": {"input": 1, "output": 5, "cache_written_hour": 1.5}}, key)
    assert (hour(lane, "direct"), hour(lane, "batch")) == (4, 1.5)
    assert hour(own({"batch_discount": 0.25}, key), "batch") == 3


def test_rates_that_are_left_out_are_billed_as_input() -> None:
    model = own({"input": 2, "output": 4, "batch": {"input": 1, "output": 2}, "flex": {"input": 1.5, "output": 3}})
    assert usd(model.rates("direct", 1)) == (2, 4, 2, 2)
    assert usd(model.rates("batch", 1)) == (1, 2, 1, 1)
    assert usd(model.rates("flex", 1)) == (1.5, 3, 1.5, 1.5)


def test_a_discount_takes_off_every_rate() -> None:
    model = own({"input": 2, "output": 4, "cached": 0.5, "batch_discount": 0.2, "flex_discount": "0.5"})
    assert usd(model.rates("batch", 1)) == (1.6, 3.2, 0.4, 1.6)
    assert usd(model.rates("flex", 1)) == (1, 2, 0.25, 1)


def test_the_owners_price_wins_and_replaces_the_whole_table() -> None:
    model = own({"input": 3, "output": 6}, "openai/gpt-6-luna")
    assert usd(model.rates("direct", 500_000)) == (3, 6, 3, 3)
    assert model.rates("batch", 1) is None
    assert (model.window, model.max_output) == (1_050_000, 128_000)


def test_the_owners_price_is_not_discounted_behind_his_back() -> None:
    assert own({"input": 3, "output": 6}, "mistral/mistral-large-latest").rates("batch", 1) is None


def test_a_row_without_a_price_keeps_the_known_one() -> None:
    model = own({"batch_discount": 0.6, "window": 1000, "abilities": []}, "openai/gpt-6.1-sol")
    assert usd(model.rates("direct", 1)) == (2, 10, 0.1, 2.5)
    assert usd(model.rates("batch", 1)) == (0.8, 4, 0.04, 1)
    assert usd(model.rates("batch", 272_001)) == (1.6, 6, 0.08, 2)
    assert (model.window, model.abilities) == (1000, ())


def test_a_row_holds_for_the_models_dated_names_and_its_providers_other_name() -> None:
    find = finder(TODAY, {"openai/gpt-6-luna": {"window": 7}, "xai/grok-4.7": {"window": 8}})
    assert known(find, "openai", "gpt-6-luna-2026-09-22").window == 7
    assert known(find, "grok", "grok-4.7").window == 8
    assert known(find, "openai", "gpt-6.1-sol").window == 1_050_000


@pytest.mark.parametrize(
    ("key", "row", "parts"),
    [
        ("gpt-6-luna", {}, ['models."gpt-6-luna"', "provider/model"]),
        ("openai/", {}, ["provider/model"]),
        ("o/m", {"inptu": 1}, ['models."o/m".inptu', "input, output"]),
        ("o/m", 5, ['models."o/m" is 5', "table"]),
        ("o/m", {"input": 1}, ['models."o/m".output is missing']),
        ("o/m", {"cached": 1}, ['models."o/m".input is missing']),
        ("o/m", {"cache_written_hour": 1}, ['models."o/m".input is missing']),
        ("o/m", {"input": 1, "output": 1, "cache_written_hour": "2x"}, ["cache_written_hour is '2x'"]),
        ("o/m", {"input": -1, "output": 1}, ['models."o/m".input is -1', "0 to 1000000"]),
        ("o/m", {"input": "free", "output": 1}, ["input is 'free'", "USD per million tokens"]),
        ("o/m", {"input": True, "output": 1}, ["input is True"]),
        ("o/m", {"input": None, "output": 1}, ["input is None"]),
        ("o/m", {"input": [1], "output": 1}, ["input is [1]"]),
        ("o/m", {"input": float("nan"), "output": 1}, ["input is nan"]),
        ("o/m", {"input": 1, "output": "Infinity"}, ["output is 'Infinity'"]),
        ("o/m", {"input": 1e-7, "output": 1}, ["input is 1e-07", "0.000001"]),
        ("o/m", {"input": 1e9, "output": 1}, ["input is 1000000000.0"]),
        ("o/m", {"input": 1, "output": 1, "batch": {"input": 1}}, ['models."o/m".batch.output is missing']),
        ("o/m", {"input": 1, "output": 1, "batch": 0.5}, ['models."o/m".batch is 0.5', "table"]),
        ("o/m", {"input": 1, "output": 1, "flex": {"x": 1}}, ['models."o/m".flex.x', "no such field"]),
        ("o/m", {"input": 1, "output": 1, "batch_discount": 50}, ["batch_discount is 50", "0 to 1"]),
        (
            "o/m",
            {"input": 1, "output": 1, "batch": {"input": 1, "output": 1}, "batch_discount": 0.5},
            ["both given"],
        ),
        ("xai/m", {"batch_discount": 0.5}, ['models."xai/m".batch_discount', "direct price is not known"]),
        ("o/m", {"window": 0}, ["window is 0", "whole number of tokens"]),
        ("o/m", {"max_output": 1.5}, ["max_output is 1.5"]),
        ("o/m", {"abilities": ["flying"]}, ["abilities is ['flying']", "embeddings, reasoning"]),
        ("o/m", {"tier": 4}, ["tier is 4", "0: never chosen"]),
        ("o/m", {"tier": True}, ["tier is True"]),
        ("o/m", {"tier": "best"}, ["tier is 'best'"]),
    ],
)
def test_a_wrong_row_says_where_what_and_what_is_allowed(key: str, row: Mapping[str, object], parts: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        finder(TODAY, {key: row})
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_two_rows_for_one_model_are_refused() -> None:
    with pytest.raises(SettingsError, match="keep one"):
        finder(TODAY, {"xai/grok-4.7": {"window": 1}, "grok/grok-4.7": {"window": 2}})


# Models that may be chosen


def test_every_model_with_a_tier_has_a_price_and_a_window(find: Find) -> None:
    names = tiered()
    assert len(names) == len(set(names)) > 15
    for provider, name in names:
        model = known(find, provider, name)
        assert model.tier in (1, 2, 3), name
        assert model.rates("direct", 100) is not None, name
        assert model.window is not None, name


def test_each_provider_ranks_its_own_and_the_better_cost_no_less(find: Find) -> None:
    for provider in {provider for provider, _ in tiered()}:
        cheapest: dict[int, int] = {}
        for each, name in tiered():
            model = known(find, each, name)
            rates = model.rates("direct", 100)
            if each == provider and model.tier is not None and rates is not None:
                cheapest[model.tier] = min(rates.output, cheapest.get(model.tier, rates.output))
        assert [price for _, price in sorted(cheapest.items())] == sorted(cheapest.values()), provider


def test_the_owner_adds_models_and_takes_them_out() -> None:
    rows = {"mine/llama": {"tier": 2}, "openai/gpt-6-luna": {"tier": 0}, "openai/gpt-6.1-sol": {"window": 5}}
    assert ("mine", "llama") in tiered(rows)
    find = finder(TODAY, rows)
    assert known(find, "mine", "llama").tier == 2
    assert known(find, "openai", "gpt-6-luna").tier is None
    assert ("openai", "gpt-6.1-sol") in tiered(rows), "a row about something else leaves its tier"
    assert known(find, "openai", "gpt-6.1-sol").tier == 3
