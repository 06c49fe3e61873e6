"""What happened is told in order, to its tenant alone."""

from sqlalchemy import Connection
from tests.store.things import NOW, OWNER, entry, job

from batchway.store import events, jobs, requests
from batchway.store.events import Told


def told(kind: str, at: float = 0.0, **fields: object) -> Told:
    """An event."""
    given: dict[str, object] = {"tenant": "t", "reason": "because"} | fields
    return Told(at=NOW + at, kind=kind, **given)  # type: ignore[arg-type]


def test_a_requests_events_come_with_those_of_its_jobs_in_order(connection: Connection) -> None:
    requests.save(connection, [entry("a-1", id="mine"), entry("a-2")])
    jobs.form(connection, job(), ["a-1"], OWNER)
    ours = [
        told("accepted", ask="a-1", data={"lane": "batch", "tokens": 12}),
        told("formed", job_id="j-1"),
        # Clocks of replicas differ: what was told later happened later.
        told("submitted", -5.0, job_id="j-1"),
        told("answered", 9.0, ask="a-1", job_id="j-1", picodollars=2**40),
    ]
    others = [told("accepted", ask="a-2"), told("formed", job_id="j-2"), told("answered", ask="a-2", job_id="j-1")]

    events.tell(connection, ours[:2] + others)
    events.tell(connection, ours[2:])

    assert events.of_request(connection, "t", "mine") == ours
    assert events.of_job(connection, "j-1") == ours[1:3]


def test_no_tenant_is_told_what_happened_to_another(connection: Connection) -> None:
    requests.save(connection, [entry("a-1")])
    events.tell(connection, [told("accepted", ask="a-1")])

    assert events.of_request(connection, "other", "a-1") == []
    assert events.of_request(connection, "t", "unknown") == []


def test_nothing_to_tell_is_no_statement(connection: Connection) -> None:
    events.tell(connection, [])
