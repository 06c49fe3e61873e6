"""Answers kept in memory, each kind for its own reason: the cache (L1), the undelivered, and those of given ids.

All three are bounded by time and bytes and forget the least recently used first. The store takes over from here what
must survive a restart.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

from cachetools import TLRUCache
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
    """Known answers by one kind of key, for `ttl` seconds, within `max_bytes` and `max_entries`."""

    def __init__(self, ttl: float, max_bytes: int, max_entries: int) -> None:
        self._now = 0.0
        self._ttl = ttl if max_entries > 0 else 0.0
        # An entry counts for at least its part of the room, so that the bound on bytes bounds their number too.
        least = max(1, max_bytes // max(1, max_entries))
        self._kept: TLRUCache[Key, Known] = TLRUCache(
            max_bytes,
            ttu=lambda _key, _kept, now: now + ttl,
            timer=lambda: self._now,
            getsizeof=lambda kept: max(least, len(kept.answer.body) + OVERHEAD),
        )

    def put(self, key: Key, kept: Known, now: float) -> bool:
        """Keep an answer. False if it is larger than the whole shelf (then it is not kept)."""
        self._now = now
        self._kept.pop(key, None)
        if self._ttl <= 0:
            return False
        try:
            self._kept[key] = kept
        except ValueError:
            return False
        return True

    def get(self, key: Key, now: float) -> Known | None:
        """The answer kept under this key, if its time is not over."""
        self._now = now
        return self._kept.get(key)

    def take(self, key: Key, now: float) -> Known | None:
        """The answer kept under this key, which is not kept any longer."""
        self._now = now
        return self._kept.pop(key, None)

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> int:
        """Bytes that the shelf counts for. Known at once, while counting the entries looks at each."""
        return int(self._kept.currsize)


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
