"""Which model is chosen: the cheapest that is good enough and holds the tokens, and what is said of it."""

from typing import Any

import pytest

from batchway.core.analysis import LEVELS, Analysis
from batchway.core.errors import BadRequest
from batchway.core.model_choice import ModelOption, select_model
from batchway.core.task_words import TASKS


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
