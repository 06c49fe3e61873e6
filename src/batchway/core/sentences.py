"""Cuts a text into blocks (paragraphs, lines, code) and these into sentences, in any language, at no span's cost.

The sentences add up to the text: what separates two of them belongs to the first.
"""

import re
from collections.abc import Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from batchway.core.spans import Span


class Sentence(Struct, frozen=True, kw_only=True, gc=False):
    """A sentence, or a heading, list item, line or block of code that stands for one, with the white space after it."""

    text: str
    block: int
    """Which paragraph, or line that stands for itself, it is in; from 0."""
    lasting: bool
    """It holds code or JSON, which stay."""


STOP = ".!?…‽؟۔։።။"
FULL = "。！？｡।॥"
"""Stops after which a space must follow, and those of scripts that need none."""

BORDER = re.compile(
    rf"[{STOP}{FULL}\n](?:"
    r"(?<=\n)\s*"
    rf"|(?<=[{STOP}])(?<![{STOP}][{STOP}])(?P<more>[{STOP}]*[\"'”’»)\]]*)(?=\s)[ \t\u00a0]*(?:\n\s*)?"
    rf"|(?<=[{FULL}])[{FULL}]*[”’」』）》\"]*[ \t\u3000]*(?:\n\s*)?"
    r")"
)
"""Where a sentence may end: at a line's end, after a stop and a space, after a full stop. It begins with one set of
characters because the search for such a set is six times as fast as for alternatives."""

ABBREVIATIONS = frozenset(
    """
    mr mrs ms dr prof st sr sra vs etc cf al ca approx no nos nr fig vol pp bzw usw vgl ggf inkl abs art inc ltd co corp
    gen jan feb mar apr aug sep sept okt oct nov dez dec им ул гг см рис стр тыс руб др пр ud uds avda pág núm डॉ
    """.split()  # noqa: SIM905 (a list of 60 literals reads worse)
)
"""What ends in a point without ending its sentence, besides initials and days of the month: the usual few."""

ITEM = re.compile(r"[-*+•#>|<\[{(`~=]|\d|[^\W\d_][.)]\s|\S{1,20}[:：]\s")
"""How a line begins that stands for itself: list items, headings, table rows, dates of a log, `Name:`."""

WRAPPED = range(40, 121)
"""Lengths of lines that may go on in the next: text is wrapped at 72 to 120 columns; longer lines are paragraphs."""


def split(text: str, spans: Sequence[Span]) -> list[Sentence]:
    """The sentences of a text whose spans these are (in order)."""
    found: list[Sentence] = []
    start = block = 0
    lasting = False
    ahead = iter(spans)
    span = next(ahead, None)
    for border, ends_block in _borders(text):
        while span is not None and span.start < border:
            lasting = lasting or span.lasting
            if span.end > border:
                break
            span = next(ahead, None)
        within = span is not None and span.start < border
        if within or not (piece := text[start:border]).strip():
            continue
        found.append(Sentence(text=piece, block=block, lasting=lasting))
        start, lasting = border, False
        block += ends_block
    if start < len(text):  # only white space that no pattern knows
        rest = found.pop() if found else Sentence(text="", block=0, lasting=lasting)
        found.append(replace(rest, text=rest.text + text[start:]))
    return found


def _borders(text: str) -> Iterator[tuple[int, bool]]:
    """Where sentences end, spans disregarded, and whether their block ends as well."""
    line = 0
    for match in BORDER.finditer(text):
        begin, end = match.span()
        sign = text[begin]
        ends = sign in FULL or (sign != "\n" and _ends(text, begin, end, alone=match.end("more") == begin + 1))
        goes_on = True
        newline = text.find("\n", begin, end)
        if newline >= 0:
            end = text.rindex("\n", begin, end) + 1  # what indents the next line stays with it
            goes_on = end == newline + 1 and newline - line in WRAPPED and not ITEM.match(text, end)
            line = end
        if ends or not goes_on:
            yield end, not goes_on
    yield len(text), True


def _ends(text: str, begin: int, end: int, *, alone: bool) -> bool:
    """A stop followed by white space ends its sentence, unless a small letter follows or it only shortens a word.
    `alone`: it is one character, without quotation marks or brackets that it closes."""
    if text[end : end + 1].islower():
        return False
    if not alone or text[begin] != ".":
        return True
    before = text[max(0, begin - 12) : begin].split()
    word = before[-1].lstrip("([\"'„“«") if before else ""
    short = (len(word) == 1 and word.isalpha()) or (len(word) <= 2 and word.isdigit())
    return not (short or "." in word or word.lower() in ABBREVIATIONS)
