"""The policy: the rules of the windows and the bounds that the planner is told to keep.

Durations are seconds, sizes bytes. A bound that makes no sense is refused when the value is made, so that the
machines which use it need not ask again.
"""

from collections.abc import Mapping
from math import isfinite
from types import MappingProxyType
from typing import Literal

from msgspec import Struct

from batchway.core.errors import SettingsError

LatencyTolerance = Literal["low", "medium", "high"]
"""How long a request may be kept for company, as `core.analysis` reads it from the prompt (seeds/001)."""

MIB = 1 << 20


def _require_duration(name: str, value: float) -> None:
    if not (isfinite(value) and value >= 0):
        raise SettingsError(f"{name} is {value}; it must be a finite number of at least 0")


def _require_at_least(name: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise SettingsError(f"{name} is {value}; it must be at least {least}")


class WindowRule(Struct, frozen=True, kw_only=True):
    """When a window closes. None switches that trigger off."""

    max_wait: float
    """Seconds that a ticket of ordinary patience waits, from its own arrival. Finite: waiting work must end."""
    max_size: int
    """Tickets; the one that reaches it closes the window."""
    max_tokens: int | None = None
    """Input tokens of all tickets; one that would exceed it finds the window closed and opens the next."""
    max_bytes: int | None = None
    """Bytes of all bodies; as `max_tokens`. Jobs need it: providers bound the size of an uploaded file."""
    max_idle: float | None = None
    """Seconds without a new ticket."""
    adaptive: bool = False
    """Send at once what nobody is expected to join: for requests that somebody is waiting for."""

    def __post_init__(self) -> None:
        _require_duration("max_wait", self.max_wait)
        _require_at_least("max_size", self.max_size, 1)
        _require_at_least("max_tokens", self.max_tokens, 1)
        _require_at_least("max_bytes", self.max_bytes, 1)
        if self.max_idle is not None:
            _require_duration("max_idle", self.max_idle)


class Tolerance(Struct, frozen=True, kw_only=True):
    """Multipliers of a window's `max_wait`, by latency tolerance: who is in a hurry waits less (seeds/001)."""

    low: float = 0.25
    medium: float = 1.0
    high: float = 4.0

    def __post_init__(self) -> None:
        for level in ("low", "medium", "high"):
            _require_duration(f"tolerance.{level}", getattr(self, level))

    def patience(self, level: LatencyTolerance) -> float:
        """The multiplier for one level: the `patience` of a ticket."""
        multiplier: float = getattr(self, level)
        return multiplier


RULES: Mapping[str, WindowRule] = MappingProxyType(
    {
        # The pack window of the OpenAI routes: seeds/000's wait, seeds/001's token budget, six items (`packing_guard`).
        # Tokens are those of the last messages: what the requests have in common stands in their call once.
        "pack": WindowRule(max_wait=0.05, max_size=6, max_tokens=8_000, adaptive=True),
        # The job window of `start`: BATCH_TIMEOUT, BATCH_THRESHOLD and BATCH_MAX_IDLE of seeds/004.
        "job": WindowRule(max_wait=300.0, max_size=100, max_idle=3600.0),
        # The drop-in clients and `serve`: batch_window_seconds and batch_size of seeds/002.
        "client": WindowRule(max_wait=10.0, max_size=1000),
        # The latency-first defaults of the model-wise batcher (seeds/001). It is an offline lab: nobody is waiting.
        "model": WindowRule(max_wait=0.2, max_size=8, max_tokens=8_000),
        # The query service (seeds/003). Its users expect exactly these triggers, so none of them adapts.
        "query.high": WindowRule(max_wait=0.2, max_size=6),
        "query.normal": WindowRule(max_wait=1.0, max_size=4),
        "query.low": WindowRule(max_wait=4.0, max_size=4),
    }
)
"""The windows that batchway's surfaces promise, by name."""


class Policy(Struct, frozen=True, kw_only=True):
    """The whole of what the planner is told to do."""

    pack: WindowRule = RULES["pack"]
    """The windows of packed calls."""
    job: WindowRule = RULES["job"]
    """The windows of provider batches."""
    pack_format: Literal["xml", "json"] = "xml"
    """How several requests are written into one (`core.packing`)."""
    pack_stake: int = 0
    """Picodollars that `packing=auto` may lose per tenant and model before it has saved any (`core.packing_bank`)."""
    pack_risk: float = 0.0
    """Share of what single calls cost that it may lose to find out whether a model can be packed."""
    tolerance: Tolerance = Tolerance()
    """What latency tolerance does to the wait of a pack window."""
    max_queue: int = 1_000
    """Requests waiting for a slot; past it 429, because a queue without a bound ends in lost work."""
    max_queue_bytes: int = 256 * MIB
    """Bytes of the bodies waiting: a thousand requests with images would not fit in memory."""
    max_in_flight: int = 512
    """Calls under way at one account (a provider as configured here)."""
    max_retries: int = 2
    """Calls made after the first one failed; the default of the OpenAI and Anthropic SDKs."""
    retry_unknown: bool = False
    """Also retry what the provider may bill (a timeout, a cut answer): it may be paid twice, so somebody must ask."""
    backoff_base: float = 0.5
    """Seconds that the first retry waits at most, doubled for each further one (as the SDKs do)."""
    backoff_cap: float = 8.0
    """Seconds that any retry waits at most (as the SDKs do)."""
    max_retry_after: float = 120.0
    """Seconds of Retry-After beyond which the caller is told instead of kept waiting (as the OpenAI SDK does)."""
    cache_ttl: float = 300.0
    """Seconds that an answer may be served again; 0 switches the cache off."""
    cache_entries: int = 10_000
    """Answers kept in memory."""
    cache_bytes: int = 64 * MIB
    """Bytes of the answers kept in memory: one answer may be a megabyte."""
    abandon_grace: float = 2.0
    """Seconds that a direct call goes on after all its callers left, so that an SDK's retry can adopt it."""
    undelivered_ttl: float = 600.0
    """Seconds that an answer is kept whose callers had all left: the time-out of the SDKs, after which they retry."""

    context_tokens: int | None = None
    """Tokens that a prompt may have which asked to be fitted; None: what the model's window leaves."""
    meta_overhead_tokens: int = 0
    """Tokens of that budget set aside for framing."""
    flex_timeout: float = 600.0
    """Seconds that a flex call may take before another lane is tried (Gemini targets 1 to 15 minutes)."""
    store: bool = False
    """A store is open: requests that may have been answered before are looked up in it."""

    def __post_init__(self) -> None:
        for name in ("max_queue", "max_queue_bytes", "max_in_flight", "context_tokens"):
            _require_at_least(name, getattr(self, name), 1)
        for name in ("max_retries", "cache_entries", "cache_bytes", "meta_overhead_tokens", "pack_stake"):
            _require_at_least(name, getattr(self, name), 0)
        for name in (
            "backoff_base",
            "backoff_cap",
            "max_retry_after",
            "cache_ttl",
            "abandon_grace",
            "undelivered_ttl",
            "flex_timeout",
        ):
            _require_duration(name, getattr(self, name))
