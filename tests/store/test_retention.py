"""Bodies go when their time is over; what they were about stays."""

from sqlalchemy import Connection, func, select
from tests.store.things import FAULT, NOW, answer, entry, result

from batchway.core.types import Answer
from batchway.store import answers, charges, requests, retention
from batchway.store.tables import bodies

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


def test_what_waits_or_is_kept_for_good_is_never_swept(connection: Connection) -> None:
    requests.save(connection, [entry("waits", retention=1.0), entry("kept"), entry("over", retention=1.0)])
    answers.add(connection, [result("kept"), result("over", outcome=FAULT)])

    assert retention.sweep(connection, NOW + 1e9) == 1

    assert [requests.load(connection, ask) is not None for ask in ("waits", "kept", "over")] == [True, True, False]
    assert answers.find(connection, "t", "kept").outcome == answer()  # type: ignore[union-attr]
