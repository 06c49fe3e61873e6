"""Charts as SVG elements: bars, points and columns.

No style is inline and no script is needed, so that the strictest content security policy lets them through; colours are
classes, which a page gives for light and dark.
"""

from collections.abc import Callable, Mapping, Sequence
from math import ceil, floor, log10
from xml.etree.ElementTree import Element, SubElement

from msgspec import Struct

WIDTH, HEIGHT = 720, 240
LEFT, RIGHT, TOP, BOTTOM = 64, 32, 12, 36
"""Margins around the drawn area."""

ROW = 34
"""Height of a horizontal bar with its gap."""


class Point(Struct, frozen=True, kw_only=True):
    """One thing in a plane."""

    x: float
    y: float
    mark: str
    """Its class, which gives its colour."""
    label: str = ""
    """Stands beside it."""
    title: str = ""
    """Is told to whoever points at it."""


class Part(Struct, frozen=True, kw_only=True):
    """A part of a bar."""

    size: float
    mark: str
    title: str


def node(tag: str, attributes: Mapping[str, object] | None = None, *children: "Element | str") -> Element:
    """An element. Texts are escaped when it is written."""
    made = Element(tag, {name: _text(value) for name, value in (attributes or {}).items()})
    for child in children:
        if isinstance(child, Element):
            made.append(child)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + child
        else:
            made.text = (made.text or "") + child
    return made


def _text(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def bars(rows: Sequence[tuple[str, Sequence[Part]]], tell: Callable[[float], str], label: str) -> Element:
    """A horizontal bar of parts for each row; `tell` writes a size."""
    height = TOP + ROW * len(rows) + BOTTOM
    canvas = _canvas(height, label)
    most = max([sum([part.size for part in parts]) for _, parts in rows] + [0.0]) or 1.0
    left, width = 150, WIDTH - 150 - RIGHT
    for at, (name, parts) in enumerate(rows):
        top = TOP + ROW * at
        canvas.append(node("text", {"x": left - 8, "y": top + 16, "class": "name"}, name))
        x = float(left)
        for part in parts:
            wide = width * part.size / most
            bar = node("rect", {"x": x, "y": top, "width": max(0.0, wide), "height": ROW - 10, "class": part.mark})
            bar.append(node("title", {}, part.title))
            canvas.append(bar)
            x += wide
    _ticks_below(canvas, height, _linear(0.0, most), lambda value: left + width * value / most, tell)
    return canvas


def plane(
    points: Sequence[Point],
    tell_x: Callable[[float], str],
    tell_y: Callable[[float], str],
    label: str,
    *,
    even: bool = False,
) -> Element:
    """Points. The x axis is logarithmic where values differ by more than twenty times, unless it is to be `even`; the y
    axis begins at zero."""
    canvas = _canvas(HEIGHT, label)
    xs = [point.x for point in points] or [0.0]
    place_x, ticks_x = _scale(0.0 if even else min(xs), max(xs), LEFT, WIDTH - RIGHT)
    most = max([point.y for point in points] + [0.0]) * 1.1 or 1.0
    area = HEIGHT - TOP - BOTTOM

    def place_y(value: float) -> float:
        return HEIGHT - BOTTOM - area * value / most

    _ticks_left(canvas, _linear(0.0, most), place_y, tell_y)
    _ticks_below(canvas, HEIGHT, ticks_x, place_x, tell_x)
    for point in points:
        x, y = place_x(point.x), place_y(point.y)
        dot = SubElement(canvas, "circle", {"cx": _text(x), "cy": _text(y), "r": "4", "class": point.mark})
        dot.append(node("title", {}, point.title or point.label))
        if point.label:
            side = {"x": x - 8, "class": "name"} if x > WIDTH * 0.75 else {"x": x + 8}
            canvas.append(node("text", side | {"y": y + 4}, point.label))
    return canvas


def columns(
    groups: Sequence[tuple[str, Sequence[Part]]], tell_y: Callable[[float], str], label: str, *, shown: int = 12
) -> Element:
    """Upright columns of parts, which are counts, one beside the other; about `shown` of their names stand below."""
    canvas = _canvas(HEIGHT, label)
    most = max([sum([part.size for part in parts]) for _, parts in groups] + [0.0]) or 1.0
    wide = (WIDTH - LEFT - RIGHT) / max(1, len(groups))
    area = HEIGHT - TOP - BOTTOM
    ticks = [tick for tick in _linear(0.0, most) if tick == round(tick)]
    _ticks_left(canvas, ticks, lambda value: HEIGHT - BOTTOM - area * value / most, tell_y)
    every = max(1, ceil(len(groups) / shown))
    for at, (name, parts) in enumerate(groups):
        x, y = LEFT + wide * at, float(HEIGHT - BOTTOM)
        for part in parts:
            tall = area * part.size / most
            y -= tall
            column = node(
                "rect",
                {"x": x, "y": y, "width": max(0.5, wide * 0.9), "height": tall, "class": part.mark},
                node("title", {}, part.title),
            )
            canvas.append(column)
        if at % every == 0:
            canvas.append(node("text", {"x": x + wide / 2, "y": HEIGHT - BOTTOM + 16, "class": "middle"}, name))
    return canvas


def _canvas(height: float, label: str) -> Element:
    return node("svg", {"viewBox": f"0 0 {WIDTH} {height:g}", "role": "img", "aria-label": label})


def _ticks_below(
    canvas: Element,
    height: float,
    ticks: Sequence[float],
    place: Callable[[float], float],
    tell: Callable[[float], str],
) -> None:
    for tick in ticks:
        x = place(tick)
        canvas.append(node("line", {"x1": x, "x2": x, "y1": TOP, "y2": height - BOTTOM, "class": "grid"}))
        canvas.append(node("text", {"x": x, "y": height - BOTTOM + 16, "class": "middle"}, tell(tick)))


def _ticks_left(
    canvas: Element, ticks: Sequence[float], place: Callable[[float], float], tell: Callable[[float], str]
) -> None:
    for tick in ticks:
        y = place(tick)
        canvas.append(node("line", {"x1": LEFT, "x2": WIDTH - RIGHT, "y1": y, "y2": y, "class": "grid"}))
        canvas.append(node("text", {"x": LEFT - 8, "y": y + 4, "class": "name"}, tell(tick)))


def _linear(least: float, most: float, wanted: int = 5) -> list[float]:
    """Round numbers from `least` to `most`, about as many as wanted."""
    span = most - least
    if span <= 0:
        return [least]
    raw = span / wanted
    size = 10.0 ** floor(log10(raw))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= raw)
    first = ceil(least / step)
    return [step * at for at in range(first, floor(most / step + 1e-9) + 1)]


def _scale(least: float, most: float, left: float, right: float) -> tuple[Callable[[float], float], list[float]]:
    """Where values stand between left and right, and where the ticks are."""
    if least > 0 and most / least > 20:
        low, high = floor(log10(least)), ceil(log10(most))
        reach = max(1, high - low)
        ticks = [10.0**power for power in range(low, high + 1)]
        return (lambda value: left + (right - left) * (log10(max(value, 10.0**low)) - low) / reach), ticks
    top = most * 1.15 or 1.0
    return (lambda value: left + (right - left) * value / top), _linear(0.0, top)
