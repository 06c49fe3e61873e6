"""The report: the table of cases, the targets with what was reached, and the machine."""

import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from math import ceil
from pathlib import Path
from statistics import median

from msgspec import Struct

from bench.cases import (
    AUTO,
    BARE,
    CACHE_HIT,
    CASES,
    DIRECT,
    LITELLM,
    PACKED,
    RECORDED,
    SHORT,
    STRAIGHT,
    TINY,
    WEIGHED,
    YARDSTICK,
    Case,
)
from bench.rounds import RATE, Counted, Measured, Memory, Sizes

BUSY = 0.9
"""Share of its core from which on a subject is what bounds its requests/s."""

PACKAGES = ("batchway", "uvicorn", "uvloop", "httptools", "pyreqwest", "aiohttp", "orjson", "msgspec")


class Target(Struct, frozen=True, kw_only=True):
    """One target. `reached` is None where it was not measured."""

    name: str
    limit: str
    figure: str
    reached: bool | None


class Report(Struct, frozen=True, kw_only=True):
    """Everything that a run found; what `--json` writes. Milliseconds and MB in `targets`, seconds in `measured`."""

    sizes: Sizes
    measured: Measured
    memory: Memory | None
    notes: tuple[str, ...]
    """Versions of the peers, or why they were skipped."""
    targets: tuple[Target, ...]
    machine: str


def report(sizes: Sizes, measured: Measured, memory: Memory | None, notes: Sequence[str]) -> Report:
    """The report of a run."""
    return Report(
        sizes=sizes,
        measured=measured,
        memory=memory,
        notes=tuple(notes),
        targets=tuple(_targets(measured, memory)),
        machine=_machine(),
    )


def render(found: Report) -> str:
    """The report as Markdown."""
    parts = [_table(found.measured), _explain(found.sizes), *found.notes]
    if found.memory is not None:
        parts.append(_tell_memory(found.memory))
    return "\n\n".join([*parts, _list(found.targets), found.machine])


def ratios(measured: Measured, name: str, beside: str) -> list[float]:
    """CPU time of one case over that of another, turn by turn: the two were asked within about a second."""
    pairs = zip(measured.counted.get(name, []), measured.counted.get(beside, []), strict=False)
    return [case.cpu / other.cpu for case, other in pairs]


def surplus(measured: Measured, name: str, beside: str) -> float | None:
    """Microseconds of CPU by which a request of one case exceeds another's, turn by turn; the median of that."""
    pairs = zip(measured.counted.get(name, []), measured.counted.get(beside, []), strict=False)
    # Seconds per 1,000 requests are milliseconds per request.
    return _middle([(case.cpu - other.cpu) * 1000 for case, other in pairs])


def added(measured: Measured, name: str, beside: str) -> float | None:
    """Milliseconds by which the median latency of one case exceeds another's, within each round; the median of that."""
    pairs = zip(measured.seconds.get(name, []), measured.seconds.get(beside, []), strict=False)
    differences = [median(case) - median(other) for case, other in pairs]
    return median(differences) * 1000 if differences else None


def quantile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least this share of the values do not exceed."""
    ordered = sorted(values)
    return ordered[ceil(share * len(ordered)) - 1]


def _targets(measured: Measured, memory: Memory | None) -> Iterable[Target]:
    yield _at_most("direct: CPU over the yardstick's", _middle(ratios(measured, DIRECT, YARDSTICK)), 1.5, "x")
    yield _at_most(
        "direct, recorded: CPU over the yardstick's", _middle(ratios(measured, RECORDED, YARDSTICK)), 1.8, "x"
    )
    yield _at_least("LiteLLM's proxy: CPU over direct's", _middle(ratios(measured, LITELLM, DIRECT)), 40, "x")
    yield _at_most("cache hit: CPU over direct's", _middle(ratios(measured, CACHE_HIT, DIRECT)), 0.5, "x")
    yield _at_most("direct: added p50 over the bare pass-through", added(measured, DIRECT, BARE), 1.0, "ms")
    for name, beside in ((PACKED, SHORT), (AUTO, SHORT), (WEIGHED, TINY)):
        yield _at_most(f"{name}: CPU over the same sent directly", surplus(measured, name, beside), 60, "µs")
    largest = max(memory.start, memory.later, memory.end) if memory else None
    yield _at_most("gateway: RSS", largest, 220, "MB")
    growth = memory.end - memory.later if memory else None
    yield _at_most("gateway: RSS growth over the last third of the requests", growth, 5, "MB")


def _middle(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def _at_most(name: str, figure: float | None, limit: float, unit: str) -> Target:
    return _target(name, figure, f"at most {limit:g} {unit}", unit, None if figure is None else figure <= limit)


def _at_least(name: str, figure: float | None, limit: float, unit: str) -> Target:
    return _target(name, figure, f"at least {limit:g} {unit}", unit, None if figure is None else figure >= limit)


def _target(name: str, figure: float | None, limit: str, unit: str, reached: bool | None) -> Target:
    shown = "not measured" if figure is None else f"{figure:.2f} {unit}"
    return Target(name=name, limit=limit, figure=shown, reached=reached)


HEADINGS = (
    "case",
    "CPU s / 1,000",
    "x its yardstick (middle half)",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "added p50",
    "added p99",
    "RSS MB",
    "upstream calls / request",
    "answered by",
)


def _table(measured: Measured) -> str:
    rows = [_row(case, measured) for case in CASES if case.name in measured.counted | measured.seconds]
    ruled = ["---"] + ["---:"] * (len(HEADINGS) - 2) + ["---"]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [HEADINGS, ruled, *rows])


def _row(case: Case, measured: Measured) -> list[str]:
    counted = measured.counted.get(case.name, [])
    return [
        case.name,
        f"{median(run.cpu for run in counted):.3f}" if counted else "",
        _ratio(ratios(measured, case.name, case.beside)),
        _per_second(counted),
        *_latency(measured, case.name),
        f"{measured.rss[case.name]:.0f}" if counted else "",
        f"{median(run.calls for run in counted):.3f}" if counted else "",
        _answered(counted),
    ]


def _ratio(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({quantile(values, 0.25):.2f}-{quantile(values, 0.75):.2f})" if values else ""


def _per_second(counted: Sequence[Counted]) -> str:
    if not counted:
        return ""
    bounded = median(run.busy for run in counted) < BUSY
    return ("≥ " if bounded else "") + f"{median(run.per_second for run in counted):,.0f}"


def _latency(measured: Measured, name: str) -> list[str]:
    """p50 and p99 over all rounds; what is added to the upstream's own, the p50 round by round."""
    if name not in measured.seconds:
        return [""] * 4
    own, straight = (_milliseconds(measured.seconds[case]) for case in (name, STRAIGHT))
    shown = [f"{median(own):.2f}", f"{quantile(own, 0.99):.2f}"]
    if name == STRAIGHT:
        return [*shown, "", ""]
    return [*shown, f"{added(measured, name, STRAIGHT):.2f}", f"{quantile(own, 0.99) - quantile(straight, 0.99):.2f}"]


def _milliseconds(rounds: Sequence[Sequence[float]]) -> list[float]:
    return [seconds * 1000 for times in rounds for seconds in times]


def _answered(counted: Sequence[Counted]) -> str:
    """The last round's."""
    shares = counted[-1].answered if counted else {}
    return ", ".join(f"{via} {share:.1%}" for via, share in shares.items())


def _explain(sizes: Sizes) -> str:
    turns, each = sizes.rounds * sizes.turns, sizes.requests // sizes.turns
    return (
        f"Medians of {turns} turns of {each:,} requests (slow cases: fewer) over {sizes.concurrency} connections. The "
        "cases take turns, there and back; a ratio is that of two turns about a second apart: the median of all, and "
        f"their middle half. ≥: the subject used less than {BUSY:.0%} of its core, it could do more. "
        f"Latency: {RATE:g} requests/s, {sizes.rounds * sizes.timing:g} s for each case; added: to the upstream's own. "
        "A stream has 20 chunks that come one by one; its yardstick passes such a stream."
    )


def _tell_memory(memory: Memory) -> str:
    return (
        f"Memory of a fresh gateway: {memory.start:.1f} MB at its start, {memory.later:.1f} MB after "
        f"{memory.requests * 2 // 3:,} requests, {memory.end:.1f} MB after {memory.requests:,}."
    )


def _list(targets: Sequence[Target]) -> str:
    words = {True: "reached", False: "NOT REACHED", None: "not measured"}
    lines = [f"| {target.name} | {target.limit} | {target.figure} | {words[target.reached]} |" for target in targets]
    return "\n".join(["| target | limit | figure | |", "|---|---|---:|---|", *lines])


def _machine() -> str:
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0].partition(":")[2].strip() if models else platform.machine()
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}; {packages}"
    )
