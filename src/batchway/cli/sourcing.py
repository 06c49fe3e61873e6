"""Where simulated requests come from: a trace's file, or what the gateway recorded in its store."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from math import inf

from msgspec import Struct, structs
from sqlalchemy import Connection

from batchway.assemble.policies import defaults_of
from batchway.assemble.storage import store_place, store_url
from batchway.cli.simulating import Asked, requests_of
from batchway.cli.storing import of_version, with_store
from batchway.core.errors import SettingsError
from batchway.core.types import Hints
from batchway.settings import Settings
from batchway.simulate import replay
from batchway.simulate.files import BUNDLED
from batchway.simulate.lab import Lab
from batchway.simulate.notes import Notes
from batchway.simulate.outcome import Outcome
from batchway.simulate.policies import Setup
from batchway.simulate.trace import Reader
from batchway.simulate.world import Recorded
from batchway.store import Database
from batchway.store.connections import make_engine, read_url
from batchway.store.learnt import list_turnarounds
from batchway.store.migrations import NEWEST
from batchway.store.traffic import Overhead, Passed, overhead, passed, span

DAY = 86_400.0
MONTH = 30 * DAY
"""Seconds before the recorded traffic from which on turnarounds of batches count."""

AFTER = 1e-3
"""Seconds past the last request: it is among those that are read."""


class Traffic:
    """Requests, and what is known beside them. They are read once."""

    def __init__(
        self,
        lab: Lab,
        requests: Iterator[Recorded],
        *,
        before: Hints = Hints(),  # noqa: B008  # It is frozen.
        measured: Sequence[float] = (),
        was: Outcome | None = None,
    ) -> None:
        """`before`: the defaults under which they were recorded; `measured`: seconds that batches took; `was`: how they
        were answered."""
        self.lab = lab
        self.was = was
        self.notes: list[str] = []
        """What was passed over; whole once they are read."""
        self.title = ""
        self._requests = requests
        self._before = before
        self._measured = measured

    def rehearse(self, setups: Sequence[Setup]) -> list[Outcome]:
        """What each policy makes of them."""
        return self.lab.rehearse(setups, self._requests, before=self._before, measured=self._measured)


@contextmanager
def traffic(
    asked: Asked, *, from_store: bool, days: float, system_tokens: int, settings: Settings, lab: Lab
) -> Iterator[Traffic]:
    """The traffic that was asked for. Raises SettingsError for what was asked; reading raises InputError."""
    if not from_store:
        yield _of_file(asked, system_tokens, settings, lab)
        return
    with _recorded(days, settings) as record:
        yield _of_record(record, settings, lab)


# A file


def _of_file(asked: Asked, system_tokens: int, settings: Settings, lab: Lab) -> Traffic:
    if system_tokens < 0:
        raise SettingsError(f"--system-tokens {system_tokens}: allowed are 0 or more.")
    name, notes = asked.file or BUNDLED[0], Notes()
    reader = Reader(system=system_tokens, provider=settings.default_provider)

    def requests() -> Iterator[Recorded]:
        number = cached = 0
        for ready in requests_of(asked, name, settings, notes):
            number += 1
            if ready.entry.cache_hit:
                cached += 1
            else:
                yield reader.request(ready)
        found.title = f"{name}: {number - cached:,} requests"
        found.notes += [f"{cached:,} requests that a cache answered are left out"] if cached else []
        found.notes += notes

    found = Traffic(lab, requests())
    return found


# A store


class _Record(Struct, frozen=True, kw_only=True):
    """What a store has of some days."""

    read: replay.Read
    overhead: Overhead
    turnarounds: Sequence[float]
    days: float


def _of_record(record: _Record, settings: Settings, lab: Lab) -> Traffic:
    before = defaults_of(settings)
    taken = replay.take_in(record.read, record.overhead, lab.conditions)
    found = Traffic(
        structs.replace(lab, conditions=taken.conditions),
        replay.requests(record.read, lab.catalog, before),
        before=before,
        measured=record.turnarounds,
        was=taken.was,
    )
    found.title = f"{taken.was.requests:,} recorded requests of {record.days:.1f} days"
    found.notes += [f"{count:,} requests are left out: {why}" for why, count in sorted(taken.skipped.items())]
    if taken.untold:
        found.notes.append(f"{taken.untold:,} requests were recorded without their traits: they are never packed")
    return found


@contextmanager
def _recorded(days: float, settings: Settings) -> Iterator[_Record]:
    if not 0 < days < 1e5:
        raise SettingsError(f"--days {days:g}: allowed are days, above 0.")
    version = with_store({"database_url": settings.database_url} if settings.database_url else {}, _version)
    engine = make_engine(read_url(store_url(settings) or ""), writes=False, size=2)

    def read() -> Iterator[Passed]:
        with engine.connect() as reading, closing(passed(reading, since, until)) as rows:
            yield from rows

    try:
        with of_version(version, store_place(settings)), engine.connect() as connection:
            first, last = _span(connection)
            since, until = max(first, last - days * DAY), last + AFTER
            yield _Record(
                read=read,
                overhead=overhead(connection, since, until),
                turnarounds=[each.seconds for each in list_turnarounds(connection, since=since - MONTH)],
                days=(last - since) / DAY,
            )
    finally:
        engine.dispose()


def _span(connection: Connection) -> tuple[float, float]:
    found = span(connection, inf)
    if found is None:
        raise SettingsError("--from-store: the store has no requests yet.")
    return found


async def _version(database: Database, _settings: Settings) -> int:
    """Of its tables, which are there."""
    return database.version or NEWEST
