"""The billing ledger: one line per call, in the order in which the calls ended, with totals that outlive old lines."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec
from msgspec import Struct

from batchway.sandbox.contract import Outcome


class Line(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One call, or one line of a batch, as the provider would bill it. Tokens.

    `at` is seconds since the epoch: when the request came, or when the line was done.
    """

    n: int
    at: float
    provider: str
    endpoint: str
    model: str
    key: str
    """The last four characters of the API key, no more."""
    lane: str
    tier: str | None
    status: int | None
    """None: the connection was closed without an answer."""
    outcome: Outcome
    input: int
    output: int
    cached: int
    stream: bool
    request_id: str
    request_hash: str
    """BLAKE2b (8 bytes) of the body as it came: equal bytes, equal hash."""
    idempotency_key: str | None
    faults: tuple[str, ...]
    """The kinds of the fault rules that were applied."""
    written: int = 0
    """Of the input: put into the prefix cache, where that has a price of its own."""
    written_hour: int = 0
    """Of what was put into it: kept for an hour, which has another."""
    batch_id: str | None = None
    """The batch that it was a line of, and its custom_id there."""
    custom_id: str | None = None


class Totals(Struct):
    """Sums over lines."""

    calls: int = 0
    completed: int = 0
    refused: int = 0
    cut: int = 0
    aborted: int = 0
    input: int = 0
    output: int = 0
    cached: int = 0

    def add(self, other: "Totals") -> None:
        """Add another sum to this one."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def count(self, line: Line) -> None:
        """Add one line."""
        self.calls += 1
        setattr(self, line.outcome, getattr(self, line.outcome) + 1)
        self.input += line.input
        self.output += line.output
        self.cached += line.cached


GROUP = ("provider", "endpoint", "model", "key", "lane", "outcome")
"""The fields that a view may be filtered by: totals are kept for each combination, so they stay exact."""


class View(Struct, frozen=True, kw_only=True):
    """What `GET /sandbox/ledger` answers."""

    totals: Totals
    dropped: int
    """Lines (of the whole ledger) that were let go to stay bounded; the totals still hold them."""
    lines: tuple[Line, ...]


class Billed(Struct, frozen=True, kw_only=True):
    """What `GET /sandbox/ledger/requests` answers."""

    dropped: int
    """Lines (of the whole ledger) that were let go: if there are any, the counts may be too low."""
    billed: dict[str, int]
    """How often each request was billed for tokens, its answer whole or not: by hash of its body, or by custom_id."""


class Ledger:
    """Append-only, bounded to the last `keep` lines."""

    def __init__(self, keep: int) -> None:
        self._lines: deque[Line] = deque(maxlen=keep)
        self._groups: dict[tuple[str, ...], Totals] = {}
        self._written = 0

    @property
    def next(self) -> int:
        """The number of the next line, from 1."""
        return self._written + 1

    def append(self, line: Line) -> None:
        """Write a line."""
        self._written += 1
        self._lines.append(line)
        group = (line.provider, line.endpoint, line.model, line.key, line.lane, line.outcome)
        totals = self._groups.get(group)
        if totals is None:
            totals = self._groups[group] = Totals()
        totals.count(line)

    def view(self, where: Mapping[str, str], limit: int) -> View:
        """The last `limit` lines that match, oldest first, and the totals of all that ever matched."""
        names = self._check(where)
        found = [line for line in self._lines if all(getattr(line, name) == where[name] for name in names)]
        return View(
            totals=self._sum(where),
            dropped=self._written - len(self._lines),
            lines=tuple(found[max(0, len(found) - limit) :]),
        )

    def billed(self, by: Literal["request_hash", "custom_id"], where: Mapping[str, str]) -> Billed:
        """How often each request was billed in the lines that match (also by `batch_id`) and are still kept."""
        names = self._check(where, (*GROUP, "batch_id"))
        counts = Counter(
            getattr(line, by)
            for line in self._lines
            if line.input + line.output and all(getattr(line, name) == where[name] for name in names)
        )
        counts.pop(None, None)  # calls outside a batch have no custom_id
        return Billed(dropped=self._written - len(self._lines), billed=dict(counts))

    def clear(self) -> None:
        """Forget lines and totals and start again at 1."""
        self._lines.clear()
        self._groups.clear()
        self._written = 0

    def _sum(self, where: Mapping[str, str]) -> Totals:
        wanted = [(GROUP.index(name), value) for name, value in where.items()]
        total = Totals()
        for group, part in self._groups.items():
            if all(group[index] == value for index, value in wanted):
                total.add(part)
        return total

    def _check(self, names: Iterable[str], allowed: tuple[str, ...] = GROUP) -> list[str]:
        unknown = sorted(set(names) - set(allowed))
        if unknown:
            message = f"Cannot filter by {', '.join(unknown)}; allowed: {', '.join(allowed)}, limit."
            raise msgspec.ValidationError(message)
        return list(names)
