"""Which model is chosen: the cheapest that is good enough and holds the tokens, and what is said of it."""

from typing import Any

import pytest

from batchway.core.analysis import LEVELS, Analysis
from batchway.core.catalog import Catalog, Model, Rates, Step
from batchway.core.errors import BadRequest
from batchway.core.model_choice import ModelOption, choose_model, model_options, select_model
from batchway.core.task_words import TASKS
from batchway.core.types import Prompt


def option(name: str, tier: int, **fields: Any) -> ModelOption:
    return ModelOption(
        name=name, provider="p", tier=tier, **({"input_price": 10 * tier, "output_price": 40 * tier} | fields)
    )


SMALL, MIDDLE, LARGE = option("small", 1), option("middle", 2), option("large", 3)
ALL = (LARGE, SMALL, MIDDLE)


def chosen(task: str, complexity: str, options: tuple[ModelOption, ...] = ALL, **fields: Any) -> str:
    analysis = Analysis(task=task, complexity=complexity, **({"input_tokens": 100, "output_tokens": 100} | fields))  # type: ignore[arg-type]
    return select_model(analysis, options)[0].name


@pytest.mark.parametrize(
    ("task", "complexity", "name"),
    [
        ("classify", "low", "small"),
        ("chat", "medium", "small"),
        ("chat", "high", "middle"),
        ("question", "medium", "middle"),
        ("code", "low", "middle"),
        ("code", "high", "large"),
        ("reason", "medium", "large"),
        ("write", "high", "large"),
    ],
)
def test_the_cheapest_that_is_good_enough(task: str, complexity: str, name: str) -> None:
    assert chosen(task, complexity) == name


def test_every_task_gets_a_model_and_a_harder_one_no_lesser() -> None:
    order = ("small", "middle", "large")
    for task in TASKS:
        found = [order.index(chosen(task, level)) for level in LEVELS]
        assert found == sorted(found), task


def test_a_better_model_is_taken_where_it_is_cheaper() -> None:
    bargain = option("bargain", 3, input_price=1, output_price=1)
    assert chosen("classify", "low", (*ALL, bargain)) == "bargain"


def test_cost_is_of_both_directions() -> None:
    reader, writer = (
        option("reader", 1, input_price=1, output_price=9),
        option("writer", 1, input_price=9, output_price=1),
    )
    assert chosen("chat", "low", (reader, writer), input_tokens=900, output_tokens=100) == "reader"
    assert chosen("chat", "low", (reader, writer), input_tokens=100, output_tokens=900) == "writer"


def test_an_unknown_price_is_not_a_low_one() -> None:
    for unknown in (option("unknown", 1, input_price=None), option("unknown", 1, output_price=None)):
        assert chosen("chat", "low", (unknown, LARGE)) == "large"
        model, why = select_model(Analysis(), (unknown,))
        assert (model.name, "its price is unknown" in why) == ("unknown", True)
    free = option("free", 1, input_price=0, output_price=0)
    assert chosen("chat", "low", (SMALL, free)) == "free"


def test_equal_costs_go_to_the_lesser_tier_then_to_the_earlier() -> None:
    one, other, better = (
        option(name, tier, input_price=1, output_price=1) for name, tier in (("a", 1), ("b", 1), ("c", 2))
    )
    assert chosen("chat", "low", (better, other, one)) == "b"


def test_windows_are_kept() -> None:
    narrow = option("narrow", 1, window=199)
    exact = option("exact", 2, window=200)
    assert chosen("chat", "low", (narrow, exact)) == "exact"
    assert chosen("chat", "low", (narrow, exact), output_tokens=99) == "narrow"
    with pytest.raises(BadRequest, match="none of 1 models has a window of 200 tokens"):
        chosen("chat", "low", (narrow,))


def test_where_none_is_good_enough_the_best_is_taken_and_it_is_said() -> None:
    dear = option("dear", 2, input_price=99, output_price=99)
    model, why = select_model(Analysis(task="reason", complexity="high"), (SMALL, dear, MIDDLE))
    assert model.name == "middle"
    assert why == "reason of high complexity needs tier 3; none is so good, middle is of the best tier, 2"


def test_what_is_said() -> None:
    _, why = select_model(Analysis(task="code", complexity="low", input_tokens=10), ALL)
    assert why == "code of low complexity needs tier 2, which 2 of 3 models have; middle is taken: the cheapest of them"


def test_no_models() -> None:
    with pytest.raises(BadRequest, match="there are no models to choose from") as refused:
        select_model(Analysis(), ())
    assert refused.value.fault.param == "model"


# From the catalogue


def priced(name: str, provider: str = "p", price: int | None = 10, **fields: Any) -> Model:
    prices: dict[str, tuple[Step, ...]] = {} if price is None else {"direct": (Step(from_tokens=0, rates=flat(price)),)}
    return Model(provider=provider, id=name, prices=prices, **fields)


def flat(price: int) -> Rates:
    return Rates(input=price, output=price, cached=price, cache_written=price)


LUNA = priced("luna", tier=1, window=1_000)
PLAIN = priced("plain", price=20, tier=1, abilities=("sampling",))
SOL = priced("sol", price=50, tier=3, abilities=("reasoning",))
NAMED = priced("named", price=1)
CATALOG = Catalog.of([LUNA, PLAIN, SOL, NAMED])
NAMES = [("p", name) for name in ("luna", "plain", "sol", "named", "gone")]


def choice(prompt: Prompt | None = None, names: list[tuple[str, str]] = NAMES, **fields: Any) -> str:
    return choose_model(prompt or Prompt(model="auto"), Analysis(**fields), names, CATALOG)[0].name


def test_only_models_with_a_tier_are_options() -> None:
    found = model_options(NAMES, CATALOG, 10)
    assert [(each.name, each.tier, each.input_price, each.window, each.sampling) for each in found] == [
        ("luna", 1, 10, 1_000, False),
        ("plain", 1, 20, None, True),
        ("sol", 3, 50, None, False),
    ]
    unknown = Catalog.of([priced("luna", price=None, tier=1)])
    assert [each.input_price for each in model_options(NAMES, unknown, 10)] == [None]


def test_the_prices_are_those_for_so_many_tokens() -> None:
    steps = (Step(from_tokens=0, rates=flat(1)), Step(from_tokens=1_000, rates=flat(9)))
    catalog = Catalog.of([Model(provider="p", id="luna", tier=1, prices={"direct": steps})])
    assert [model_options(NAMES, catalog, tokens)[0].input_price for tokens in (999, 1_000)] == [1, 9]


def test_a_choice_follows_analysis_and_names() -> None:
    assert choice(task="classify", complexity="low") == "luna"
    assert choice(task="classify", complexity="low", input_tokens=2_000) == "plain"
    assert choice(task="reason", complexity="high") == "sol"
    assert choice(task="reason", complexity="high", names=[("p", "luna")]) == "luna"
    with pytest.raises(BadRequest, match="there are no models"):
        choice(names=[("q", "luna"), ("p", "named")])


@pytest.mark.parametrize("field", ["temperature", "top_p"])
def test_who_samples_gets_a_model_known_to_take_it(field: str) -> None:
    prompt = Prompt(model="auto", **{field: 0.0})  # type: ignore[arg-type]
    assert choice(prompt, task="reason", complexity="high") == "plain"
    with pytest.raises(BadRequest, match=f"{field}: none of the models to choose from is known to take it") as refused:
        choice(prompt, names=[("p", "luna"), ("p", "sol")])
    assert refused.value.fault.param == field


@pytest.mark.parametrize("feature", ["audio", "images"])
def test_what_is_not_text_is_not_chosen_for(feature: str) -> None:
    with pytest.raises(BadRequest, match=f"a request with {feature}"):
        choice(Prompt(model="auto", features=(feature, "tools")))
    assert choice(Prompt(model="auto", features=("response_format", "stateful", "tools"))) == "luna"
