"""What is written behind: each thing once, under an id that is nobody else's, and no more than is to be kept."""

import asyncio
from typing import Any

import pytest
from tests.store.things import FAULT, NOW, answer, charge, entry, request

from batchway.core.commands import Reply
from batchway.core.types import Answer, Request
from batchway.store import Database, answers, charges, learnt, requests
from batchway.store.answers import Stored
from batchway.store.behind import Recording, StoreBehind


def behind(database: Database, record: Recording = "all") -> StoreBehind:
    return StoreBehind(database, lambda: NOW, record=record, retention=900.0)


def reply(asked: Request, **fields: Any) -> Reply:
    given: dict[str, Any] = {"answer": answer(), "via": "direct", "why": "asked", "cost": 50, "saved": 0}
    return Reply(request=asked, **(given | fields))


async def written(database: Database, request_id: str = "a-1") -> Stored | None:
    """What stands under an id, once everything is written."""
    async with asyncio.timeout(10):
        while database.health().behind_bytes:
            await asyncio.sleep(0.005)
    return await database.read(answers.find, "t", request_id)


async def test_an_answer_is_found_with_what_was_asked(database: Database) -> None:
    behind(database).answered(reply(request(), via="flex"))

    found = await written(database)

    assert found is not None
    assert (found.outcome, found.lane, found.via, found.cost, found.why) == (answer(), "flex", "flex", 50, "asked")
    assert await database.read(requests.load, "a-1") == request()


async def test_a_refusal_is_found_with_its_fault(database: Database) -> None:
    behind(database).refused(request(), FAULT, "no")

    found = await written(database)

    assert found is not None
    assert (found.outcome, found.status, found.why) == (FAULT, "failed", "no")


@pytest.mark.parametrize(
    ("record", "fields", "bodies"),
    [("all", {}, True), ("all", {"retention": "none"}, False), ("metadata", {}, False)],
)
async def test_bodies_are_kept_where_they_may_be(
    database: Database, record: Recording, fields: dict[str, Any], bodies: bool
) -> None:
    behind(database, record).answered(reply(request(**fields)))

    found = await written(database)

    assert found is not None
    assert isinstance(found.outcome, Answer)
    assert bool(found.outcome.body) is bodies
    assert (await database.read(requests.load, "a-1") is not None) is bodies


async def test_what_a_cache_gave_again_is_not_written_twice(database: Database) -> None:
    behind(database).answered(reply(request(), via="cache"))

    found = await written(database)

    assert found is not None
    assert (found.via, found.swept) == ("cache", True)


async def test_where_nothing_is_recorded_the_charges_are(database: Database) -> None:
    recorder = behind(database, "none")
    recorder.answered(reply(request()))
    recorder.charged(charge())

    assert await written(database) is None
    assert await database.read(charges.of_request, "t", "a-1") == [charge()]


async def test_an_id_stays_with_the_request_on_disk(database: Database) -> None:
    """A twin that joined it, and one that was refused for its other body, are recorded beside it."""
    first, twin, other = [request(ask, id="mine", named=True) for ask in ("a-1", "a-2", "a-3")]
    await database.write(requests.save, [entry("a-1", id="mine", named=True)])
    recorder = behind(database)

    recorder.answered(reply(twin, via="coalesced"))
    recorder.refused(other, FAULT, "another body")

    found = await written(database, "mine")
    assert found is not None
    assert (found.ask, found.status) == (first.ask, "pending")
    assert [(await written(database, ask)) is not None for ask in ("a-2", "a-3")] == [True, True]
    assert await database.read(lambda connection: learnt.list_gaps(connection, since=0.0)) == []


async def test_an_id_that_was_refused_unsaved_may_be_used_again(database: Database) -> None:
    behind(database).refused(request("a-1", id="mine", named=True), FAULT, "the store is down")
    assert await written(database, "mine") is None

    await database.write(requests.save, [entry("a-2", id="mine", named=True)])

    found = await written(database, "mine")
    assert found is not None
    assert found.ask == "a-2"
