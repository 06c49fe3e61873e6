"""Jobs as the store's tests form, claim and lose them."""

from collections.abc import Sequence

from sqlalchemy import Connection, update
from tests.store.things import OWNER, entry, job

from batchway.core.job import Job
from batchway.core.types import Answer, Fault
from batchway.ports import Held
from batchway.store import jobs, requests, steps
from batchway.store.answers import Result
from batchway.store.jobs import Landing
from batchway.store.tables import jobs as table


def form(connection: Connection, number: int = 1, rows: int = 3, **fields: object) -> list[str]:
    """A job of new requests."""
    asks = [f"a-{number}-{row}" for row in range(rows)]
    requests.save(connection, [entry(ask) for ask in asks])
    assert jobs.form(connection, job(number, n=rows, **fields), asks, OWNER) == []
    return asks


def claim(connection: Connection, owner: str = "me", seconds: float = 3600) -> Held:
    """The one job that can be taken."""
    (held,) = jobs.claim(connection, owner, seconds, 10)
    return held


def lapse(connection: Connection) -> None:
    """Let all leases be over."""
    connection.execute(update(table).values(lease_until=0.0))


def land(connection: Connection, held: Held, results: Sequence[Result]) -> list[tuple[Result, bool]] | None:
    """These results of rows of a job, as they are."""
    places = {row.ask: row.position for row in jobs.rows(connection, held.job.id)}

    def settle(_job: Job, row: Landing, outcome: Answer | Fault) -> Result:
        return next(each for each in results if each.ask == row.ask and each.outcome is outcome)

    return steps.land(connection, held, [(places.get(each.ask, 999), each.outcome) for each in results], settle)
