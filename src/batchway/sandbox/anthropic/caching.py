"""The prompt cache: beginnings of prompts that callers marked, kept for as long as they ask (providers.md §16)."""

import hashlib
from collections.abc import Iterable

from msgspec import Struct

MINIMUM = 1024
"""Tokens that a beginning must have to be kept: those of most models."""

LIFETIMES = {"5m": 300.0, "1h": 3600.0}
"""Seconds, counted from the last use."""

ENTRIES = 10_000
"""Beginnings kept at most; past it, those whose time is over are let go, and then all."""


class Piece(Struct, frozen=True):
    """A piece of a prompt, in the order in which the model reads it: tools, system, messages."""

    content: bytes
    tokens: int
    ttl: str | None = None
    """Its end is marked: the prompt up to here may be kept for so long."""


class Spared(Struct, frozen=True):
    """Tokens of a prompt that came from the cache, that went into it, and how many of these are kept for an hour."""

    read: int = 0
    written: int = 0
    hour: int = 0


class PromptCache:
    """What is kept. It holds hashes, no words."""

    def __init__(self) -> None:
        self._until: dict[bytes, float] = {}

    def use(self, owner: str, pieces: Iterable[Piece], now: float) -> Spared:
        """Look up the longest marked beginning that is kept, and keep all that are marked. `owner`: key and model."""
        hashed = hashlib.blake2b(owner.encode(), digest_size=16)
        read = tokens = longest = hour = 0
        for piece in pieces:
            hashed.update(b"%d:" % len(piece.content) + piece.content)
            tokens += piece.tokens
            if piece.ttl is None or tokens < MINIMUM:
                continue
            name, longest = hashed.digest(), tokens
            if piece.ttl == "1h":
                hour = tokens
            if self._until.get(name, 0.0) > now:
                read = tokens
            self._keep(name, now + LIFETIMES[piece.ttl], now)
        return Spared(read, longest - read, max(0, hour - read))

    def _keep(self, name: bytes, until: float, now: float) -> None:
        if len(self._until) >= ENTRIES:
            self._until = {known: end for known, end in self._until.items() if end > now}
        if len(self._until) >= ENTRIES:
            self._until.clear()
        self._until[name] = until
