"""Which model answers a request: the cheapest of those that are good enough for its task and hold its tokens."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from batchway.core.analysis import LEVELS, Analysis
from batchway.core.catalog import Catalog
from batchway.core.errors import BadRequest
from batchway.core.task_words import Task
from batchway.core.types import Prompt


class ModelOption(Struct, frozen=True, kw_only=True):
    """A model that may be chosen. Prices are picodollars per token (see `core.catalog.Rates`), None where unknown."""

    name: str
    provider: str
    tier: int
    """How good it is: 1 small, 2 middling, 3 the best."""
    input_price: int | None = None
    output_price: int | None = None
    window: int | None = None
    """Tokens that prompt and answer share; None: not known, taken to be enough."""
    sampling: bool = False
    """It is known to take `temperature` and `top_p`."""


_NEEDED: Mapping[Task, tuple[int, int, int]] = {
    # The tier that is enough at low, medium and high complexity.
    "chat": (1, 1, 2),
    "question": (1, 2, 3),
    "summarise": (1, 1, 2),
    "extract": (1, 1, 2),
    "classify": (1, 1, 2),
    "translate": (1, 2, 2),
    "rewrite": (1, 1, 2),
    "code": (2, 2, 3),
    "reason": (2, 3, 3),
    "write": (1, 2, 3),
    "data": (1, 1, 2),
}


_UNSEEN: Mapping[str, str] = {
    "audio": "whether a model hears is not known here",
    "images": "whether a model sees is not known here",
}
"""Features of a prompt for which no model can be chosen, and why."""


def choose_model(
    prompt: Prompt, analysis: Analysis, names: Iterable[tuple[str, str]], catalog: Catalog
) -> tuple[ModelOption, str]:
    """The model that answers this prompt, of the (provider, model) that may be chosen, and why.

    A prompt that sets `temperature` or `top_p` gets a model that is known to take them. Raises BadRequest where none
    can be chosen.
    """
    for feature in prompt.features:
        if feature in _UNSEEN:
            why = f"'auto' chooses no model for a request with {feature}: {_UNSEEN[feature]}; name one."
            raise BadRequest(f"model: {why}", param="model")
    options = model_options(names, catalog, analysis.input_tokens)
    sampled = prompt.temperature is not None or prompt.top_p is not None
    taking = [option for option in options if option.sampling] if sampled else options
    if options and not taking:
        field = "top_p" if prompt.temperature is None else "temperature"
        raise BadRequest(
            f"{field}: none of the models to choose from is known to take it; leave it out, or name a model.",
            param=field,
        )
    return select_model(analysis, taking)


def model_options(names: Iterable[tuple[str, str]], catalog: Catalog, input_tokens: int) -> list[ModelOption]:
    """Those of the (provider, model) that the catalogue gives a tier, at the direct prices for so many tokens."""
    found = []
    for provider, name in names:
        model = catalog.model(provider, name)
        if model is None or model.tier is None:
            continue
        rates = model.rates("direct", input_tokens)
        option = ModelOption(
            name=name,
            provider=provider,
            tier=model.tier,
            input_price=rates.input if rates else None,
            output_price=rates.output if rates else None,
            window=model.window,
            sampling="sampling" in (model.abilities or ()),
        )
        found.append(option)
    return found


def select_model(analysis: Analysis, options: Sequence[ModelOption]) -> tuple[ModelOption, str]:
    """The cheapest model that is good enough and large enough, and why; if none is good enough, the best there is.

    A model of unknown price is taken only where no other will do. Equal costs go to the lesser tier, then to the
    earlier option. Raises BadRequest where no window is large enough, or there are no options.
    """
    total = analysis.input_tokens + analysis.output_tokens
    fitting = [option for option in options if option.window is None or total <= option.window]
    if not fitting:
        what = f"none of {len(options)} models has a window of {total} tokens" if options else "there are no models"
        raise BadRequest(f"model: {what} to choose from; name one.", param="model")
    needed = _NEEDED[analysis.task][LEVELS.index(analysis.complexity)]
    enough = [option for option in fitting if option.tier >= needed]
    best = max(option.tier for option in fitting)
    chosen = min(
        enough or [option for option in fitting if option.tier == best], key=lambda each: _order(each, analysis)
    )
    wanted = f"{analysis.task} of {analysis.complexity} complexity needs tier {needed}"
    if not enough:
        return chosen, f"{wanted}; none is so good, {chosen.name} is of the best tier, {best}"
    price = "its price is unknown" if _cost(chosen, analysis) is None else "the cheapest of them"
    return chosen, f"{wanted}, which {len(enough)} of {len(options)} models have; {chosen.name} is taken: {price}"


def _cost(option: ModelOption, analysis: Analysis) -> int | None:
    """Picodollars for one answer, None where a price is unknown."""
    if option.input_price is None or option.output_price is None:
        return None
    return analysis.input_tokens * option.input_price + analysis.output_tokens * option.output_price


def _order(option: ModelOption, analysis: Analysis) -> tuple[bool, int, int]:
    cost = _cost(option, analysis)
    return cost is None, cost or 0, option.tier
