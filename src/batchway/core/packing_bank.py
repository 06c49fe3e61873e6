"""The bank of packing: `auto` plays with the house's money, and with the owner's only where the owner says how much.

A packed call of which no answer can be used costs its price on top of all single calls, and nothing but trying shows
whether a model answers packed prompts. So no rule can promise that trying never loses. This one bounds what it loses,
for each account (who pays, at which model):

    paid with packing  <=  paid without + a tenth of what other ways saved + stake + risk x (paid singly meanwhile)

Stake and risk are nothing unless a setting or a profile says otherwise: then a bill is never above that of the same
requests sent singly, because cached answers, shared ones and cheaper lanes have saved ten times what may be lost.

1. A packed call is made only if its whole price, beside that of all calls under way, is within what packing saved so
   far, `HOUSE` of what other ways saved, `risk` of what single calls have cost meanwhile (the first try, and the way
   back), and `stake` (for owners who want packs from the first request on: it lets little workloads lose more than
   they cost).
2. A sample is taken only if savings that packing made pay for it.
3. Each hold is ended by one settlement.

The bound is exact if a call costs no more than was held for it; one that costs more is settled in full, and nothing is
risked until that has been earned again.
"""

from collections import OrderedDict
from collections.abc import Hashable

from msgspec import Struct

HOUSE = 0.1
"""Of what other ways saved: so much of it may packing lose."""

RISK = 0.005
"""Of what is paid singly: what the profile `saver` risks. Over random workloads a greater share saves no more."""


class Account(Struct):
    """The books of one account, in picodollars."""

    saved: int = 0
    """By all settled packs and samples together; below zero: lost."""
    held: int = 0
    """The price of what is under way."""
    singly: int = 0
    """Paid for requests of `packing=auto` that were not packed."""
    elsewhere: int = 0
    """Saved for requests of `packing=auto` in other ways: by cached and shared answers, by cheaper lanes."""


class Bank:
    """The accounts. Beyond `remembered` the one longest unused is forgotten, unless something of it is under way."""

    def __init__(self, *, stake: int = 0, risk: float = 0.0, remembered: int = 10_000) -> None:
        self._stake = stake
        self._risk = risk
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
        allowed = self._stake + int(self._risk * books.singly) + int(HOUSE * max(0, books.elsewhere))
        return allowed + books.saved - books.held >= price

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
        """A request of `packing=auto` was answered by a single call of this price."""
        self.account(key).singly += price

    def saved_elsewhere(self, key: Hashable, saved: int) -> None:
        """A request that may be packed cost so much less in another way; below zero: more."""
        self.account(key).elsewhere += saved

    def _open(self) -> Account:
        if len(self._accounts) >= self._remembered:
            idle = next((key for key, books in self._accounts.items() if not books.held), None)
            if idle is not None:
                del self._accounts[idle]
        return Account()
