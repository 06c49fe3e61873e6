"""A spool: result lines as they were downloaded, given back in the order of their rows; those of a large job in a file.

A provider gives results in any order. Written to the store in that order, every transaction would touch as many of its
pages as it has rows, all over the job, and write each page again and again: two thirds of what ingesting costs.
"""

import os
import re
from collections.abc import Iterator
from typing import BinaryIO

IN_MEMORY = 1 << 20
"""Bytes that are held before they are written to the file: what fits is never written, nor read again. So many for each
of the jobs that are worked on at a time."""


class Spool:
    """Lines of one job's results. Memory: a hundred bytes for each, and `IN_MEMORY`."""

    def __init__(self, file: BinaryIO, tag: str) -> None:
        """`file`: an empty one. `tag`: the job's, which its rows' ids begin with."""
        self._file = file
        self._row = re.compile(re.escape(tag.encode()) + rb"-(\d{1,9})")
        self._lines: list[tuple[int, int, int]] = []
        """Row, place, length."""
        self._held = bytearray()
        """The end of what was put."""
        self._written = 0

    def put(self, line: bytes) -> None:
        """Keep a line. Whose row it is, is only guessed here: nothing but its turn depends on that."""
        found = self._row.search(line)
        held = self._held
        self._lines.append((int(found[1]) if found else -1, self._written + len(held), len(line)))
        held += line
        if len(held) > IN_MEMORY:
            self._write()

    def lines(self) -> Iterator[bytes]:
        """All of them, by their rows; of one row in the order in which they came."""
        in_order = sorted(self._lines)
        if not self._written:
            with memoryview(self._held) as held:
                for _, place, length in in_order:
                    yield bytes(held[place : place + length])
            return
        self._write()
        self._file.flush()
        number = self._file.fileno()
        for _, place, length in in_order:
            yield os.pread(number, length, place)

    def _write(self) -> None:
        self._file.write(self._held)
        self._written += len(self._held)
        self._held.clear()
