"""The writer: one thread that commits everything that came while it was committing, and wakes its loop once for it."""

from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from msgspec import Struct
from sqlalchemy import Engine

from batchway.store.failures import StoreDown
from batchway.store.grouping import Operation, Outcomes, commit
from batchway.store.learnt import add_gap
from batchway.store.posts import Post, Posts

GROUP = 1000
"""After so many parts of operations that are waited for, or posts, a transaction takes no more: its length bounds how
long the next waits."""

LINGER = 0.1
"""Seconds that posts wait for more of them. Nobody waits for a post, and a transaction costs as much as the rows of ten
requests."""


class _Write(Operation, frozen=True, kw_only=True, gc=False):
    """An operation that somebody waits for."""

    future: "Future[Any]"


class _Token(Struct, frozen=True):
    """What wakes the writer for something else than a write."""

    last: bool = False


_WAKE, _STOP = _Token(), _Token(last=True)


class Writer:
    """Takes operations from the loop's thread. Their futures end after the commit."""

    def __init__(self, engine: Engine, posts: Posts, loop: AbstractEventLoop, retry_seconds: float) -> None:
        self.down: StoreDown | None = None
        """Why the last transaction failed; None: the store works."""
        self._engine = engine
        self._posts = posts
        self._loop = loop
        self._retry_seconds = retry_seconds
        self._arrived: SimpleQueue[_Write | _Token] = SimpleQueue()
        self._stopping = False
        self._woken = False
        self._thread = Thread(target=self._run, name="batchway-store-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Operations that somebody waits for and that are not begun."""
        return self._arrived.qsize()

    def submit(self, do: Callable[..., Any], given: tuple[Any, ...], *, each: bool = False) -> "Future[Any]":
        """Do this operation; the future ends when it is on disk, or with the error. `each`: with the outcome of each
        item."""
        future: Future[Any] = self._loop.create_future()
        self._arrived.put(_Write(do, given, each, future=future))
        return future

    def wake(self) -> None:
        """There are posts. While the store is down they wait until it is tried again."""
        if self.down is None and not self._woken:
            self._woken = True
            self._arrived.put(_WAKE)

    def stop(self) -> None:
        """Write all that has come, and end. Blocks. What could not be written stays in the posts."""
        self._arrived.put(_STOP)
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            self._work(self._gather())
        while len(self._posts) or self._posts.gap:
            self._work([])
            if self.down is not None:
                return

    def _gather(self) -> list[_Write]:
        """All writes that have come, at least one arrival awaited. While the store is down nothing wakes for posts, and
        it is tried again after a while."""
        writes: list[_Write] = []
        parts = 0
        patience = None if self.down is None else self._retry_seconds
        try:
            arrival = self._linger(self._arrived.get(timeout=patience))
            while True:
                if isinstance(arrival, _Write):
                    writes.append(arrival)
                    parts += arrival.parts
                    if parts >= GROUP:
                        break
                elif arrival.last:
                    self._stopping = True
                arrival = self._arrived.get_nowait()
        except Empty:
            pass
        # Before the posts are taken: whoever posts from now on wakes again.
        self._woken = False
        return writes

    def _linger(self, arrival: _Write | _Token) -> _Write | _Token:
        """What came, or, where it was posts alone, what comes within a moment."""
        if arrival is not _WAKE or len(self._posts) >= GROUP:
            return arrival
        try:
            return self._arrived.get(timeout=LINGER)
        except Empty:
            return arrival

    def _work(self, writes: Sequence[_Write]) -> None:
        """One transaction: the writes, and the posts unless the writes are to find out first if the store is back."""
        probing = self.down is not None and writes
        posts, gap = ([], None) if probing else self._posts.take(GROUP)
        operations: list[Operation] = [*writes, *posts]
        if gap is not None:
            operations.append(Operation(add_gap, (gap,)))
        if not operations:
            return
        outcomes = commit(self._engine, operations)
        self.down = _down(outcomes)
        self._account_for(posts, gap, outcomes[len(writes) : len(writes) + len(posts)])
        self._hand_over(writes, outcomes)
        if self.down is None and (len(self._posts) or self._posts.gap):
            self._arrived.put(_WAKE)

    def _account_for(self, posts: Sequence[Post], gap: Any, outcomes: Sequence[Outcomes]) -> None:
        if self.down is not None:
            self._posts.give_back(posts, gap, str(self.down))
            return
        self._posts.settled(posts)
        for post, (outcome,) in zip(posts, outcomes, strict=True):
            if outcome.error is not None:
                self._posts.refused(post, type(outcome.error).__name__)

    def _hand_over(self, writes: Sequence[_Write], outcomes: Sequence[Outcomes]) -> None:
        if not writes:
            return
        try:
            self._loop.call_soon_threadsafe(_settle, writes, outcomes)
        except RuntimeError:
            # The loop is closed, so that nobody waits any more. What was asked for is done all the same.
            return


def _settle(writes: Sequence[_Write], outcomes: Sequence[Outcomes]) -> None:
    for write, came in zip(writes, outcomes, strict=False):
        if write.future.done():
            continue
        if write.each:
            write.future.set_result(came)
        elif came[0].error is not None:
            write.future.set_exception(came[0].error)
        else:
            write.future.set_result(came[0].result)


def _down(outcomes: Sequence[Outcomes]) -> StoreDown | None:
    """Why nothing was written, if nothing was: one operation alone may fail as if the store were down."""
    every = [outcome.error for came in outcomes for outcome in came]
    first = every[0]
    return first if isinstance(first, StoreDown) and all(isinstance(error, StoreDown) for error in every) else None
