"""Prefix caches: which share of their input single calls of a model were billed as read from its provider's cache."""

from collections import OrderedDict

from batchway.core.types import Usage

MEMORY = 0.9
"""What each bill leaves of the weight of the earlier ones: the last ten decide."""


class Prefixes:
    """The shares of up to `remembered` models; the one longest without a bill is forgotten first."""

    def __init__(self, *, remembered: int = 1000) -> None:
        self._remembered = remembered
        self._shares: OrderedDict[tuple[str, str], float] = OrderedDict()

    def learn(self, provider: str, model: str, usage: Usage) -> None:
        """Take in the bill of a single call."""
        if usage.input <= 0:
            return
        share = min(1.0, usage.cached / usage.input)
        model_of = provider, model
        if not share and model_of not in self._shares:
            return  # Nothing is what is taken for granted.
        before = self._shares.pop(model_of, share)
        self._shares[model_of] = before * MEMORY + share * (1 - MEMORY)
        if len(self._shares) > self._remembered:
            self._shares.popitem(last=False)

    def share(self, provider: str, model: str) -> float:
        """From 0 to 1; 0 where nothing is known."""
        return self._shares.get((provider, model), 0.0)
