"""Whose requests are whose, as one process after another says."""

from sqlalchemy import Connection, update
from tests.store.conftest import Opens
from tests.store.things import NOW, entry, job, result

from batchway.ports import Orphans
from batchway.store import Database, answers, jobs, requests
from batchway.store.custody import Custodian
from batchway.store.tables import owners as table


def custodian(database: Database, *names: str) -> Custodian:
    """One who goes by these names, one after the other."""
    return Custodian(database, iter(names).__next__, lambda: NOW, host="here", seconds=60.0)


async def lapse(database: Database) -> None:
    """Let every lease be over."""

    def end_all(connection: Connection) -> None:
        connection.execute(update(table).values(lease_until=0.0))

    await database.write(end_all)


async def test_a_lease_that_is_over_is_not_prolonged_but_begun_anew(database: Database) -> None:
    one = custodian(database, "one", "one-again")
    await one.enter()
    assert await one.beat()
    await lapse(database)

    assert not await one.beat()
    await one.enter()

    assert one.owner == "one-again"
    assert await one.beat()


async def test_what_the_dead_had_is_taken_over_once(database: Database, opens: Opens) -> None:
    dead, two, three = custodian(database, "dead"), custodian(database, "two"), custodian(await opens(), "three")
    await dead.enter()
    await database.write(requests.save, [entry("a-1", owner="dead"), entry("a-2", owner="dead")])
    await database.write(jobs.form, job(), ["a-2"], "dead")
    for each in (two, three):
        await each.enter()
        assert not await each.orphaned()
        assert await each.take_over(9) == Orphans(taken=0, adrift=())

    await dead.leave()

    assert await two.orphaned()
    orphans = [await each.take_over(9) for each in (two, three)]
    assert [each.taken for each in orphans] == [2, 0]
    assert [pending.request.ask for pending in orphans[0].adrift] == ["a-1"]


async def test_what_is_ours_and_in_no_job_is_found(database: Database) -> None:
    one = custodian(database, "one")
    await one.enter()
    mine = [entry("a-1", owner="one"), entry("a-2", owner="one"), entry("a-3", owner="one", asked_at=NOW + 50)]
    await database.write(requests.save, [*mine, entry("a-4", owner="another"), entry("a-5", owner="one")])
    await database.write(jobs.form, job(), ["a-2"], "one")
    await database.write(answers.add, [result("a-5")])

    assert await one.unseated(NOW + 9) == ["a-1"]
    assert [pending.job_id for pending in await one.load(["a-1", "a-2", "a-9"])] == [None, "j-1"]


async def test_a_request_that_is_attended_to_is_due_no_more(database: Database) -> None:
    one = custodian(database, "one")
    await one.enter()
    await database.write(requests.save, [entry(f"a-{number}", owner="one", rescue_at=NOW) for number in range(3)])

    await one.attend(["a-0", "a-2"], "direct")

    assert await one.backlog(NOW) == 1
    assert [pending.request.ask for pending in await one.due(NOW, NOW, 9)] == ["a-1"]
    assert [pending.lane for pending in await one.load(["a-0", "a-1"])] == ["direct", "batch"]


async def test_bodies_are_swept_when_their_time_is_over(database: Database) -> None:
    one = custodian(database, "one")
    await one.enter()
    kept = [entry(f"a-{number}", owner="one", retention=retention) for number, retention in enumerate((0.0, 1e9))]
    await database.write(requests.save, kept)
    await database.write(answers.add, [result("a-0", finished_at=NOW - 1), result("a-1")])

    assert [await one.sweep(), await one.sweep()] == [1, 0]
    assert [pending.request.ask for pending in await one.load(["a-0", "a-1"])] == ["a-1"]
