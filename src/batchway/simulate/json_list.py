"""Cuts a JSON list into its items as its text comes, so that a list of any length is read in little memory."""

import re
from collections.abc import Callable, Iterator
from json import JSONDecodeError, JSONDecoder

from batchway.core.errors import InputError

LONGEST = 1 << 24
"""Characters of one item: more than any model reads. Without a bound one missing quote would read the whole file."""

_SPACE = re.compile(r"[ \t\n\r]*")
_find_end = JSONDecoder().raw_decode


Wrong = Callable[[int, str], InputError]
"""Makes the error of a line."""


def cut(texts: Iterator[str], wrong: Wrong) -> Iterator[tuple[int, str]]:
    """The items of one list, each as the text it is, and the line (from 1) on which it begins."""
    text = _Text(texts, wrong)
    if text.look() != "[":
        raise wrong(text.line, "the list must begin with [.")
    text.pass_over(1)
    if text.look() == "]":
        text.pass_over(1)
    else:
        yield from _items(text, wrong)
    if text.look():
        raise wrong(text.line, "there is more after the list's ].")


def _items(text: "_Text", wrong: Wrong) -> Iterator[tuple[int, str]]:
    while True:
        text.look()
        yield text.line, text.take_value()
        after = text.look()
        if after not in (",", "]"):
            raise wrong(text.line, f"after an item stands {after!r}; it must be a comma or ]." if after else _ENDS)
        text.pass_over(1)
        if after == "]":
            return


_ENDS = "the list has no end: ] is missing."


class _Text:
    """A text of which as much is kept as is needed, and the line at which its reader has come."""

    def __init__(self, texts: Iterator[str], wrong: Wrong) -> None:
        self._texts = texts
        self._wrong = wrong
        self._kept = ""
        self._at = 0
        self._ended = False
        self.line = 1

    def look(self) -> str:
        """Go to the next sign that is no space and return it; "" at the end."""
        while True:
            self.pass_over(_SPACE.match(self._kept, self._at).end() - self._at)  # type: ignore[union-attr]
            if self._at < len(self._kept):
                return self._kept[self._at]
            if not self._fill():
                return ""

    def pass_over(self, length: int) -> None:
        """Go on by so many signs."""
        self.line += self._kept.count("\n", self._at, self._at + length)
        self._at += length

    def take_value(self) -> str:
        """The text of the value that begins here; the reader has then come to its end."""
        while True:
            try:
                end = _find_end(self._kept, self._at)[1]
            except (ValueError, RecursionError) as error:
                if not self._may_go_on():
                    raise self._broken(error) from error
            else:
                if end < len(self._kept) or not self._fill():
                    found = self._kept[self._at : end]
                    self.pass_over(len(found))
                    return found

    def _may_go_on(self) -> bool:
        """Read on, for the value may only be cut: as much again each time, so that all reading is in proportion."""
        wanted = 2 * (len(self._kept) - self._at)
        if self._ended or wanted > 2 * LONGEST:
            return False
        while len(self._kept) - self._at < wanted and self._fill():
            pass
        return True

    def _fill(self) -> bool:
        """Read on, and drop what was passed over. False at the end."""
        more = next(self._texts, None)
        if more is None:
            self._ended = True
            return False
        self._kept = self._kept[self._at :] + more
        self._at = 0
        return True

    def _broken(self, error: Exception) -> InputError:
        if not self._ended:
            return self._wrong(self.line, f"the item that begins here does not end within {LONGEST:,} characters.")
        if not isinstance(error, JSONDecodeError):
            return self._wrong(self.line, f"the item that begins here cannot be read: {error}.")
        what = _ENDS if self._at >= len(self._kept) else f"not JSON: {error.msg}."
        return self._wrong(self.line + self._kept.count("\n", self._at, error.pos), what)
