"""`batchway simulate` with policies: the whole gateway answers a trace, or its own recorded traffic, by each."""

import json
import sys
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from math import inf
from pathlib import Path
from typing import Any

import typer
from msgspec import Struct, convert, structs
from msgspec import ValidationError as Invalid
from rich.console import Console
from sqlalchemy import Connection

from batchway.assemble import load_settings
from batchway.assemble.policies import defaults_of, planner_policy
from batchway.assemble.storage import store_url
from batchway.cli.simulating import Asked, check, requests_of
from batchway.cli.storing import with_store
from batchway.core.errors import SettingsError
from batchway.settings import Settings
from batchway.simulate import policies, replay
from batchway.simulate.comparing import Column, figures, table
from batchway.simulate.files import BUNDLED
from batchway.simulate.lab import Lab, make_lab
from batchway.simulate.notes import Notes
from batchway.simulate.outcome import Outcome
from batchway.simulate.policies import Setup
from batchway.simulate.report import page
from batchway.simulate.trace import Reader
from batchway.simulate.world import Conditions, Recorded
from batchway.store import Database
from batchway.store.connections import make_engine, read_url
from batchway.store.learnt import list_turnarounds
from batchway.store.traffic import Overhead, Passed, overhead, passed, span

WIDTH = 132
DAY = 86_400.0
MONTH = 30 * DAY
"""Seconds before the recorded traffic from which on turnarounds of batches count."""

AFTER = 1e-3
"""Seconds past the last request: it is among those that are read."""


class Wanted(Struct, frozen=True, kw_only=True):
    """What the command was asked beside its trace. None: not said."""

    profiles: Sequence[str] = ()
    policies: Sequence[str] = ()
    """Files."""
    from_store: bool = False
    days: float = 7.0
    """Of recorded traffic, back from its last request."""
    report: str | None = None
    world: str | None = None
    system_tokens: int = 0


class Compared(Struct, frozen=True, kw_only=True):
    """What came of it."""

    title: str
    columns: Sequence[Column]
    conditions: Conditions
    seed: int
    notes: Sequence[str] = ()


def rehearse(asked: Asked, wanted: Wanted, flags: dict[str, object]) -> None:
    """Compare, and show. Raises SettingsError for what was asked, InputError for the trace."""
    check(asked)
    settings = load_settings(flags).settings
    lab = make_lab(settings, conditions=conditions_of(wanted.world), seed=asked.seed)
    if wanted.from_store:
        compared = _replayed(wanted, settings, lab, flags)
    else:
        compared = _simulated(asked, wanted, settings, lab)
    if wanted.report is not None:
        report = page(compared.title, compared.columns, structs.asdict(compared.conditions), compared.notes)
        Path(wanted.report).write_text(report, "utf-8")
    if asked.json:
        json.dump(_for_programs(compared), sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        _for_people(compared, wanted.report)


def setups_of(wanted: Wanted, settings: Settings) -> list[Setup]:
    """The policies that were named, on top of the settings."""
    base = planner_policy(settings, store=False)
    by_name = [policies.named(name, base) for name in wanted.profiles]
    return by_name + [policies.load(file, base) for file in wanted.policies]


def conditions_of(world: str | None) -> Conditions:
    """How providers behave: as a file says, else as is assumed. Raises SettingsError that names the field."""
    if world is None:
        return Conditions()
    try:
        return convert(tomllib.loads(Path(world).read_text("utf-8")), Conditions)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, Invalid, SettingsError) as error:
        fields = ", ".join(Conditions.__struct_fields__)
        raise SettingsError(f"--world {world}: {error}; allowed are {fields}.") from error


# A trace


class Trace:
    """The requests of a trace's file, as the planner knows them."""

    def __init__(self, asked: Asked, system_tokens: int, settings: Settings) -> None:
        if system_tokens < 0:
            raise SettingsError(f"--system-tokens {system_tokens}: allowed are 0 or more.")
        self.name = asked.file or BUNDLED[0]
        self._asked = asked
        self._settings = settings
        self._reader = Reader(system=system_tokens, provider=settings.default_provider)
        self._notes = Notes()
        self._cached = 0

    def requests(self) -> Iterator[Recorded]:
        """In the order of their times, but for those that a cache answered."""
        for ready in requests_of(self._asked, self.name, self._settings, self._notes):
            if ready.entry.cache_hit:
                self._cached += 1
            else:
                yield self._reader.request(ready)

    @property
    def notes(self) -> list[str]:
        """What was passed over, once the trace was read."""
        cached = [f"{self._cached:,} requests that a cache answered are left out"] if self._cached else []
        return [*cached, *self._notes]


def _simulated(asked: Asked, wanted: Wanted, settings: Settings, lab: Lab) -> Compared:
    trace = Trace(asked, wanted.system_tokens, settings)
    setups = setups_of(wanted, settings) or [policies.named("transparent", planner_policy(settings, store=False))]
    outcomes = lab.rehearse(setups, trace.requests())
    return Compared(
        title=f"{trace.name}: {outcomes[0].requests:,} requests",
        columns=_columns(setups, outcomes),
        conditions=lab.conditions,
        seed=lab.seed,
        notes=trace.notes,
    )


def _columns(setups: Sequence[Setup], outcomes: Sequence[Outcome]) -> list[Column]:
    return [
        Column(name=setup.name, kind="simulated", outcome=outcome)
        for setup, outcome in zip(setups, outcomes, strict=True)
    ]


# What was recorded


def _replayed(wanted: Wanted, settings: Settings, lab: Lab, flags: dict[str, object]) -> Compared:
    before = defaults_of(settings)
    now = Setup(
        name="as set now", profile=settings.profile, policy=planner_policy(settings, store=False), requests=before
    )
    setups = [now, *setups_of(wanted, settings)]
    with _recorded(wanted.days, settings, flags) as record:
        taken = replay.take_in(record.read, record.overhead, lab.conditions)
        lab = structs.replace(lab, conditions=taken.conditions)
        requests = replay.requests(record.read, lab.catalog, before)
        outcomes = lab.rehearse(setups, requests, before=before, measured=record.turnarounds)
    return Compared(
        title=f"{taken.was.requests:,} recorded requests of {record.days:.1f} days",
        columns=[Column(name="was", kind="booked", outcome=taken.was), *_columns(setups, outcomes)],
        conditions=lab.conditions,
        seed=lab.seed,
        notes=_left_out(taken),
    )


class Record(Struct, frozen=True, kw_only=True):
    """What a store has of some days."""

    read: replay.Read
    overhead: Overhead
    turnarounds: Sequence[float]
    days: float


@contextmanager
def _recorded(days: float, settings: Settings, flags: dict[str, object]) -> Iterator[Record]:
    if not 0 < days < 1e5:
        raise SettingsError(f"--days {days:g}: allowed are days, above 0.")
    # Opening it brings it up to date, where an older batchway wrote it.
    with_store(flags, _nothing)
    engine = make_engine(read_url(store_url(settings) or ""), writes=False, size=2)

    def read() -> Iterator[Passed]:
        with engine.connect() as reading, closing(passed(reading, since, until)) as rows:
            yield from rows

    try:
        with engine.connect() as connection:
            first, last = _span(connection)
            since, until = max(first, last - days * DAY), last + AFTER
            yield Record(
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


async def _nothing(_database: Database, _settings: Settings) -> None:
    """Opening it was all."""


def _left_out(taken: replay.Taken) -> list[str]:
    told = [f"{count:,} requests are left out: {why}" for why, count in sorted(taken.skipped.items())]
    if taken.untold:
        told.append(f"{taken.untold:,} requests were recorded without their traits: they are never packed")
    return told


# Showing


def _for_programs(compared: Compared) -> dict[str, Any]:
    return {
        "title": compared.title,
        "seed": compared.seed,
        "policies": [figures(column) for column in compared.columns],
        "conditions": structs.asdict(compared.conditions),
        "notes": list(compared.notes),
    }


def _for_people(compared: Compared, report: str | None) -> None:
    console = Console(
        file=sys.stdout, width=None if sys.stdout.isatty() else WIDTH, highlight=False, emoji=False, soft_wrap=True
    )
    console.print(f"{compared.title}; the whole gateway, offline: no provider is called, nothing is billed.\n")
    console.print(table(compared.columns))
    for note in compared.notes:
        typer.echo(f"note: {note}", err=True)
    if report is not None:
        typer.echo(f"The report is {report}.", err=True)
