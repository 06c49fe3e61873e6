"""What a packed call costs beside the single calls that it replaces: the arithmetic of `packing=auto`.

    alone:     each item pays the shared beginning (some of it from the provider's cache), its text and its answer
    together:  the shared beginning once, the instructions, ids around each item and each answer
    saving:    alone - together - what is probably asked again - what the guard's samples cost

Where a price or a share is doubtful, single calls are reckoned cheap and the packed call dear.
"""

from collections.abc import Sequence

from msgspec import Struct

from batchway.core import cost
from batchway.core.catalog import Rates
from batchway.core.packing import Format
from batchway.core.types import Usage

LEAST_GAIN = 0.05
"""Share of the single calls' cost that must probably be saved: what it takes to pay for samples, and for a forecast
that is a little wrong."""


LONGER = 3
"""Times its expected length that an answer may take without a surprise to the bank."""


class Load(Struct, frozen=True, kw_only=True):
    """Requests that could share a call, in tokens."""

    shared: int
    """What comes before the last message, and the wrapping of the messages."""
    items: tuple[int, ...]
    """The text of each last message."""
    answers: tuple[int, ...]
    """Each answer, as expected."""


class Verdict(Struct, frozen=True, kw_only=True):
    """Whether a load is worth a packed call. Money in picodollars."""

    alone: int
    """What its single calls will probably cost."""
    together: int
    """What the packed call will probably cost."""
    at_risk: int
    """What it may cost, all of which is lost if none of its answers can be used."""
    saving: int
    """What will probably be left, after those that are asked again and the samples."""
    count: int
    """Items."""
    failing: float
    """Share of them that is probably asked again."""

    @property
    def packs(self) -> bool:
        """Whether it is cheaper by enough."""
        return self.saving > 0 and self.saving >= LEAST_GAIN * self.alone

    @property
    def why(self) -> str:
        """The same in words."""
        comparison = (
            f"{self.count} together cost {cost.dollars(self.together)} USD, singly {cost.dollars(self.alone)}, "
            f"and {self.failing:.0%} may be asked again"
        )
        return f"cheaper: {comparison}" if self.packs else f"not cheaper by enough: {comparison}"


def alone(shared: int, item: int, answer: int, rates: Rates, cached: float) -> int:
    """One single call. `cached`: the share of `shared` that single calls read from the provider's cache."""
    usage = Usage(input=shared + item, output=answer, cached=round(shared * cached))
    return cost.cost(usage, rates)


def together(load: Load, form: Format, rates: Rates, cached: float) -> int:
    """The packed call; what it does not read from the provider's cache it may have to write there."""
    count = len(load.items)
    read = round(load.shared * cached)
    plain = load.shared - read + sum(load.items) + form.overhead + form.per_item * count
    output = sum(load.answers) + form.per_answer * count
    return plain * max(rates.input, rates.cache_written) + read * rates.cached + output * rates.output


def weigh(load: Load, form: Format, rates: Rates, *, cached: float, failing: float, sampled: float) -> Verdict:
    """Compare. `failing`: the share of items that are probably asked again; `sampled`: the probability that one item
    is asked singly as well, to compare the answers. `rates` at the length of the packed call."""
    singles = [
        alone(load.shared, item, answer, rates, cached) for item, answer in zip(load.items, load.answers, strict=True)
    ]
    single, packed = sum(singles), together(load, form, rates, cached)
    at_risk = packed + (LONGER - 1) * sum(load.answers) * rates.output
    again = round(failing * single + sampled * single / max(1, len(singles)))
    return Verdict(
        alone=single,
        together=packed,
        at_risk=at_risk,
        saving=single - packed - again,
        count=len(singles),
        failing=failing,
    )


def shares(usage: Usage, inputs: Sequence[int], outputs: Sequence[int]) -> tuple[Usage, ...]:
    """The part of each item in a packed call's usage: in proportion to the weights, adding up to it exactly.

    Each kind of token is shared out by itself, so that no part has more of a kind than of the whole.
    """
    read = cost.split(usage.cached, inputs)
    hour = cost.split(usage.cache_written_hour, inputs)
    minutes = cost.split(max(0, usage.cache_written - usage.cache_written_hour), inputs)
    plain = cost.split(max(0, usage.input - usage.cached - usage.cache_written), inputs)
    reasoning = cost.split(usage.reasoning, outputs)
    said = cost.split(max(0, usage.output - usage.reasoning), outputs)
    return tuple(
        Usage(
            input=plain[at] + read[at] + minutes[at] + hour[at],
            output=said[at] + reasoning[at],
            cached=read[at],
            cache_written=minutes[at] + hour[at],
            cache_written_hour=hour[at],
            reasoning=reasoning[at],
            tier=usage.tier,
        )
        for at in range(len(inputs))
    )
