"""When each request of a trace arrives: at its own time, put in order with a bounded look ahead, or at a made one."""

from collections import deque
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from itertools import chain

from msgspec import Struct

from batchway.simulate.files import wrong_at
from batchway.simulate.inputs import Entry
from batchway.simulate.notes import Notes

AHEAD = 100_000
"""Requests looked ahead: a request may be out of order by so many. A trace of fewer is sorted whatever its order."""

AHEAD_CHARACTERS = 1 << 26
"""Characters of their texts that are held at most."""


class Timed(Struct, frozen=True, kw_only=True, gc=False):
    """A request with the time at which it arrives."""

    entry: Entry
    order: int
    """Its place in the file, from 0: equal times keep it."""
    at_ms: int


def timed(
    name: str, found: Iterable[Entry], made: Iterator[int], notes: Notes, *, anew: bool = False
) -> Iterator[Timed]:
    """The requests of a file in the order of their times, which all have, or none.

    `made` are the times, in order, for those that have none; `anew`: for all, whatever they have. Raises InputError
    that names the line.
    """
    rest = iter(found)
    first = next(rest, None)
    if first is None:
        return
    every = chain((first,), rest)
    if anew or first.created_at_ms is None:
        yield from _at_made_times(name, every, made, notes, anew)
    else:
        yield from _in_order(name, every, notes)


def _at_made_times(name: str, found: Iterable[Entry], made: Iterator[int], notes: Notes, anew: bool) -> Iterator[Timed]:
    for order, (entry, at_ms) in enumerate(zip(found, made, strict=False)):
        if entry.created_at_ms is not None:
            if not anew:
                what = "created_at_ms: given, though earlier requests have none; give all of them a time, or none."
                raise wrong_at(name, entry.line, what)
            notes.add("created_at_ms: replaced by a made time, as asked for", entry.line)
        yield Timed(entry=entry, order=order, at_ms=at_ms)


def _in_order(name: str, found: Iterable[Entry], notes: Notes) -> Iterator[Timed]:
    held = _Held()
    for order, entry in enumerate(found):
        at_ms = entry.created_at_ms
        if at_ms is None:
            raise wrong_at(name, entry.line, "created_at_ms: missing, though earlier requests have it.")
        if at_ms < held.given:
            what = f"created_at_ms: {at_ms} is out of order by more than {AHEAD:,} requests; sort the file by it first."
            raise wrong_at(name, entry.line, what)
        if held.take(Timed(entry=entry, order=order, at_ms=at_ms)):
            notes.add("created_at_ms: earlier than a request before it; sorted", entry.line)
        while held.is_full():
            yield held.give()
    while held:
        yield held.give()


class _Held:
    """The requests looked ahead: those in order in a queue, which costs next to nothing, the late ones in a heap."""

    def __init__(self) -> None:
        self._queue: deque[Timed] = deque()
        self._late: list[tuple[int, int, Timed]] = []
        self._characters = 0
        self.given = -1
        """The time of the last one that was given."""

    def __len__(self) -> int:
        return len(self._queue) + len(self._late)

    def is_full(self) -> bool:
        return len(self) > AHEAD or (self._characters > AHEAD_CHARACTERS and len(self) > 1)

    def take(self, timed: Timed) -> bool:
        """Hold one more. True: it is late."""
        self._characters += len(timed.entry.text or "")
        if self._queue and timed.at_ms < self._queue[-1].at_ms:
            heappush(self._late, (timed.at_ms, timed.order, timed))
            return True
        self._queue.append(timed)
        return False

    def give(self) -> Timed:
        """The first of them, which is held no more."""
        queue, late = self._queue, self._late
        if late and (not queue or late[0][:2] < (queue[0].at_ms, queue[0].order)):
            timed = heappop(late)[2]
        else:
            timed = queue.popleft()
        self._characters -= len(timed.entry.text or "")
        self.given = timed.at_ms
        return timed
