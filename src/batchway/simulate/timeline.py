"""A timeline: what happened in each stretch of time, in as many stretches as fit on a page however long it gets."""

from msgspec import Struct

MOST = 160
"""Stretches; one more, and each two become one of twice the length."""


class Stretch(Struct):
    """What happened in one of them."""

    answered: dict[str, int] = {}
    """By the way of the answer (`routed_via`)."""
    refused: int = 0
    calls: int = 0
    windows: int = 0
    paid: int = 0
    """Picodollars."""
    worth: int = 0
    """What all of it would have cost alone and directly."""

    def add(self, other: "Stretch") -> None:
        """Take in what happened in another."""
        for way, count in other.answered.items():
            self.answered[way] = self.answered.get(way, 0) + count
        self.refused += other.refused
        self.calls += other.calls
        self.windows += other.windows
        self.paid += other.paid
        self.worth += other.worth


class Timeline:
    """Begins with the first moment that it is asked about; what came before that counts for the first stretch."""

    def __init__(self) -> None:
        self.begins: float | None = None
        self.seconds = 1.0
        """The length of a stretch."""
        self.stretches: list[Stretch] = []

    def at(self, moment: float) -> Stretch:
        """The stretch of a moment, to be written on."""
        if self.begins is None:
            self.begins = moment
        place = max(0, int((moment - self.begins) / self.seconds))
        while place >= MOST:
            self._double()
            place //= 2
        while place >= len(self.stretches):
            self.stretches.append(Stretch())
        return self.stretches[place]

    def _double(self) -> None:
        self.seconds *= 2
        for place, stretch in enumerate(self.stretches[1::2]):
            self.stretches[2 * place].add(stretch)
        self.stretches = self.stretches[::2]
