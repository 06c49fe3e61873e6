"""A spool: result lines as they were downloaded, in a file, given back in the order of their rows.

A provider gives results in any order. Written to the store in that order, every transaction would touch as many of its
pages as it has rows, all over the job, and write each page again and again: two thirds of what ingesting costs.
"""

import os
import re
from collections.abc import Iterator
from typing import BinaryIO


class Spool:
    """Lines of one job's results. Memory: a hundred bytes for each."""

    def __init__(self, file: BinaryIO, tag: str) -> None:
        """`file`: an empty one. `tag`: the job's, which its rows' ids begin with."""
        self._file = file
        self._row = re.compile(re.escape(tag.encode()) + rb"-(\d{1,9})")
        self._lines: list[tuple[int, int, int]] = []
        """Row, place in the file, length."""
        self._size = 0

    def put(self, line: bytes) -> None:
        """Keep a line. Whose row it is, is only guessed here: nothing but its turn depends on that."""
        found = self._row.search(line)
        self._lines.append((int(found[1]) if found else -1, self._size, len(line)))
        self._file.write(line)
        self._size += len(line)

    def lines(self) -> Iterator[bytes]:
        """All of them, by their rows; of one row in the order in which they came."""
        self._file.flush()
        number = self._file.fileno()
        for _, place, length in sorted(self._lines):
            yield os.pread(number, length, place)
