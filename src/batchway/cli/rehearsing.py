"""`batchway simulate` with policies: the whole gateway answers a trace, or its own recorded traffic, by each."""

import json
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from msgspec import Struct, convert, structs
from msgspec import ValidationError as Invalid
from rich.console import Console

from batchway.assemble import load_settings
from batchway.cli.simulating import Asked, check
from batchway.cli.sourcing import Traffic, traffic
from batchway.cli.writing import write_text
from batchway.core.errors import SettingsError
from batchway.settings import Settings
from batchway.simulate import policies
from batchway.simulate.comparing import Column, figures, table
from batchway.simulate.lab import make_lab
from batchway.simulate.outcome import Outcome
from batchway.simulate.policies import Setup
from batchway.simulate.report import page
from batchway.simulate.world import Conditions

WIDTH = 132
"""Signs of a line where there is no terminal to ask."""


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
    notes: Sequence[str]


def rehearse(asked: Asked, wanted: Wanted, flags: dict[str, object]) -> None:
    """Compare, and show. Raises SettingsError for what was asked, InputError for the trace."""
    check(asked)
    settings = load_settings(flags).settings
    lab = make_lab(settings, conditions=conditions_of(wanted.world), seed=asked.seed)
    with traffic(
        asked,
        from_store=wanted.from_store,
        days=wanted.days,
        system_tokens=wanted.system_tokens,
        settings=settings,
        lab=lab,
    ) as found:
        compared = _compare(found, _setups(wanted, settings))
    if wanted.report is not None:
        report = page(compared.title, compared.columns, structs.asdict(compared.conditions), compared.notes)
        write_text("--report", wanted.report, report)
    if asked.json:
        json.dump(_for_programs(compared), sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        _for_people(compared)
    say_notes(compared.notes)


def _setups(wanted: Wanted, settings: Settings) -> list[Setup]:
    """The policies that were named, on top of the settings; before them, or alone, what the settings say."""
    base = policies.on(settings)
    found = [policies.named(name, base) for name in wanted.profiles]
    found += [policies.load(file, base) for file in wanted.policies]
    if wanted.from_store:
        found.insert(0, structs.replace(base(settings.profile), name="as set"))
    return found or [policies.named("transparent", base)]


def conditions_of(world: str | None) -> Conditions:
    """How providers behave: as a file says, else as is assumed. Raises SettingsError that names the field."""
    if world is None:
        return Conditions()
    try:
        return convert(tomllib.loads(Path(world).read_text("utf-8")), Conditions)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, Invalid, SettingsError) as error:
        fields = ", ".join(Conditions.__struct_fields__)
        raise SettingsError(f"--world {world}: {error}; allowed are {fields}.") from error


def _compare(found: Traffic, setups: Sequence[Setup]) -> Compared:
    outcomes = found.rehearse(setups)
    booked = [] if found.was is None else [Column(name="was", kind="booked", outcome=found.was)]
    return Compared(
        title=found.title,
        columns=[*booked, *map(_column, setups, outcomes)],
        conditions=found.lab.conditions,
        seed=found.lab.seed,
        notes=found.notes,
    )


def _column(setup: Setup, outcome: Outcome) -> Column:
    return Column(name=setup.name, kind="simulated", outcome=outcome)


def _for_programs(compared: Compared) -> dict[str, Any]:
    return {
        "title": compared.title,
        "seed": compared.seed,
        "policies": [figures(column) for column in compared.columns],
        "conditions": structs.asdict(compared.conditions),
        "notes": list(compared.notes),
    }


def _for_people(compared: Compared) -> None:
    screen = console()
    screen.print(f"{compared.title}; the whole gateway, offline: no provider is called, nothing is billed.\n")
    screen.print(table(compared.columns))


def console() -> Console:
    """Standard output, as wide as the terminal."""
    width = None if sys.stdout.isatty() else WIDTH
    return Console(file=sys.stdout, width=width, highlight=False, emoji=False, soft_wrap=True)


def say_notes(notes: Sequence[str]) -> None:
    """What was passed over, beside the output."""
    for note in notes:
        typer.echo(f"note: {note}", err=True)
