"""The entries of one array in a JSON object as it comes in, each cut out as soon as it is whole.

Pages of results are such objects. An array of any length goes through; only what stands around it is kept.
"""

import re
from collections.abc import Sequence

import msgspec

from batchway.providers.batch_reading import text
from batchway.wire import body

_MARK = re.compile(rb'["{}\[\]]')
_IN_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_SCRAP = b" \t\r\n,"
_UNREADABLE = b"["


class EntryCutter:
    """Cuts the entries of the array called `name` at the top of an object.

    What cannot be read comes out as an entry too, so that whoever reads entries counts it: an object that ends too
    early or reports an error, something between two entries that is none, what is no object at all.
    """

    def __init__(self, name: str, next_page: str | None = None) -> None:
        """`next_page`: the field beside the array that says what the next page is asked by."""
        self._name = name
        self._opening = re.compile(rb'(?<!\\)"%s"\s*:\s*\Z' % name.encode())
        self._next_page = next_page
        self._after: str | None = None
        self._around: list[bytes] = []
        self._rest = b""
        self._told = 0
        """Where in the rest begins what is not told yet."""
        self._at = 0
        """Where in the rest the reading goes on."""
        self._depth = 0
        self._in_string = self._inside = self._any = False

    @property
    def after(self) -> str | None:
        """What the next page is asked by; None: that was all."""
        return self._after

    def feed(self, data: bytes) -> Sequence[bytes]:
        """The entries that are whole now."""
        self._rest = self._rest[self._told :] + data
        self._at -= self._told
        self._told = 0
        entries: list[bytes] = []
        while (mark := self._next_mark()) is not None:
            self._at = mark.end()
            if mark[0] == b'"':
                self._in_string = True
            elif mark[0] in b"{[":
                self._open(mark.start(), entries)
            else:
                self._close(mark, entries)
        self._any = self._any or len(entries) > 0
        return entries

    def _next_mark(self) -> re.Match[bytes] | None:
        """The next sign outside of strings; None: more has to come first."""
        if self._in_string:
            found = _IN_STRING.match(self._rest, self._at)
            assert found is not None
            self._at = found.end()
            if self._rest[self._at : self._at + 1] != b'"':
                return None
            self._in_string = False
            self._at += 1
        mark = _MARK.search(self._rest, self._at)
        if mark is None:
            self._at = len(self._rest)
        return mark

    def _open(self, at: int, entries: list[bytes]) -> None:
        self._depth += 1
        if self._inside and self._depth == 3:
            self._tell_scrap(at, entries)
        elif self._depth == 2 and self._rest[at : at + 1] == b"[" and self._opening.search(self._rest, 0, at):
            self._around.append(self._rest[: at + 1])
            self._told = at + 1
            self._inside = True

    def _close(self, mark: re.Match[bytes], entries: list[bytes]) -> None:
        self._depth -= 1
        if self._inside and self._depth == 2:
            entries.append(self._rest[self._told : mark.end()])
            self._told = mark.end()
        elif self._inside and self._depth == 1:
            self._tell_scrap(mark.start(), entries)
            self._inside = False

    def _tell_scrap(self, until: int, entries: list[bytes]) -> None:
        scrap = self._rest[self._told : until].strip(_SCRAP)
        if scrap:
            entries.append(scrap)
        self._told = until

    def end(self) -> Sequence[bytes]:
        """The object has ended, or should have."""
        left = self._rest[self._told :]
        self._rest, self._told, self._at = b"", 0, 0
        if self._inside or self._in_string or self._depth:
            return [left.strip(_SCRAP) or _UNREADABLE]
        around = b"".join((*self._around, left))
        try:
            said = body.parse(around)
        except msgspec.DecodeError:
            said = None
        if not isinstance(said, dict) or (self._name not in said and "error" in said):
            return [around.strip() or _UNREADABLE]
        if self._any and self._next_page is not None:
            self._after = text(said.get(self._next_page))
        return []
