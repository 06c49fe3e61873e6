"""`batchway tune`: tries policies on a trace or on recorded traffic, shows what waiting buys, and writes the cheapest
that is quick enough as a policy file."""

import json
import sys
from collections.abc import Sequence
from math import inf
from typing import Any

import typer
from msgspec import Struct, structs
from rich.table import Table

from batchway import __version__
from batchway.assemble import load_settings
from batchway.cli.rehearsing import conditions_of, console, say_notes
from batchway.cli.simulating import Asked, check
from batchway.cli.sourcing import Traffic, traffic
from batchway.cli.writing import write_text
from batchway.core.cost import dollars
from batchway.core.errors import SettingsError
from batchway.simulate import policies
from batchway.simulate.comparing import Column, duration, money, saved
from batchway.simulate.lab import make_lab
from batchway.simulate.policies import Base, Setup
from batchway.simulate.report import page
from batchway.simulate.tuning import AXES, Goal, Tried, best, candidates, front, read_axis

SHOWN = 8
"""Policies of the curve that a report shows whole."""


class Wanted(Struct, frozen=True, kw_only=True):
    """What the command was asked beside its trace."""

    goal: Goal
    profile: str = "saver"
    policy: str | None = None
    """A file to begin with, instead."""
    over: Sequence[str] = ()
    trials: int = 40
    output: str = "tuned.toml"
    report: str | None = None
    world: str | None = None
    from_store: bool = False
    days: float = 7.0
    system_tokens: int = 0


def tune(asked: Asked, wanted: Wanted, flags: dict[str, object]) -> None:
    """Search, show, and write. Raises SettingsError where nothing is within the goal; then nothing is written."""
    check(asked)
    if not 0 < wanted.goal.p95 < inf:
        raise SettingsError(f"--p95 {wanted.goal.p95:g}: allowed are seconds, above 0.")
    settings = load_settings(flags).settings
    base = policies.on(settings)
    lab = make_lab(settings, conditions=conditions_of(wanted.world), seed=asked.seed)
    with traffic(
        asked,
        from_store=wanted.from_store,
        days=wanted.days,
        system_tokens=wanted.system_tokens,
        settings=settings,
        lab=lab,
    ) as found:
        tried = _try_all(wanted, _begun(wanted, base), found, asked.seed)
    chosen = best(tried, wanted.goal)
    _show(asked, wanted, found, tried, chosen)
    if chosen is None:
        quickest = min(tried, key=lambda each: each.p95)
        raise SettingsError(
            f"--p95 {wanted.goal.p95:g}: none of {len(tried)} policies is so quick; the quickest has a p95 of "
            f"{duration(quickest.p95)}."
        )
    text = policies.write(chosen.candidate.setup, base, heading=_heading(wanted, found, chosen, len(tried), asked.seed))
    write_text("--output", wanted.output, text)
    typer.echo(f"The policy is {wanted.output}: batchway start --policy {wanted.output}", err=True)


def _begun(wanted: Wanted, base: Base) -> Setup:
    return policies.load(wanted.policy, base) if wanted.policy else policies.named(wanted.profile, base)


def _try_all(wanted: Wanted, begun: Setup, found: Traffic, seed: int) -> list[Tried]:
    axes = dict(map(read_axis, wanted.over)) or AXES
    chosen = candidates(begun, axes, wanted.trials, seed)
    outcomes = found.rehearse([candidate.setup for candidate in chosen])
    return [Tried(candidate=candidate, outcome=outcome) for candidate, outcome in zip(chosen, outcomes, strict=True)]


def _show(asked: Asked, wanted: Wanted, found: Traffic, tried: Sequence[Tried], chosen: Tried | None) -> None:
    curve = front(tried)
    if wanted.report is not None:
        columns = [
            Column(name=each.candidate.setup.name, kind="simulated", outcome=each.outcome) for each in curve[:SHOWN]
        ]
        title, conditions = f"{found.title}: what waiting buys", structs.asdict(found.lab.conditions)
        write_text("--report", wanted.report, page(title, columns, conditions, found.notes))
    if asked.json:
        json.dump(_for_programs(wanted, found, tried, chosen), sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        screen = console()
        screen.print(f"{found.title}; {len(tried)} policies tried, {len(curve)} that no other beats in both:\n")
        screen.print(_table(curve, chosen))
    say_notes(found.notes)


def _table(curve: Sequence[Tried], chosen: Tried | None) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("", no_wrap=True)
    for name in ("paid", "saved", "p50", "p95"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("settings", overflow="fold")
    for each in curve:
        outcome = each.outcome
        shown.add_row(
            f"{'→' if each is chosen else ' '} {each.candidate.setup.name}",
            money(outcome.paid),
            saved(outcome),
            duration(outcome.waited.quantile(0.5)),
            duration(each.p95),
            _words(each),
        )
    return shown


def _words(tried: Tried) -> str:
    return ", ".join([f"{name} {value}" for name, value in tried.candidate.values.items()]) or "-"


def _for_programs(wanted: Wanted, found: Traffic, tried: Sequence[Tried], chosen: Tried | None) -> dict[str, Any]:
    curve = front(tried)
    return {
        "title": found.title,
        "goal": {"p95_seconds": wanted.goal.p95},
        "chosen": None if chosen is None else chosen.candidate.setup.name,
        "tried": [
            {
                "name": each.candidate.setup.name,
                "settings": dict(each.candidate.values),
                "paid_usd": dollars(each.outcome.paid),
                "alone_usd": dollars(each.outcome.worth),
                "p50_seconds": round(each.outcome.waited.quantile(0.5), 6),
                "p95_seconds": round(each.p95, 6),
                "refused": each.refused,
                "on_curve": each in curve,
            }
            for each in tried
        ],
        "notes": list(found.notes),
    }


def _heading(wanted: Wanted, found: Traffic, chosen: Tried, number: int, seed: int) -> str:
    outcome = chosen.outcome
    return (
        f"Made by batchway {__version__} tune on {found.title}, seed {seed}.\n"
        f"Goal: the cheapest with a p95 of {duration(wanted.goal.p95)} at most, of {number} policies tried.\n"
        f"Simulated: {money(outcome.paid)} where the same sent alone would cost {money(outcome.worth)}; "
        f"p95 {duration(chosen.p95)}."
    )
