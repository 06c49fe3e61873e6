"""Tuning: tries policies on the same requests, and finds the cheapest that keeps waiting within a goal.

An axis is one field of a policy and the values to try for it. All combinations are a grid; where there are more than
may be tried, a seeded choice of them is. The first candidate is always the policy that one began with.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import Any

from msgspec import Struct, structs

from batchway.core.errors import SettingsError
from batchway.simulate.luck import Luck
from batchway.simulate.outcome import Outcome
from batchway.simulate.policies import Setup, changed

Axes = Mapping[str, Sequence[object]]
"""By the name of a field, such as `pack.max_wait` or `requests.packing`: the values to try."""

AXES: Axes = MappingProxyType(
    {
        "pack.max_wait": (0.0, 0.05, 0.2, 1.0),
        "pack.max_size": (3, 6, 12),
        "pack.max_tokens": (4_000, 8_000, 16_000),
        "pack_risk": (0.0, 0.005, 0.02),
        "job.max_wait": (60.0, 300.0, 1_800.0),
        "job.max_size": (100, 1_000),
        "cache_ttl": (300.0, 3_600.0),
    }
)
"""What is tried unless something else is said: windows, sizes, tokens and thresholds."""

LENIENCE = 0.001
"""Share of the requests that a candidate may refuse more than the one that refuses least."""


class Goal(Struct, frozen=True, kw_only=True):
    """The cheapest policy within this."""

    p95: float
    """Seconds within which 95 of 100 requests are answered, but for those whose caller said that a batch is soon
    enough."""


class Candidate(Struct, frozen=True, kw_only=True):
    """A policy that is tried, and what it is of the axes."""

    setup: Setup
    values: Mapping[str, object]


class Tried(Struct, frozen=True, kw_only=True):
    """A candidate and what came of it."""

    candidate: Candidate
    outcome: Outcome

    @property
    def p95(self) -> float:
        """Seconds."""
        return self.outcome.waited.quantile(0.95)

    @property
    def refused(self) -> int:
        """Requests."""
        return sum(self.outcome.refused.values())


def read_axis(said: str) -> tuple[str, tuple[object, ...]]:
    """An axis as it is said: `pack.max_wait=0.05,0.2`. Raises SettingsError."""
    name, equals, values = said.partition("=")
    if not equals or not name or not values:
        raise SettingsError(f"--over {said}: allowed is a field and its values, such as pack.max_wait=0.05,0.2,1.")
    return name.strip(), tuple([_value(value.strip()) for value in values.split(",")])


def _value(text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)


def candidates(base: Setup, axes: Axes, most: int, seed: int) -> list[Candidate]:
    """The policies to try, at most so many. Raises SettingsError for a field or a value that cannot be."""
    if most < 2:
        raise SettingsError(f"--trials {most}: allowed are 2 or more.")
    found = [Candidate(setup=structs.replace(base, name="begun with"), values={})]
    known = {_key(base)}
    for values in _combinations(axes, most, seed):
        setup = base
        for name, value in values.items():
            setup = changed(setup, name, value, where="--over")
        if _key(setup) not in known and len(found) < most:
            known.add(_key(setup))
            found.append(Candidate(setup=structs.replace(setup, name=f"tried {len(found)}"), values=values))
    return found


def _key(setup: Setup) -> str:
    return repr((setup.policy, setup.requests))


def _combinations(axes: Axes, most: int, seed: int) -> Iterator[dict[str, Any]]:
    """All of them, or a seeded choice without repetition where there are more than may be tried."""
    names, choices = list(axes), [list(values) for values in axes.values()]
    number = prod(map(len, choices))
    for place in range(number) if number <= most else _chosen(number, most, seed):
        values, rest = {}, place
        for name, choice in zip(names, choices, strict=True):
            rest, at = divmod(rest, len(choice))
            values[name] = choice[at]
        yield values


def _chosen(number: int, most: int, seed: int) -> list[int]:
    luck, chosen, drawn = Luck(seed), dict[int, None](), 0
    while len(chosen) < most:
        drawn += 1
        chosen[int(luck.draw("tune", drawn) * number)] = None
    return list(chosen)


def best(tried: Sequence[Tried], goal: Goal) -> Tried | None:
    """The cheapest within the goal, of equals the quickest; None: none is within it.

    What refuses requests is not cheap: only those count that refuse hardly more than the one that refuses least.
    """
    least = min([each.refused for each in tried])
    bound = least + LENIENCE * max([each.outcome.requests for each in tried])
    within = [each for each in tried if each.p95 <= goal.p95 and each.refused <= bound]
    return min(within, key=lambda each: (each.outcome.paid, each.p95), default=None)


def front(tried: Sequence[Tried]) -> list[Tried]:
    """The trade-off curve: those that no other beats in both cost and waiting, the quickest first."""
    kept: list[Tried] = []
    for each in sorted(tried, key=lambda each: (each.p95, each.outcome.paid)):
        if not kept or each.outcome.paid < kept[-1].outcome.paid:
            kept.append(each)
    return kept
