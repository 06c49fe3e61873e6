"""Bodies whose bytes nobody reads: those of one size are one object, so that a million of them take no memory."""

PARTS = 16
"""Sizes between two powers of two: a body is at most a sixteenth larger than was asked for."""


class Blanks:
    """Makes bodies, and gives the same again."""

    def __init__(self) -> None:
        self._made: dict[int, bytes] = {}

    def __call__(self, size: int) -> bytes:
        """A body of so many bytes, or a few more."""
        grain = max(1, (1 << max(0, size - 1).bit_length()) // (2 * PARTS))
        rounded = -(-size // grain) * grain
        body = self._made.get(rounded)
        if body is None:
            body = self._made[rounded] = bytes(rounded)
        return body
