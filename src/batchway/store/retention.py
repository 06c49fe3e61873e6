"""Retention: bodies are swept when their time is over, in steps so small that nobody waits for one. Metadata stays."""

from collections.abc import Sequence

from sqlalchemy import Connection, delete, select, update

from batchway.store.answers import without_words
from batchway.store.lists import among
from batchway.store.tables import answers, bodies, job_rows, jobs


def sweep(connection: Connection, now: float, limit: int = 1000) -> int:
    """Sweep the bodies, asked and answered, of up to so many requests whose time is over. Returns how many; fewer than
    `limit` means that none are left. A request without an answer is never swept, nor one that a batch still has to be
    made of: it may have been answered otherwise."""
    over = select(answers.c.ask).where(answers.c.keep_until <= now, ~_needed)
    oldest = over.order_by(answers.c.keep_until).limit(limit)
    asks = list(connection.scalars(oldest.with_for_update(skip_locked=True, of=answers)))
    if asks:
        connection.execute(delete(bodies).where(among(connection, bodies.c.ask, asks)))
        swept = update(answers).where(among(connection, answers.c.ask, asks))
        connection.execute(swept.values(body=None, fingerprint=None, keep_until=None))
        _silence(connection, asks)
    return len(asks)


_unmade = jobs.c.provider_batch_id.is_(None), jobs.c.finished_at.is_(None)
_needed = (
    select(job_rows.c.ask)
    .join(jobs, jobs.c.id == job_rows.c.job_id)
    .where(job_rows.c.ask == answers.c.ask, *_unmade)
    .exists()
)
"""The request is a row of a batch that is not at its provider yet: what is uploaded is made of its body."""


def _silence(connection: Connection, asks: Sequence[str]) -> None:
    """The messages of faults quote what was asked."""
    faulty = select(answers.c.ask, answers.c.fault).where(
        among(connection, answers.c.ask, asks), answers.c.fault.is_not(None)
    )
    for ask, fault in connection.execute(faulty).all():
        connection.execute(update(answers).where(answers.c.ask == ask).values(fault=without_words(fault)))
