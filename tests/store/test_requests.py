"""What was asked comes back as it was, and belongs to whoever lives."""

import json

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, select, update
from tests.store.things import NOW, OWNER, entry, job, request, result

from batchway.core.types import Request
from batchway.store import Taken, answers, jobs, owners, requests
from batchway.store.tables import bodies
from batchway.store.tables import owners as owners_table
from batchway.store.tables import requests as requests_table

RESPONSES = json.dumps({"model": "gpt-5", "input": "Hello", "instructions": "Be brief."}).encode()
EMBEDDINGS = json.dumps({"model": "text-embedding-3-small", "input": ["a", "b"]}).encode()

EVERYTHING = request(
    "a-2",
    id="named-1",
    caller="who \u2028 \0 \U0001f600",
    deadline=NOW + 3600,
    priority="low",
    strategy="batch",
    reuse="all",
    packing="auto",
    optimize="fit",
    on_deadline="fail",
    lanes=("direct", "batch"),
    named=True,
    durable=True,
    tokens=None,
)


@pytest.mark.parametrize(
    "asked",
    [
        request(),
        EVERYTHING,
        request(endpoint="responses", body=RESPONSES),
        request(endpoint="embeddings", body=EMBEDDINGS),
        request(body=b'{"model":"m","messages":[{"role":"user","content":"\xe2\x80\xa8 \\u0000"}],"x":[1.0,1e5]}'),
    ],
)
def test_a_request_comes_back_as_it_was(connection: Connection, asked: Request) -> None:
    requests.save(connection, [replace(entry(), request=asked)])

    assert requests.load(connection, asked.ask) == asked


def test_the_callers_own_bearer_is_never_written(connection: Connection) -> None:
    asked = request(authorization="Bearer sk-secret-of-a-caller")
    requests.save(connection, [replace(entry(), request=asked)])

    assert requests.load(connection, "a-1") == replace(asked, authorization=None)
    assert requests.load_many(connection, ["a-1"])["a-1"].forwarded
    for table in (requests_table, bodies):
        for row in connection.execute(select(table)):
            assert "sk-secret" not in str(tuple(row))


def test_one_tenant_has_one_request_of_an_id(connection: Connection) -> None:
    requests.save(connection, [entry("a-1", id="same")])
    requests.save(connection, [entry("a-2", id="same", tenant="other")])

    with pytest.raises(Taken), connection.begin_nested():
        requests.save(connection, [entry("a-3", id="same")])

    assert requests.load(connection, "a-3") is None


def test_what_is_unknown_is_none(connection: Connection) -> None:
    assert requests.load(connection, "nobody") is None


def test_a_save_of_unknown_outcome_is_taken_back_unless_it_was_answered(connection: Connection) -> None:
    requests.save(connection, [entry("a-1"), entry("a-2")])
    answers.add(connection, [result("a-2")])

    requests.forget(connection, ["a-1", "a-2", "a-3"])

    assert requests.load(connection, "a-1") is None
    assert requests.load(connection, "a-2") is not None


def test_due_are_the_owners_most_urgent_requests_that_wait(connection: Connection) -> None:
    requests.save(
        connection,
        [
            entry("later", rescue_at=NOW + 20),
            entry("soon", rescue_at=NOW + 10),
            entry("much-later", rescue_at=NOW + 99),
            entry("never"),
            entry("answered", rescue_at=NOW + 5),
            entry("foreign", rescue_at=NOW + 5, owner="owner-2"),
        ],
    )
    answers.add(connection, [result("answered")])

    found = requests.due(connection, OWNER, NOW, NOW + 50, 10)

    assert [pending.request.ask for pending in found] == ["soon", "later"]
    assert [pending.rescue_at for pending in requests.due(connection, OWNER, NOW, NOW + 50, 1)] == [NOW + 10]
    assert requests.backlog(connection, OWNER, NOW + 50) == 2


def test_what_is_to_fail_has_until_its_deadline_whatever_else_must_leave_early(connection: Connection) -> None:
    requests.save(connection, [entry("fails", rescue_at=NOW + 10, on_deadline="fail"), entry(rescue_at=NOW + 20)])

    assert [pending.request.ask for pending in requests.due(connection, OWNER, NOW, NOW + 50, 9)] == ["a-1"]
    assert [pending.request.ask for pending in requests.due(connection, OWNER, NOW + 10, NOW + 10, 9)] == ["fails"]
    assert requests.backlog(connection, OWNER, NOW + 50) == 1


def test_requests_of_the_dead_are_taken_by_the_living(connection: Connection) -> None:
    owners.enter(connection, "dead", "host", 3600)
    owners.enter(connection, "alive", "host", 3600)
    owners.enter(connection, "me", "host", 3600)
    requests.save(
        connection,
        [
            entry("a-1", owner="dead", rescue_at=NOW + 9),
            entry("a-2", owner="dead", rescue_at=NOW + 1),
            entry("a-3", owner="alive"),
            entry("a-4", owner="never-seen"),
            entry("a-5", owner="dead"),
            entry("a-6", owner="dead", asked_at=NOW + 2),
        ],
    )
    jobs.form(connection, job(), ["a-1"], "dead")
    jobs.form(connection, job(2), ["a-6"], "dead")
    assert requests.set_lane(connection, ["a-6"], "direct", "dead") == ["a-6"]
    answers.add(connection, [result("a-5")])
    connection.execute(update(owners_table).where(owners_table.c.owner_id == "dead").values(lease_until=0.0))
    assert requests.dead_owners(connection) == ["dead", "never-seen"]

    found = requests.take_over(connection, "me", 10)

    # One rides in its job, whoever drives that; another is asked directly beside its own.
    assert found.taken == 4
    assert [(pending.request.ask, pending.job_id, pending.lane) for pending in found.adrift] == [
        ("a-2", None, "batch"),
        ("a-4", None, "batch"),
        ("a-6", "j-2", "direct"),
    ]
    assert requests.dead_owners(connection) == []
    assert requests.take_over(connection, "me", 10).taken == 0
    assert [each.request.ask for each in requests.due(connection, "me", NOW, NOW + 100, 10)] == ["a-2", "a-1"]


def test_whoever_is_dead_itself_takes_nothing_over(connection: Connection) -> None:
    requests.save(connection, [entry(owner="dead")])

    assert requests.take_over(connection, "me", 10).taken == 0


def test_no_more_are_taken_over_than_asked_for(connection: Connection) -> None:
    owners.enter(connection, "me", "host", 3600)
    requests.save(connection, [entry(f"a-{number}", owner="dead") for number in range(5)])

    taken = [requests.take_over(connection, "me", 2).taken for _ in range(4)]

    assert taken == [2, 2, 1, 0]


def test_requeued_requests_leave_their_job_unless_they_are_answered(connection: Connection) -> None:
    requests.save(connection, [entry("a-1", rescue_at=NOW), entry("a-2", rescue_at=NOW)])
    jobs.form(connection, job(n=2), ["a-1", "a-2"], OWNER)
    answers.add(connection, [result("a-2")])

    requests.requeue(connection, ["a-1", "a-2"], "owner-2")

    found = requests.load_many(connection, ["a-1", "a-2"])
    assert (found["a-1"].job_id, found["a-2"].job_id) == (None, "j-1")
    assert [pending.request.ask for pending in requests.due(connection, "owner-2", NOW, NOW, 9)] == ["a-1"]


def test_a_rescued_request_goes_by_another_lane(connection: Connection) -> None:
    requests.save(connection, [entry(rescue_at=NOW)])

    assert requests.set_lane(connection, ["a-1"], "direct", "another") == []
    assert requests.set_lane(connection, ["a-1", "a-9"], "direct", OWNER) == ["a-1"]

    assert requests.load_many(connection, ["a-1"])["a-1"].lane == "direct"
    assert requests.due(connection, OWNER, NOW, NOW + 9, 9) == []


def test_a_tenant_cancels_its_own_pending_requests_alone(connection: Connection) -> None:
    requests.save(connection, [entry("a-1"), entry("a-2")])
    answers.add(connection, [result("a-2")])

    assert requests.cancel(connection, "other", "a-1") is None
    assert requests.cancel(connection, "t", "a-2") is None
    assert requests.cancel(connection, "t", "a-1") == "a-1"
    assert requests.cancel(connection, "t", "a-1") is None
    assert answers.find(connection, "t", "a-1").status == "cancelled"  # type: ignore[union-attr]
