"""A tape: every follower gets every frame in order, and the writer never runs ahead of all of them."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from batchway.engine.tape import Tape
from batchway.wire.sse import Frame


def frame(number: int) -> Frame:
    return f"data: {number}\n\n".encode(), False


async def follow(tape: Tape, pause: int = 0) -> list[Frame]:
    """All frames, with so many turns of the loop between two looks."""
    found: list[Frame] = []
    async for frames in tape.follow():
        found += frames
        for _ in range(pause):
            await asyncio.sleep(0)
    return found


async def write(tape: Tape, sizes: list[int]) -> list[Frame]:
    """So many frames each time, and the end."""
    written: list[Frame] = []
    for size in sizes:
        frames = [frame(len(written) + at) for at in range(size)]
        written += frames
        await tape.write(frames)
    tape.end()
    return written


@given(sizes=st.lists(st.integers(1, 5), max_size=20), pauses=st.lists(st.integers(0, 7), min_size=1, max_size=4))
def test_each_follower_gets_all_in_order(sizes: list[int], pauses: list[int]) -> None:
    async def run() -> None:
        tape = Tape(keep=True)
        async with asyncio.timeout(10):
            followers = [asyncio.create_task(follow(tape, pause)) for pause in pauses]
            written = await write(tape, sizes)
            assert all([await follower == written for follower in followers])
            assert await follow(tape) == written, "one that comes late hears it from the beginning"

    asyncio.run(run())


async def test_the_writer_waits_for_a_reader() -> None:
    tape = Tape(keep=False)
    writing = asyncio.create_task(write(tape, [1] * 10))
    reader = tape.follow()
    for number in range(9):
        assert await anext(reader) == [frame(number)], "one step at a time"
        for _ in range(10):
            await asyncio.sleep(0)
        assert not writing.done(), "its reader has not passed the last on yet"
    assert [frames async for frames in reader] == [[frame(9)]]
    await writing


async def test_the_fastest_reader_sets_the_pace() -> None:
    tape = Tape(keep=True)
    slow = tape.follow()
    fast = asyncio.create_task(follow(tape))
    written = await write(tape, [1] * 50)
    assert await fast == written
    assert await anext(slow) == written


async def test_what_was_read_is_not_kept() -> None:
    tape = Tape(keep=False)
    fast = asyncio.create_task(follow(tape))
    await write(tape, [3] * 50)
    assert len(await fast) == 150
    assert await follow(tape) == [], "there is nothing left to hear"
