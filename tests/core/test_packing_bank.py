"""The bank: what may be risked is what was saved, and what the owner allows."""

import random

import pytest

from batchway.core.packing_bank import HOUSE, Bank


def test_nothing_is_risked_before_anything_was_spent() -> None:
    bank = Bank(risk=0.01)
    assert not bank.allows("a", 1)
    bank.paid_singly("a", 1000)
    assert bank.allows("a", 10)
    assert not bank.allows("a", 11)
    assert not bank.allows("b", 1)


def test_a_stake_is_there_from_the_start_but_pays_for_no_sample() -> None:
    bank = Bank(stake=100)
    assert bank.allows("a", 100)
    assert not bank.allows("a", 101)
    assert not bank.affords("a", 1)


def test_nothing_of_the_owners_money_is_risked_unasked() -> None:
    bank = Bank()
    bank.paid_singly("a", 10**15)
    assert not bank.allows("a", 1)
    bank.saved_elsewhere("a", 1000)
    assert bank.allows("a", 100)
    assert not bank.allows("a", 101)
    assert not bank.affords("a", 1)
    bank.saved_elsewhere("a", -1100)
    assert not bank.allows("a", 1)


def test_what_is_under_way_is_not_risked_twice() -> None:
    bank = Bank(stake=100)
    bank.hold("a", 60)
    assert not bank.allows("a", 60)
    bank.settle("a", 60, 30)
    assert bank.allows("a", 130)
    assert bank.affords("a", 30)
    bank.hold("a", 10)
    assert not bank.affords("a", 30)


def test_a_loss_must_be_earned_again() -> None:
    bank = Bank(stake=100, risk=0.5)
    bank.hold("a", 100)
    bank.settle("a", 100, -100)
    assert not bank.allows("a", 1)
    bank.paid_singly("a", 60)
    assert bank.allows("a", 30)
    assert not bank.affords("a", 1)


def test_a_hold_is_ended_once() -> None:
    bank = Bank()
    bank.hold("a", 5)
    with pytest.raises(ValueError, match="6 picodollars"):
        bank.settle("a", 6, 0)
    bank.settle("a", 5, 0)
    with pytest.raises(ValueError, match="held"):
        bank.settle("a", 5, 0)


def test_the_account_longest_unused_is_forgotten_unless_something_is_under_way() -> None:
    bank = Bank(remembered=2)
    bank.hold("a", 5)
    bank.account("b").saved = 7
    bank.account("c")
    assert bank.account("a").held == 5
    assert bank.account("b").saved == 0


@pytest.mark.parametrize("seed", range(20))
def test_the_bound_holds_at_every_moment_whatever_happens(seed: int) -> None:
    """A world that mostly loses: what was paid never exceeds what is allowed."""
    dice = random.Random(seed)
    bank = Bank(stake=50, risk=0.01)
    under_way: list[int] = []
    lost = singly = elsewhere = 0
    for _ in range(3000):
        price = dice.randint(1, 40)
        if dice.random() < 0.1:
            bank.saved_elsewhere("a", price)
            elsewhere += price
        elif bank.allows("a", price):
            bank.hold("a", price)
            under_way.append(price)
        else:
            bank.paid_singly("a", price)
            singly += price
        if under_way and dice.random() < 0.5:
            price = under_way.pop(dice.randrange(len(under_way)))
            saved = dice.randint(-price, price // 3)
            bank.settle("a", price, saved)
            lost -= saved
        assert lost + sum(under_way) <= 50 + 0.01 * singly + HOUSE * elsewhere
    assert lost > 50
