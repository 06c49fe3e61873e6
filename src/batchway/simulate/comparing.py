"""Policies side by side: what each made of the same requests, in figures, for people and for programs."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from rich.table import Table

from batchway.core.cost import dollars
from batchway.core.types import PICODOLLARS
from batchway.simulate.outcome import VIAS, Outcome, Way

SHARES = (0.5, 0.95, 0.99)
"""The quantiles of waiting that are told."""


class Column(Struct, frozen=True, kw_only=True):
    """One policy, or what was."""

    name: str
    kind: str
    """`booked`: on record; `simulated`."""
    outcome: Outcome


def figures(column: Column) -> dict[str, Any]:
    """All figures, for programs. Money in US dollars as decimal text, waiting in seconds."""
    outcome = column.outcome
    return {
        "name": column.name,
        "kind": column.kind,
        "requests": outcome.requests,
        "paid_usd": dollars(outcome.paid),
        "alone_usd": dollars(outcome.worth),
        "saved_usd": dollars(outcome.worth - outcome.paid),
        "overhead_usd": dollars(outcome.overhead.paid),
        "charges_without_known_price": outcome.unpriced,
        "waited_seconds": _waiting(outcome.waited.quantile),
        "ways": {via: _way(way) for via, way in outcome.ways.items() if way.requests or way.paid},
        "refused": dict(sorted(outcome.refused.items())),
        "calls": {
            "sent": outcome.calls,
            "packed": outcome.packs,
            "requests_in_packed": outcome.packed,
            "failed": outcome.failed,
            "cancelled": outcome.cancelled,
        },
        "jobs": outcome.jobs,
        "windows": {
            kind: {
                "count": windows.count,
                "close_reasons": dict(sorted(windows.reasons.items())),
                "sizes": {str(size): count for size, count in sorted(windows.sizes.items())},
                "waited_seconds": _waiting(windows.waited.quantile),
            }
            for kind, windows in outcome.windows.items()
            if windows.count
        },
    }


def _way(way: Way) -> dict[str, Any]:
    return {
        "requests": way.requests,
        "paid_usd": dollars(way.paid),
        "alone_usd": dollars(way.worth),
        "waited_seconds": _waiting(way.waited.quantile),
    }


def _waiting(quantile: Any) -> dict[str, float]:
    return {f"p{share * 100:g}": round(quantile(share), 6) for share in SHARES}


def table(columns: Sequence[Column]) -> Table:
    """The policies as the columns of a table."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("")
    for column in columns:
        shown.add_column(f"{column.name}\n[dim]{column.kind}[/dim]", justify="right")
    for label, cells in _lines(columns):
        shown.add_row(label, *cells)
    return shown


def _lines(columns: Sequence[Column]) -> list[tuple[str, list[str]]]:
    outcomes = [column.outcome for column in columns]
    lines = [
        ("requests", [f"{outcome.requests:,}" for outcome in outcomes]),
        ("paid", [money(outcome.paid) for outcome in outcomes]),
    ]
    if len(columns) > 1:
        lines.append((f"beside {columns[0].name}", ["", *[beside(outcome, outcomes[0]) for outcome in outcomes[1:]]]))
    lines += [
        ("alone, directly", [money(outcome.worth) for outcome in outcomes]),
        ("saved", [saved(outcome) for outcome in outcomes]),
    ]
    lines += [
        (f"answered: {via}", [_count_and_money(outcome.ways[via]) for outcome in outcomes])
        for via in VIAS
        if any(outcome.ways[via].requests for outcome in outcomes)
    ]
    if any(outcome.overhead.paid for outcome in outcomes):
        lines.append(("overhead", [money(outcome.overhead.paid) for outcome in outcomes]))
    lines.append(("refused", [f"{sum(outcome.refused.values()):,}" for outcome in outcomes]))
    lines.append(("in packed calls", [f"{outcome.packed:,}" for outcome in outcomes]))
    lines += [
        (f"waited, p{share * 100:g}", [duration(outcome.waited.quantile(share)) for outcome in outcomes])
        for share in SHARES
    ]
    if any(outcome.ways["batch"].requests for outcome in outcomes):
        lines.append(("by batch, p95", [_by_batch(outcome.ways["batch"]) for outcome in outcomes]))
    if any(outcome.unpriced for outcome in outcomes):
        lines.append(("charges without price", [f"{outcome.unpriced:,}" for outcome in outcomes]))
    return lines


def _by_batch(way: Way) -> str:
    return duration(way.waited.quantile(0.95)) if way.requests else "-"


def _count_and_money(way: Way) -> str:
    return f"{way.requests:,}  {money(way.paid)}" if way.requests else "-"


def saved(outcome: Outcome) -> str:
    """Beside the same requests sent alone, such as `$1.20 (40 %)`."""
    if not outcome.worth:
        return "-"
    gain = outcome.worth - outcome.paid
    return f"{money(gain)} ({100 * gain / outcome.worth:.1f} %)"


def beside(outcome: Outcome, first: Outcome) -> str:
    """What is paid more or less than by another, such as `-49.8 %`."""
    return f"{100 * (outcome.paid - first.paid) / first.paid:+.1f} %" if first.paid else "-"


def money(picodollars: int) -> str:
    """In dollars, to the cent where that says enough, else to four figures."""
    value = picodollars / PICODOLLARS
    sign, size = ("-" if value < 0 else ""), abs(value)
    if size >= 100 or size == 0:
        return f"{sign}${size:,.2f}"
    return f"{sign}${size:.4f}" if size >= 0.01 else f"{sign}${size:.6f}"


_UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"))


def duration(seconds: float) -> str:
    """In the unit that says most: `350 ms`, `1.2 s`, `2.1 h`."""
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"
