"""What calls cost: exact integer arithmetic in picodollars. None means that the price is not known."""

from collections.abc import Sequence

from batchway.core.catalog import Catalog, Rates
from batchway.core.types import Lane, Request, Usage

STANDARD_TIERS = frozenset({"default", "standard", "standard_only", "on_demand"})
"""The tier that a request gets without asking, as providers call it (OpenAI, xAI; Gemini; Anthropic; Groq)."""


MOST_TOKENS = 10**9
"""Of one answer, of each kind: a thousand times what any model takes. What is more is a defect of whoever counted, and
no ledger could hold what it would cost."""


def credible(usage: Usage) -> Usage | None:
    """The usage as a provider told it; None, as if it had told none, where a count cannot be."""
    counts = usage.input, usage.output, usage.cached, usage.cache_written, usage.cache_written_hour, usage.reasoning
    return usage if min(counts) >= 0 and max(counts) <= MOST_TOKENS else None


def cost(usage: Usage, rates: Rates) -> int:
    """What this usage costs at these rates."""
    plain = max(0, usage.input - usage.cached - usage.cache_written)
    paid = (
        plain * rates.input
        + usage.cached * rates.cached
        + usage.cache_written * rates.cache_written
        + usage.output * rates.output
    )
    if usage.cache_written_hour and rates.cache_written_hour is not None:
        paid += usage.cache_written_hour * (rates.cache_written_hour - rates.cache_written)
    return paid


def expected_cost(input_tokens: int, output_tokens: int, rates: Rates, *, cached: int = 0) -> int:
    """What a call of this size will cost if `cached` of its input tokens come from the provider's cache."""
    return cost(Usage(input=input_tokens, output=output_tokens, cached=cached), rates)


def price_list(lane: Lane, tier: str | None) -> str:
    """Which of a model's prices bills a call: the tier that the provider says it used, else the lane it was sent by.

    A flex request answered at `default` is billed directly. A tier with a premium (`priority`) is a price list of its
    own. A batch is a batch, whatever tier its answers name.
    """
    if lane == "batch" or tier is None or tier == "auto":
        return lane
    return "direct" if tier in STANDARD_TIERS else tier


def charged(
    usage: Usage | None, request: Request, lane: Lane, catalog: Catalog, *, length: int | None = None
) -> int | None:
    """What the provider charges for a call that was sent by this lane and answered with this usage.

    `length`: input tokens of the whole call, where this is a part of it: prices may rise with them.
    """
    return None if usage is None else _priced(usage, request, price_list(lane, usage.tier), catalog, length)


def counterfactual(usage: Usage | None, request: Request, catalog: Catalog) -> int | None:
    """What the same request would have cost sent alone and directly, at the prices in force.

    A tier with a premium stays: its owner asked for it, and it is no loss of ours.
    """
    if usage is None:
        return None
    billed = price_list("direct", usage.tier)
    return _priced(usage, request, "direct" if billed in ("flex", "batch") else billed, catalog)


def split(total: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Shares of `total` in proportion to the weights, by largest remainder: they add up to it exactly.

    Equal remainders go to the earlier share; weights that are all zero share equally. Raises ValueError without
    weights or with a negative one.
    """
    if not weights or min(weights) < 0:
        raise ValueError(f"weights must be one or more numbers >= 0, not {list(weights)!r}")
    if not any(weights):
        weights = [1] * len(weights)
    whole = sum(weights)
    shares, remainders = zip(*(divmod(total * weight, whole) for weight in weights), strict=True)
    by_remainder = sorted(range(len(weights)), key=lambda place: (-remainders[place], place))
    rounded_up = set(by_remainder[: total - sum(shares)])
    return tuple(share + (place in rounded_up) for place, share in enumerate(shares))


def dollars(picodollars: int) -> str:
    """The exact amount in US dollars as a plain decimal: no exponent, no trailing zeros."""
    if picodollars == 0:
        return "0"
    # A picodollar is the twelfth place after the point.
    digits = f"{abs(picodollars):013d}"
    places = digits[-12:].rstrip("0")
    amount = f"{digits[:-12]}.{places}" if places else digits[:-12]
    return f"-{amount}" if picodollars < 0 else amount


def _priced(usage: Usage, request: Request, billed: str, catalog: Catalog, length: int | None = None) -> int | None:
    rates = catalog.rates(request.provider, request.prompt.model, billed, usage.input if length is None else length)
    return None if rates is None else cost(usage, rates)
