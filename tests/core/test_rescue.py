"""When a request leaves the batch lane, and what is done with it then."""

from typing import Any

import pytest

from batchway.core.rescue import RescueRule, head_start, leave_at, measure
from batchway.core.types import Prompt, Request

RULE = RescueRule(margin=30.0, call_seconds=20.0, at_once=10, cap=1000)


def request(**fields: Any) -> Request:
    given: dict[str, Any] = {"deadline": 1000.0, "asked_at": 100.0} | fields
    return Request(
        id="a",
        ask="a",
        tenant="t",
        key="k",
        caller="c",
        provider="p",
        endpoint="chat",
        body=b"{}",
        prompt=Prompt(model="m"),
        fingerprint="f",
        **given,
    )


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"deadline": None}, None),
        ({}, 950.0),
        ({"on_deadline": "fail"}, 1000.0),
        # There was never time for more than a direct call.
        ({"deadline": 120.0}, 100.0),
    ],
)
def test_it_leaves_when_a_direct_call_can_still_be_made(fields: dict[str, Any], at: float | None) -> None:
    assert leave_at(request(**fields), RULE) == at


@pytest.mark.parametrize(("backlog", "seconds"), [(0, 0), (1, 0), (10, 0), (11, 20), (20, 20), (95, 180)])
def test_the_first_of_many_leaves_earlier_by_as_many_turns_as_they_take(backlog: int, seconds: float) -> None:
    assert head_start(backlog, RULE) == seconds


@pytest.mark.parametrize(
    ("expected", "spent", "what"),
    [(100, 0, "send"), (100, 900, "send"), (101, 900, "leave"), (None, 1000, "send"), (None, 1001, "leave")],
)
def test_rescues_cost_what_they_may_cost(expected: int | None, spent: int, what: str) -> None:
    assert measure(request(), expected=expected, spent=spent, rule=RULE) == what


@pytest.mark.parametrize(
    ("fields", "undirected", "what"),
    [
        ({"lanes": ("batch", "direct")}, (), "send"),
        ({"lanes": ("batch", "flex")}, (), "leave"),
        ({}, ("p",), "leave"),
        ({}, ("another",), "send"),
        ({"lanes": ("batch",), "on_deadline": "fail"}, (), "fail"),
    ],
)
def test_a_rescue_passes_no_limit(fields: dict[str, Any], undirected: tuple[str, ...], what: str) -> None:
    rule = RescueRule(undirected=frozenset(undirected))
    assert measure(request(**fields), expected=1, spent=0, rule=rule) == what


def test_without_a_cap_every_rescue_goes() -> None:
    assert measure(request(), expected=10**15, spent=10**18, rule=RescueRule()) == "send"


def test_what_is_to_fail_costs_nothing() -> None:
    assert measure(request(on_deadline="fail"), expected=1, spent=10**9, rule=RULE) == "fail"
