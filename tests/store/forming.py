"""Jobs as the store's tests form, claim and lose them."""

from sqlalchemy import Connection, update
from tests.store.things import OWNER, entry, job

from batchway.ports import Held
from batchway.store import jobs, requests
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
