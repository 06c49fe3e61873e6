"""The packer: what it plans, what it learns, and that `auto` stays within its bound whatever the model does."""

import os
import random

import pytest
from quality.packing import attribute, run
from quality.packing_cost import Desk, exchange, spend
from quality.workloads import World

from batchway.core.catalog import Rates
from batchway.core.packer import SHORTER, Group, Outcome, Packer
from batchway.core.packing import Missing
from batchway.core.packing_bank import RISK, Bank
from batchway.core.packing_guard import MOST, YOUNG, Guard
from batchway.core.packing_worth import Load
from batchway.core.types import PICODOLLARS, Packing, Usage
from batchway.sandbox.packed import UNSEEN, WAYS

FULL = os.environ.get("BATCHWAY_PROOF") == "1"

RATES = Rates(input=100, output=400, cached=10, cache_written=100)
RICH = 10**9


def group(count: int, *, packing: Packing = "auto", rates: Rates | None = RATES, shared: int = 3000) -> Group:
    load = Load(shared=shared, items=(30,) * count, answers=(10,) * count)
    return Group(
        payer="t",
        provider="p",
        model="m",
        packing=packing,
        format="xml",
        load=load,
        rates=rates,
        room=8000,
        repeatable=True,
    )


def packer(*, stake: int = RICH, most: int = MOST) -> Packer:
    return Packer(random.Random(1), bank=Bank(stake=stake), most=most)


def answered(*lengths: int | None) -> Outcome:
    """Answers of so many characters, at four a token; None: missing."""
    answers = ["x" * length if length is not None else Missing("lost") for length in lengths]
    said = sum(length or 0 for length in lengths) + 64 * len(lengths)
    return Outcome(usage=Usage(input=3200, output=said // 4), said=said, answers=answers)


def sizes(packer: Packer, group: Group, now: float = 0.0) -> list[int]:
    return [pack.size for pack in packer.plan(group, now)]


def test_auto_starts_small_and_always_does_as_told() -> None:
    assert sizes(packer(), group(7)) == [YOUNG, YOUNG, 1]
    assert sizes(packer(), group(7, packing="always")) == [4, 3]
    assert sizes(packer(most=2), group(3, packing="always")) == [2, 1]
    assert packer().plan(group(7, packing="always"), 0.0)[0].why == "packing=always"
    assert sizes(packer(), group(0)) == []


def test_packs_are_neighbours_in_the_order_of_the_group() -> None:
    packs = packer().plan(group(7), 0.0)
    assert [(pack.start, pack.size) for pack in packs] == [(0, 3), (3, 3), (6, 1)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (group(6, rates=None), "no known price"),
        (group(6, shared=20), "not cheaper by enough"),
        (group(1), "nobody to share"),
    ],
)
def test_why_auto_sends_singly(given: Group, said: str) -> None:
    packs = packer().plan(given, 0.0)
    assert {pack.size for pack in packs} == {1}
    assert [pack.start for pack in packs] == list(range(len(given.load.items)))
    assert all(said in pack.why for pack in packs)


def test_a_model_without_a_price_is_packed_where_the_owner_says_so() -> None:
    packs = packer(stake=0).plan(group(6, packing="always", rates=None), 0.0)
    assert [pack.size for pack in packs] == [6]
    assert packs[0].held == 0


def test_auto_waits_until_the_risk_is_covered_and_then_tries() -> None:
    patient = Packer(random.Random(1), bank=Bank(risk=RISK))
    given = group(3)
    (first, *_) = patient.plan(given, 0.0)
    assert first.why.startswith("singly: nothing pays for the risk yet; cheaper: 3 together cost")
    price = packer().plan(given, 0.0)[0].held
    patient.answered_singly(given.account, int(price / RISK) - 1000)
    assert sizes(patient, given) == [1, 1, 1]
    patient.answered_singly(given.account, 1000)
    assert sizes(patient, given) == [3]
    # It is under way: another one would risk the same money twice.
    assert sizes(patient, given) == [1, 1, 1]


def test_an_answer_settles_what_it_saved_and_teaches_the_guard() -> None:
    learning = packer()
    (pack,) = learning.plan(group(3), 0.0)
    learning.unpacked(pack, answered(40, 40, None), 0.0)
    books = learning.bank.account(pack.group.account)
    answers, tags = 10, 16
    packed = 3200 * 100 + (2 * answers + 3 * tags) * 400
    assert (books.held, books.saved) == (0, 2 * (3030 * 100 + SHORTER * answers * 400) - packed)
    assert learning.guard.standing(pack.group.guarded, 0.0).packs == 1.0
    assert learning.guard.failing(pack.group.guarded, 0.0) == pytest.approx((1 + 1 / 3) / 5)


def test_a_failed_call_gives_its_money_back_and_teaches_nothing() -> None:
    learning = packer()
    (pack,) = learning.plan(group(3), 0.0)
    learning.dropped(pack)
    assert learning.bank.account(pack.group.account).held == 0
    assert learning.guard.standing(pack.group.guarded, 0.0).packs == 0


def test_samples_are_paid_from_savings_and_close_what_exchanges() -> None:
    learning = packer()
    for _ in range(2):
        (first,) = learning.plan(group(3), 0.0)
        assert first.sample is None
        learning.unpacked(first, answered(40, 40, 40), 0.0)
    (second,) = learning.plan(group(3), 0.0)
    assert second.sample is not None
    learning.unpacked(second, answered(40, 40, 40), 0.0)
    before = learning.bank.account(second.group.account).saved
    answers = ["a", "b", "c"]
    neighbour = answers[(second.sample + 1) % 3]
    assert learning.sampled(second, answers, neighbour, 300_000, 0.0) == "exchanged"
    books = learning.bank.account(second.group.account)
    assert (books.held, before - books.saved) == (0, 300_000)
    (single, *_) = learning.plan(group(3), 0.0)
    assert single.size == 1
    assert single.why.startswith("singly: packing is off for this model")


def test_a_sample_that_failed_costs_nothing_and_says_nothing() -> None:
    learning = packer()
    for _ in range(2):
        (pack,) = learning.plan(group(3), 0.0)
        learning.unpacked(pack, answered(40, 40, 40), 0.0)
    (second,) = learning.plan(group(3), 0.0)
    assert second.sample is not None
    learning.unpacked(second, answered(40, 40, 40), 0.0)
    assert learning.bank.account(second.group.account).held == second.sample_held > 0
    assert learning.sampled(second, ["a", "b", "c"], None, None, 0.0) is None
    assert learning.bank.account(second.group.account).held == 0


def test_always_is_reported_on_but_risks_nobodys_savings() -> None:
    owner = packer(stake=0)
    (pack,) = owner.plan(group(6, packing="always"), 0.0)
    owner.unpacked(pack, answered(*[None] * 6), 0.0)
    assert owner.bank.account(pack.group.account).saved == 0
    assert owner.guard.failing(pack.group.guarded, 0.0) > Guard().failing(pack.group.guarded, 0.0)


def test_an_answer_without_words_or_usage_is_a_loss_or_nothing() -> None:
    learning = packer()
    (pack,) = learning.plan(group(3), 0.0)
    learning.unpacked(pack, Outcome(usage=Usage(), said=0, answers=[Missing("lost")] * 3), 0.0)
    assert learning.bank.account(pack.group.account).saved == 0


# The proofs of quality/packing.py


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_no_answer_reaches_the_wrong_request() -> None:
    """The whole size has 100,000 packs of the ways that leave a trace."""
    each = 10_000 if FULL else 400
    tallies = attribute(each * len(WAYS))
    for how, tally in tallies.items():
        assert tally.packs == each
        assert (tally.wrong > 0) == (how in UNSEEN), how
        assert tally.most_singles <= 1, how
    assert tallies["reordered"].singles == tallies["wrapped"].singles == 0
    assert tallies["doubled"].singles == each


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_auto_is_never_dearer_than_single_calls_over_random_workloads() -> None:
    ways = spend(1_000 if FULL else 100)
    naive, auto, saver, stake = ways.values()
    assert max(auto.ratios) <= 1
    assert max(saver.ratios) <= 1 + RISK
    assert all(each.paid <= each.singly + PICODOLLARS // 100 for each in stake.spent)
    assert min(naive.packed, stake.packed, saver.packed, auto.packed) > 3
    assert max(naive.ratios) > 1.5
    for books in (auto, saver, stake):
        assert sum(each.paid for each in books.spent) < sum(each.unpacked for each in books.spent)


def test_a_model_that_always_fails_costs_the_risk_and_no_more() -> None:
    world = World(random.Random(3), manner="hopeless")
    world.provider, world.model = "openai", "gpt-4o-mini"
    world.shared, world.item, world.answer, world.cached, world.repeated = 3000, 30, 10, 0.0, 0.0
    desk = Desk(Packer(random.Random(4), bank=Bank(risk=RISK)), world)
    for _ in range(1000):
        desk.serve(6)
        assert desk.spent.paid <= (1 + RISK) * desk.spent.singly
    assert desk.spent.packs >= 1


@pytest.mark.proof
def test_exchanged_answers_are_found_out() -> None:
    assert exchange(50, seeds=200 if FULL else 20)[-1] <= 50


def test_the_tables_are_written() -> None:
    text = run(small=True)
    assert "Wrong in the 5,000 packs" in text
    assert "| auto, stake 0.01 USD |" in text
    assert "packing is off after" in text
