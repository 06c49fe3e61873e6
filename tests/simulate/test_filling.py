"""What a request of a trace does not say is made or found, and what it says is kept, or is an error with its line."""

from typing import Any

import pytest

from batchway.core.analysis import NOTHING_FOUND, analyse_text
from batchway.core.catalog import Catalog, Model, Rates, Step
from batchway.core.errors import InputError
from batchway.simulate import filling
from batchway.simulate.filling import Filler, Ready
from batchway.simulate.inputs import Entry
from batchway.simulate.timing import Timed


def model(provider: str, name: str, price: int, tier: int | None, window: int | None = None) -> Model:
    rates = Rates(input=price, output=price, cached=price, cache_written=price)
    prices: dict[str, tuple[Step, ...]] = {"direct": (Step(from_tokens=0, rates=rates),)}
    return Model(provider=provider, id=name, tier=tier, window=window, prices=prices)


CATALOG = Catalog.of(
    [
        model("p", "small", 1, 1),
        model("p", "best", 9, 3),
        model("q", "narrow", 5, None, 100),
        model("q", "p/odd", 5, None),
    ]
)


def filler(**options: Any) -> Filler:
    """One that counts a token for each character, two where the model is `best`."""
    given: dict[str, Any] = {
        "catalog": CATALOG,
        "names": [("p", "small"), ("p", "best")],
        "providers": ("p", "q"),
        "count": lambda name, text: len(text) * (2 if name == "best" else 1),
    }
    return Filler("f", **given | options)


def fill(filling: Filler | None = None, order: int = 0, **entry: Any) -> Ready:
    found = Entry(line=order + 1, **entry)
    return (filling or filler()).fill(Timed(entry=found, order=order, at_ms=7))


def test_a_bare_prompt_gets_everything() -> None:
    text = "Prove that the square root of 2 is irrational."
    found = fill(order=4, prompt=text)
    assert (found.request_id, found.at_ms, found.order) == ("r5", 7, 4)
    assert (found.model, found.provider, found.tokens) == ("best", "p", len(text))
    assert found.why.startswith("reason of high complexity needs tier 3")
    expected = analyse_text(text)
    assert (found.analysis.task, found.analysis.reasons) == (expected.task, expected.reasons)
    assert found.analysis.input_tokens == len(text), "counted, not guessed"
    assert fill(prompt="hello").model == "small"


def test_what_is_given_is_kept() -> None:
    given = {"latency_tolerance": "high", "task": "reason", "complexity": "high"}
    found = fill(prompt="hello", request_id="mine", token_count=55, analysis_json=given)
    assert (found.request_id, found.tokens, found.analysis.input_tokens) == ("mine", 55, 55)
    assert (found.analysis.latency_tolerance, found.analysis.task) == ("high", "reason")
    assert found.analysis.output_tokens == analyse_text("hello").output_tokens, "found, where it is not given"
    assert found.model == "best", "the analysis that was given chooses"
    found = fill(prompt="Prove it", selected_model="small")
    assert (found.model, found.provider, found.why) == ("small", "p", "as given")


def test_tokens_are_counted_as_the_model_counts_them() -> None:
    assert fill(prompt="abc", selected_model="best").tokens == 6
    assert fill(prompt="a long prompt", shortened_query="abc", selected_model="small").tokens == 3


def test_without_a_text_nothing_is_found_in_it() -> None:
    found = fill(token_count=5, selected_model="small", analysis_json={"latency_tolerance": "low"})
    assert (found.analysis.latency_tolerance, found.analysis.task) == ("low", NOTHING_FOUND.task)
    assert fill(prompt="", selected_model="small").tokens == 0


def test_names_of_models_may_carry_their_provider() -> None:
    assert [fill(prompt="a", selected_model=name).provider for name in ("p/small", "q/narrow", "p/odd")] == [
        "p",
        "q",
        "q",
    ]
    assert fill(prompt="a", selected_model="p/small").model == "p/small", "as given"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"prompt": "a", "selected_model": "smal"}, "selected_model: the catalogue has no 'smal'; small is meant?"),
        ({"prompt": "a", "selected_model": "x/small"}, "selected_model: the catalogue has no 'x/small'"),
        ({"prompt": "a", "selected_model": "zzz"}, "selected_model: the catalogue has no 'zzz'; add it to the models"),
        (
            {"token_count": 101, "selected_model": "narrow"},
            "token_count: 101 tokens are more than narrow reads; its window is 100",
        ),
        ({"prompt": "a" * 101, "selected_model": "q/narrow"}, "token_count: 101 tokens are more than"),
        (
            {"prompt": "a", "analysis_json": {"latency_tolerance": "soon"}},
            "analysis_json.latency_tolerance: 'soon' is not one of low, medium, high",
        ),
        ({"prompt": "a", "analysis_json": {"reasons": {"why": "x"}}}, "analysis_json.reasons.why: no key"),
        ({"prompt": "a", "analysis_json": {"output_tokens": -1}}, "analysis_json.output_tokens: '-1' is not"),
    ],
    ids=str,
)
def test_what_cannot_be_is_said_with_line_and_field(entry: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        fill(order=2, **entry)
    assert str(caught.value).startswith(f"f: line 3: {said}")


def test_any_model_takes_names_that_nobody_knows() -> None:
    found = fill(filler(any_model=True), prompt="a", selected_model="house-model")
    assert (found.model, found.provider) == ("house-model", None)


def test_no_model_is_large_enough() -> None:
    narrow = filler(names=[("q", "n")], catalog=Catalog.of([model("q", "n", 1, 1, 50)]))
    with pytest.raises(InputError, match="line 1: selected_model: none of 1 models has a window of"):
        fill(narrow, prompt="a" * 60)


def test_an_id_comes_once() -> None:
    one = filler()
    fill(one, 0, prompt="a", request_id="x")
    with pytest.raises(InputError, match="line 2: request_id: 'x' was on line 1 already"):
        fill(one, 1, prompt="b", request_id="x")
    with pytest.raises(InputError, match="line 5: request_id: 'r5' was on line 3 already"):
        fill(one, 2, prompt="b", request_id="r5")
        fill(one, 4, prompt="b")


def test_the_memory_of_ids_is_bounded() -> None:
    one = filler()
    for order in range(filling.REMEMBERED + 1):
        fill(one, order, token_count=1, selected_model="small", analysis_json={"latency_tolerance": "low"})
    assert fill(one, 7, prompt="b", request_id="r1").request_id == "r1", "forgotten"
