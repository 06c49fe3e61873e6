"""The hold: seats that may not go yet because of their provider's limits, by account, priority and time of asking."""

from collections import deque
from collections.abc import Iterator

from batchway.core.seats import Seat
from batchway.core.types import Lane, Request

Account = tuple[str, str]
"""Rate limits count per provider and model."""

RANK = {"high": 0, "normal": 1, "low": 2}


def account_of(request: Request) -> Account:
    """Where this request's calls count."""
    return request.provider, request.prompt.model


class Held:
    """Seats that go together, and how."""

    __slots__ = ("lane", "seats")

    def __init__(self, seats: tuple[Seat, ...], lane: Lane) -> None:
        self.seats = seats
        self.lane = lane


class Hold:
    """Counts what it holds, in requests and bytes."""

    def __init__(self) -> None:
        self._queues: dict[Account, dict[int, deque[Held]]] = {}
        self.count = 0
        self.size = 0

    def __contains__(self, account: Account) -> bool:
        """Whether anything of this account is held: newcomers then go behind it."""
        return account in self._queues

    def add(self, account: Account, seats: tuple[Seat, ...], lane: Lane) -> None:
        """Hold these seats, at the end of their priority."""
        rank = min(RANK[seat.request.priority] for seat in seats)
        self._queues.setdefault(account, {}).setdefault(rank, deque()).append(Held(seats, lane))
        self._count(seats, 1)

    def first(self, account: Account) -> Held | None:
        """What goes next."""
        ranks = self._queues.get(account)
        return ranks[min(ranks)][0] if ranks else None

    def drop_first(self, account: Account) -> None:
        """It has gone, or is not wanted any more."""
        ranks = self._queues[account]
        rank = min(ranks)
        self._count(ranks[rank].popleft().seats, -1)
        if not ranks[rank]:
            del ranks[rank]
        if not ranks:
            del self._queues[account]

    def accounts(self, provider: str) -> Iterator[Account]:
        """The accounts of a provider that hold something."""
        return iter([account for account in self._queues if account[0] == provider])

    def _count(self, seats: tuple[Seat, ...], sign: int) -> None:
        self.count += sign * len(seats)
        self.size += sign * sum(seat.request.size for seat in seats)
