"""What batches of every dialect are read by: a field of another type than expected is as if it were not there."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from batchway.ports import Incoming


def is_good(incoming: Incoming) -> bool:
    """Whether it is an answer at all."""
    return 200 <= incoming.status < 300


def text(value: Any) -> str | None:
    """A text that says something: an empty id is none (failures.md #38)."""
    return value if isinstance(value, str) and value else None


def number(value: Any) -> float | None:
    """A positive number."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None


def whole(value: Any) -> int:
    """A count; 0 where there is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def latest(value: Any) -> float | None:
    """The last moment that an RFC 3339 time may mean, in seconds since the epoch: of a bare date the end of its day.

    So a listing that is read back to a moment is not left too early, and nothing expires before its time.
    """
    said = text(value)
    if said is None:
        return None
    try:
        if len(said) == len("2026-11-20"):
            day = datetime.combine(date.fromisoformat(said), datetime.min.time(), UTC)
            return (day + timedelta(days=1)).timestamp()
        moment = datetime.fromisoformat(said)
    except (ValueError, OverflowError):
        return None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def repaired(content: bytes) -> bytes:
    """The same where it is UTF-8. What is not becomes U+FFFD: the answer is paid for, and its caller has to read it."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return content.decode(errors="replace").encode()
    return content
