"""What packing costs beside single calls, over random workloads with models that fail in many ways."""

from collections import Counter
from collections.abc import Sequence
from statistics import median

from msgspec import Struct, structs

from batchway.core.packer import Group, Outcome, Pack, Packer
from batchway.core.packing import Missing, bisect
from batchway.core.packing_bank import HOUSE, RISK, Bank
from batchway.core.planner.packing import shrunk
from batchway.core.types import PICODOLLARS, Packing
from batchway.sandbox import packed
from quality.workloads import Dice, World


class Spent(Struct):
    """Picodollars of one way of sending the requests of a workload, and how many packs it made."""

    paid: int = 0
    singly: int = 0
    """By single calls, each request sent alone."""
    unpacked: int = 0
    """By single calls for what is not answered from the cache."""
    packs: int = 0


class Desk:
    """Sends the requests of one workload by way of a packer, as the planner does."""

    def __init__(self, packer: Packer, world: World, packing: Packing = "auto") -> None:
        self.packer = packer
        self.world = world
        self.spent = Spent()
        self._packing = packing
        self._answers: Sequence[str] = ()
        self._singles: Sequence[int] = ()

    def serve(self, size: int) -> None:
        """Requests that come together: some are answered from the cache, the others may share calls."""
        repeats = self.world.repeats(size)
        group = self._take(repeats)
        self.packer.saved_elsewhere(group.account, sum(self._singles))
        group = self._take(size - repeats)
        self.spent.unpacked += sum(self._singles)
        for pack in self.packer.plan(group, 0.0):  # all are under way before the first is answered
            places = range(pack.start, pack.start + pack.size)
            if pack.size == 1:
                self.packer.answered_singly(group.account, self._alone(pack.start))
            else:
                self.spent.packs += 1
                self._call(pack, places, self.world.way())

    def _take(self, size: int) -> Group:
        group = structs.replace(self.world.group(size), packing=self._packing)
        self._answers = self.world.answers(size)
        self._singles = [self.world.single(*each) for each in zip(group.load.items, self._answers, strict=True)]
        self.spent.singly += sum(self._singles)
        return group

    def _alone(self, place: int) -> int:
        """A single call, and its price."""
        self.spent.paid += self._singles[place]
        return self._singles[place]

    def _call(self, pack: Pack, places: Sequence[int], how: packed.How | None) -> None:
        if how == "filtered":
            self.packer.dropped(pack)
            self._halve(pack, places, self.world.dice.choice(places))
            return
        load = pack.group.load
        items = load.items[pack.start : pack.start + pack.size]
        said = self.world.together(items, [self._answers[place] for place in places], how)
        self.spent.paid += self.world.price(said.usage)
        self.packer.unpacked(pack, Outcome(usage=said.usage, said=said.said, answers=said.answers), 0.0)
        for place, answer in zip(places, said.answers, strict=True):
            if isinstance(answer, Missing):
                self._alone(place)
        if pack.sample is not None:
            self._compare(pack, places[pack.sample], said.answers)

    def _halve(self, pack: Pack, places: Sequence[int], bad: int) -> None:
        """A call was refused, unbilled, for the content of one item."""
        for half in bisect(len(places)):
            chosen = [places[at] for at in half]
            smaller = shrunk(pack, half, "half of a packed call that was refused")
            if len(chosen) == 1:
                self._alone(chosen[0])
            elif bad in chosen:
                self._halve(smaller, chosen, bad)
            else:
                self._call(smaller, chosen, None)

    def _compare(self, pack: Pack, place: int, answers: Sequence[str | Missing]) -> None:
        if isinstance(answers[pack.sample or 0], Missing):
            self.packer.sampled(pack, answers, None, None, 0.0)
        else:
            self.packer.sampled(pack, answers, self._answers[place], self._alone(place), 0.0)


class Books(Struct, kw_only=True):
    """The workloads of one way of packing."""

    name: str
    spent: list[Spent]
    manners: list[str]
    """Of the models, in the order of the workloads."""

    @property
    def ratios(self) -> list[float]:
        """What was paid beside single calls, by workload."""
        return [each.paid / each.singly for each in self.spent]

    @property
    def beside_unpacked(self) -> list[float]:
        """What was paid beside the same gateway without packing, by workload."""
        return [each.paid / each.unpacked for each in self.spent if each.unpacked]

    @property
    def packed(self) -> int:
        """Workloads with any pack."""
        return sum(each.packs > 0 for each in self.spent)


class Way(Struct, frozen=True, kw_only=True):
    """A way of packing: whether the packer is asked, and what it may risk."""

    packing: Packing = "auto"
    stake: int = 0
    risk: float = 0.0


WAYS = {
    "naive: all that comes together": Way(packing="always"),
    "auto": Way(),
    f"auto, profile saver (risk {RISK:.1%})": Way(risk=RISK),
    "auto, stake 0.01 USD": Way(stake=PICODOLLARS // 100),
}


def spend(workloads: int) -> dict[str, Books]:
    """The same worlds for each way of packing."""
    return {name: _keep_books(name, way, workloads) for name, way in WAYS.items()}


def _keep_books(name: str, way: Way, workloads: int) -> Books:
    books = Books(name=name, spent=[], manners=[])
    for seed in range(workloads):
        world = World(Dice(seed))
        packer = Packer(Dice(seed + 1_000_000), bank=Bank(stake=way.stake, risk=way.risk))
        desk = Desk(packer, world, way.packing)
        for size in world.sizes():
            desk.serve(size)
        books.spent.append(desk.spent)
        books.manners.append(world.manner)
    return books


HEAD = (
    "| packing | packed in | dearer than single calls in | worst | dearer than without packing in | worst | median |"
    " all | saved USD |"
)


def render_money(ways: Sequence[Books]) -> str:
    """A row for each way."""
    workloads = len(ways[0].spent)
    lines = [
        f"## Packing: the bill of {workloads:,} random workloads",
        "",
        "Models and prices of the catalogue; prefixes, lengths, crowds and ways of failing vary, and in half of the",
        "workloads up to 40 % of the requests come again and are answered from the cache. Fallbacks and samples are",
        "paid for. Beside single calls (1.000); `without packing` is the same gateway, cache included.",
        "",
        HEAD,
        f"|{'---|' * 9}",
        *map(_row, ways),
        "",
        f"Without packing, cache included, all money beside single calls: {_unpacked(ways[0].spent):.3f}.",
        "",
        *[f"- {books.name}: dearer with models that are {_failures(books)}" for books in ways],
        "",
        f"Bound of `auto` at every moment: {HOUSE:.0%} of what other ways have saved, and what the owner allows.",
    ]
    return "\n".join(lines)


def _unpacked(spent: Sequence[Spent]) -> float:
    return sum(each.unpacked for each in spent) / sum(each.singly for each in spent)


def _row(books: Books) -> str:
    beside = books.beside_unpacked
    saved = sum(each.singly - each.paid for each in books.spent)
    cells = (
        f"{books.packed:,}",
        f"{_dearer(books.ratios):,}",
        f"{max(books.ratios):.3f}",
        f"{_dearer(beside):,}",
        f"{max(beside):.3f}",
        f"{median(books.ratios):.3f}",
        f"{sum(each.paid for each in books.spent) / sum(each.singly for each in books.spent):.3f}",
        f"{saved / PICODOLLARS:.2f}",
    )
    return f"| {books.name} | {' | '.join(cells)} |"


def _dearer(ratios: Sequence[float]) -> int:
    return sum(ratio > 1 for ratio in ratios)


def _failures(books: Books) -> str:
    dearer = [each.paid > each.singly for each in books.spent]
    manners = Counter(manner for manner, is_dearer in zip(books.manners, dearer, strict=True) if is_dearer)
    return ", ".join(f"{manner} {count}" for manner, count in manners.most_common()) or "nothing: in none"


def exchange(most: int, *, seeds: int = 200) -> list[int]:
    """A model that exchanges two answers of every pack under valid ids: packs made until packing is off, sorted; at
    most `most` + 1."""
    needed: list[int] = []
    for seed in range(seeds):
        world = World(Dice(seed), manner="exchanging")
        world.provider, world.model = "openai", "gpt-4o-mini"
        world.shared, world.item, world.answer, world.cached, world.repeated = 1_000, 30, 10, 0.0, 0.0
        packer = Packer(Dice(seed), bank=Bank(stake=PICODOLLARS))
        desk = Desk(packer, world)
        key = world.group(1).guarded
        while packer.guard.cap(key, 0.0) > 1 and desk.spent.packs <= most:
            desk.serve(world.dice.randint(2, 12))
        needed.append(desk.spent.packs)
    return sorted(needed)


def render_exchange(needed: Sequence[int]) -> str:
    """In words."""
    return (
        f"A model that exchanges answers under valid ids: packing is off after {median(needed):.0f} packs "
        f"(median of {len(needed)} seeds; worst {needed[-1]})."
    )
