"""The catalogue: what models cost by lane, how much they take, and which provider knows a name.

It knows no price by itself: `assemble` gives it a `find` function. What is not known is None, never zero.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec import Struct, field

Key = TypeVar("Key")
Value = TypeVar("Value")

LONGEST_NAME = 256
"""Characters. Names come from callers: a longer one is no model's and is not worth remembering."""


class Rates(Struct, frozen=True, kw_only=True):
    """Picodollars per text token. One US dollar per million tokens is 1,000,000 picodollars per token."""

    input: int
    output: int
    """Reasoning included: every provider bills it as output."""
    cached: int
    """Input tokens read from the provider's prefix cache; equal to `input` where no discount is known."""
    cache_written: int
    """Input tokens written to it; equal to `input` where writing has no price of its own."""
    cache_written_hour: int | None = None
    """Those of them that it keeps for an hour; None: the same as `cache_written`."""


class Step(Struct, frozen=True, kw_only=True):
    """From `from_tokens` input tokens on, `rates` hold for the whole request (not only for the tokens above)."""

    from_tokens: int
    rates: Rates


class Model(Struct, frozen=True, kw_only=True):
    """What is known of one model at one provider."""

    provider: str
    id: str
    """The catalogue's name of it; callers may use others (dated, `-latest`)."""
    window: int | None = None
    """Tokens, as the provider states its context: at most of them prompt and answer share it."""
    max_output: int | None = None
    """Tokens of one answer, reasoning included."""
    prices: dict[str, tuple[Step, ...]] = {}
    """By lane, and by the name of a service tier with a price of its own (`priority`, `fast`): steps in rising order,
    the first from 0. A lane that is absent has no known price."""
    abilities: tuple[str, ...] | None = None
    """Of `ABILITIES`, sorted; None: not known."""
    tier: int | None = None
    """How good it is among those that may be chosen (`core.model_choice`): 1 small, 2 middling, 3 the best of its
    maker. None: it is never chosen, only named."""

    def rates(self, lane: str, input_tokens: int) -> Rates | None:
        """The rates for a request of this length, or None where the lane's price is not known."""
        found = None
        for step in self.prices.get(lane, ()):
            if input_tokens < step.from_tokens:
                break
            found = step.rates
        return found


ABILITIES = ("embeddings", "reasoning", "sampling")
"""What a model may be said to do: make embeddings, think before it answers, take `temperature` and `top_p`."""

Find = Callable[[str, str], Model | None]
"""(provider, model name as given) -> what is known of it. It must give equal answers to equal questions."""


class _Said(Struct, eq=False):
    """What one `find` has said. It is replaced as a whole, so that whoever is looking something up then leaves nothing
    of yesterday's among today's."""

    find: Find
    models: dict[tuple[str, str], Model | None] = field(default_factory=dict)
    makers: dict[tuple[str, tuple[str, ...]], str | None] = field(default_factory=dict)


class Catalog:
    """Remembers what `find` said: a known model costs one dict lookup. Threads may share it: what lands is priced where
    it is written."""

    def __init__(self, find: Find, *, remembered: int = 4096) -> None:
        """`remembered` bounds the names kept, known or not; beyond it all are forgotten."""
        self._said = _Said(find)
        self._remembered = remembered

    @classmethod
    def of(cls, models: Iterable[Model]) -> "Catalog":
        """A catalogue of these models, each known by its id alone."""
        table = {(model.provider, model.id): model for model in models}
        return cls(lambda provider, name: table.get((provider, name)))

    def renew(self, find: Find) -> None:
        """From here on ask `find`: announced price changes come into force with a new day's."""
        self._said = _Said(find)

    def model(self, provider: str, name: str) -> Model | None:
        """The model of this name at this provider, or None if it is not known."""
        try:
            return self._said.models[provider, name]
        except KeyError:
            return self._look_up(provider, name)

    def rates(self, provider: str, name: str, lane: str, input_tokens: int) -> Rates | None:
        """The rates of a lane for a request of this length; None: unknown."""
        model = self.model(provider, name)
        return None if model is None else model.rates(lane, input_tokens)

    def provider_of(self, name: str, candidates: tuple[str, ...]) -> str | None:
        """The first of the candidates that knows this name; their order is the caller's preference."""
        try:
            return self._said.makers[name, candidates]
        except KeyError:
            return self._look_for(name, candidates)

    def _look_for(self, name: str, candidates: tuple[str, ...]) -> str | None:
        """The names that no catalogue knows, of models that somebody runs, are those that are looked for everywhere."""
        said = self._said
        found = next((provider for provider in candidates if self.model(provider, name) is not None), None)
        if len(name) <= LONGEST_NAME:
            self._remember(said.makers, (name, candidates), found)
        return found

    def _look_up(self, provider: str, name: str) -> Model | None:
        if len(name) > LONGEST_NAME:
            return None
        said = self._said
        found = said.find(provider, name)
        self._remember(said.models, (provider, name), found)
        return found

    def _remember(self, kept: dict[Key, Value], key: Key, value: Value) -> None:
        if len(kept) >= self._remembered:
            # All at once: to look for the oldest, another thread would have to stand still.
            kept.clear()
        kept[key] = value
