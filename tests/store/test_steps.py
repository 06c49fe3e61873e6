"""A step is written as one, or not at all: the job, what becomes of its rows, and what is told of it."""

from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, Engine, select
from tests.store.forming import claim, form, land, lapse
from tests.store.things import FAULT, NOW, answer, request, result

from batchway.core.job import Job
from batchway.core.job.commands import Fail, JobWrite, Learn, Note, Requeue, Reroute
from batchway.core.job.forming import FRAMING
from batchway.ports import Berth, Held, Occupied, Successor
from batchway.store import answers, charges, events, jobs, learnt, requests, steps
from batchway.store.events import Told
from batchway.store.steps import JobStep, Taken
from batchway.store.tables import jobs as table

TOLD = Told(at=NOW, tenant="", kind="job.closing", reason="it was time", job_id="j-1")
NAMES = tuple(Successor(id=f"j-{number}", tag=f"tag-000{number}") for number in (11, 12, 13))
REQUEUE = Requeue(attempt=2, splits=1, crowded=3, not_before=0.0, why="the rest")


def take(connection: Connection, held: Held, *writes: JobWrite, **fields: Any) -> Taken | None:
    """One step; its job as it was, unless a field says otherwise."""
    given: dict[str, Any] = {"job": held.job, "writes": writes, "names": NAMES}
    return steps.take(connection, JobStep(held=held, **(given | fields)), NOW)


def taken(connection: Connection, held: Held, *writes: JobWrite, **fields: Any) -> Taken:
    """One step, which must not be refused."""
    what = take(connection, held, *writes, **fields)
    assert what is not None
    return what


def outcome(connection: Connection, ask: str) -> object:
    """What a request's answer is; None: it waits."""
    found = answers.find(connection, "t", ask)
    assert found is not None
    return found.outcome


def successors(connection: Connection) -> dict[str, Job]:
    """The jobs that took on rows of `j-1`, by their ids."""
    found = [jobs.decode(data) for data in connection.scalars(select(table.c.data).where(table.c.id != "j-1"))]
    return {job.id: job for job in found}


def test_the_job_and_what_is_told_are_written_together(connection: Connection) -> None:
    form(connection)
    held = claim(connection)
    note = Note(kind="held", why="wait for its owner")

    assert taken(connection, held, note, job=replace(held.job, done=1), told=(TOLD,)) == Taken()

    assert events.of_job(connection, "j-1") == [TOLD]
    assert claim(connection).job.done == 1


def test_a_job_that_is_not_released_stays_with_its_holder(connection: Connection) -> None:
    form(connection)
    held = claim(connection)

    taken(connection, held, release=False)

    assert jobs.claim(connection, "other", 60, 10) == []
    assert taken(connection, held, job=replace(held.job, polls=1)) == Taken()


@pytest.mark.parametrize(
    "write",
    [
        Fail(fault=FAULT, why="no"),
        REQUEUE,
        Reroute(fault=FAULT, why="no batches here"),
        Learn(name="no_batch", value=1.0, why="404"),
    ],
)
def test_a_step_of_one_who_was_fenced_off_leaves_nothing(connection: Connection, write: JobWrite) -> None:
    asks = form(connection)
    old = claim(connection)
    lapse(connection)
    claim(connection, "new")

    assert take(connection, old, write, job=replace(old.job, done=3), told=(TOLD,), reroute_to="owner-2") is None

    assert jobs.load(connection, "j-1") == old.job
    assert jobs.count_rows(connection, "j-1") == {"open": 3}
    assert [outcome(connection, ask) for ask in asks] == [None] * 3
    assert requests.load_many(connection, asks)[asks[0]].job_id == "j-1"
    assert successors(connection) == {}
    assert events.of_job(connection, "j-1") == []
    assert learnt.list_learnt(connection) == {}


def test_a_fault_ends_all_rows_without_an_outcome(connection: Connection) -> None:
    asks = form(connection)
    held = claim(connection)
    land(connection, held, [result(asks[0])])
    answers.add(connection, [result(asks[1], outcome=answer("direct"), via="direct", charges=())])

    ended = taken(connection, held, Fail(fault=FAULT, why="its batch expired")).ended

    assert [(each.ask, each.outcome, each.batch_id) for each in ended] == [(asks[2], FAULT, "j-1")]
    assert [outcome(connection, ask) for ask in asks] == [answer(), answer("direct"), FAULT]
    # The row that a rescue answered is nobody's any more; a line that comes for it is charged as paid twice.
    assert jobs.count_rows(connection, "j-1") == {"done": 1, "failed": 1, "open": 1}


def test_a_fault_of_some_rows_leaves_the_others_to_what_follows(connection: Connection) -> None:
    asks = form(connection, rows=4)
    held = claim(connection)

    what = taken(connection, held, Fail(fault=FAULT, positions=(0, 2), why="lines 1 and 3 are bad"), REQUEUE)

    assert [each.ask for each in what.ended] == [asks[0], asks[2]]
    assert [row.ask for row in jobs.rows(connection, "j-11")] == [asks[1], asks[3]]
    assert jobs.count_rows(connection, "j-1") == {"failed": 2, "requeued": 2}


def test_requeued_rows_get_a_job_of_the_same_kind(connection: Connection) -> None:
    asks = form(connection, rows=4, attempt=1)
    held = claim(connection)
    land(connection, held, [result(asks[0])])
    answers.add(connection, [result(asks[1], via="direct", charges=())])

    (formed,) = taken(connection, held, replace(REQUEUE, not_before=NOW + 60)).formed

    assert successors(connection) == {"j-11": formed}
    assert formed == replace(
        held.job,
        id="j-11",
        submit_tag="tag-00011",
        n=2,
        size=2 * (request(asks[2]).size + FRAMING),
        tokens=24,
        created_at=NOW,
        not_before=NOW + 60,
        next_at=NOW + 60,
        attempt=2,
        splits=1,
        crowded=3,
    )
    found = requests.load_many(connection, asks)
    assert [(found[ask].job_id, found[ask].attempts) for ask in asks[2:]] == [("j-11", 2)] * 2
    assert jobs.count_rows(connection, "j-1") == {"done": 1, "open": 1, "requeued": 2}


def test_rows_are_dealt_out_to_as_many_jobs_as_asked_for(connection: Connection) -> None:
    asks = form(connection, rows=5)

    formed = taken(connection, claim(connection), replace(REQUEUE, parts=3)).formed

    assert [job.n for job in formed] == [1, 2, 2]
    assert [row.ask for job in formed for row in jobs.rows(connection, job.id)] == asks


def test_nothing_is_formed_of_rows_that_all_have_their_outcome(connection: Connection) -> None:
    asks = form(connection, rows=2)
    held = claim(connection)
    land(connection, held, [result(ask) for ask in asks])

    assert taken(connection, held, REQUEUE) == Taken()
    assert successors(connection) == {}


def test_a_line_of_a_job_that_passed_its_row_on_belongs_to_nobody(connection: Connection) -> None:
    asks = form(connection)
    held = claim(connection)
    taken(connection, held, REQUEUE, release=False)

    assert land(connection, held, [result(asks[0])]) == []

    assert outcome(connection, asks[0]) is None
    assert charges.of_request(connection, "t", "overhead") == []


def test_rows_that_leave_the_lane_are_given_to_the_owner_that_finds_another(connection: Connection) -> None:
    asks = form(connection)
    held = claim(connection)
    land(connection, held, [result(asks[0])])

    rerouted = taken(connection, held, Reroute(fault=FAULT, why="no batches here"), reroute_to="owner-2").rerouted

    assert [(each.request, each.job_id, each.lane) for each in rerouted] == [
        (request(ask), None, "batch") for ask in asks[1:]
    ]
    assert jobs.count_rows(connection, "j-1") == {"done": 1, "requeued": 2}
    assert jobs.form(connection, replace(held.job, id="j-2", submit_tag="tag-0002", n=2), asks[1:], "owner-2") == []


def test_a_lesson_is_kept_for_the_provider_and_model(connection: Connection) -> None:
    form(connection)
    held = claim(connection)

    taken(connection, held, Learn(name="max_bytes", value=500, why="413"))

    assert learnt.list_learnt(connection)["openai", "gpt-4o-mini", "max_bytes"] == 500


# Rows as they come


def test_outcomes_of_rows_are_written_with_what_they_cost(connection: Connection) -> None:
    asks = form(connection)
    held = claim(connection)

    results = [result(asks[0]), result(asks[1], outcome=FAULT, charges=())]
    assert land(connection, held, results) == [(each, True) for each in results]

    assert [outcome(connection, ask) for ask in asks] == [answer(), FAULT, None]
    assert jobs.count_rows(connection, "j-1") == {"done": 1, "failed": 1, "open": 1}
    assert [charge.call_id for charge in charges.of_request(connection, "t", asks[0])] == [f"call-{asks[0]}"]
    # Its holder goes on.
    assert jobs.claim(connection, "other", 60, 10) == []


def test_whoever_was_fenced_off_lands_nothing(connection: Connection) -> None:
    asks = form(connection)
    old = claim(connection)
    lapse(connection)
    claim(connection, "new")

    assert land(connection, old, [result(asks[0])]) is None

    assert outcome(connection, asks[0]) is None
    assert jobs.count_rows(connection, "j-1") == {"open": 3}
    assert charges.of_request(connection, "t", asks[0]) == []


def test_results_that_are_read_again_change_and_cost_nothing(connection: Connection) -> None:
    asks = form(connection)
    held = claim(connection)

    first, *again = [
        land(connection, held, [result(asks[0], outcome=outcome)]) for outcome in (answer(), answer("other"), FAULT)
    ]

    assert first == [(result(asks[0]), True)]
    assert again == [[], []]
    assert outcome(connection, asks[0]) == answer()
    assert jobs.count_rows(connection, "j-1") == {"done": 1, "open": 2}
    assert charges.of_request(connection, "t", "overhead") == []


@pytest.mark.parametrize("second", [answer(), answer("other"), FAULT])
def test_of_several_results_for_a_row_the_first_is_its_outcome(connection: Connection, second: Any) -> None:
    asks = form(connection)
    twice = [result(asks[0]), result(asks[0], outcome=second), result(asks[1])]

    landed = land(connection, claim(connection), twice)

    assert landed == [(twice[0], True), (twice[2], True)]
    assert outcome(connection, asks[0]) == answer()
    assert jobs.count_rows(connection, "j-1") == {"done": 2, "open": 1}
    assert charges.of_request(connection, "t", "overhead") == []


def test_the_row_of_a_rescued_request_ends_and_is_charged_as_paid_twice(connection: Connection) -> None:
    asks = form(connection)
    answers.add(connection, [result(asks[0], outcome=answer("direct"), via="direct", charges=())])

    assert land(connection, claim(connection), [result(asks[0])]) == [(result(asks[0]), False)]

    assert outcome(connection, asks[0]) == answer("direct")
    assert jobs.count_rows(connection, "j-1") == {"done": 1, "open": 2}
    assert [late.call_id for late in charges.of_request(connection, "t", "overhead")] == [f"call-{asks[0]}"]


# Berths


def test_one_create_call_at_a_time_where_a_batch_could_be_anybodys(connection: Connection) -> None:
    form(connection, 1)
    form(connection, 2, state="submit_unknown", next_at=4e9)
    held = claim(connection)
    serial = Berth(serial=True, enqueued=None)

    with pytest.raises(Occupied, match="1 other create call"):
        take(connection, held, job=replace(held.job, state="submitting"), berth=serial)

    assert jobs.load(connection, "j-1") == held.job
    assert taken(connection, held, berth=Berth(serial=False, enqueued=None)) == Taken()


@pytest.mark.parametrize("other", [{"account": "openai/key-2"}, {"state": "submitted"}])
def test_a_create_call_that_cannot_be_mistaken_is_in_nobodys_way(connection: Connection, other: dict[str, Any]) -> None:
    form(connection, 1)
    in_the_way: dict[str, Any] = {"state": "submitting", "next_at": 4e9}
    form(connection, 2, **(in_the_way | other))

    assert taken(connection, claim(connection), berth=Berth(serial=True, enqueued=None)) == Taken()


@pytest.mark.parametrize(("enqueued", "free"), [(100, True), (99, False)])
def test_what_is_enqueued_bounds_what_may_be_added(connection: Connection, enqueued: int, free: bool) -> None:
    form(connection, 1, tokens=60)
    form(connection, 2, tokens=40, state="submitted", next_at=4e9)
    form(connection, 3, tokens=900, state="submitted", next_at=4e9, model="another")
    held = claim(connection)
    berth = Berth(serial=False, enqueued=enqueued)

    if free:
        assert taken(connection, held, berth=berth) == Taken()
    else:
        with pytest.raises(Occupied, match="40 tokens"):
            take(connection, held, berth=berth)


def test_a_job_larger_than_the_bound_goes_when_nothing_else_is_enqueued(connection: Connection) -> None:
    form(connection, 1, tokens=60)

    assert taken(connection, claim(connection), berth=Berth(serial=False, enqueued=10)) == Taken()


def test_of_two_who_look_for_a_berth_at_once_one_finds_it_taken(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite lets one write at a time")
    with engine.begin() as connection:
        form(connection, 1)
        form(connection, 2)
        one, two = jobs.claim(connection, "me", 3600, 2)
    serial = Berth(serial=True, enqueued=None)
    with engine.begin() as first:
        take(first, one, job=replace(one.job, state="submitting"), berth=serial, release=False)
        with engine.begin() as second, pytest.raises(Exception, match="lock timeout"):
            second.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")
            take(second, two, job=replace(two.job, state="submitting"), berth=serial)
    with engine.begin() as second, pytest.raises(Occupied):
        take(second, two, job=replace(two.job, state="submitting"), berth=serial)
