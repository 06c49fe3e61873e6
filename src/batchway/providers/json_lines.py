"""JSON Lines as they come in: cut into lines at newlines alone."""

from collections.abc import Sequence


class LineCutter:
    """Cuts JSON Lines at 0x0A alone: U+2028 and its like are text (failures.md #41). Blank lines are dropped."""

    after: str | None = None

    def __init__(self) -> None:
        self._rest: list[bytes] = []

    def feed(self, data: bytes) -> Sequence[bytes]:
        """The lines that are whole now."""
        *whole, rest = data.split(b"\n")
        if whole:
            whole[0] = b"".join((*self._rest, whole[0]))
            self._rest = [rest]
        else:
            self._rest.append(rest)
        return [line for line in whole if line.strip()]

    def end(self) -> Sequence[bytes]:
        """The last line, which need not end in a newline. If it was cut it cannot be read, and is found out so."""
        rest = b"".join(self._rest)
        self._rest = []
        return [rest] if rest.strip() else []
