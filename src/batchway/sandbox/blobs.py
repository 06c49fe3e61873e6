"""Bytes kept aside: a blob grows at its end and is read anywhere; once it is large it lives in a temporary file."""

import hashlib
import weakref
from array import array
from collections.abc import Iterator, Sequence
from tempfile import SpooledTemporaryFile
from typing import IO, overload

from batchway.sandbox.contract import Part

IN_MEMORY = 2**20
"""Bytes up to which a blob needs no file."""

BLOCK = 256 * 1024
"""Bytes read at a time."""


class Blob:
    """Bytes that may be many. Its file is closed, and so gone, when the blob is."""

    def __init__(self, file: IO[bytes] | None = None, size: int = 0) -> None:
        """An empty blob; or one that takes over an open file of so many bytes."""
        self._file: IO[bytes] = SpooledTemporaryFile(max_size=IN_MEMORY) if file is None else file  # noqa: SIM115
        self.size = size
        weakref.finalize(self, self._file.close)

    def append(self, data: bytes) -> None:
        """Add at the end."""
        self._file.seek(self.size)
        self._file.write(data)
        self.size += len(data)

    def read(self, start: int, size: int) -> bytes:
        """At most so many bytes from `start`."""
        self._file.seek(start)
        return self._file.read(size)

    def truncate(self, size: int) -> None:
        """Keep the first bytes only."""
        self._file.truncate(size)
        self.size = size

    def blocks(self) -> Iterator[bytes]:
        """All of it, a block at a time."""
        for start in range(0, self.size, BLOCK):
            yield self.read(start, BLOCK)

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Each line with where it starts; cut at 0x0A only, and without it. The last line may lack it."""
        start, rest = 0, b""
        for block in self.blocks():
            *whole, rest = (rest + block).split(b"\n")
            for line in whole:
                yield start, line
                start += len(line) + 1
        if rest:
            yield start, rest

    def digest(self) -> str:
        """BLAKE2b of 8 bytes, as the ledger has it of every request body."""
        found = hashlib.blake2b(digest_size=8)
        for block in self.blocks():
            found.update(block)
        return found.hexdigest()


class Pile:
    """Lines that are added one by one, with an index of where each ends."""

    def __init__(self) -> None:
        self.blob = Blob()
        self._ends = array("Q", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def add(self, line: bytes) -> None:
        """Add a line; the newline is put after it."""
        self.blob.append(line + b"\n")
        self._ends.append(self.blob.size)

    def halve_last(self) -> None:
        """Cut the last line in the middle of it."""
        if len(self):
            self._ends[-1] -= (self._ends[-1] - self._ends[-2] + 1) // 2
            self.blob.truncate(self._ends[-1])

    def line(self, number: int) -> bytes:
        """A line, counted from 0, without its newline."""
        start, end = self._ends[number], self._ends[number + 1]
        return self.blob.read(start, end - start).removesuffix(b"\n")

    def reverse(self) -> None:
        """Put the last line first, and so on."""
        lines = [self.line(number) for number in reversed(range(len(self)))]
        self.blob.truncate(0)
        self._ends = array("Q", [0])
        for line in lines:
            self.add(line)

    def start(self, line: int) -> int:
        """Where a line starts, counted from 0; beyond the last line, where the pile ends."""
        return self._ends[min(line, len(self))]


class Blocks(Sequence[Part]):
    """A region of a blob as the parts of a plan: read when they are sent, never all at once."""

    def __init__(self, blob: Blob, start: int = 0, end: int | None = None) -> None:
        self._blob = blob
        self._start = start
        self.size = (blob.size if end is None else end) - start

    def __len__(self) -> int:
        return max(1, -(-self.size // BLOCK))

    @overload
    def __getitem__(self, index: int) -> Part: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Part]: ...
    def __getitem__(self, index: int | slice) -> Part | Sequence[Part]:
        if isinstance(index, slice):
            return tuple(self[each] for each in range(*index.indices(len(self))))
        if not 0 <= index < len(self):
            raise IndexError(index)
        offset = index * BLOCK
        return Part(self._blob.read(self._start + offset, min(BLOCK, self.size - offset)))
