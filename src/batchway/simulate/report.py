"""The report: policies side by side as one HTML file that needs nothing else: no script, no font, no network.

Its content security policy allows its own style sheet, by hash, and nothing more. Light or dark is the reader's choice.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from xml.etree.ElementTree import Element, tostring

from batchway import __version__
from batchway.core.types import PICODOLLARS
from batchway.simulate.comparing import Column, beside, duration, money, saved
from batchway.simulate.drawing import Part, Point, bars, columns, node, plane
from batchway.simulate.outcome import VIAS, Outcome, Windows
from batchway.simulate.sketch import Sketch

COLOURS: Mapping[str, str] = {
    "direct": "#4269d0",
    "flex": "#6cc5b0",
    "batch": "#3ca951",
    "cache": "#efb118",
    "coalesced": "#a463f2",
    "overhead": "#ff725c",
    "size": "#4269d0",
    "wait": "#efb118",
    "tokens": "#ff725c",
    "bytes": "#ff8ab7",
    "idle": "#6cc5b0",
    "flush": "#9c6b4e",
    "alone": "#9498a0",
    "plain": "#4269d0",
    "policy": "#4269d0",
    "was": "#ff725c",
}
"""Of ways, close reasons and points."""

BINS = 40
"""Columns of a distribution."""

STYLE = """
:root { color-scheme: light dark; --ink: #1b1e23; --paper: #ffffff; --faint: #d9dce1; --quiet: #5b626d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7e9ec; --paper: #15171b; --faint: #343a43; --quiet: #9aa2ad; } }
body { background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto;
  max-width: 60rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; } h3 { font-size: 1rem; margin-top: 1.5rem; }
p, figcaption { color: var(--quiet); } figure { margin: 1rem 0; } svg { display: block; width: 100%; height: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--faint); padding: .3rem .8rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.wide { overflow-x: auto; }
svg text { fill: var(--ink); font-size: 12px; } svg .name { text-anchor: end; } svg .middle { text-anchor: middle; }
svg .grid { stroke: var(--faint); stroke-width: 1; }
.key { display: inline-block; margin-right: 1rem; } .key svg { display: inline; height: .7rem; width: .7rem; }
""" + "".join(f"svg .{name} {{ fill: {colour}; }}\n" for name, colour in COLOURS.items())


def page(title: str, found: Sequence[Column], conditions: Mapping[str, float], notes: Sequence[str] = ()) -> str:
    """The whole file."""
    digest = b64encode(sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = node(
        "head",
        {},
        node("meta", {"charset": "utf-8"}),
        node("meta", {"http-equiv": "Content-Security-Policy", "content": policy}),
        node("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        node("title", {}, f"batchway: {title}"),
        node("style", {}, STYLE),
    )
    body = node("body", {}, *_body(title, found, conditions, notes))
    document = tostring(node("html", {"lang": "en"}, head, body), encoding="unicode", method="html")
    return f"<!doctype html>\n{document}\n"


def _body(title: str, found: Sequence[Column], conditions: Mapping[str, float], notes: Sequence[str]) -> list[Element]:
    return [
        node("h1", {}, title),
        node(
            "p",
            {},
            f"Policies compared by batchway {__version__}, offline: no provider was called, nothing was billed.",
        ),
        node("div", {"class": "wide"}, _table(found)),
        *[node("p", {}, note) for note in notes],
        node("h2", {}, "What it costs, by way"),
        _figure(
            _costs(found),
            "Paid in US dollars. What each request had cost alone and directly stands below each policy.",
            VIAS,
        ),
        node("h2", {}, "Cost and waiting"),
        _figure(_trade(found), "Each policy by what it costs and how long 95 of 100 requests wait at most.", ()),
        *[element for column in found for element in _policy(column)],
        node("h2", {}, "Assumptions"),
        node("p", {}, "How simulated providers behave, where recorded answers do not say it:"),
        _pairs(conditions),
    ]


def _table(found: Sequence[Column]) -> Element:
    lines: list[tuple[str, list[str]]] = [
        ("", [column.kind for column in found]),
        ("requests", [f"{column.outcome.requests:,}" for column in found]),
        ("paid", [money(column.outcome.paid) for column in found]),
        (f"beside {found[0].name}", ["", *[beside(column.outcome, found[0].outcome) for column in found[1:]]]),
        ("alone, directly", [money(column.outcome.worth) for column in found]),
        ("saved", [saved(column.outcome) for column in found]),
        ("refused", [f"{sum(column.outcome.refused.values()):,}" for column in found]),
        ("in packed calls", [f"{column.outcome.packed:,}" for column in found]),
        ("waited, p50", [duration(column.outcome.waited.quantile(0.5)) for column in found]),
        ("waited, p95", [duration(column.outcome.waited.quantile(0.95)) for column in found]),
        ("waited, p99", [duration(column.outcome.waited.quantile(0.99)) for column in found]),
    ]
    head = node("tr", {}, node("th", {}, ""), *[node("th", {}, column.name) for column in found])
    rows = [node("tr", {}, node("td", {}, name), *[node("td", {}, cell) for cell in cells]) for name, cells in lines]
    return node("table", {}, head, *rows)


def _pairs(values: Mapping[str, float]) -> Element:
    rows = [node("tr", {}, node("td", {}, name), node("td", {}, f"{value:g}")) for name, value in values.items()]
    return node("table", {}, *rows)


def _figure(chart: Element, caption: str, keys: Sequence[str]) -> Element:
    legend = [_key(name) for name in keys]
    return node("figure", {}, chart, node("figcaption", {}, *legend, caption))


def _key(name: str) -> Element:
    square = node("svg", {"viewBox": "0 0 10 10"}, node("rect", {"width": 10, "height": 10, "class": name}))
    return node("span", {"class": "key"}, square, f" {name}")


def _dollars(value: float) -> str:
    return money(round(value * PICODOLLARS))


def _costs(found: Sequence[Column]) -> Element:
    rows: list[tuple[str, list[Part]]] = []
    for column in found:
        outcome = column.outcome
        parts = [
            _paid(via, outcome.ways[via].paid, outcome.ways[via].requests) for via in VIAS if outcome.ways[via].paid
        ]
        if outcome.overhead.paid:
            parts.append(_paid("overhead", outcome.overhead.paid, None))
        rows.append((column.name, parts))
        worth = Part(size=outcome.worth / PICODOLLARS, mark="alone", title=f"alone: {money(outcome.worth)}")
        rows.append(("alone, directly", [worth]))
    return bars(rows, _dollars, "What each policy costs, by way")


def _paid(mark: str, paid: int, requests: int | None) -> Part:
    what = "" if requests is None else f", {requests:,} requests"
    return Part(size=paid / PICODOLLARS, mark=mark, title=f"{mark}: {money(paid)}{what}")


def _trade(found: Sequence[Column]) -> Element:
    points = [
        Point(
            x=column.outcome.waited.quantile(0.95),
            y=column.outcome.paid / PICODOLLARS,
            mark="was" if column.kind == "booked" else "policy",
            label=column.name,
            title=f"{column.name}: {money(column.outcome.paid)}, p95 {duration(column.outcome.waited.quantile(0.95))}",
        )
        for column in found
    ]
    return plane(points, duration, _dollars, "Cost and waiting of each policy")


# One policy


def _policy(column: Column) -> list[Element]:
    outcome = column.outcome
    elements = [
        node("h2", {}, f"{column.name} ({column.kind})"),
        _figure(_course(outcome), f"Answers in time; a column is {duration(outcome.timeline.seconds)}.", VIAS),
        node("h3", {}, "How long requests wait"),
        _figure(_waits(outcome.waited), "Requests by how long they wait.", ()),
    ]
    for kind, windows in outcome.windows.items():
        if windows.count:
            elements += _windows({"pack": "packed calls", "job": "batches"}[kind], windows)
    return elements


def _course(outcome: Outcome) -> Element:
    timeline = outcome.timeline
    groups = []
    for at, stretch in enumerate(timeline.stretches):
        since = duration(at * timeline.seconds)
        groups.append(
            (
                since,
                [
                    Part(size=stretch.answered[via], mark=via, title=f"{via}: {stretch.answered[via]:,} after {since}")
                    for via in VIAS
                    if via in stretch.answered
                ],
            )
        )
    return columns(groups, lambda value: f"{value:,.0f}", "Answers in time, by way", shown=10)


def _waits(waited: Sketch) -> Element:
    groups = [
        (duration(middle), [Part(size=count, mark="plain", title=f"{count:,} requests: about {duration(middle)}")])
        for middle, count in waited.histogram(BINS)
    ]
    return columns(groups, lambda value: f"{value:,.0f}", "Requests by how long they wait", shown=10)


def _windows(name: str, windows: Windows) -> list[Element]:
    reasons = sorted(windows.reasons)
    begins = windows.first[0].opened_at
    points = [
        Point(
            x=window.closed_at - begins,
            y=window.size,
            mark=window.reason,
            title=f"{window.size} requests, {window.tokens:,} tokens, closed by {window.reason} after "
            f"{duration(window.closed_at - window.opened_at)}",
        )
        for window in windows.first
    ]
    shown = "" if windows.count <= len(windows.first) else f" (the first {len(windows.first):,} of {windows.count:,})"
    return [
        node("h3", {}, f"Windows of {name}"),
        _figure(
            plane(points, duration, lambda value: f"{value:g}", f"Windows of {name} in time, by size", even=True),
            f"Each window{shown} when it closed and how many requests were in it.",
            reasons,
        ),
        _figure(_by_reason(windows), "Windows by why they closed.", ()),
        _figure(_by_size(windows), "Windows by size.", ()),
        _figure(_waits(windows.waited), "Requests by how long they waited in a window.", ()),
    ]


def _by_reason(windows: Windows) -> Element:
    rows = [
        (reason, [Part(size=count, mark=reason, title=f"{reason}: {count:,}")])
        for reason, count in sorted(windows.reasons.items())
    ]
    return bars(rows, lambda value: f"{value:,.0f}", "Windows by why they closed")


def _by_size(windows: Windows) -> Element:
    groups = [
        (f"{size}", [Part(size=count, mark="plain", title=f"{count:,} windows of {size}")])
        for size, count in sorted(windows.sizes.items())
    ]
    return columns(groups, lambda value: f"{value:,.0f}", "Windows by size")
