"""Decisions about traffic without texts: an outline stands in for them; and who looks on sees the windows close."""

from random import Random

import pytest
from tests.core.desk import Desk, call_of
from tests.core.histories import CATALOG, counter

from batchway.core import facts
from batchway.core.analysis import analyse
from batchway.core.batcher import Closed
from batchway.core.commands import Call
from batchway.core.planner import Planner
from batchway.core.policy import Policy, WindowRule
from batchway.core.router import Offers
from batchway.core.tokens import TokenCounts
from batchway.core.types import Outline, Prompt

RICH = 10**15
"""Picodollars at stake: enough for `auto` to pack from the first request on."""


def prompt(**fields: object) -> Prompt:
    given: dict[str, object] = {"kin": "k", "item": 20, "answer": 10}
    return Prompt(model="m1", temperature=0, outline=Outline(**(given | fields)))  # type: ignore[arg-type]


def test_an_outline_is_taken_for_the_analysis() -> None:
    found = analyse(prompt(answer=77, tolerance="high"))
    assert (found.output_tokens, found.latency_tolerance) == (77, "high")


def ask_three(desk: Desk, what: Prompt, tokens: int = 1000) -> list[Call]:
    commands = [
        command
        for name in ("a", "b", "c")
        for command in desk.ask(prompt=what, packing="auto", pack_key="k", tokens=tokens, fingerprint=name, body=b"x")
    ]
    commands += desk.tell(facts.TimePassed(), after=0.05)
    return [command for command in commands if isinstance(command, Call)]


def test_requests_without_texts_share_a_call_by_the_same_arithmetic() -> None:
    desk = Desk(Policy(pack=WindowRule(max_wait=0.05, max_size=4), pack_stake=RICH))
    (call,) = ask_three(desk, prompt())
    # Singly 3 x (1,000 in, 10 out); together 980 shared, 3 x 20, 96 + 3 x 16 of form, and 3 x (10 + 16) out; the input
    # that may have to be written to the provider's cache costs 1.25.
    assert "3 together cost 0.001792 USD, singly 0.00312" in call.why


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"item": None}, "its last message is not a user's text"),
        ({"answer": 200}, "its answer may take 200 tokens"),
    ],
)
def test_an_outline_says_who_goes_alone(fields: dict[str, object], why: str) -> None:
    desk = Desk(Policy(pack_stake=RICH))
    calls = ask_three(desk, prompt(**fields))
    assert [len(call.requests) for call in calls] == [1, 1, 1]
    assert f"not packed: {why}" in calls[0].why


def test_who_looks_on_is_shown_every_window_that_closes() -> None:
    seen: list[tuple[str, Closed]] = []
    policy = Policy(job=WindowRule(max_wait=30, max_size=2), pack=WindowRule(max_wait=0.05, max_size=2))
    desk = Desk(policy)
    desk.planner = Planner(
        policy,
        catalog=CATALOG,
        offers={"one": Offers(batch=None)},
        counts=TokenCounts({}),
        ids=counter("call-"),
        dice=Random(1),
        watch=lambda kind, window: seen.append((kind, window)),
    )
    for name in ("a", "b"):
        desk.ask(prompt=prompt(), packing="always", pack_key="k", fingerprint=name, tokens=100)
    for _ in range(2):
        desk.ask(prompt=prompt(), priority="low", reuse="off")
    desk.tell(facts.Saved("ask-3"))
    desk.tell(facts.TimePassed(), after=30)
    assert [(kind, window.reason, len(window.tickets)) for kind, window in seen] == [
        ("pack", "size", 2),
        ("job", "wait", 1),
    ]


def test_texts_decide_where_there_is_no_outline() -> None:
    desk = Desk()
    call = call_of(desk.ask(packing="auto"))
    assert "its last message is not a user's text" in call.why
