"""`batchway simulate`: the requests of a trace batched by model, offline, and what comes of it."""

import sys
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from math import isfinite
from typing import IO, Any

import typer
from msgspec import Struct, structs

from batchway.assemble import load_settings, make_counts, make_dice
from batchway.core.catalog import Catalog
from batchway.core.errors import SettingsError
from batchway.core.policy import Tolerance
from batchway.data.prices import AS_OF, finder, tiered
from batchway.providers.registry import ROWS
from batchway.settings import Settings
from batchway.simulate import policies
from batchway.simulate.arrivals import ARRIVALS, times_ms
from batchway.simulate.files import BUNDLED
from batchway.simulate.filling import Filler, Ready
from batchway.simulate.forms import Form
from batchway.simulate.inputs import entries
from batchway.simulate.modelwise import ModelWise, Rule
from batchway.simulate.notes import Notes
from batchway.simulate.printing import PeopleForm
from batchway.simulate.rows import CsvForm, JsonForm
from batchway.simulate.tally import Tally
from batchway.simulate.timing import timed


class Asked(Struct, frozen=True, kw_only=True):
    """What the command was asked. None: not said."""

    file: str | None = None
    json: bool = False
    csv: bool = False
    seed: int = 1
    arrivals: str | None = None
    rate: float = 20.0
    rule: Rule = Rule()
    providers: Sequence[str] = ()
    any_model: bool = False


def rule(
    max_wait_ms: float | None, max_batch_size: int | None, max_batch_tokens: int | None, tolerance: str | None
) -> Rule:
    """When batches close: as said, else as the policy has it; 0 tokens are no bound. Raises SettingsError."""
    if max_wait_ms is not None and not isfinite(max_wait_ms):
        raise SettingsError(f"--max-wait-ms {max_wait_ms}: allowed are milliseconds, 0 or more.")
    said: dict[str, Any] = {"max_wait_ms": max_wait_ms, "max_batch_size": max_batch_size}
    given = {name: value for name, value in said.items() if value is not None}
    if max_batch_tokens is not None:
        given["max_batch_tokens"] = max_batch_tokens or None
    if tolerance is not None:
        given["tolerance"] = _tolerance(tolerance)
    return structs.replace(Rule(), **given)


def _tolerance(said: str) -> Tolerance:
    """Three multiples, or what the table `[tolerance]` of a policy file says."""
    if "," not in said:
        return policies.load(said).policy.tolerance
    try:
        low, medium, high = (float(multiple) for multiple in said.split(","))
        return Tolerance(low=low, medium=medium, high=high)
    except (ValueError, SettingsError) as error:
        what = f"--tolerance {said}: allowed are three multiples of at least 0, as 0.25,1,4, or a policy file"
        raise SettingsError(f"{what} ({error}).") from error


def simulate(asked: Asked, flags: dict[str, object]) -> None:
    """Batch the trace and show what came of it. Raises InputError for the file, SettingsError for what was asked."""
    check(asked)
    settings = load_settings(flags).settings
    name, notes = asked.file or BUNDLED[0], Notes()
    form = _form(asked, name)
    tally = _run(requests_of(asked, name, settings, notes), asked.rule, form)
    summary = tally.summary(notes)
    form.write(_out(), summary)
    for note in summary.notes:
        typer.echo(f"note: {name}: {note}", err=True)


def _out() -> IO[str]:
    """Standard output, which takes every prompt whatever the locale."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    return sys.stdout


def check(asked: Asked) -> None:
    """Raises SettingsError for what cannot be done."""
    if asked.json and asked.csv:
        raise SettingsError("--json and --csv: give one of them.")
    if asked.arrivals is not None and asked.arrivals not in ARRIVALS:
        raise SettingsError(f"--arrivals {asked.arrivals}: allowed are {', '.join(ARRIVALS)}.")
    if not 1 / MOST <= asked.rate <= MOST:
        raise SettingsError(f"--rate {asked.rate:g}: allowed are requests per second, from {1 / MOST:f} to {MOST:,}.")


MOST = 1_000_000
"""Made arrivals per second; and seconds to one of them."""


def _form(asked: Asked, name: str) -> Form:
    if asked.json:
        return JsonForm()
    return CsvForm() if asked.csv else PeopleForm(name, asked.rule)


def requests_of(asked: Asked, name: str, settings: Settings, notes: Notes) -> Iterator[Ready]:
    """The requests of the trace in the order of their times, nothing missing."""
    names = tiered(settings.models)
    filler = Filler(
        name,
        catalog=Catalog(finder(AS_OF, settings.models)),
        names=_chosen(names, asked.providers, settings.default_provider),
        providers=[row.name for row in ROWS] + sorted({provider for provider, _ in names}),
        count=make_counts().text,
        any_model=asked.any_model,
    )
    made = times_ms(asked.arrivals or "poisson", asked.rate, make_dice(asked.seed))
    found = entries(name, notes)
    return map(filler.fill, timed(name, found, made, notes, anew=asked.arrivals is not None))


def _chosen(names: Sequence[tuple[str, str]], said: Sequence[str], default: str) -> list[tuple[str, str]]:
    """The models to choose from: of the providers that were said, else the default one's, else, where it has none, all.

    SettingsError names a provider that was said and has none.
    """
    having = {provider for provider, _ in names}
    providers = said or ([default] if default in having else sorted(having))
    for provider in said:
        if provider not in having:
            raise SettingsError(
                f"--provider {provider}: none of its models has a tier; those of {', '.join(sorted(having))} have."
            )
    return [(provider, name) for provider, name in names if provider in providers]


def _run(requests: Iterator[Ready], rule: Rule, form: Form) -> Tally:
    tally, batching = Tally(rule), ModelWise(rule)
    for request in requests:
        tally.request(request)
        form.request(request)
        for batch in batching.arrive(request):
            tally.batch(batch)
            form.batch(batch)
    for batch in batching.finish():
        tally.batch(batch)
        form.batch(batch)
    return tally
