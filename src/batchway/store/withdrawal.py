"""A request that its owner takes back, in one transaction: it is not pending any more, and its job may be free."""

from msgspec import Struct
from sqlalchemy import Connection, select

from batchway.store import answers, events, requests
from batchway.store.events import Told
from batchway.store.tables import is_pending, job_rows
from batchway.store.tables import requests as table


class Withdrawal(Struct, frozen=True, kw_only=True):
    """What was taken back."""

    ask: str
    emptied: str | None
    """The job that it was in, if nobody waits for any other of its rows."""


def withdraw(connection: Connection, tenant: str, request_id: str, now: float) -> Withdrawal | None:
    """Its tenant wants no answer any more. None: there is no such pending request."""
    ask = requests.cancel(connection, tenant, request_id)
    if ask is None:
        return None
    answers.end_cancelled(connection, ask, now)
    events.tell(
        connection,
        [Told(at=now, tenant=tenant, kind="request.cancelled", reason="cancelled by its owner", ask=ask)],
    )
    job_id = connection.scalar(select(table.c.job_id).where(table.c.ask == ask))
    return Withdrawal(ask=ask, emptied=None if job_id is None or _has_live_row(connection, job_id) else job_id)


def _has_live_row(connection: Connection, job_id: str) -> bool:
    members = select(job_rows.c.ask).join(table, table.c.ask == job_rows.c.ask)
    live = members.where(job_rows.c.job_id == job_id, table.c.job_id == job_id, is_pending)
    return connection.execute(live.limit(1)).first() is not None
