"""Which lane a request takes, and why: every lane is a candidate with a cost, a chance to be on time and a reason.

Rules: the cheapest lane with enough chance wins; `strategy` overrides; `high` is always direct, `low` is
batch if offered, else flex, else direct; `normal` follows the deadline, and without one is interactive.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf

from msgspec import Struct

from batchway.core.catalog import Catalog
from batchway.core.cost import expected_cost
from batchway.core.errors import BadRequest
from batchway.core.policy import Policy
from batchway.core.turnaround import Turnarounds
from batchway.core.types import Lane, Request

ENOUGH = 0.95
"""The chance to be on time that a lane needs before its price counts."""

ASSUMED_OUTPUT = 500
"""Output tokens assumed for a comparison of costs where the caller gave no bound. Both sides of it use the same."""


NOT_FOR_THIS_KEY = "the key may not use it"
UNPRICED = "no price of it is known for this model"


class Candidate(Struct, frozen=True, kw_only=True, gc=False):
    """One lane as seen for one request."""

    lane: Lane
    cost: int | None
    """Expected picodollars; None: no known price, or ruled out."""
    chance: float
    """Of an answer within the deadline, 0 to 1."""
    ruled_out: str | None = None
    """Why it cannot be taken, if it cannot."""


class Route(Struct, frozen=True, kw_only=True, gc=False):
    """The decision about one request."""

    lane: Lane
    why: str


class Outlook(Struct, frozen=True, kw_only=True, gc=False):
    """How long each lane may take, for one request now. Seconds."""

    left: float | None
    """Until its deadline; None: it has none."""
    turnarounds: Turnarounds
    window: float
    """That a job window may wait."""
    flex: float
    """That a flex call may take before it is given up."""


class Offers:
    """What one provider offers here: for each lane None, or the reason why it cannot be taken."""

    def __init__(
        self,
        *,
        direct: str | None = None,
        flex: str | None = "this gateway has no flex lane yet",
        batch: str | None = "this gateway has no batch lane yet",
        packing: str | None = None,
        max_in_flight: int | None = None,
    ) -> None:
        self.reasons: Mapping[Lane, str | None] = {"direct": direct, "flex": flex, "batch": batch}
        self.packing = packing
        self.max_in_flight = max_in_flight
        """Calls to it at a time, where it is not the policy's bound."""
        self.open: tuple[Lane, ...] = tuple(lane for lane, reason in self.reasons.items() if reason is None)
        self.closed = tuple(
            Candidate(lane=lane, cost=None, chance=0.0, ruled_out=reason)
            for lane, reason in self.reasons.items()
            if reason is not None
        )

    def without(self, lane: Lane, reason: str) -> "Offers":
        """The same with one lane less."""
        closed = {name: reason if name == lane else known for name, known in self.reasons.items()}
        return Offers(**closed, packing=self.packing, max_in_flight=self.max_in_flight)

    def within(self, lanes: tuple[Lane, ...]) -> "Offers":
        """What is left of it for a key that may use only these lanes."""
        closed = {lane: reason if lane in lanes else NOT_FOR_THIS_KEY for lane, reason in self.reasons.items()}
        return Offers(**closed, packing=self.packing, max_in_flight=self.max_in_flight)


def route(request: Request, offers: Offers, catalog: Catalog, outlook: Outlook) -> Route:
    """Choose the lane of one request. Raises BadRequest when the provider offers none at all."""
    if request.lanes is not None:
        offers = offers.within(request.lanes)
    if not offers.open:
        reasons = "; ".join(f"{lane}: {reason}" for lane, reason in offers.reasons.items())
        raise BadRequest(f"No lane to '{request.provider}' is open ({reasons}).", param="provider", code="no_lane")
    lane, why = _choose(request, offers, catalog) or _cheapest(candidates(request, offers, catalog, outlook))
    return Route(lane=lane, why=why)


def candidates(request: Request, offers: Offers, catalog: Catalog, outlook: Outlook) -> tuple[Candidate, ...]:
    """Every lane as seen for one request. They are weighed only where the choice depends on it."""
    return (*[_candidate(lane, request, catalog, outlook) for lane in offers.open], *offers.closed)


def _candidate(lane: Lane, request: Request, catalog: Catalog, outlook: Outlook) -> Candidate:
    chance = _CHANCES[lane](request, outlook)
    cost = _cost(lane, request, catalog)
    if lane == "batch" and cost is not None and request.on_deadline == "escalate" and outlook.left is not None:
        # What is not back in time is asked directly as well.
        cost += round((1 - chance) * (_cost("direct", request, catalog) or 0))
    return Candidate(lane=lane, cost=cost, chance=chance)


def _cost(lane: Lane, request: Request, catalog: Catalog) -> int | None:
    rates = catalog.rates(request.provider, request.prompt.model, lane, request.likely_tokens)
    output = 0 if request.endpoint == "embeddings" else request.prompt.max_output or ASSUMED_OUTPUT
    return expected_cost(request.likely_tokens, output * request.prompt.n, rates) if rates is not None else None


def direct_cost(request: Request, catalog: Catalog) -> int | None:
    """What it is expected to cost directly, in picodollars; None: unknown."""
    return _cost("direct", request, catalog)


def _batch_chance(request: Request, outlook: Outlook) -> float:
    if outlook.left is None:
        return 0.0
    return outlook.turnarounds.chance(request.provider, request.prompt.model, outlook.left - outlook.window)


_CHANCES: Mapping[Lane, Callable[[Request, Outlook], float]] = {
    "direct": lambda _request, _outlook: 1.0,
    # Another lane is tried after it, if it leaves the time.
    "flex": lambda _request, outlook: 1.0 if outlook.left is not None and outlook.left > outlook.flex else 0.0,
    "batch": _batch_chance,
}
"""For each lane the chance to be on time. A request without a deadline is interactive: only direct is quick enough."""


def _choose(request: Request, offers: Offers, catalog: Catalog) -> tuple[Lane, str] | None:
    """The lane that the rules name; None where the cheapest is wanted."""
    if request.strategy != "auto":
        return _override(request.strategy, offers)
    if request.priority == "high":
        return _first(("direct", "flex", "batch"), offers, "priority high goes direct")
    if request.priority == "low":
        return _low(request, offers, catalog)
    if len(offers.open) == 1:
        return offers.open[0], "the only lane open here"
    if request.deadline is None:
        return _first(("direct", "flex", "batch"), offers, "no deadline given: interactive")
    return None


def _low(request: Request, offers: Offers, catalog: Catalog) -> tuple[Lane, str]:
    """Flex is sold for some models only: where none of its prices is known it is most likely refused."""
    if "batch" not in offers.open and len(offers.open) > 1 and _cost("flex", request, catalog) is None:
        offers = offers.without("flex", offers.reasons["flex"] or UNPRICED)
    return _first(("batch", "flex", "direct"), offers, "priority low goes by batch, else flex, else direct")


def _override(strategy: Lane, offers: Offers) -> tuple[Lane, str]:
    if strategy in offers.open:
        return strategy, f"strategy {strategy} asked for"
    lane, _ = _first(("direct", "flex", "batch"), offers, "")
    return lane, f"strategy {strategy} asked for, but {offers.reasons[strategy]}"


def _first(order: tuple[Lane, ...], offers: Offers, why: str) -> tuple[Lane, str]:
    """The first lane of an order that is open, and why not those before it."""
    place = 0
    while order[place] not in offers.open:
        why += f"; not {order[place]}: {offers.reasons[order[place]]}"
        place += 1
    return order[place], why


def _cheapest(candidates: Sequence[Candidate]) -> tuple[Lane, str]:
    """The cheapest lane with enough chance; a lane without a known price is never taken for being cheap."""
    possible = [candidate for candidate in candidates if candidate.ruled_out is None]
    likely = [candidate for candidate in possible if candidate.chance >= ENOUGH]
    if not likely:
        best = max(possible, key=lambda candidate: candidate.chance)
        return best.lane, f"no lane is likely to be on time; {best.lane} has the best chance"
    best = min(likely, key=lambda candidate: inf if candidate.cost is None else candidate.cost)
    return best.lane, "the cheapest lane that is likely to be on time"


def prompt_budget(request: Request, catalog: Catalog, policy: Policy) -> int | None:
    """Input tokens that the request may have: what is configured, within what its model's window leaves beside the
    answer. None where neither is known."""
    model = catalog.model(request.provider, request.prompt.model)
    answer = request.prompt.max_output or ASSUMED_OUTPUT
    bounds = [policy.context_tokens] if policy.context_tokens is not None else []
    if model is not None and model.window is not None:
        bounds.append(model.window - answer)
    return max(1, min(bounds) - policy.meta_overhead_tokens) if bounds else None


def resolve_model(
    model: str,
    hinted: str | None,
    *,
    default: str,
    names: Mapping[str, str],
    providers: tuple[str, ...],
    catalog: Catalog,
) -> tuple[str, str]:
    """The provider and the model's name there.

    `names` maps every name of the configured `providers` (aliases included) to its own. In this order: the `provider`
    hint; a `provider/model` prefix of a configured provider; the provider that the catalogue knows to have the model,
    if it is not the default one; the default.
    """
    if hinted is not None:
        if hinted not in names:
            raise BadRequest(
                f"provider: '{hinted}' is not configured; configured: {', '.join(providers)}.",
                param="provider",
                code="unknown_provider",
            )
        provider = names[hinted]
        prefix, _, rest = model.partition("/")
        return provider, rest if rest and names.get(prefix) == provider and catalog.model(
            provider, model
        ) is None else model
    prefix, slash, rest = model.partition("/")
    if catalog.model(default, model) is not None:
        return default, model
    if slash and rest and prefix in names:
        return names[prefix], rest
    known = catalog.provider_of(model, providers)
    return known or default, model
