"""The store as jobs see it: each operation is one transaction, and each row that lands is charged once."""

from typing import Any

import pytest
from msgspec.structs import replace
from tests.store.conftest import Opens
from tests.store.test_custody import custodian
from tests.store.things import FAULT, NOW, answer, entry, job, request, result

from batchway.core.catalog import Catalog, Model, Rates, Step
from batchway.core.job import Job
from batchway.core.job.commands import Fail, Learn, Requeue, Reroute
from batchway.core.job.facts import CancelAsked
from batchway.core.turnaround import Turnaround
from batchway.core.types import Request
from batchway.ports import Held, Landing, Lesson, Successor
from batchway.store import Database, answers, charges, events, requests
from batchway.store.jobstore import StoreJobs

DIRECT = Rates(input=10, output=20, cached=10, cache_written=10)
BATCH = Rates(input=5, output=10, cached=5, cache_written=5)
CATALOG = Catalog.of(
    [
        Model(
            provider="openai",
            id="gpt-4o-mini",
            prices={"direct": (Step(from_tokens=0, rates=DIRECT),), "batch": (Step(from_tokens=0, rates=BATCH),)},
        )
    ]
)
PAID, WORTH = 10 * 5 + 5 * 10, 10 * 10 + 5 * 20
"""Of an answer of `things`."""


class Desk:
    """One process's jobs, and requests of its own."""

    def __init__(self, database: Database, owner: str) -> None:
        self.database = database
        self.custodian = custodian(database, owner)
        self.jobs = StoreJobs(database, self.custodian, CATALOG, lambda: NOW)

    async def form(self, *asks: str, **fields: Any) -> Job:
        """A job of new requests of this process."""
        await self.database.write(requests.save, [entry(ask, owner=self.custodian.owner) for ask in asks])
        formed = job(n=len(asks), **fields)
        assert await self.jobs.form(formed, asks) == []
        return formed

    async def claim(self) -> Held:
        """The one job that is due."""
        (held,) = await self.jobs.claim(9, 3600.0)
        return held

    async def step(self, held: Held, *writes: Any, **fields: Any) -> Any:
        """One step, let go of unless a field says otherwise."""
        given: dict[str, Any] = {"names": (), "berth": None, "told": (), "release": True} | fields
        return await self.jobs.step(held, given.pop("job", held.job), writes, **given)


@pytest.fixture
async def desk(database: Database) -> Desk:
    made = Desk(database, "one")
    await made.custodian.enter()
    return made


async def test_what_lands_is_charged_as_a_batch_beside_what_it_would_have_cost(desk: Desk) -> None:
    formed = await desk.form("a-0", "a-1")
    held = await desk.claim()

    landings = await desk.jobs.land(held, [(1, answer()), (0, FAULT)])

    assert landings is not None
    (charge,) = await desk.database.read(charges.of_request, "t", "a-1")
    assert (charge.via, charge.cost, charge.counterfactual, charge.call_id) == ("batch", PAID, WORTH, formed.id)
    assert landings == [
        Landing(ask="a-0", result=FAULT, first=True),
        Landing(ask="a-1", result=answer(), first=True, charge=charge),
    ]
    assert await desk.jobs.count(formed.id) == (1, 1)
    found = await desk.database.read(answers.find, "t", "a-1")
    assert found is not None
    assert (found.cost, found.saved, found.batch_id) == (PAID, WORTH - PAID, formed.id)


async def test_what_lands_late_is_charged_as_paid_twice(desk: Desk) -> None:
    await desk.form("a-0")
    await desk.database.write(answers.add, [result("a-0", via="direct", charges=())])

    landings = await desk.jobs.land(await desk.claim(), [(0, answer("late"))])

    assert landings is not None
    assert [landing.first for landing in landings] == [False]
    (late,) = await desk.database.read(charges.of_request, "t", "overhead")
    assert (late.cost, late.counterfactual, late.call_id) == (PAID, 0, "tag-0001-0")


async def test_what_is_read_again_is_told_to_nobody(desk: Desk) -> None:
    await desk.form("a-0")
    held = await desk.claim()
    await desk.jobs.land(held, [(0, answer())])

    assert await desk.jobs.land(held, [(0, answer()), (0, FAULT)]) == []


async def test_one_id_of_two_tenants_is_charged_to_each(desk: Desk) -> None:
    for tenant in ("one", "two"):
        asked = entry(f"a-{tenant}", owner="one", id="same", tenant=tenant)
        await desk.database.write(requests.save, [asked])
    await desk.jobs.form(job(n=2), ["a-one", "a-two"])

    await desk.jobs.land(await desk.claim(), [(0, answer()), (1, answer())])

    for tenant in ("one", "two"):
        assert [each.cost for each in await desk.database.read(charges.of_request, tenant, "same")] == [PAID]


async def test_rows_that_do_not_exist_and_jobs_that_were_taken_land_nothing(desk: Desk, opens: Opens) -> None:
    await desk.form("a-0")
    (old,) = await desk.jobs.claim(9, -1.0)
    other = Desk(await opens(), "two")
    await other.custodian.enter()
    held = await other.claim()

    assert await desk.jobs.land(old, [(0, answer())]) is None
    assert await desk.jobs.prolong(old, 60.0) is None
    assert await desk.step(old) is None
    assert await other.jobs.land(held, [(7, answer())]) == []
    assert await other.jobs.count("j-1") == (0, 0)


async def test_a_step_tells_what_it_did(desk: Desk) -> None:
    await desk.form("a-0", "a-1", "a-2", "a-3")
    held = await desk.claim()
    names = [Successor(id="j-2", tag="tag-0002")]
    requeue = Requeue(attempt=2, splits=0, crowded=0, not_before=0.0, why="the rest")

    stepped = await desk.step(
        held,
        Fail(fault=FAULT, positions=(2,), why="line 3"),
        requeue,
        job=replace(held.job, state="closing"),
        names=names,
        told=[("job.closing", "it ended")],
        release=False,
    )

    assert stepped.landed == (Landing(ask="a-2", result=FAULT, first=True),)
    assert [(each.id, each.n) for each in stepped.formed] == [("j-2", 3)]
    assert (stepped.held.job.state, stepped.held.fence, stepped.held.cancel) == ("closing", held.fence, None)
    assert [told.kind for told in await desk.database.read(events.of_job, "j-1")] == ["job.closing"]

    def made(position: int, request: Request) -> tuple[int, bytes]:
        return position, request.body

    assert [place for place, _ in await desk.jobs.rows(stepped.formed[0], -1, 9, made)] == [0, 1, 2]
    assert await desk.jobs.rows(held.job, 0, 1, made) == [(1, (1, request("a-1").body))]


async def test_rerouted_requests_are_this_processs(desk: Desk, opens: Opens) -> None:
    await desk.form("a-0")
    other = Desk(await opens(), "two")
    await other.custodian.enter()

    stepped = await other.step(await other.claim(), Reroute(fault=FAULT, why="no batches"))

    assert [pending.request.ask for pending in stepped.rerouted] == ["a-0"]
    assert [await each.custodian.unseated(NOW + 1) for each in (desk, other)] == [[], ["a-0"]]


async def test_a_wish_is_handed_over_once(desk: Desk) -> None:
    await desk.form("a-0")
    wish = CancelAsked(by="admin", why="enough")
    assert await desk.jobs.cancel("j-1", wish)

    held = await desk.claim()
    assert held.cancel == wish
    stepped = await desk.step(held, job=replace(held.job, next_at=4e9))

    assert stepped.held.cancel is None
    assert await desk.jobs.claim(9, 60.0) == []


async def test_what_is_held_is_handed_back_when_the_process_ends(desk: Desk) -> None:
    await desk.form("a-0")
    await desk.claim()
    assert (await desk.jobs.next_at() or 0) > 60

    await desk.jobs.let_go()

    assert (await desk.claim()).job.id == "j-1"


async def test_lessons_and_turnarounds_outlast_the_process(desk: Desk, opens: Opens) -> None:
    await desk.form("a-0")
    held = await desk.claim()
    await desk.step(held, Learn(name="max_bytes", value=500, why="413"))
    measured = Turnaround(provider="openai", model="m", at=NOW, seconds=60.0, n=9)
    await desk.jobs.add_turnaround(measured)

    other = Desk(await opens(), "two")

    lesson = Lesson(provider="openai", model="gpt-4o-mini", name="max_bytes", value=500.0, at=NOW)
    assert await other.jobs.learnt() == [lesson]
    assert await other.jobs.turnarounds(NOW) == [measured]
    assert await other.jobs.turnarounds(NOW + 1) == []


async def test_jobs_are_found_by_tag_account_and_batch(desk: Desk) -> None:
    formed = await desk.form("a-0", provider_batch_id="batch_1", state="submitted")

    assert await desk.jobs.by_tags(["tag-0001", "tag-9999"]) == {"tag-0001": formed}
    assert await desk.jobs.accounts(NOW) == ["openai/key-1"]
    assert await desk.jobs.recorded("openai/key-1", "j-9") == {"batch_1"}
    assert await desk.jobs.hurry() == ["j-1"]
    assert await desk.jobs.look_again("j-1")
