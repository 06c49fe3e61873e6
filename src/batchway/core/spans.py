"""Spans of a text that must stay as they are: code, JSON, quoted text.

They are kept in two ways. *Lasting* spans (code blocks, JSON) stay in the text whatever it takes. The others (quoted
text, inline code) are never changed and never cut, but may leave with the sentence that holds them.

Numbers and URLs need no spans: a text is cut only at white space or after the end of a sentence, and neither has one
inside; `core.cleaning` and `core.sentences` mind the spaces in `10 000` and the points in `12. May`.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import pairwise

from msgspec import Struct


class Span(Struct, frozen=True, kw_only=True, gc=False):
    """Characters of a text from `start` to before `end`."""

    start: int
    end: int
    lasting: bool


FENCE = re.compile(r"^[ \t>]*(`{3,}|~{3,})[^`\n]*(?:\n.*?(?:^[ \t>]*\1[`~]*[ \t]*$|\Z)|\Z)", re.MULTILINE | re.DOTALL)
"""A fenced code block with its fences; one that is never closed reaches to the end, as in CommonMark."""

QUOTED = re.compile(
    r"``[^\n]+?``|`[^`\n]+`"
    r'|"(?<![0-9]")(?=\S)[^"\n]*(?:\n(?!\s*\n)[^"\n]*)*"'
    r"|“[^“”\n]*(?:\n(?!\s*\n)[^“”\n]*)*”"
    r"|„[^„“”\"\n]*(?:\n(?!\s*\n)[^„“”\"\n]*)*[“”\"]"
    r"|«[^«»\n]*(?:\n(?!\s*\n)[^«»\n]*)*»"
    r"|「[^「」\n]*」|『[^『』\n]*』|《[^《》\n]*》"
    r"|'(?<!\w')(?=\w)[^'\n]{1,300}(?<=\S)'(?!\w)"
)
"""Inline code, and quotations within one paragraph. `5" pipe` opens none; single quotes may be apostrophes."""

QUOTING = "`\"“„«「『《'"
"""What they begin with: to look for one of these first costs a tenth of the search."""

QUOTED_LINES = re.compile(r"^[ \t]*>[^\n]*(?:\n[ \t]*>[^\n]*)*", re.MULTILINE)
"""What Markdown quotes line by line."""

JSON_BEGIN = re.compile(r'\{\s*["}]|\[\s*(?:[{"]|\[\s*[\d"{\[-]|(?:-?\d[\d.eE+-]*\s*,\s*){4})')
"""How an object begins, or an array of texts, objects, arrays or at least five numbers: `[1, 2]` may be a citation."""

JSON_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|[{}\[\]]')

PATIENCE = 8
"""Times the length of a text that may be read in search of closing brackets; what begins after that counts as JSON."""

CODE_LINE = re.compile(
    r"\s*(?:"
    r"(?:(?:async|export|public|private|static|final)\s+)*(?:def|class|func|fn|function|interface|struct|enum)\s+\w.*[:{(]"
    r"|(?:import|package|using|from|use)\s+[\w.:]+(?:\s+(?:import|as)\s[^.!?]*|\s*;)?|\#\s?(?:include|define)\b.*"
    r"|(?:if|for|while|elif|with|switch|catch|except|else if)\b.*[:{]|(?:else|try|finally|do)\s*[:{]"
    r"|(?:return|raise|throw|yield|await)\b[^.!?]*|@\w+(?:\(.*\))?|/\*.*|pass|break|continue"
    r"|[\w.\[\]]+\s*[-+*/|:]?=\s*\S.*|[\w.]+\([^)]*\)|.*[=(){}\[\]].*;|.*[{}]|[\])]+[;,)]*|<.*>"
    r")\s*"
)
"""A line that reads like code (to be matched in full). A guess, needed for code that nobody fenced."""

LONG_LINE, DENSE = 300, 25
"""Longer lines are code (minified, most often) if every 25th character is a bracket, a semicolon or an equals sign."""

CODE_SIGNS = re.compile(r"[{}=):<](?:(?<=[{}=])|(?<=\));|(?<=:)\n[ \t]|(?<=\))\n |(?<=<)/)")
CODE_BEGINNINGS = ("import ", "from ", "#include", "package ", "using ")
"""A paragraph without one of these is not looked at line by line: prose has them seldom."""

COMMENT = re.compile(r"\s*(?:#|//|\*|--|$)")
"""Lines that say nothing about whether they are code."""


def find_spans(text: str) -> list[Span]:
    """The spans, in order and apart from each other; a lasting one swallows what it meets."""
    fenced = list(_fences(text))
    lasting = _merge([*fenced, *_unfenced(text, fenced), *_json(text)])
    found = [Span(start=start, end=end, lasting=True) for start, end in lasting]
    for start, end in _quotations(text):
        if not _meets(start, end, lasting):
            found.append(Span(start=start, end=end, lasting=False))
    found.sort(key=lambda span: span.start)
    return found


UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u9fff\uf900-\ufaff，；：！？]{12}")
"""A dozen characters of a script that puts no spaces between words, its punctuation included."""


def is_data(text: str) -> bool:
    """It is code, JSON, a table, a log or values rather than prose, which is what less than two thirds of it are."""
    prose = sum(len(line) for line in text.splitlines() if _is_prose(line))
    return prose * 3 < len(text) * 2 or any(span.lasting for span in find_spans(text))


def _is_prose(line: str) -> bool:
    """Six words or more, four of five of them beginning with a letter, or text of an unspaced script."""
    words = line.split()
    begun = sum(word.lstrip("\"'(“„«")[:1].isalpha() for word in words)
    return (len(words) > 5 and begun * 5 >= len(words) * 4) or UNSPACED.search(line) is not None


def _fences(text: str) -> Iterator[tuple[int, int]]:
    if "```" in text or "~~~" in text:
        for match in FENCE.finditer(text):
            yield match.span()


def _quotations(text: str) -> list[tuple[int, int]]:
    found = [match.span() for match in QUOTED.finditer(text)] if any(sign in text for sign in QUOTING) else []
    if text.startswith(">") or "\n>" in text or "\n " in text:
        found = _merge([*found, *(match.span() for match in QUOTED_LINES.finditer(text))])
    return found


def _json(text: str) -> Iterator[tuple[int, int]]:
    """Balanced brackets that begin like JSON, outermost; whether JSON's other rules are kept is not asked."""
    if "{" not in text and "[" not in text:
        return
    position, patience = 0, PATIENCE * len(text)
    while begin := JSON_BEGIN.search(text, position):
        if patience <= 0:
            yield begin.start(), len(text)
            return
        end = _closing(text, begin.start())
        patience -= (end or len(text)) - begin.start()
        if end is not None:
            yield begin.start(), end
        position = end or begin.start() + 1


def _closing(text: str, start: int) -> int | None:
    """Where the bracket at `start` is closed (after it), brackets within strings not counted."""
    depth = 0
    for token in JSON_TOKEN.finditer(text, start):
        sign = token[0]
        if sign in "{[":
            depth += 1
        elif sign in "}]":
            depth -= 1
            if depth == 0:
                return token.end()
    return None


def _unfenced(text: str, fenced: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Paragraphs that read like code for the greater part; all of a text that does."""
    if not _may_be_code(text):
        return
    code = total = 0
    found: list[tuple[int, int]] = []
    for start, end in _paragraphs(text, fenced):
        lines = [line for line in text[start:end].split("\n") if not COMMENT.match(line)]
        length = sum(map(len, lines))
        alike = [len(line) for line in lines if _is_code(line)] if _may_be_code(text[start:end]) else []
        code, total = code + sum(alike), total + length
        if (len(alike) > 1 or length > LONG_LINE) and sum(alike) * 2 > length:
            found.append((start, end))
    if found and code * 2 > total:
        yield 0, len(text)
    yield from found


def _may_be_code(text: str) -> bool:
    return text.startswith(CODE_BEGINNINGS) or CODE_SIGNS.search(text) is not None


def _is_code(line: str) -> bool:
    if len(line) > LONG_LINE:
        return sum(map(line.count, ";{}=()")) * DENSE > len(line)
    return CODE_LINE.fullmatch(line) is not None


BLANK = re.compile(r"\n[ \t]*\n\s*")


def _paragraphs(text: str, fenced: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What lies between blank lines and fenced blocks."""
    between = _merge([*(match.span() for match in BLANK.finditer(text)), *fenced])
    borders = [(0, 0), *between, (len(text), len(text))]
    for (_, start), (end, _) in pairwise(borders):
        if start < end:
            yield start, end


def _merge(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges that meet become one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _meets(start: int, end: int, ranges: list[tuple[int, int]]) -> bool:
    """One of the ranges (in order, apart) has a character in common with this one."""
    last = bisect_left(ranges, (end, 0)) - 1
    return last >= 0 and ranges[last][1] > start
