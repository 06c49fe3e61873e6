"""Visits: who does not send, leaves, or does not read, seen from the server's side of ASGI."""

import asyncio

import pytest

from batchway.core.errors import TooSlow
from batchway.server.exchange import Gone, Message
from batchway.server.visits import PERIOD, Visits


async def never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def stuck(_: Message) -> None:
    await asyncio.Event().wait()


async def test_a_reader_that_does_not_read_is_taken_for_gone() -> None:
    visits = Visits(body_timeout=5, write_timeout=PERIOD)
    with pytest.raises(Gone), visits.begin(never, stuck) as visit:
        visit.has_asked()
        await visit.send({"type": "http.response.body", "body": b"a piece"})


async def test_a_reader_that_is_slow_but_reads_is_served() -> None:
    pieces = []

    async def slow(message: Message) -> None:
        await asyncio.sleep(PERIOD * 0.7)
        pieces.append(message["body"])

    visits = Visits(body_timeout=5, write_timeout=PERIOD * 2)
    with visits.begin(never, slow) as visit:
        visit.has_asked()
        for number in range(4):
            await visit.send({"type": "http.response.body", "body": number})
    assert pieces == [0, 1, 2, 3]


async def test_a_body_that_does_not_come_is_too_slow() -> None:
    visits = Visits(body_timeout=0.1)
    with pytest.raises(TooSlow, match="body_timeout"), visits.begin(never, stuck) as visit:
        await visit.receive()


async def test_a_caller_that_leaves_is_gone() -> None:
    async def disconnected() -> Message:
        return {"type": "http.disconnect"}

    visits = Visits(body_timeout=5)
    with pytest.raises(Gone), visits.begin(disconnected, stuck) as visit:
        visit.has_asked()
        await asyncio.sleep(5)


async def test_a_cancellation_of_another_stays_one() -> None:
    visits = Visits(body_timeout=5)

    async def serve() -> None:
        with visits.begin(never, stuck):
            await asyncio.sleep(5)

    serving = asyncio.create_task(serve())
    await asyncio.sleep(0)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
