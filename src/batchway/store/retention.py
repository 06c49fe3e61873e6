"""Retention: bodies are swept when their time is over, in steps so small that nobody waits for one. Metadata stays."""

from sqlalchemy import Connection, delete, select, update

from batchway.store.chunks import CHUNK
from batchway.store.tables import answers, bodies


def sweep(connection: Connection, now: float, limit: int = CHUNK) -> int:
    """Sweep the bodies, asked and answered, of up to so many requests whose time is over. Returns how many; fewer than
    `limit` means that none are left. A request without an answer is never swept."""
    over = (
        select(answers.c.ask).where(answers.c.keep_until <= now).order_by(answers.c.keep_until).limit(min(limit, CHUNK))
    )
    asks = list(connection.scalars(over.with_for_update(skip_locked=True)))
    if asks:
        connection.execute(delete(bodies).where(bodies.c.ask.in_(asks)))
        swept = update(answers).where(answers.c.ask.in_(asks))
        connection.execute(swept.values(body=None, fingerprint=None, keep_until=None))
    return len(asks)
