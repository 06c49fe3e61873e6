"""The store as the engine sees it: operations are plain functions of a connection, run on threads, awaited on a loop.

`write` returns after the commit, `post` writes behind, `read` reads beside. Operations under way at the same time have
no order among them: who needs one awaits, or makes one operation of them. An operation may run twice (see `grouping`),
so it does nothing but use its connection.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, Literal, ParamSpec, Self, TypeVar

from msgspec import Struct
from sqlalchemy import Connection, Engine

from batchway.store.connections import make_engine, read_url
from batchway.store.failures import StoreDown, opening, translated
from batchway.store.grouping import Outcome
from batchway.store.migrations import STEPS, Step, examine, migrate
from batchway.store.posts import Gap, Post, Posts, Room
from batchway.store.writer import Writer

Upkeep = Literal["newest", "made", "none"]
"""What opening a store does to its tables: bring them to the newest version, make them where there are none, or
nothing: another process, of an older version, may be at work on them."""

Given = ParamSpec("Given")
Item = TypeVar("Item")
Result = TypeVar("Result")


class Health(Struct, frozen=True, kw_only=True):
    """How the store does."""

    down: str | None
    """Why it does not work, if it does not."""
    waiting: int
    """Writes that somebody waits for."""
    behind_bytes: int
    """What waits to be written behind."""
    gap: Gap | None
    """What was lost of that and is not written down yet."""


class Database:
    """A store that is open. Make it with `open`; leaving it as a context manager closes it."""

    def __init__(
        self, writing: Engine, reading: Engine, writer: Writer, posts: Posts, readers: int, version: int | None
    ) -> None:
        self.version = version
        """Of its tables; None: there are none."""
        self._writing = writing
        self._reading = reading
        self._writer = writer
        self._posts = posts
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="batchway-store-reader")
        self._closed = False

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        now: Callable[[], float],
        readers: int = 4,
        room: Room | None = None,
        retry_seconds: float = 1.0,
        steps: Sequence[Step] = STEPS,
        upkeep: Upkeep = "newest",
    ) -> Self:
        """Open the store at this URL or path (of a SQLite file), and see to its tables.

        `now` dates gaps alone; leases go by the database's own clock. Raises SettingsError, or StoreDown.
        """
        address = read_url(url)
        reading = make_engine(address, writes=False, size=readers)
        if upkeep == "none":
            # First: what is opened for writing is made where it is not there.
            version = await asyncio.to_thread(_look, reading, steps)
            writing = make_engine(address, writes=True, size=1)
        else:
            writing = make_engine(address, writes=True, size=1)
            version = await asyncio.to_thread(_prepare, writing, steps, older=upkeep == "newest")
        posts = Posts(room or Room(), now)
        writer = Writer(writing, posts, asyncio.get_running_loop(), retry_seconds)
        return cls(writing, reading, writer, posts, readers, version)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def write(
        self, do: Callable[Concatenate[Connection, Given], Result], *given: Given.args, **_: Given.kwargs
    ) -> Result:
        """What the operation returns, after it is on disk.

        Raises what the operation raises, and StoreDown. It may be done all the same when its asker is cancelled, and
        after StoreDown, where the server went away during the commit.
        """
        self._refuse_if_closed()
        result: Result = await self._writer.submit(do, given)
        return result

    async def write_each(self, do: Callable[[Connection, list[Item]], Sequence[Result] | None], item: Item) -> Result:
        """As `write`, for an operation that takes many items at once and returns a result for each, or None: the items
        that wait become one call. The way for what comes by the thousand."""
        (outcome,) = await self.write_all(do, [item])
        if outcome.error is not None:
            raise outcome.error
        result: Result = outcome.result
        return result

    async def write_all(
        self, do: Callable[[Connection, list[Item]], Sequence[object] | None], items: Sequence[Item]
    ) -> list[Outcome]:
        """As `write_each` of each item, at the cost of one. What came of each, errors included."""
        self._refuse_if_closed()
        outcomes: list[Outcome] = await self._writer.submit(do, tuple(items), each=True)
        return outcomes

    def post(
        self, do: Callable[[Connection, list[Item]], object], item: Item, *, size: int, kept: bool = False
    ) -> bool:
        """Write it behind. `kept`: it outlasts a store that is down. False: there is no room, and it is lost."""
        self._refuse_if_closed()
        accepted = self._posts.put(Post(do, (item,), each=True, size=size, kept=kept))
        self._writer.wake()
        return accepted

    async def read(
        self, do: Callable[Concatenate[Connection, Given], Result], *given: Given.args, **_: Given.kwargs
    ) -> Result:
        """What the operation returns. It cannot write. Raises what the operation raises, and StoreDown."""
        self._refuse_if_closed()
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, do, given)

    def health(self) -> Health:
        """How it does now."""
        down, gap = self._writer.down, self._posts.gap
        return Health(
            down=None if down is None else str(down),
            waiting=self._writer.waiting,
            behind_bytes=self._posts.size,
            gap=gap,
        )

    async def close(self) -> Gap | None:
        """Write all that has come, and close. Returns what was lost with it, where the store is down."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._end)
        return self._posts.abandon("the store was down when it was closed")

    def _end(self) -> None:
        self._writer.stop()
        self._readers.shutdown()
        self._reading.dispose()
        self._writing.dispose()

    def _read(self, do: Callable[..., Result], given: tuple[Any, ...]) -> Result:
        with translated(), self._reading.connect() as connection:
            return do(connection, *given)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise StoreDown("The store is closed: the gateway is shutting down.")


def _look(engine: Engine, steps: Sequence[Step]) -> int | None:
    """The version of its tables."""
    try:
        with opening(engine.url), engine.connect() as connection:
            return examine(connection, steps)
    except BaseException:
        engine.dispose()
        raise


def _prepare(engine: Engine, steps: Sequence[Step], *, older: bool) -> int | None:
    """The version of its tables, which are made where there are none. `older`: they become the newest."""
    try:
        with opening(engine.url), engine.begin() as connection:
            if older or examine(connection, steps) is None:
                migrate(connection, steps)
            return examine(connection, steps)
    except BaseException:
        engine.dispose()
        raise
