"""What was accepted is on disk, once for each id, and how it ended is what the same id gets ever after."""

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, update
from tests.store.conftest import Opens
from tests.store.test_down import Down, down  # noqa: F401  # A fixture.
from tests.store.things import FAULT, NOW, OWNER, answer, charge, request

from batchway.core.commands import Keep, Save
from batchway.core.facts import Known
from batchway.core.rescue import RescueRule
from batchway.core.types import Answer, Fault, Request
from batchway.store import Database, StoreDown, charges, requests, tables
from batchway.store.custody import Custodian
from batchway.store.journal import StoreJournal

RULE = RescueRule(margin=30.0, call_seconds=20.0)


def custodian_of(database: Database) -> Custodian:
    custodian = Custodian(database, lambda: OWNER, lambda: NOW, host="here", seconds=60.0)
    custodian.owner = OWNER
    return custodian


def journal_of(database: Database, *, cache_ttl: float = 0.0) -> StoreJournal:
    return StoreJournal(
        database, custodian_of(database), lambda: NOW, retention=900.0, cache_ttl=cache_ttl, rescue=RULE
    )


@pytest.fixture
def journal(database: Database) -> StoreJournal:
    """A journal whose answers serve nobody else."""
    return journal_of(database)


def save(asked: Request, **fields: str) -> Save:
    return Save(request=asked, lane=fields.get("lane", "batch"), why="low")  # type: ignore[arg-type]


async def put(journal: StoreJournal, asked: Request, **fields: str) -> Known | Exception | None:
    """Save one."""
    (came,) = await journal.save([save(asked, **fields)])
    return came


async def seek(journal: StoreJournal, asked: Request) -> Known | None:
    """Look for one."""
    (came,) = await journal.look([asked])
    assert not isinstance(came, Exception), came
    return came


def keep(asked: Request, result: Answer | Fault) -> Keep:
    return Keep(
        request=asked,
        result=result,
        via="direct",
        call_id="call-1",
        packed=1,
        charges=(charge(request_id=asked.id),),
        cost=50,
        saved=50,
        why="asked",
    )


async def change_answers(database: Database, **values: object) -> None:
    """As if all answers were like this."""

    def change(connection: Connection) -> None:
        connection.execute(update(tables.answers).values(values))

    await database.write(change)


def named(ask: str = "a-1", **fields: object) -> Request:
    return request(ask, id="mine", named=True, **fields)


async def test_a_saved_request_waits_with_its_terms(journal: StoreJournal, database: Database) -> None:
    asked = request(deadline=NOW + 100)

    assert await put(journal, asked) is None

    found = (await database.read(requests.load_many, ["a-1"]))["a-1"]
    assert (found.request, found.lane, found.rescue_at) == (asked, "batch", NOW + 50)
    assert await database.read(requests.unseated, OWNER, NOW + 1) == ["a-1"]


async def test_what_ends_after_another_answer_is_overhead(journal: StoreJournal, database: Database) -> None:
    packs = [request(f"a-{number}") for number in range(2)]
    for asked in packs:
        await put(journal, asked)
        await journal.keep(keep(asked, answer("first")))
    late = [replace(keep(asked, answer("late")), call_id="rescue", packed=2) for asked in packs]

    for each in late:
        again = replace(each, charges=tuple(replace(charge, call_id="rescue") for charge in each.charges))
        for _ in range(2):
            await journal.keep(again)

    booked = await database.read(charges.of_request, "t", "overhead")
    assert [(each.call_id, each.cost, each.counterfactual) for each in booked] == [
        ("rescue-a-0", 50, 0),
        ("rescue-a-1", 50, 0),
    ]
    assert len(await database.read(charges.of_request, "t", "a-0")) == 1


async def test_only_what_waits_in_the_batch_lane_is_rescued(journal: StoreJournal, database: Database) -> None:
    await put(journal, request(deadline=NOW + 100), lane="direct")

    assert await database.read(requests.backlog, OWNER, NOW + 1000) == 0


async def test_an_id_is_taken_once(journal: StoreJournal) -> None:
    first, again = named(), named("a-2")
    await put(journal, first)

    known = await put(journal, again)

    assert known == Known(request=first, result=None, call_id="a-1")
    assert await seek(journal, again) == known


async def test_of_many_each_is_saved_or_known_by_itself(journal: StoreJournal, database: Database) -> None:
    await put(journal, named())
    many = [request("a-2"), named("a-3"), request("a-4", id="other", named=True)]

    came = await journal.save(list(map(save, many)))

    assert came == [None, Known(request=named(), result=None, call_id="a-1"), None]
    assert sorted(await database.read(requests.unseated, OWNER, NOW + 1)) == ["a-1", "a-2", "a-4"]
    found = await journal.look([*many, named("a-5")])
    assert [each and each.call_id for each in found if not isinstance(each, Exception)] == [None, "a-1", "a-4", "a-1"]


async def test_a_row_that_nobody_can_read_harms_only_who_asks_for_it(journal: StoreJournal, database: Database) -> None:
    await put(journal, named())
    await put(journal, request("a-2", id="other", named=True))
    await put(journal, request("a-3", id="third", named=True))
    await database.write(
        lambda connection: connection.execute(
            update(tables.requests).where(tables.requests.c.ask == "a-1").values(tags="{")
        )
    )

    came = await journal.look([named("a-4"), request("a-5", id="other", named=True)])

    assert isinstance(came[0], ValueError)
    assert isinstance(came[1], Known)


async def test_what_an_id_ended_with_is_known(journal: StoreJournal) -> None:
    await put(journal, named())
    await journal.keep(keep(named(), answer()))

    known = await seek(journal, named("a-2", body=request().body + b" "))

    assert known is not None
    assert (known.result, known.request.ask, known.request.fingerprint) == (answer(), "a-1", "f-a-1")


async def test_a_fault_is_as_good_an_end(journal: StoreJournal) -> None:
    await put(journal, named())
    await journal.keep(keep(named(), FAULT))

    known = await seek(journal, named("a-2"))

    assert known is not None
    assert known.result == FAULT


async def test_without_an_id_nothing_is_looked_for(journal: StoreJournal) -> None:
    await put(journal, request("a-1", fingerprint="f"))
    await journal.keep(keep(request("a-1", fingerprint="f"), answer()))

    assert await seek(journal, request("a-2", fingerprint="f")) is None


async def test_an_equal_answer_serves_while_it_is_young_enough(database: Database) -> None:
    journal = journal_of(database, cache_ttl=10.0)
    await put(journal, request("a-1", fingerprint="f"))
    await journal.keep(keep(request("a-1", fingerprint="f"), answer()))

    known = await seek(journal, request("a-2", fingerprint="f"))
    assert known is not None
    assert known.result == answer()
    assert await seek(journal, request("a-2", fingerprint="f", reuse="off")) is None

    await change_answers(database, finished_at=NOW - 11)
    assert await seek(journal, request("a-2", fingerprint="f")) is None


async def test_a_cancelled_request_and_one_whose_answer_is_swept_say_so(
    journal: StoreJournal, database: Database
) -> None:
    await put(journal, named())
    await put(journal, request("a-2", id="other", named=True))
    await journal.keep(keep(request("a-2", id="other", named=True), answer()))
    await database.write(requests.cancel, "t", "mine")
    await change_answers(database, body=None)

    ends = [await seek(journal, each) for each in (named("a-3"), request("a-4", id="other", named=True))]

    assert [end.result.code for end in ends if end and isinstance(end.result, Fault)] == ["cancelled", "answer_swept"]


async def test_of_two_ends_the_first_counts_and_both_are_charged(journal: StoreJournal, database: Database) -> None:
    asked = request()
    await put(journal, asked)
    await journal.keep(keep(asked, answer()))
    await journal.keep(replace(keep(asked, answer("late")), charges=(charge("call-2", "a-1"),)))

    assert await journal.outcomes(["a-1", "a-9"]) == {"a-1": ("", answer())}
    for paid in ("a-1", "overhead"):
        assert len(await database.read(charges.of_request, "t", paid)) == 1


async def test_outcomes_name_the_job_that_brought_them(journal: StoreJournal) -> None:
    await put(journal, request())
    await journal.keep(replace(keep(request(), answer()), via="batch", call_id="j-1"))

    assert await journal.outcomes(["a-1"]) == {"a-1": ("j-1", answer())}


async def test_what_was_not_acknowledged_is_taken_back_where_nobody_can_ask_for_it(
    opens: Opens,
    down: Down,  # noqa: F811
) -> None:
    """As after a commit whose outcome was not told: on disk, and its caller was told that it is not."""
    database = await opens(retry_seconds=0.05)
    journal = journal_of(database)
    await put(journal, request("a-1"))
    await put(journal, named("a-2"))
    with down(database):
        for asked in (request("a-1"), named("a-2")):
            assert isinstance(await put(journal, asked), StoreDown)
    while database.health().down or database.health().behind_bytes:
        await seek(journal, named())

    assert await database.read(requests.unseated, OWNER, NOW + 1) == ["a-2"]
