"""Rounds: gone on with whatever happens, and told of once while the store is down."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
from structlog.testing import capture_logs

from batchway.core.errors import Stopping
from batchway.core.types import Fault
from batchway.engine.rounds import rounds


async def going_on(ends: Iterator[Exception | None], refused: Callable[[Fault], None] | None = None) -> list[str]:
    """Go round until no end is left; what was told."""
    over = asyncio.Event()

    async def see_to() -> None:
        end = next(ends, over)
        if isinstance(end, Exception):
            raise end
        if end is over:
            over.set()

    with capture_logs() as lines:
        task = asyncio.create_task(rounds(see_to, 0, refused=refused))
        await over.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    return [line["event"] for line in lines]


async def test_a_store_that_is_down_is_told_of_once_until_it_works_again() -> None:
    down = Stopping("The store is down.")
    told = await going_on(iter([down, down, down, None, down, down]))
    assert told == ["not seen to until it works again"] * 2


async def test_who_counts_them_hears_each() -> None:
    faults: list[Fault] = []
    down = Stopping("The store is down.")
    assert await going_on(iter([down, down, None, down]), faults.append) == []
    assert faults == [down.fault] * 3


async def test_a_defect_is_told_each_time_and_ends_nothing() -> None:
    assert await going_on(iter([ValueError("x"), ValueError("x")])) == ["a round met a defect"] * 2
