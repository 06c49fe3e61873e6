"""Posts: what is written behind, bounded in bytes, and the account of what could not be kept.

Nobody waits for a post. While the store is down, those that are `kept` (charges) wait for its return; the others are
lost, and so is what exceeds the room. What is lost is counted in a `Gap`, which is written when the store is back.
"""

from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock

from msgspec import Struct

from batchway.store.grouping import Operation

MIB = 1 << 20


class Post(Operation, frozen=True, kw_only=True, gc=False):
    """An operation that nobody waits for."""

    size: int
    """Bytes that it holds in memory, roughly."""
    kept: bool


class Gap(Struct, frozen=True, kw_only=True):
    """What was not recorded: how many posts, from when to when, and why at last."""

    since: float
    until: float
    records: int
    charges: int
    """Those that were to be kept, and for which the room did not suffice."""
    reason: str

    def joined(self, other: "Gap | None") -> "Gap":
        """Both, as one."""
        if other is None:
            return self
        return Gap(
            since=min(self.since, other.since),
            until=max(self.until, other.until),
            records=self.records + other.records,
            charges=self.charges + other.charges,
            reason=other.reason,
        )


class Room(Struct, frozen=True, kw_only=True):
    """Bytes that posts may hold in memory, each kind for itself."""

    records: int = 32 * MIB
    charges: int = 32 * MIB


class Posts:
    """The posts that wait. Any thread puts; the writer takes, and gives back what it could not write."""

    def __init__(self, room: Room, now: Callable[[], float]) -> None:
        self._room = {False: room.records, True: room.charges}
        self._held = {False: 0, True: 0}
        self._now = now
        self._lock = Lock()
        self._waiting: deque[Post] = deque()
        self._gap: Gap | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return sum(self._held.values())

    @property
    def gap(self) -> Gap | None:
        """What was lost and is not written down yet."""
        return self._gap

    def put(self, post: Post) -> bool:
        """Let it wait. False if there is no room: then it is lost, and counted."""
        with self._lock:
            held = self._held[post.kept] + post.size
            if held > self._room[post.kept]:
                self._lose(post, "the store did not keep up")
                return False
            self._held[post.kept] = held
            self._waiting.append(post)
            return True

    def take(self, most: int) -> tuple[list[Post], Gap | None]:
        """Up to so many, in order, and the gap to write down. They hold their room until `settled`."""
        with self._lock:
            taken = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            gap, self._gap = self._gap, None
            return taken, gap

    def settled(self, posts: Sequence[Post]) -> None:
        """They are on disk, or refused."""
        with self._lock:
            for post in posts:
                self._held[post.kept] -= post.size

    def give_back(self, posts: Sequence[Post], gap: Gap | None, reason: str) -> None:
        """The store was down. The kept ones wait again, before all others."""
        with self._lock:
            self._gap = gap.joined(self._gap) if gap else self._gap
            for post in reversed(posts):
                if post.kept:
                    self._waiting.appendleft(post)
                else:
                    self._held[False] -= post.size
                    self._lose(post, reason)

    def refused(self, post: Post, reason: str) -> None:
        """The store will not have it: a defect, which is not tried again."""
        with self._lock:
            self._lose(post, reason)

    def abandon(self, reason: str) -> Gap | None:
        """Give up all that waits. Returns what was lost in the end and is written down nowhere."""
        with self._lock:
            while self._waiting:
                self._lose(self._waiting.popleft(), reason)
            return self._gap

    def _lose(self, post: Post, reason: str) -> None:
        now = self._now()
        lost = Gap(since=now, until=now, records=int(not post.kept), charges=int(post.kept), reason=reason)
        self._gap = self._gap.joined(lost) if self._gap else lost
