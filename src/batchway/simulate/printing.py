"""A batching run for people: the prompts with their models, the batches, and what came of them, as aligned tables."""

from typing import IO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from batchway.core.analysis import LEVELS
from batchway.simulate.filling import Ready
from batchway.simulate.forms import ByArrival, Settled
from batchway.simulate.modelwise import Batch, Rule
from batchway.simulate.tally import Summary

SHOWN = 200
"""Rows of a table; the other forms show all."""

WIDTH = 132
"""Signs of a line where there is no terminal to ask."""

SINCE_1970 = 10**10
"""Milliseconds. Times past these count from 1970; they are shown from the first request on."""


class PeopleForm:
    """Tables. They are as wide as the terminal, and coloured on one alone."""

    def __init__(self, name: str, rule: Rule) -> None:
        self._name = name
        self._rule = rule
        self._order = ByArrival()
        self._start: int | None = None
        self._requests = _table(
            "Requests", "request", ">at ms", "model", ">tokens", "task", "patience", "batch", "~prompt"
        )
        self._batches = _table(
            *("Batches", "batch", "model", ">size", ">tokens", "closed by", ">opened", ">closed"),
            *(">longest wait", ">mean wait", "~requests"),
        )

    def request(self, request: Ready) -> None:
        """A request has come."""
        if self._start is None:
            self._start = request.at_ms if request.at_ms > SINCE_1970 else 0
        for settled in self._order.request(request):
            self._show(settled)

    def batch(self, batch: Batch) -> None:
        """A batch has closed."""
        for settled in self._order.batch(batch):
            self._show(settled)
        _add(
            self._batches,
            batch.batch_id,
            batch.model,
            f"{batch.size}",
            f"{batch.tokens:,}",
            batch.close_reason,
            self._time(batch.opened_at_ms),
            self._time(batch.closed_at_ms),
            _ms(max(batch.waits_ms)),
            _ms(batch.mean_wait_ms),
            " ".join(batch.request_ids),
        )

    def _show(self, settled: Settled) -> None:
        request = settled.request
        _add(
            self._requests,
            request.request_id,
            self._time(request.at_ms),
            request.model,
            f"{request.tokens:,}",
            request.analysis.task,
            request.analysis.latency_tolerance,
            settled.batch_id or "cached",
            request.entry.text or "",
        )

    def _time(self, at_ms: float) -> str:
        return _ms(at_ms - (self._start or 0))

    def write(self, out: IO[str], summary: Summary, /) -> None:
        """All is known: show it."""
        terminal = out.isatty()
        console = Console(file=out, width=None if terminal else WIDTH, highlight=False, emoji=False)
        console.print(Text(self._heading()))
        for table, number in ((self._requests, summary.requests), (self._batches, summary.batches)):
            console.print()
            console.print(table)
            if number > table.row_count:
                console.print(Text(f"… and {number - table.row_count:,} more; --json shows all."))
        console.print()
        console.print(_models(summary))
        console.print()
        for line in _closing(summary):
            console.print(Text(line))
        if self._start:
            console.print(Text(f"Times are milliseconds after the first request, which came at {self._start}."))

    def _heading(self) -> str:
        rule, patience = self._rule, self._rule.tolerance.patience
        levels = ", ".join(f"{level} × {patience(level):g}" for level in LEVELS)
        tokens = "" if rule.max_batch_tokens is None else f" or {rule.max_batch_tokens:,} tokens"
        return (
            f"{self._name}: one open batch for each model; none of them is called.\n"
            f"A batch closes after {_ms(rule.max_wait_ms)} ms ({levels}), at {rule.max_batch_size} requests{tokens}."
        )


def _table(title: str, *columns: str) -> Table:
    """A table without rows. A column's sign says: `>` numbers, `~` cut to the room that is left."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold", title_style="bold")
    for column in columns:
        if column[0] == "~":
            # Of a table that is too wide, the columns that may wrap are narrowed first; the cells never wrap.
            table.add_column(column[1:], overflow="ellipsis")
        else:
            table.add_column(column.lstrip(">"), no_wrap=True, justify="right" if column[0] == ">" else "left")
    return table


def _add(table: Table, *cells: str) -> None:
    if table.row_count < SHOWN:
        table.add_row(*[Text(_line(cell), no_wrap=True, overflow="ellipsis") for cell in cells])


LONGEST_CELL = 300
"""Signs of a text that are looked at: no line of a terminal has more."""


def _line(text: str) -> str:
    """The text as part of one line: nothing in it moves a cursor."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text[:LONGEST_CELL]).split())


def _models(summary: Summary) -> Table:
    table = _table("Models", "model", ">requests", ">batches", ">mean size", ">tokens")
    for name, model in summary.models.items():
        mean = model.requests / model.batches
        _add(table, name, f"{model.requests:,}", f"{model.batches:,}", f"{mean:.2f}", f"{model.tokens:,}")
    return table


def _closing(summary: Summary) -> list[str]:
    waits = summary.wait_ms
    reasons = ", ".join(f"{number:,} by {reason}" for reason, number in summary.close_reasons.items())
    hits = f", {summary.cache_hits:,} of them answered by a cache" if summary.cache_hits else ""
    batches = f"{summary.batches:,} batches, {summary.mean_size:.2f} requests in the mean"
    quantiles = f"half of them at most {_ms(waits.p50)}, 95 % at most {_ms(waits.p95)}, the longest {_ms(waits.max)}"
    return [
        f"{summary.requests:,} requests{hits}; {batches}; closed {reasons or 'none'}.",
        f"Waits: {_ms(waits.mean)} ms in the mean, {quantiles}.",
    ]


def _ms(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")
