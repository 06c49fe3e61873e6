"""What each Batch API takes, as rows: endpoints, windows, limits (providers.md §2, §3.6, §4 to §9)."""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from batchway.sandbox.rules import NotNegative, Positive

MEGABYTE = 1024 * 1024
DAY = 86_400
HOUR = 3_600


class Offer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider's terms. The defaults are OpenAI's; None is no limit."""

    endpoints: tuple[str, ...] = ("/v1/chat/completions", "/v1/embeddings", "/v1/responses")
    windows: tuple[str, ...] = ("24h",)
    created_status: Annotated[int, Meta(ge=200, le=299)] = 200
    most_requests: Positive | None = 50_000
    most_bytes: Positive = 200 * MEGABYTE
    """Of an input file."""
    most_files: NotNegative | None = None
    """That a key may have stored."""
    creations_per_hour: Positive | None = 2_000
    enqueued_tokens: Positive | None = None
    """Prompt tokens in live batches, per key and model. What exceeds it fails in validation, after a clean create; at
    Gemini the create is refused."""
    live_batches: Positive | None = None
    """That a key may have under way."""
    live_requests: Positive | None = None
    """That a key may have in batches under way."""
    one_model: bool = True
    unbatchable: tuple[str, ...] = ()
    """Models that take direct calls only. A file that names one fails in validation."""
    streams: Literal["strip", "refuse"] = "strip"
    """What is done with `stream` in a line. (OpenAI's own way is not known: providers.md §3.2.)"""
    readable_early: bool = False
    """Result files are named at creation and can be read while the batch runs (providers.md §9)."""
    fails_if_all_fail: bool = False


OPENAI: Final = Offer()

OFFERS: Final[Mapping[str, Offer]] = {
    "openai": OPENAI,
    "anthropic": Offer(
        endpoints=("/v1/messages",),
        most_requests=100_000,
        most_bytes=256 * MEGABYTE,
        creations_per_hour=None,
        one_model=False,
        streams="refuse",
    ),
    "gemini": Offer(
        endpoints=("generateContent", "embedContent"),
        most_requests=None,
        most_bytes=2_000 * MEGABYTE,
        creations_per_hour=None,
        live_batches=100,
    ),
    # Its window is when what is unfinished expires; it is not asked for (§6).
    "grok": Offer(
        endpoints=("/v1/chat/completions",),
        most_requests=None,
        most_bytes=48 * MEGABYTE,
        creations_per_hour=HOUR,
        one_model=False,
        unbatchable=("grok-4.5", "grok-4.6"),
    ),
    # Its window is `timeout_hours`, any number of them (§8).
    "mistral": Offer(
        endpoints=("/v1/chat/completions", "/v1/embeddings"),
        most_requests=1_000_000,
        most_bytes=512 * MEGABYTE,
        creations_per_hour=None,
    ),
    "deepinfra": Offer(endpoints=("/v1/chat/completions", "/v1/embeddings")),
    "groq": Offer(
        endpoints=("/v1/chat/completions",),
        windows=("24h", "48h", *(f"{days}d" for days in range(1, 8))),
        most_bytes=100 * MEGABYTE,
        one_model=False,
    ),
    "openrouter": Offer(created_status=202, most_requests=5_000, creations_per_hour=None),
    "doubleword": Offer(
        windows=("1h", "24h", "background"),
        created_status=201,
        most_bytes=100 * MEGABYTE,
        creations_per_hour=None,
        one_model=False,
        readable_early=True,
        fails_if_all_fail=True,
    ),
}
"""By provider; a name without a row offers what OpenAI does."""


def seconds(window: str) -> float:
    """How long a completion window is: `24h`, `7d`; any other word has no end (`background`)."""
    found = re.fullmatch(r"(\d+)([hd])", window)
    return math.inf if found is None else int(found[1]) * (HOUR if found[2] == "h" else DAY)
