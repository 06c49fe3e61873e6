"""JSON Lines as they come in: cut into lines at newlines alone."""

from collections.abc import Sequence

FULL_PAGE = (100, 101)
"""Lines of a full page, where a file may be cut into pages (providers.md §9). Fewer are the end of what there is, and
more are all of it at once: following a file while it grows, line by line, is nobody's wish."""


class LineCutter:
    """Cuts JSON Lines at 0x0A alone: U+2028 and its like are text (failures.md #41). Blank lines are dropped."""

    def __init__(self, following: str | None = None) -> None:
        """`following`: what the next page is asked by, if this one turns out to be full."""
        self._following = following
        self._rest: list[bytes] = []
        self._count = 0

    @property
    def after(self) -> str | None:
        """What the next page is asked by; None: that was all."""
        return self._following if self._count in FULL_PAGE else None

    def feed(self, data: bytes) -> Sequence[bytes]:
        """The lines that are whole now."""
        *whole, rest = data.split(b"\n")
        if whole:
            whole[0] = b"".join((*self._rest, whole[0]))
            self._rest = [rest]
        else:
            self._rest.append(rest)
        return self._counted(whole)

    def end(self) -> Sequence[bytes]:
        """The last line, which need not end in a newline. If it was cut it cannot be read, and is found out so."""
        rest = b"".join(self._rest)
        self._rest = []
        return self._counted([rest])

    def _counted(self, lines: Sequence[bytes]) -> Sequence[bytes]:
        found = [line for line in lines if line.strip()]
        self._count += len(found)
        return found
