"""Notes: what was passed over or put right in a trace, said once for all its requests."""

from collections.abc import Iterator


class Notes:
    """Each kind of note with the line on which it came first, and how often it came."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, int]] = {}

    def add(self, what: str, line: int) -> None:
        """Note something about the request on this line."""
        first, times = self._found.get(what, (line, 0))
        if times or len(self._found) < MOST:
            self._found[what] = first, times + 1

    def __iter__(self) -> Iterator[str]:
        for what, (first, times) in self._found.items():
            more = "" if times == 1 else f" and {times - 1:,} more"
            yield f"{what} (line {first}{more})"


MOST = 100
"""Kinds of notes that are kept: what else there is to say is no news."""
