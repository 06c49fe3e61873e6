"""Long lists in pieces that one statement can hold."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")

CHUNK = 1000
"""Both databases take tens of thousands of values in a statement; so many are few enough to keep its text short."""


def chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """The items in order, piece by piece."""
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
