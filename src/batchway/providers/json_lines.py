"""JSON Lines as they come in: cut into lines at newlines alone."""

from collections.abc import Sequence


class LineCutter:
    """Cuts JSON Lines at 0x0A alone: U+2028 and its like are text (failures.md #41). Blank lines are dropped."""

    def __init__(self, following: str | None = None) -> None:
        """`following`: what the next page is asked by, if this one holds anything."""
        self._following = following
        self._rest: list[bytes] = []
        self._empty = True

    @property
    def after(self) -> str | None:
        """What the next page is asked by; None: that was all."""
        return None if self._empty else self._following

    def feed(self, data: bytes) -> Sequence[bytes]:
        """The lines that are whole now."""
        *whole, rest = data.split(b"\n")
        if whole:
            whole[0] = b"".join((*self._rest, whole[0]))
            self._rest = [rest]
        else:
            self._rest.append(rest)
        return self._told(whole)

    def end(self) -> Sequence[bytes]:
        """The last line, which need not end in a newline. If it was cut it cannot be read, and is found out so."""
        rest = b"".join(self._rest)
        self._rest = []
        return self._told([rest])

    def _told(self, lines: Sequence[bytes]) -> Sequence[bytes]:
        told = [line for line in lines if line.strip()]
        self._empty = self._empty and not told
        return told
