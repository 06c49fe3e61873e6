"""What packing costs beside single calls, over random workloads with models that fail in many ways."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from statistics import median

from msgspec import Struct

from batchway.core import cost
from batchway.core.catalog import Rates
from batchway.core.packer import Group, Outcome, Pack, Packer
from batchway.core.packing import FORMATS, Missing
from batchway.core.packing_bank import SHARE, STAKE, Bank
from batchway.core.packing_guard import MOST
from batchway.core.packing_worth import Load, alone
from batchway.core.types import PICODOLLARS, Usage

Dice = random.Random

FAILURES = {"none": 25, "items": 35, "many items": 15, "whole packs": 10, "always": 10, "exchanged": 5}
"""How models fail at packed prompts, and how many of a hundred do."""


class World:
    """One workload: a model with its prices and its way of failing, and requests that come in groups."""

    def __init__(self, dice: Dice, *, failure: str | None = None, shared: int | None = None) -> None:
        self.dice = dice
        self.failure = failure or dice.choices(list(FAILURES), list(FAILURES.values()))[0]
        self.rate = {"items": dice.betavariate(1, 12), "many items": dice.uniform(0.2, 0.9)}.get(self.failure, 0.0)
        self.whole = {"whole packs": dice.uniform(0.05, 0.8), "always": 1.0}.get(self.failure, 0.0)
        self.shared = shared or int(10 ** dice.uniform(1.3, 3.9))
        self.item = int(10 ** dice.uniform(0.8, 2.6))
        self.answer = int(10 ** dice.uniform(0, 2.1))
        self.forecast = dice.uniform(0.7, 1.4)
        self.verbosity = dice.uniform(0.9, 1.2)
        self.cached = dice.uniform(0, 0.98) if self.shared >= 1024 else 0.0
        price = int(10 ** dice.uniform(4.7, 6.7))
        self.rates = Rates(
            input=price,
            output=int(price * dice.uniform(2, 8)),
            cached=int(price * dice.choice((0.05, 0.1, 0.25, 0.5, 1.0))),
            cache_written=int(price * dice.choice((1.0, 1.0, 1.25))),
        )
        self.crowd = dice.choice((1.5, 3, 6, 12))
        self.groups = int(10 ** dice.uniform(0, 2.7))

    def sizes(self) -> list[int]:
        """How many requests come together, each time."""
        return [1 + int(self.dice.expovariate(1 / self.crowd)) for _ in range(self.groups)]

    def group(self, size: int) -> Group:
        """Requests as the gateway sees them: their answers are only expected."""
        near = self.dice.uniform
        return Group(
            payer="t",
            provider="p",
            model="m",
            packing="auto",
            format="xml",
            load=Load(
                shared=self.shared,
                items=tuple(max(1, int(self.item * near(0.5, 1.5))) for _ in range(size)),
                answers=tuple(max(1, int(self.answer * self.forecast)) for _ in range(size)),
            ),
            rates=self.rates,
            cached=self.cached,
            room=8_000,
            repeatable=True,
        )

    def words(self, size: int) -> list[int]:
        """The true tokens of each answer when asked singly."""
        return [max(1, int(self.answer * self.dice.uniform(0.5, 1.5))) for _ in range(size)]

    def single(self, item: int, words: int) -> int:
        """The true price of a single call."""
        return alone(self.shared, item, words, self.rates, self.cached)

    def together(self, items: Sequence[int], words: Sequence[int]) -> tuple[Usage, list[str | Missing], int]:
        """A packed call: its usage, the answers that can be used (four characters a token) and characters said."""
        form = FORMATS["xml"]
        told = [max(1, round(each * self.verbosity)) for each in words]
        lost = self.dice.random() < self.whole
        answers: list[str | Missing] = [
            Missing("lost") if lost or self.dice.random() < self.rate else "x" * (4 * each) for each in told
        ]
        output = sum(told) + form.per_answer * len(items)
        read = round(self.shared * self.cached)
        # What is not read from the provider's cache is written to it, where that has a price.
        plain = self.shared - read + sum(items) + form.overhead + form.per_item * len(items)
        return Usage(input=plain + read, cached=read, cache_written=plain, output=output), answers, 4 * output


class Spent(Struct):
    """Picodollars of one way of sending a group, and how many packs it made."""

    paid: int = 0
    singly: int = 0
    packs: int = 0


def send(packer: Packer, world: World, group: Group) -> Spent:
    """One group by way of the packer, answered and settled."""
    words = world.words(len(group.load.items))
    spent = Spent()
    packs = packer.plan(group, 0.0)
    for pack in packs:  # all are under way before the first is answered
        items = group.load.items[pack.start : pack.start + pack.size]
        mine = words[pack.start : pack.start + pack.size]
        singles = [world.single(item, each) for item, each in zip(items, mine, strict=True)]
        spent.singly += sum(singles)
        if pack.size == 1:
            spent.paid += singles[0]
            packer.answered_singly(group, singles[0])
        else:
            spent.packs += 1
            spent.paid += _pay(packer, world, pack, items, mine, singles)
    return spent


def _pay(
    packer: Packer, world: World, pack: Pack, items: Sequence[int], words: Sequence[int], singles: Sequence[int]
) -> int:
    usage, answers, said = world.together(items, words)
    packer.unpacked(pack, Outcome(usage=usage, said=said, answers=answers), 0.0)
    paid = cost.cost(usage, world.rates)
    paid += sum(single for single, answer in zip(singles, answers, strict=True) if isinstance(answer, Missing))
    if pack.sample is not None:
        paid += singles[pack.sample]
        answer = answers[pack.sample]
        single = "other words" if world.failure == "exchanged" else answer if isinstance(answer, str) else ""
        packer.sampled(pack, answers, single, singles[pack.sample], 0.0)
    return paid


def _always_once(world: World, group: Group) -> Spent:
    """The naive packer: whatever comes together is packed, and what is missing asked again."""
    spent = Spent()
    rest = zip(group.load.items, world.words(len(group.load.items)), strict=True)
    while some := list(islice(rest, MOST)):
        singles = [world.single(item, words) for item, words in some]
        spent.singly += sum(singles)
        if len(some) == 1:
            spent.paid += singles[0]
            continue
        spent.packs += 1
        usage, answers, _ = world.together([item for item, _ in some], [words for _, words in some])
        spent.paid += cost.cost(usage, world.rates)
        spent.paid += sum(
            single for single, answer in zip(singles, answers, strict=True) if isinstance(answer, Missing)
        )
    return spent


class Books(Struct):
    """The workloads of one way of packing."""

    name: str
    ratios: list[float] = []
    lost: list[int] = []
    """Picodollars paid above single calls; below zero: saved."""
    failures: Counter[str] = Counter()
    """Of the dearer ones, how their models fail."""
    packed: int = 0
    """Workloads with any pack."""


def spend(workloads: int) -> list[Books]:
    """The same worlds for each way of packing."""
    ways: dict[str, Callable[[Dice], Callable[[World, Group], Spent]]] = {
        "naive (always, 6)": lambda _: _always_once,
        "auto": lambda dice: _auto(Packer(dice)),
        "auto, stake 0.01 USD": lambda dice: _auto(Packer(dice, bank=Bank(stake=PICODOLLARS // 100))),
    }
    return [_keep_books(name, way, workloads) for name, way in ways.items()]


def _auto(packer: Packer) -> Callable[[World, Group], Spent]:
    return lambda world, group: send(packer, world, group)


def _keep_books(name: str, way: Callable[[Dice], Callable[[World, Group], Spent]], workloads: int) -> Books:
    books = Books(name, [], [], Counter(), 0)
    for seed in range(workloads):
        world = World(Dice(seed))
        send = way(Dice(seed + 1_000_000))
        total = Spent()
        for size in world.sizes():
            once = send(world, world.group(size))
            total = Spent(total.paid + once.paid, total.singly + once.singly, total.packs + once.packs)
        books.ratios.append(total.paid / total.singly)
        books.lost.append(total.paid - total.singly)
        books.packed += total.packs > 0
        if total.paid > total.singly:
            books.failures[world.failure] += 1
    return books


COLUMNS = ("packed in", "dearer in", "worst", "median", "all", "most lost USD", "saved USD")


def render_money(ways: Sequence[Books]) -> str:
    """A row for each way."""
    varied = "prices, prefixes, sizes, crowds and failures vary"
    lines = [
        f"{len(ways[0].ratios):,} random workloads beside single calls (1.000); {varied}.",
        f"{'packing':<22}{''.join(f'{column:>14}' for column in COLUMNS)}",
    ]
    for books in ways:
        counts = (books.packed, sum(ratio > 1 for ratio in books.ratios))
        ratios = (max(books.ratios), median(books.ratios), _overall(books))
        money = (max(0, *books.lost) / PICODOLLARS, -sum(books.lost) / PICODOLLARS)
        figures = [
            *(f"{each:,}" for each in counts),
            *(f"{each:.3f}" for each in ratios),
            *(f"{each:.4f}" for each in money),
        ]
        lines.append(f"{books.name:<22}{''.join(f'{figure:>14}' for figure in figures)}")
    lines += [f"{books.name}, dearer by kind of failure: {_listed(books.failures)}" for books in ways]
    lines.append(
        f"Bound of auto at every moment: {SHARE:.1%} of what is paid singly, and its stake ({STAKE} by default)."
    )
    return "\n".join(lines)


def _listed(failures: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in failures.most_common()) or "none"


def _overall(books: Books) -> float:
    """All money paid beside all that single calls had cost."""
    singly = [lost / (ratio - 1) for ratio, lost in zip(books.ratios, books.lost, strict=True) if ratio != 1]
    return 1 + sum(books.lost) / sum(singly) if singly else 1.0


def exchange(most: int, *, seeds: int = 200) -> list[int]:
    """A model that exchanges answers under valid ids: packs made until packing is off, sorted; at most `most` + 1."""
    needed: list[int] = []
    for seed in range(seeds):
        dice = Dice(seed)
        packer = Packer(dice)
        world = World(dice, failure="exchanged", shared=1_000)
        world.item, world.answer = 30, 10
        made = 0
        while packer.guard.cap(world.group(1).guarded, 0.0) > 1 and made <= most:
            made += send(packer, world, world.group(dice.randint(2, 12))).packs
        needed.append(made)
    return sorted(needed)


def render_exchange(needed: Sequence[int]) -> str:
    """In words."""
    return (
        f"A model that exchanges answers under valid ids: packing is off after {median(needed):.0f} packs "
        f"(median of {len(needed)} seeds; worst {needed[-1]})."
    )
