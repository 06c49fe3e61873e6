"""The bank of packing: `auto` risks a two-hundredth of what is spent without it, and what it has saved.

A packed call of which no answer can be used costs its price on top of all single calls, and nothing but trying shows
whether a model answers packed prompts. So no rule can promise that trying never loses. This one bounds what it loses,
for each account (who pays, at which model):

    paid with packing  <=  paid without + stake + share x (paid singly meanwhile)

1. A packed call is made only if its whole price, beside that of all calls under way, is within what was saved so far,
   plus `share` of what single calls have cost meanwhile (the first try, and the way back), plus `stake` (for owners
   who want packs from the first request on: it lets little workloads lose more than they cost).
2. A sample is taken only if savings already made pay for it.
3. Each hold is ended by one settlement.

The bound is exact if a call costs no more than was held for it; one that costs more is settled in full, and nothing is
risked until that has been earned again.
"""

from collections import OrderedDict
from collections.abc import Hashable

from msgspec import Struct

STAKE = 0
"""Picodollars that may be lost at each account before anything was spent there."""

SHARE = 0.005
"""Of what is paid singly: so much dearer may `auto` be at most. Over random workloads a greater share saves no more."""


class Account(Struct):
    """The books of one account, in picodollars."""

    saved: int = 0
    """By all settled packs and samples together; below zero: lost."""
    held: int = 0
    """The price of what is under way."""
    singly: int = 0
    """Paid for requests that could have been packed and were not."""


class Bank:
    """The accounts. Beyond `remembered` the one longest unused is forgotten, unless something of it is under way."""

    def __init__(self, *, stake: int = STAKE, share: float = SHARE, remembered: int = 10_000) -> None:
        self._stake = stake
        self._share = share
        self._remembered = remembered
        self._accounts: OrderedDict[Hashable, Account] = OrderedDict()

    def account(self, key: Hashable) -> Account:
        """The books of a key, opened if need be."""
        books = self._accounts.pop(key, None) or self._open()
        self._accounts[key] = books
        return books

    def allows(self, key: Hashable, price: int) -> bool:
        """Whether a packed call of this price may be risked now."""
        books = self.account(key)
        return self._stake + int(self._share * books.singly) + books.saved - books.held >= price

    def affords(self, key: Hashable, price: int) -> bool:
        """Whether savings already made pay for this."""
        books = self.account(key)
        return books.saved - books.held >= price

    def hold(self, key: Hashable, price: int) -> None:
        """Something of this price is on its way."""
        self.account(key).held += price

    def settle(self, key: Hashable, held: int, saved: int) -> None:
        """It has ended. `saved`: what it saved beside single calls; below zero what it lost."""
        books = self.account(key)
        if held > books.held:
            raise ValueError(f"{held} picodollars are to be released, but {books.held} are held for {key}")
        books.held -= held
        books.saved += saved

    def paid_singly(self, key: Hashable, price: int) -> None:
        """A request that could have been packed was answered by a single call of this price."""
        self.account(key).singly += price

    def _open(self) -> Account:
        if len(self._accounts) >= self._remembered:
            idle = next((key for key, books in self._accounts.items() if not books.held), None)
            if idle is not None:
                del self._accounts[idle]
        return Account()
