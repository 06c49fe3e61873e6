"""Answers kept in memory, each kind for its own reason: the cache (L1), the undelivered, and those of given ids.

All three are bounded by time and bytes and forget the least recently used first. The store takes over from here what
must survive a restart.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from msgspec import Struct

from batchway.core.fingerprint import adoption_key
from batchway.core.policy import Policy
from batchway.core.types import Answer, Request

OVERHEAD = 400
"""Bytes that an entry costs beside its body: keys, objects, links."""


class Known(Struct, frozen=True, kw_only=True):
    """An answer and what is known of its making."""

    answer: Answer
    call_id: str
    fingerprint: str
    worth: int | None
    """Picodollars that the request would have cost alone and directly: what giving it again saves."""


Key = TypeVar("Key", bound=Hashable)


class Shelf(Generic[Key]):
    """Known answers by one kind of key, for `ttl` seconds, within `max_bytes` and `max_entries`.

    What is over makes room first, then what was not used for longest.
    """

    def __init__(self, ttl: float, max_bytes: int, max_entries: int) -> None:
        self._ttl = ttl if max_entries > 0 else 0.0
        self._max_bytes = max_bytes
        # An entry counts for at least its part of the room, so that the bound on bytes bounds their number too.
        self._least = max(1, max_bytes // max(1, max_entries))
        self._by_use: OrderedDict[Key, Known] = OrderedDict()
        self._by_end: OrderedDict[Key, float] = OrderedDict()
        """When each is over; all are kept for the same time, so they end in the order in which they came."""
        self.size = 0
        """Bytes that the shelf counts for."""

    def put(self, key: Key, kept: Known, now: float) -> bool:
        """Keep an answer. False if it is larger than the whole shelf (then it is not kept)."""
        self._drop(key)
        size = self._size(kept)
        if self._ttl <= 0 or size > self._max_bytes:
            return False
        self._make_room(size, now)
        self._by_use[key] = kept
        self._by_end[key] = now + self._ttl
        self.size += size
        return True

    def get(self, key: Key, now: float) -> Known | None:
        """The answer kept under this key, if its time is not over."""
        kept = self._by_use.get(key)
        if kept is None:
            return None
        if self._by_end[key] <= now:
            self._drop(key)
            return None
        self._by_use.move_to_end(key)
        return kept

    def take(self, key: Key, now: float) -> Known | None:
        """The answer kept under this key, which is not kept any longer."""
        kept = self.get(key, now)
        self._drop(key)
        return kept

    def clear(self) -> None:
        """Forget all."""
        self._by_use.clear()
        self._by_end.clear()
        self.size = 0

    def __len__(self) -> int:
        return len(self._by_use)

    def _size(self, kept: Known) -> int:
        return max(self._least, len(kept.answer.body) + OVERHEAD)

    def _make_room(self, size: int, now: float) -> None:
        while self._by_end and next(iter(self._by_end.values())) <= now:
            self._drop(next(iter(self._by_end)))
        while self.size + size > self._max_bytes:
            self._drop(next(iter(self._by_use)))

    def _drop(self, key: Key) -> None:
        kept = self._by_use.pop(key, None)
        if kept is not None:
            del self._by_end[key]
            self.size -= self._size(kept)


class Memory:
    """The three shelves."""

    def __init__(self, policy: Policy) -> None:
        self.cache: Shelf[str] = Shelf(policy.cache_ttl, policy.cache_bytes, policy.cache_entries)
        """By fingerprint: complete answers that may serve any request that allows it."""
        self.undelivered: Shelf[tuple[str, str, str]] = Shelf(
            policy.undelivered_ttl, policy.cache_bytes // 4, policy.cache_entries
        )
        """By adoption key: paid answers whose callers left. Given once, to the caller's next try."""
        self.named: Shelf[tuple[str, str]] = Shelf(
            policy.undelivered_ttl, policy.cache_bytes // 4, policy.cache_entries
        )
        """By tenant and given request_id: the same id again gets the same answer."""

    def undelivered_of(self, request: Request, now: float) -> Known | None:
        """The answer that this caller's earlier try was given up on, if there is one."""
        return self.undelivered.take(adoption_key(request), now) if self.undelivered.size else None
