"""How hard the model shall think: `reasoning_effort` as Anthropic's effort or budget (providers.md §10.1)."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from batchway.core.errors import BadRequest
from batchway.providers.anthropic.reading import SHOWN


class Effort(Struct, frozen=True):
    """What a word of OpenAI's means: Anthropic's word, and the tokens that older models get for it."""

    level: str
    budget: int


EFFORTS: Mapping[str, Effort] = {
    "minimal": Effort("low", 1024),
    "low": Effort("low", 1024),
    "medium": Effort("medium", 2048),
    "high": Effort("high", 4096),
    "xhigh": Effort("xhigh", 8192),
    "max": Effort("max", 16384),
}
"""Budgets are litellm's, which callers who come from there are used to."""

LEAST_BUDGET = 1024
"""Tokens; Anthropic takes no smaller budget."""

BY_BUDGET = (
    "claude-2",
    "claude-3",
    "claude-haiku-4-5",
    "claude-opus-4-0",
    "claude-opus-4-1",
    "claude-opus-4-2025",
    "claude-opus-4-5",
    "claude-sonnet-4-0",
    "claude-sonnet-4-2025",
    "claude-sonnet-4-5",
)
"""Beginnings of the names of models that think by budget: adaptive thinking came with Claude 4.6, and Claude 5 takes
nothing else."""


def budget(effort: str | None) -> int:
    """Tokens to allow for thinking where the caller set no bound; 0 where none was asked for."""
    known = EFFORTS.get(effort or "none")
    return known.budget if known else 0


def think(effort: str, model: str, max_tokens: int) -> tuple[dict[str, Any], str | None]:
    """`thinking`, and the level of effort for models that know one."""
    if effort == "none":
        return {"type": "disabled"}, None
    if effort not in EFFORTS:
        allowed = ", ".join(("none", *EFFORTS))
        shown = effort[:SHOWN]
        raise BadRequest(f"reasoning_effort: '{shown}' is not one of {allowed}.", param="reasoning_effort")
    if not model.startswith(BY_BUDGET):
        return {"type": "adaptive"}, EFFORTS[effort].level
    if max_tokens <= LEAST_BUDGET:
        raise BadRequest(
            f"reasoning_effort: {max_tokens} output tokens leave {model} no room to think; "
            f"allow more than {LEAST_BUDGET}, or leave it out.",
            param="reasoning_effort",
        )
    return {"type": "enabled", "budget_tokens": min(EFFORTS[effort].budget, max_tokens - 1)}, None
