"""Cuts a JSON list into its items as its text comes, so that a list of any length is read in little memory."""

import re
from collections.abc import Callable, Iterator
from json import JSONDecodeError, JSONDecoder

from batchway.core.errors import InputError

LONGEST = 1 << 24
"""Characters of one item: more than any model reads. Without a bound one missing quote would read the whole file."""

NEAR = 16
"""Characters before a cut at which an error may be of the cut: names and escapes are shorter."""

_SPACE = re.compile(r"[ \t\n\r]*")
_BARE = re.compile(r"[^\s,\]\[{}\":]*")
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
                end = self._end()
            except (ValueError, RecursionError) as error:
                if not (self._is_cut(error) and self._read_as_much_again()):
                    raise self._broken(error) from error
            else:
                found = self._kept[self._at : end]
                self.pass_over(len(found))
                return found

    def _end(self) -> int:
        """Where the value ends. ValueError: it is cut, or broken."""
        end = _find_end(self._kept, self._at)[1]
        # Strings, lists and objects show their ends; of a number, a part is a number too.
        bare = _BARE.match(self._kept, self._at).end()  # type: ignore[union-attr]
        if bare > end or (bare == len(self._kept) and not self._ended):
            raise JSONDecodeError("a value is not followed by a comma or ]", self._kept, end)
        return end

    def _is_cut(self, error: Exception) -> bool:
        """The value may go on in what was not read yet: a string that does not end, or an error at the very end."""
        if self._ended or not isinstance(error, JSONDecodeError):
            return False
        return error.msg.startswith("Unterminated string") or error.pos > len(self._kept) - NEAR

    def _read_as_much_again(self) -> bool:
        """So that all reading is in proportion. False: the value is too long."""
        wanted = 2 * (len(self._kept) - self._at)
        if wanted > 2 * LONGEST:
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
        if not isinstance(error, JSONDecodeError):
            what = str(error).partition(";")[0]
            return self._wrong(self.line, f"the item that begins here cannot be read: {what}.")
        if self._is_cut(error):
            return self._wrong(self.line, f"the item that begins here does not end within {LONGEST:,} characters.")
        what = _ENDS if self._at >= len(self._kept) else f"not JSON: {error.msg}."
        return self._wrong(self.line + self._kept.count("\n", self._at, error.pos), what)
