"""Bodies go when their time is over; what they were about stays."""

from msgspec import structs
from sqlalchemy import Connection, func, select, update
from tests.store.things import FAULT, NOW, OWNER, answer, entry, job, result

from batchway.core.errors import wordless
from batchway.core.types import Answer
from batchway.store import answers, charges, jobs, requests, retention
from batchway.store.tables import bodies
from batchway.store.tables import jobs as jobs_table
from batchway.store.withdrawal import withdraw

DAY = 86_400.0


def test_bodies_are_swept_in_small_steps_and_metadata_stays(connection: Connection) -> None:
    asks = [f"a-{number}" for number in range(5)]
    requests.save(connection, [entry(ask, retention=7 * DAY, fingerprint="f") for ask in asks])
    answers.add(connection, [result(ask) for ask in asks])
    over = NOW + 60 + 7 * DAY

    assert retention.sweep(connection, over - 1) == 0
    assert [retention.sweep(connection, over, limit=2) for _ in range(4)] == [2, 2, 1, 0]

    found = answers.find(connection, "t", "a-0")
    assert found is not None
    assert isinstance(found.outcome, Answer)
    assert (found.status, found.swept, found.outcome.body, found.outcome.usage) == (
        "completed",
        True,
        b"",
        answer().usage,
    )
    assert requests.load(connection, "a-0") is None
    assert connection.scalar(select(func.count()).select_from(bodies)) == 0
    assert answers.find_shared(connection, "t", "f", 0.0) is None
    assert len(charges.of_request(connection, "t", "a-0")) == 1


def test_what_a_batch_is_still_to_be_made_of_is_not_swept(connection: Connection) -> None:
    requests.save(connection, [entry("a-1", retention=1.0), entry("a-2", retention=1.0)])
    formed = job(1, n=2)
    jobs.form(connection, formed, ["a-1", "a-2"], OWNER)
    answers.add(connection, [result("a-1", via="direct")])

    assert retention.sweep(connection, NOW + 1e9) == 0, "it was rescued before its batch was made"
    assert [position for position, _ in jobs.requests_of(connection, formed)] == [0, 1]

    connection.execute(update(jobs_table).values(provider_batch_id="batch-1"))
    assert retention.sweep(connection, NOW + 1e9) == 1


def test_what_was_cancelled_is_swept_too(connection: Connection) -> None:
    requests.save(connection, [entry(retention=DAY)])
    assert withdraw(connection, "t", "a-1", NOW) is not None

    assert [retention.sweep(connection, NOW + DAY - 1), retention.sweep(connection, NOW + DAY)] == [0, 1]

    assert requests.load(connection, "a-1") is None
    assert answers.find(connection, "t", "a-1").status == "cancelled"  # type: ignore[union-attr]


def test_the_message_of_a_fault_goes_with_its_body(connection: Connection) -> None:
    requests.save(connection, [entry(retention=DAY)])
    quoting = structs.replace(FAULT, message="I cannot say that word.", body=b"that word")
    answers.add(connection, [result(outcome=quoting)])
    assert answers.find(connection, "t", "a-1").outcome == quoting  # type: ignore[union-attr]

    retention.sweep(connection, NOW + 60 + DAY)

    assert answers.find(connection, "t", "a-1").outcome == wordless(quoting)  # type: ignore[union-attr]


def test_what_waits_or_is_kept_for_good_is_never_swept(connection: Connection) -> None:
    requests.save(connection, [entry("waits", retention=1.0), entry("kept"), entry("over", retention=1.0)])
    answers.add(connection, [result("kept"), result("over", outcome=FAULT)])

    assert retention.sweep(connection, NOW + 1e9) == 1

    assert [requests.load(connection, ask) is not None for ask in ("waits", "kept", "over")] == [True, True, False]
    assert answers.find(connection, "t", "kept").outcome == answer()  # type: ignore[union-attr]
