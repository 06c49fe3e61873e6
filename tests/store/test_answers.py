"""The first answer is the answer; each is written with what it cost."""

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, select
from tests.store.things import FAULT, NOW, answer, charge, entry, request, result

from batchway.core.errors import wordless
from batchway.core.types import Answer
from batchway.store import answers, charges, requests, tables
from batchway.store.answers import Record, Stored


def find(connection: Connection, request_id: str = "a-1", tenant: str = "t") -> Stored:
    found = answers.find(connection, tenant, request_id)
    assert found is not None
    return found


def test_a_request_is_pending_until_it_is_answered(connection: Connection) -> None:
    requests.save(connection, [entry(tags={"project": "x"}, deadline=NOW + 9)])

    found = find(connection)

    assert (found.status, found.outcome, found.via, found.swept) == ("pending", None, None, False)
    assert (found.fingerprint, found.lane, found.tags, found.deadline) == ("f-a-1", "batch", {"project": "x"}, NOW + 9)


def test_an_answer_comes_back_as_it_was_with_its_charge(connection: Connection) -> None:
    requests.save(connection, [entry()])

    assert answers.add(connection, [result(packed=3)]) == [True]

    found = find(connection)
    assert (found.status, found.outcome, found.via, found.batch_id) == ("completed", answer(), "batch", "j-1")
    assert (found.cost, found.saved, found.packed, found.finished_at) == (50, 50, 3, NOW + 60)
    assert charges.of_request(connection, "t", "a-1") == [charge("call-a-1")]


def test_a_fault_comes_back_as_it_was(connection: Connection) -> None:
    requests.save(connection, [entry()])

    answers.add(connection, [result(outcome=FAULT, cost=None, saved=None, charges=())])

    found = find(connection)
    assert (found.status, found.outcome, found.cost) == ("failed", FAULT, None)


def test_a_late_answer_leaves_only_its_late_charge(connection: Connection) -> None:
    requests.save(connection, [entry()])
    rescued = result(outcome=answer("direct"), via="direct", charges=(charge("direct-call", cost=100),))
    answers.add(connection, [rescued])

    assert answers.add(connection, [result()]) == [False]

    assert find(connection).outcome == answer("direct")
    assert [booked.call_id for booked in charges.of_request(connection, "t", "a-1")] == ["direct-call"]
    late = charges.of_request(connection, "t", "overhead")
    assert [(booked.call_id, booked.cost, booked.counterfactual) for booked in late] == [("call-a-1", 50, 0)]


def test_no_words_are_kept_beside_the_bodies(connection: Connection) -> None:
    """Of a packed call's part its text is known apart, and a provider's fault quotes what was asked."""
    part = replace(answer(), said="the word")
    quoting = replace(FAULT, message="I cannot say the word.", body=b"the word")
    records = [
        Record(entry=entry("a-1", owner=None), result=result("a-1", outcome=part), bodies=True),
        Record(entry=entry("a-2", owner=None), result=result("a-2", outcome=part), bodies=False),
        Record(entry=entry("a-3", owner=None), result=result("a-3", outcome=quoting), bodies=False),
        Record(entry=entry("a-4", owner=None), result=result("a-4", outcome=quoting), bodies=True),
    ]

    answers.record(connection, records)

    texts = connection.execute(select(tables.answers.c.answer, tables.answers.c.fault).order_by("ask")).all()
    assert ["the word" in str(text) for text in texts] == [False, False, False, True]
    assert find(connection, "a-3").outcome == wordless(quoting)


def test_what_is_written_again_after_a_commit_in_doubt_is_not_late(connection: Connection) -> None:
    requests.save(connection, [entry("a-1"), entry("a-2")])
    answers.add(connection, [result("a-1")])

    assert answers.add(connection, [result("a-1"), result("a-2")]) == [False, True]

    assert charges.of_request(connection, "t", "overhead") == []
    assert charges.of_request(connection, "t", "a-1") == [charge("call-a-1")]


def test_of_two_answers_at_once_the_first_counts(connection: Connection) -> None:
    requests.save(connection, [entry("a-1"), entry("a-2")])

    first = answers.add(connection, [result("a-2"), result("a-1"), result("a-2", outcome=FAULT)])

    assert first == [True, True, False]
    assert find(connection, "a-2").status == "completed"


@pytest.mark.parametrize("gone", ["cancelled", "unknown"])
def test_an_answer_that_nobody_waits_for_is_only_charged(connection: Connection, gone: str) -> None:
    if gone == "cancelled":
        requests.save(connection, [entry()])
        requests.cancel(connection, "t", "a-1")

    assert answers.add(connection, [result()]) == [False]

    assert len(charges.of_request(connection, "t", "overhead")) == 1
    assert charges.of_request(connection, "t", "a-1") == []


def test_no_tenant_finds_anothers_request(connection: Connection) -> None:
    requests.save(connection, [entry("a-1", id="same", tenant="one"), entry("a-2", id="same", tenant="two")])
    answers.add(connection, [result("a-1", outcome=answer("of one"))])

    assert find(connection, "same", "one").outcome == answer("of one")
    assert find(connection, "same", "two").outcome is None
    assert answers.find(connection, "three", "same") is None
    assert answers.find(connection, "two", "a-1") is None


def test_an_answer_serves_others_only_where_it_may(connection: Connection) -> None:
    requests.save(connection, [entry(f"a-{number}", fingerprint="f") for number in range(2)])
    requests.save(connection, [entry("a-2", fingerprint="f", reuse="off")])
    later = replace(answer("newest"), finished_at=NOW + 90)
    answers.add(
        connection,
        [
            result("a-0"),
            result("a-1", outcome=later, finished_at=NOW + 90),
            result("a-2", outcome=answer("not shared"), finished_at=NOW + 99),
        ],
    )

    found = answers.find_shared(connection, "t", "f", NOW)
    assert found is not None
    assert (found.outcome, found.ask) == (later, "a-1")
    assert answers.find_shared(connection, "t", "f", NOW + 91) is None
    assert answers.find_shared(connection, "other", "f", NOW) is None
    assert answers.find_shared(connection, "t", "g", NOW) is None


def test_an_answer_that_was_given_again_serves_no_longer_for_it(connection: Connection) -> None:
    requests.save(connection, [entry(f"a-{number}", fingerprint="f") for number in range(2)])
    answers.add(connection, [result("a-0"), result("a-1", via="cache", finished_at=NOW + 90)])

    assert answers.find_shared(connection, "t", "f", NOW + 61) is None
    found = answers.find_shared(connection, "t", "f", NOW)
    assert found is not None and found.ask == "a-0"


def test_a_record_holds_request_answer_and_charge_at_once(connection: Connection) -> None:
    records = [
        Record(entry=entry("a-1", owner=None, lane="direct"), result=result("a-1")),
        Record(entry=entry("a-2", owner=None, lane="direct"), result=result("a-2", outcome=FAULT, charges=())),
        Record(entry=entry("a-3", owner=None, retention=9.0), result=result("a-3"), bodies=False),
    ]

    answers.record(connection, records)

    assert [find(connection, f"a-{number}").status for number in (1, 2, 3)] == ["completed", "failed", "completed"]
    assert requests.load(connection, "a-1") == request("a-1")
    assert len(charges.of_request(connection, "t", "a-1")) == 1


def test_a_record_without_bodies_keeps_none(connection: Connection) -> None:
    answers.record(connection, [Record(entry=entry(owner=None, fingerprint="f"), result=result(), bodies=False)])

    found = find(connection)
    assert isinstance(found.outcome, Answer)
    assert (found.outcome.body, found.outcome.usage, found.swept) == (b"", answer().usage, True)
    assert requests.load(connection, "a-1") is None
    assert answers.find_shared(connection, "t", "f", 0.0) is None
