"""Random workloads, made from a seed: a model of the catalogue at its prices, its way of failing at packed prompts, and
requests that come in groups. What the model says to a packed prompt is said by the sandbox and read by the parser."""

import random
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from types import MappingProxyType

from genai_prices.data import providers
from msgspec import Struct

from batchway.core import cost
from batchway.core.catalog import Catalog, Rates
from batchway.core.packer import Group
from batchway.core.packing import FORMATS, Missing
from batchway.core.packing_worth import Load, alone
from batchway.core.types import Usage
from batchway.data.prices import finder
from batchway.sandbox import packed

Dice = random.Random

DAY = date(2026, 11, 1)
"""Whose prices are in force."""

HOUSES = {"anthropic": "anthropic", "google": "gemini", "groq": "groq", "mistral": "mistral", "openai": "openai"}
"""genai-prices' names of the providers whose models are used, and ours."""

OTHERWISE = ("audio", "guard", "image", "realtime", "robotics", "transcribe", "tts")
"""In names of models that are not for chats."""

CHARACTERS = 4
"""Of a token of an answer."""

MODELS = MappingProxyType({"steady": 25, "careless": 40, "bad": 15, "hopeless": 15, "exchanging": 5})
"""How many of a hundred models fail in which manner: hardly; now and then, as is seen in the wild (one item of ten
missing, a neighbour merged); at 20 to 90 % of the packs; at all of them; by exchanging answers under valid ids."""

TRACED: tuple[packed.How, ...] = tuple([how for how in packed.WAYS if how not in packed.UNSEEN])


@cache
def catalogue() -> tuple[Catalog, tuple[tuple[str, str], ...]]:
    """The catalogue, and the models in it that have a price and may be packed: (provider, name)."""
    catalog = Catalog(finder(DAY))
    names = [(HOUSES[each.id], model.id) for each in providers if each.id in HOUSES for model in each.models]
    return catalog, tuple([name for name in names if _usable(catalog, *name)])


def _usable(catalog: Catalog, provider: str, name: str) -> bool:
    model = catalog.model(provider, name)
    rates = catalog.rates(provider, name, "direct", 1)
    if model is None or rates is None or any(word in name for word in OTHERWISE):
        return False
    return rates.output > 0 and "reasoning" not in (model.abilities or ())


class Said(Struct, frozen=True):
    """What came of a packed call: its price, the answers that can be used, and the characters that were said."""

    usage: Usage
    answers: Sequence[str | Missing]
    said: int


class World:
    """One workload."""

    def __init__(
        self, dice: Dice, *, manner: str | None = None, ways: Mapping[packed.How, float] | None = None
    ) -> None:
        self.dice = dice
        self.catalog, names = catalogue()
        self.provider, self.model = dice.choice(names)
        self.manner = manner or dice.choices(list(MODELS), list(MODELS.values()))[0]
        self.ways = dict(ways) if ways is not None else _ways(self.manner, dice)
        self.shared = int(10 ** dice.uniform(1.3, 3.9))
        self.item = int(10 ** dice.uniform(0.8, 2.6))
        self.answer = int(10 ** dice.uniform(0.3, 2.1))
        self.forecast = dice.uniform(0.7, 1.4)
        self.verbosity = dice.uniform(0.9, 1.2)
        self.cached = dice.uniform(0, 0.98) if self.shared >= 1024 else 0.0
        self.repeated = dice.choice((0.0, dice.uniform(0, 0.4)))
        self.crowd = dice.choice((1.5, 3, 6, 12))
        self.groups = int(10 ** dice.uniform(0, 2.4))
        self._asked = 0

    def sizes(self) -> list[int]:
        """How many requests come together, each time."""
        return [1 + int(self.dice.expovariate(1 / self.crowd)) for _ in range(self.groups)]

    def repeats(self, count: int) -> int:
        """How many of so many were asked before, and are answered from the cache."""
        return sum(self.dice.random() < self.repeated for _ in range(count))

    def group(self, size: int) -> Group:
        """Requests as the gateway sees them: their answers are only expected."""
        items = tuple([max(1, int(self.item * self.dice.uniform(0.5, 1.5))) for _ in range(size)])
        return Group(
            payer="t",
            provider=self.provider,
            model=self.model,
            packing="auto",
            format="xml",
            load=Load(shared=self.shared, items=items, answers=(max(1, int(self.answer * self.forecast)),) * size),
            rates=self._rates(self.shared + sum(items)),
            cached=self.cached,
            room=8_000,
            repeatable=True,
        )

    def _rates(self, length: int) -> Rates:
        rates = self.catalog.rates(self.provider, self.model, "direct", length)
        assert rates is not None, "the models have prices"
        return rates

    def answers(self, size: int) -> list[str]:
        """What the model says to each request when asked singly: no two say the same."""
        return [self._say() for _ in range(size)]

    def _say(self) -> str:
        self._asked += 1
        tokens = max(1, int(self.answer * self.dice.uniform(0.5, 1.5)))
        return f"{self._asked:x} ".ljust(tokens * CHARACTERS, "x")

    def single(self, item: int, answer: str) -> int:
        """The true price of a single call."""
        return alone(self.shared, item, tokens(answer), self._rates(self.shared + item), self.cached)

    def price(self, usage: Usage) -> int:
        """The true price of a packed call."""
        return cost.cost(usage, self._rates(usage.input))

    def way(self) -> packed.How | None:
        """How this pack goes wrong, if it does."""
        draw = self.dice.random()
        for how, share in self.ways.items():
            draw -= share
            if draw < 0:
                return how
        return None

    def together(self, items: Sequence[int], answers: Sequence[str], how: packed.How | None) -> Said:
        """A packed call that goes wrong this way."""
        form = FORMATS["xml"]
        nonces = [f"{self.dice.getrandbits(66):020d}" for _ in items]
        told = [
            packed.Item(nonce, answer.ljust(int(len(answer) * self.verbosity), "x"))
            for nonce, answer in zip(nonces, answers, strict=True)
        ]
        text, cut = packed.say("xml", told), False
        if self.manner == "hopeless":
            text = "\n".join([answer.text for answer in told])
        elif how is not None:
            text, cut = packed.misbehave(how, "xml", told, str(self.dice.random()))
        read = round(self.shared * self.cached)
        # What is not read from the provider's cache is written to it, where that has a price.
        plain = self.shared - read + sum(items) + form.overhead + form.per_item * len(items)
        output = sum(tokens(answer.text) for answer in told) if not cut else len(text) // CHARACTERS
        if how in ("doubled", "echoed"):
            output += tokens(told[0].text)
        usage = Usage(
            input=plain + read, cached=read, cache_written=plain, output=output + form.per_answer * len(items)
        )
        return Said(usage=usage, answers=form.split(text, nonces, cut=cut), said=max(1, len(text)))


def _ways(manner: str, dice: Dice) -> dict[packed.How, float]:
    """The share of packs that go wrong in each way."""
    if manner == "exchanging":
        return {"swapped": 1.0}
    if manner == "hopeless":
        return {}
    share = {"steady": dice.uniform(0, 0.01), "careless": dice.betavariate(1, 9), "bad": dice.uniform(0.2, 0.9)}[manner]
    ways = dice.sample(TRACED, dice.randint(1, 3))
    return {how: share / len(ways) for how in ways}


def tokens(answer: str) -> int:
    """Output tokens of an answer."""
    return -(-len(answer) // CHARACTERS)
