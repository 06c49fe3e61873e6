"""Usage and endings as OpenAI tells them: tokens, tiers, finish reasons (providers.md §10.2)."""

from typing import Any

from msgspec import Struct, structs

FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Why an answer ended. All other reasons (`max_tokens`, `model_context_window_exceeded`, `pause_turn`, what is to come)
mean that it is not whole: `length`, so that it is not taken for one and kept."""

TIERS = {"standard": "default"}


class _Details(Struct):
    thinking_tokens: int = 0


class _Written(Struct):
    ephemeral_1h_input_tokens: int | None = None


class Usage(Struct, frozen=True, kw_only=True):
    """Tokens as Anthropic counts them: `input_tokens` are those that neither came from the cache nor went into it."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: _Written | None = None
    """How long what went into the cache is kept. The last event of a stream does not repeat it."""
    cache_read_input_tokens: int | None = None
    output_tokens_details: _Details | None = None
    service_tier: str | None = None
    speed: str | None = None


class StopDetails(Struct):
    """Why the model refused."""

    explanation: str | None = None


def later(before: Usage, now: Usage) -> Usage:
    """What is known after a further count: counts grow with the stream, they are no increments."""
    said = {name: value for name, value in structs.asdict(now).items() if value is not None}
    return structs.replace(before, **said)


def finish(reason: str | None) -> str:
    """The finish reason."""
    return FINISHES.get(reason or "", "length")


def tier(usage: Usage) -> dict[str, Any]:
    """`service_tier` of an answer, where it is known; the fast mode has a price of its own."""
    if usage.speed == "fast":
        return {"service_tier": "fast"}
    if usage.service_tier is None:
        return {}
    return {"service_tier": TIERS.get(usage.service_tier, usage.service_tier)}


def translate(usage: Usage) -> dict[str, Any]:
    """OpenAI's usage object: all that was read are prompt tokens."""
    cached, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    prompt, completion = (usage.input_tokens or 0) + cached + written, usage.output_tokens or 0
    details = usage.output_tokens_details
    hour = min(written, usage.cache_creation.ephemeral_1h_input_tokens or 0) if usage.cache_creation else 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": cached,
            "cache_write_tokens": written,
            **({"cache_write_1h_tokens": hour} if hour else {}),
        },
        "completion_tokens_details": {"reasoning_tokens": details.thinking_tokens if details else 0},
    }
