"""Takes out of a text what nobody reads: spaces at line ends, runs of blank lines and of spaces, zero-width characters.

Spans are left alone, and so are indentation, columns, numbers and URLs.
"""

import re
from itertools import pairwise

from batchway.core.spans import find_spans

ZERO_WIDTH = re.compile("[\u200b\u2060\ufeff]")
"""Characters that show nothing. Joiners (U+200C, U+200D) are not among them: they shape Persian, Hindi and emoji."""

MEANT = re.compile(r"[0-9]|://|www\.|[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")
"""In a word that is left alone: a number, a URL, or a script that marks its words by zero-width spaces."""

WORD = re.compile(r"\S+")
TRAILING = re.compile(r"(?<![ \t])[ \t]+(?=\n)")
BLANK_LINES = re.compile(r"\n{3,}")
GAP = re.compile(r"(?<=[^\s0-9]) {2,}(?=\S)|(?<=[0-9]) {2,}(?=[^\s0-9])")
"""Spaces between two words: not those that indent, and not those between two numbers."""


def clean(text: str) -> str:
    """The text without them; the same object where there is nothing to take out."""
    if not _unclean(text):
        return text
    parts: list[str] = []
    end = 0
    for span in find_spans(text):
        parts += [_clean(text[end : span.start]), text[span.start : span.end]]
        end = span.end
    return "".join([*parts, _clean(text[end:])])


def _unclean(text: str) -> bool:
    """A cheap look, for most texts are clean."""
    signs = (" \n", "\t\n", "\n\n\n", "  ", "\u200b", "\u2060", "\ufeff")
    return any(sign in text for sign in signs)


def _clean(text: str) -> str:
    if ZERO_WIDTH.search(text):
        text = WORD.sub(_without_zero_width, text)
    text = BLANK_LINES.sub("\n\n", TRAILING.sub("", text))
    return text if _has_columns(text) else GAP.sub(" ", text)


def _without_zero_width(word: re.Match[str]) -> str:
    return word[0] if MEANT.search(word[0]) else ZERO_WIDTH.sub("", word[0])


def _has_columns(text: str) -> bool:
    """Two lines in a row have gaps, which may be columns of a table."""
    gaps = [GAP.search(line) is not None for line in text.split("\n")]
    return any(gap and following for gap, following in pairwise(gaps))
