"""The packer: which of the requests in a closed window share a call, and what every call teaches.

It joins the arithmetic (`packing_worth`), the guard and the bank, for the planner and for the offline lab alike:

    packs = packer.plan(group, now)           # in the order of the group; a pack of one is a single call
    packer.unpacked(pack, outcome, now)       # the call was answered, or
    packer.dropped(pack)                      # it failed and was not billed
    packer.sampled(pack, answers, single, cost, now)    # for each pack whose `sample` is not None
    packer.answered_singly(account, cost)     # for each request of `packing=auto` that was not packed
    packer.saved_elsewhere(account, saved)    # for each request that cost less in another way
    packer.billed(provider, model, usage)     # for each call: who reasons is not packed by `auto`
"""

from collections.abc import Sequence

from msgspec import Struct, structs

from batchway.core import cost
from batchway.core.catalog import Rates
from batchway.core.limits import Dice
from batchway.core.packing import FORMATS, Missing
from batchway.core.packing_bank import Bank
from batchway.core.packing_fit import divide
from batchway.core.packing_guard import LEAST_SAMPLED, MOST, Finding, Guard, compare
from batchway.core.packing_worth import Load, Verdict, alone, weigh
from batchway.core.types import Packing, Usage

SHORTER = 0.8
"""Of a packed answer: so long is the single one reckoned that it replaces. Models that say more in company than alone
would seem to save what they cost."""

ALONE = "singly: "
"""Begins the reason of a pack of one."""

REMEMBERED = 1_000
"""Models of which something is known beside what the guard knows."""

BankAccount = tuple[str, str, str]
"""Whose money it is, and the provider and model that it is spent at."""


class Group(Struct, frozen=True, kw_only=True):
    """Fit requests of one window that differ in nothing but their last user text."""

    payer: str
    """Whose money it is: the tenant."""
    provider: str
    model: str
    packing: Packing
    format: str
    load: Load
    rates: Rates | None
    """At the length of a packed call; None: no known price."""
    cached: float = 0.0
    """Share of the shared beginning that single calls read from the provider's cache, as learnt."""
    room: int
    """Input tokens of all items of a call, at most."""
    repeatable: bool
    """The requests ask for a repeatable answer (temperature 0, or a seed)."""

    @property
    def guarded(self) -> tuple[str, str, str]:
        """The guard's key."""
        return self.provider, self.model, self.format

    @property
    def account(self) -> BankAccount:
        """The bank's key."""
        return self.payer, self.provider, self.model


class Pack(Struct, frozen=True, kw_only=True):
    """Neighbours of a group that share a call, or one that goes alone."""

    group: Group
    start: int
    """Its first item's place in the group."""
    size: int
    held: int = 0
    """Picodollars that the bank holds for the call."""
    sample: int | None = None
    """The place in this pack of the item that is asked singly as well."""
    sample_held: int = 0
    why: str


class Outcome(Struct, frozen=True, kw_only=True):
    """How a packed call was answered."""

    usage: Usage
    said: int
    """Characters of all that the model said."""
    answers: Sequence[str | Missing]


class Tally(Struct, frozen=True, kw_only=True):
    """What has come of packing at one model since the start, and what the guard lets it do now."""

    provider: str
    model: str
    format: str
    calls: int = 0
    """Packed calls that were answered."""
    requests: int = 0
    """That were in them."""
    again: int = 0
    """Of these, asked again singly: their answer was not certain."""
    sampled: int = 0
    """Also asked singly, to compare the answers."""
    size: int = 1
    """Requests that `auto` may give a call now; 1: packing is off."""
    why: str = ""


class Packer:
    """One for each planner. `guard` and `bank` are its knowledge and its money."""

    def __init__(self, dice: Dice, *, guard: Guard | None = None, bank: Bank | None = None, most: int = MOST) -> None:
        self.guard = guard or Guard(most=most)
        self.bank = bank or Bank()
        self._most = most
        self._dice = dice
        self._reasoning: dict[tuple[str, str], None] = {}
        self._tallies: dict[tuple[str, str, str], Tally] = {}

    def plan(self, group: Group, now: float) -> tuple[Pack, ...]:
        """The calls of a group."""
        cap = self._most if group.packing == "always" else self.guard.cap(group.guarded, now)
        packs: list[Pack] = []
        start = 0
        for size in divide(group.load.items, cap, group.room):
            packs += self._decide(group, start, size, now)
            start += size
        return tuple(packs)

    def unpacked(self, pack: Pack, outcome: Outcome, now: float) -> None:
        """A packed call was answered: the guard hears how well, the bank what it saved."""
        missing = sum(isinstance(answer, Missing) for answer in outcome.answers)
        self.guard.unpacked(pack.group.guarded, pack.size, missing, now)
        self._count(pack, calls=1, requests=pack.size, again=missing)
        if pack.group.packing == "auto":
            self.bank.settle(pack.group.account, pack.held, _saved(pack, outcome))

    def dropped(self, pack: Pack) -> None:
        """A packed call failed without a bill, or was not sent: nothing is learnt of packing."""
        self.bank.settle(pack.group.account, pack.held + pack.sample_held, 0)

    def sampled(
        self, pack: Pack, answers: Sequence[str | Missing], single: str | None, paid: int | None, now: float
    ) -> Finding | None:
        """The single answer to a pack's sampled item (None: it failed), and its price in picodollars. Says how the two
        compare; None: it cannot be told."""
        self.bank.settle(pack.group.account, pack.sample_held, -(paid or 0))
        if single is None or pack.sample is None:
            return None
        self._count(pack, sampled=1)
        found = compare(answers, pack.sample, single)
        if found is None:
            self.guard.untold(pack.group.guarded, now)
        else:
            self.guard.compared(pack.group.guarded, found, now, repeatable=pack.group.repeatable)
        return found

    def answered_singly(self, account: BankAccount, paid: int) -> None:
        """A request of `packing=auto` was answered by a call of its own, of this price."""
        self.bank.paid_singly(account, paid)

    def saved_elsewhere(self, account: BankAccount, saved: int) -> None:
        """A request of `packing=auto` cost so much less than a single call, in another way than packing."""
        self.bank.saved_elsewhere(account, saved)

    def billed(self, provider: str, model: str, usage: Usage) -> None:
        """A call was billed: what it reasoned shows in its usage."""
        if not usage.reasoning or (provider, model) in self._reasoning:
            return
        if len(self._reasoning) >= REMEMBERED:
            del self._reasoning[next(iter(self._reasoning))]
        self._reasoning[provider, model] = None

    def reasons(self, provider: str, model: str) -> bool:
        """Whether a call of the model was billed for reasoning."""
        return (provider, model) in self._reasoning

    def tallies(self, now: float) -> list[Tally]:
        """By model, as it is now."""
        standings = [(tally, self.guard.standing(key, now)) for key, tally in self._tallies.items()]
        return [structs.replace(tally, size=standing.cap, why=standing.why) for tally, standing in standings]

    def _count(self, pack: Pack, **counted: int) -> None:
        key = pack.group.guarded
        tally = self._tallies.get(key)
        if tally is None:
            if len(self._tallies) >= REMEMBERED:
                del self._tallies[next(iter(self._tallies))]
            tally = Tally(provider=key[0], model=key[1], format=key[2])
        more = {name: getattr(tally, name) + amount for name, amount in counted.items()}
        self._tallies[key] = structs.replace(tally, **more)

    def _decide(self, group: Group, start: int, size: int, now: float) -> list[Pack]:
        if size == 1:
            why = self._why_alone(group, now)
        elif group.packing == "always":
            return [Pack(group=group, start=start, size=size, why="packing=always")]
        elif group.rates is None:
            why = "the model has no known price, so auto does not pack"
        else:
            verdict = self._weigh(group, group.rates, start, size, now)
            if verdict.packs and self.bank.allows(group.account, verdict.at_risk):
                return [self._pack(group, start, size, verdict, now)]
            why = f"nothing pays for the risk yet; {verdict.why}" if verdict.packs else verdict.why
        return [Pack(group=group, start=place, size=1, why=f"{ALONE}{why}") for place in range(start, start + size)]

    def _why_alone(self, group: Group, now: float) -> str:
        standing = self.guard.standing(group.guarded, now)
        return standing.why if standing.cap == 1 and group.packing == "auto" else "nobody to share a call with"

    def _weigh(self, group: Group, rates: Rates, start: int, size: int, now: float) -> Verdict:
        load = structs.replace(
            group.load,
            items=group.load.items[start : start + size],
            answers=group.load.answers[start : start + size],
        )
        return weigh(
            load,
            FORMATS[group.format],
            rates,
            cached=group.cached,
            failing=self.guard.failing(group.guarded, now),
            sampled=LEAST_SAMPLED,
        )

    def _pack(self, group: Group, start: int, size: int, verdict: Verdict, now: float) -> Pack:
        self.bank.hold(group.account, verdict.at_risk)
        price = -(-verdict.alone // size)
        sample = None
        if self.bank.affords(group.account, price):
            sample = self.guard.sample(group.guarded, size, now, self._dice)
        if sample is not None:
            self.bank.hold(group.account, price)
        return Pack(
            group=group,
            start=start,
            size=size,
            held=verdict.at_risk,
            sample=sample,
            sample_held=0 if sample is None else price,
            why=f"packed, {verdict.why}",
        )


def _saved(pack: Pack, outcome: Outcome) -> int:
    """What the single calls of the answered items would have cost, less the packed call; who is missing pays a single
    call either way."""
    group = pack.group
    if group.rates is None:
        return 0
    told = outcome.usage.output - outcome.usage.reasoning
    per_character = told / outcome.said if outcome.said else 0.0
    singles = sum(
        alone(group.load.shared, item, round(SHORTER * len(answer) * per_character), group.rates, group.cached)
        for item, answer in zip(group.load.items[pack.start : pack.start + pack.size], outcome.answers, strict=True)
        if not isinstance(answer, Missing)
    )
    return singles - cost.cost(outcome.usage, group.rates)
