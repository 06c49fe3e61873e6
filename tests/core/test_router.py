"""Which lane a request takes and why, and which provider a model's name means."""

from typing import Any

import pytest
from tests.core.asking import request

from batchway.core.catalog import Catalog, Model, Rates, Step
from batchway.core.cost import expected_cost
from batchway.core.errors import BadRequest
from batchway.core.router import ASSUMED_OUTPUT, Offers, Outlook, candidates, resolve_model, route
from batchway.core.router import NOT_FOR_THIS_KEY as KEY
from batchway.core.turnaround import Turnaround, Turnarounds
from batchway.core.types import Lane


def rates(input_: int, output: int) -> Rates:
    return Rates(input=input_, output=output, cached=input_, cache_written=input_)


FULL, HALF = rates(1_000_000, 4_000_000), rates(500_000, 2_000_000)
PRICES: dict[str, tuple[Step, ...]] = {
    lane: (Step(from_tokens=0, rates=FULL if lane == "direct" else HALF),) for lane in ("direct", "flex", "batch")
}
CATALOG = Catalog.of([Model(provider="openai", id="m", prices=PRICES)])
CLOSED = {"direct": "direct is forbidden here", "flex": "no flex is sold", "batch": "there is no Batch API"}


def offers(*lanes: Lane) -> Offers:
    """Only these lanes are open."""
    direct, flex, batch = (None if lane in lanes else why for lane, why in CLOSED.items())
    return Offers(direct=direct, flex=flex, batch=batch)


def outlook(deadline: float | None = None, *, hours: float | None = None) -> Outlook:
    """Nothing was measured yet, or (`hours`) many batches that took so long. It is 1000."""
    took = [] if hours is None else [turnaround(hours)] * 200
    left = None if deadline is None else deadline - 1000
    return Outlook(left=left, turnarounds=Turnarounds(took), window=300.0, flex=600.0)


def turnaround(hours: float) -> Turnaround:
    return Turnaround(provider="openai", model="m", at=0.0, seconds=hours * 3600, n=10)


ALL: tuple[Lane, ...] = ("direct", "flex", "batch")
LOW = "priority low goes by batch, else flex, else direct"
HIGH = "priority high goes direct"
ONLY = "the only lane open here"
INTERACTIVE = "no deadline given: interactive"
CHEAPEST = "the cheapest lane that is likely to be on time"


@pytest.mark.parametrize(
    ("fields", "open_lanes", "lane", "why"),
    [
        # strategy overrides priority and deadline
        ({"strategy": "direct"}, ALL, "direct", "strategy direct asked for"),
        ({"strategy": "flex"}, ALL, "flex", "strategy flex asked for"),
        ({"strategy": "batch"}, ALL, "batch", "strategy batch asked for"),
        ({"strategy": "batch", "priority": "high", "deadline": 1060.0}, ALL, "batch", "strategy batch asked for"),
        ({"strategy": "direct", "priority": "low"}, ALL, "direct", "strategy direct asked for"),
        # what is not offered goes direct and says why
        ({"strategy": "batch"}, ("direct",), "direct", "strategy batch asked for, but there is no Batch API"),
        ({"strategy": "batch"}, ("direct", "flex"), "direct", "strategy batch asked for, but there is no Batch API"),
        ({"strategy": "flex"}, ("direct", "batch"), "direct", "strategy flex asked for, but no flex is sold"),
        ({"strategy": "direct"}, ("flex", "batch"), "flex", "strategy direct asked for, but direct is forbidden here"),
        # high is direct
        ({"priority": "high"}, ALL, "direct", HIGH),
        ({"priority": "high", "deadline": 1e9}, ALL, "direct", HIGH),
        ({"priority": "high", "lanes": ("batch",)}, ALL, "batch", f"{HIGH}; not direct: {KEY}; not flex: {KEY}"),
        # low is batch if offered, else flex, else direct
        ({"priority": "low"}, ALL, "batch", LOW),
        ({"priority": "low"}, ("direct", "flex"), "flex", f"{LOW}; not batch: there is no Batch API"),
        (
            {"priority": "low"},
            ("direct",),
            "direct",
            f"{LOW}; not batch: there is no Batch API; not flex: no flex is sold",
        ),
        (
            {"priority": "low", "model": "unheard-of"},
            ("direct", "flex"),
            "direct",
            f"{LOW}; not batch: there is no Batch API; not flex: no price of it is known for this model",
        ),
        ({"priority": "low", "model": "unheard-of"}, ("flex",), "flex", f"{LOW}; not batch: there is no Batch API"),
        ({"priority": "low", "model": "unheard-of"}, ALL, "batch", LOW),
        # normal without a deadline is interactive
        ({}, ALL, "direct", INTERACTIVE),
        ({}, ("flex", "batch"), "flex", f"{INTERACTIVE}; not direct: direct is forbidden here"),
        ({}, ("direct",), "direct", ONLY),
        ({}, ("batch",), "batch", ONLY),
        # normal with one takes the cheapest lane with enough chance
        ({"deadline": 1060.0}, ALL, "direct", CHEAPEST),
        ({"deadline": 1060.0}, ("direct",), "direct", ONLY),
        ({"deadline": 1060.0}, ("flex", "batch"), "flex", "no lane is likely to be on time; flex has the best chance"),
        # a key may use fewer lanes than there are
        ({"priority": "low", "lanes": ("direct",)}, ALL, "direct", f"{LOW}; not batch: {KEY}; not flex: {KEY}"),
        ({"lanes": ("batch",)}, ALL, "batch", ONLY),
        (
            {"strategy": "batch", "lanes": ("direct",)},
            ALL,
            "direct",
            f"strategy batch asked for, but {KEY}",
        ),
    ],
)
def test_lanes(fields: dict[str, Any], open_lanes: tuple[Lane, ...], lane: Lane, why: str) -> None:
    chosen = route(request(**fields), offers(*open_lanes), CATALOG, outlook(fields.get("deadline")))
    assert (chosen.lane, chosen.why) == (lane, why)


def test_a_batch_is_cheapest_where_batches_come_back_in_time() -> None:
    asked = request(deadline=1000.0 + 8 * 3600)
    without_flex = offers("direct", "batch")
    assert route(asked, without_flex, CATALOG, outlook(asked.deadline)).lane == "direct", "nothing is known yet"
    assert route(asked, without_flex, CATALOG, outlook(asked.deadline, hours=2)).lane == "batch"
    assert route(asked, without_flex, CATALOG, outlook(asked.deadline, hours=12)).lane == "direct"


def test_flex_costs_the_same_as_a_batch_and_is_sooner() -> None:
    asked = request(deadline=1000.0 + 72 * 3600)
    assert route(asked, offers(*ALL), CATALOG, outlook(asked.deadline, hours=2)).lane == "flex"
    assert route(asked, offers("direct", "batch"), CATALOG, outlook(asked.deadline)).lane == "batch"


def test_the_expected_rescue_is_part_of_the_price() -> None:
    asked = request(body=b"x" * 400, deadline=1000.0 + 30 * 3600, max_output=100)
    _, batch, _ = candidates(asked, offers("direct", "batch"), CATALOG, outlook(asked.deadline))
    alone = expected_cost(100, 100, HALF)
    assert batch.cost is not None and batch.cost == alone + round((1 - batch.chance) * expected_cost(100, 100, FULL))


@pytest.mark.parametrize(
    ("open_lanes", "lanes", "reasons"),
    [
        ((), None, list(CLOSED.values())),
        (("direct",), ("batch",), [KEY, "there is no Batch API"]),
        (("direct",), (), [KEY]),
    ],
)
def test_no_lane_at_all_says_why(
    open_lanes: tuple[Lane, ...], lanes: tuple[Lane, ...] | None, reasons: list[str]
) -> None:
    with pytest.raises(BadRequest) as refused:
        route(request(lanes=lanes), offers(*open_lanes), CATALOG, outlook())
    assert (refused.value.fault.code, refused.value.fault.param) == ("no_lane", "provider")
    assert refused.value.fault.message.startswith("No lane to 'openai' is open")
    assert all(reason in refused.value.fault.message for reason in reasons)


def test_every_lane_is_a_candidate_with_its_cost_or_reason() -> None:
    asked = request(body=b"x" * 400, max_output=50, n=2)
    direct, flex, batch = candidates(asked, offers("direct", "flex"), CATALOG, outlook())
    assert (direct.lane, flex.lane, batch.lane) == ("direct", "flex", "batch")
    assert (direct.cost, flex.cost, batch.cost) == (
        expected_cost(100, 100, FULL),
        expected_cost(100, 100, HALF),
        None,
    )
    assert (direct.ruled_out, flex.ruled_out, batch.ruled_out) == (None, None, "there is no Batch API")


@pytest.mark.parametrize(("endpoint", "output"), [("chat", ASSUMED_OUTPUT), ("embeddings", 0)])
def test_output_is_assumed_where_no_bound_is_given(endpoint: str, output: int) -> None:
    direct, *_ = candidates(request(body=b"x" * 400, endpoint=endpoint), offers("direct"), CATALOG, outlook())
    assert direct.cost == expected_cost(100, output, FULL)


def test_an_unknown_price_is_unknown() -> None:
    asked = request(model="unheard-of")
    assert [each.cost for each in candidates(asked, offers(*ALL), CATALOG, outlook())] == [None] * 3
    assert route(asked, offers(*ALL), CATALOG, outlook()).lane == "direct"


# Models

NAMES = {"openai": "openai", "grok": "grok", "xai": "grok", "openrouter": "openrouter"}
PROVIDERS = ("grok", "openai", "openrouter")
KNOWN = Catalog.of(
    [
        Model(provider="openai", id="gpt"),
        Model(provider="grok", id="grok-4"),
        Model(provider="openrouter", id="openai/gpt"),
        Model(provider="openrouter", id="gpt"),
        Model(provider="elsewhere", id="claude"),
    ]
)


@pytest.mark.parametrize(
    ("model", "hinted", "default", "expected"),
    [
        # the hint
        ("gpt", "openai", "grok", ("openai", "gpt")),
        ("gpt", "xai", "openai", ("grok", "gpt")),
        ("grok-4", "openai", "openai", ("openai", "grok-4")),
        ("grok/grok-4", "grok", "openai", ("grok", "grok-4")),
        ("xai/grok-4", "grok", "openai", ("grok", "grok-4")),
        ("openai/gpt", "openrouter", "openai", ("openrouter", "openai/gpt")),
        ("openrouter/auto", "openrouter", "openai", ("openrouter", "auto")),
        ("grok/", "grok", "openai", ("grok", "grok/")),
        # a prefix that is a configured provider
        ("grok/grok-4", None, "openai", ("grok", "grok-4")),
        ("xai/new", None, "openai", ("grok", "new")),
        ("openai/new", None, "openai", ("openai", "new")),
        ("openrouter/openai/gpt", None, "openai", ("openrouter", "openai/gpt")),
        ("openai/new", None, "openrouter", ("openai", "new")),
        # unless the default provider has a model of that very name
        ("openai/gpt", None, "openrouter", ("openrouter", "openai/gpt")),
        ("openai/gpt", None, "grok", ("openai", "gpt")),
        # a prefix that is none
        ("meta-llama/x", None, "openai", ("openai", "meta-llama/x")),
        ("/gpt", None, "openai", ("openai", "/gpt")),
        ("openai/", None, "openai", ("openai", "openai/")),
        # the default wins where it has the model
        ("gpt", None, "openai", ("openai", "gpt")),
        ("gpt", None, "openrouter", ("openrouter", "gpt")),
        # the catalogue knows it elsewhere
        ("grok-4", None, "openai", ("grok", "grok-4")),
        ("gpt", None, "grok", ("openai", "gpt")),
        # but not where no provider is configured
        ("claude", None, "openai", ("openai", "claude")),
        # nobody knows it
        ("unheard-of", None, "openai", ("openai", "unheard-of")),
        ("", None, "openai", ("openai", "")),
    ],
)
def test_models(model: str, hinted: str | None, default: str, expected: tuple[str, str]) -> None:
    assert resolve_model(model, hinted, default=default, names=NAMES, providers=PROVIDERS, catalog=KNOWN) == expected


def test_a_provider_that_is_not_configured_names_those_that_are() -> None:
    with pytest.raises(BadRequest) as refused:
        resolve_model("m", "anthropic", default="openai", names=NAMES, providers=PROVIDERS, catalog=KNOWN)
    fault = refused.value.fault
    assert fault.message == "provider: 'anthropic' is not configured; configured: grok, openai, openrouter."
    assert (fault.param, fault.code) == ("provider", "unknown_provider")
