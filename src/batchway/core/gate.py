"""The gate: lets calls go as their provider's limits allow, and holds the others by priority and time of asking.

enter ──▶ go ─────────────────▶ (a call) ──▶ finished | failed
  │                                                │ frees a slot
  ├──▶ held ──▶ ready(provider) or due(now) ◀──────┘
  └──▶ full
"""

from collections import deque
from collections.abc import Hashable, Mapping
from heapq import heappop, heappush
from math import inf, isfinite
from typing import Literal

from msgspec import Struct

from batchway.core.limits import Dice, Limits, Report
from batchway.core.packer import Pack
from batchway.core.policy import Policy
from batchway.core.seats import Sample, Seat
from batchway.core.tokens import TokenCounts
from batchway.core.types import Fault, Lane, Request

Account = tuple[str, str]
"""Rate limits count per provider and model."""

RANK = {"high": 0, "normal": 1, "low": 2}


def account_of(request: Request) -> Account:
    """Where this request's calls count."""
    return request.provider, request.prompt.model


class Party(Struct, eq=False):
    """Seats that go together, by which lane, and why together: as a pack, or to be compared with one."""

    seats: tuple[Seat, ...]
    lane: Lane
    pack: Pack | None = None
    sample: Sample | None = None


class Gate:
    """Counts what it holds, in requests and bytes; both are bounded by the policy."""

    def __init__(self, policy: Policy, bounds: Mapping[Hashable, int], counts: TokenCounts, dice: Dice) -> None:
        self._policy = policy
        self._counts = counts
        self._dice = dice
        self._limits = Limits(policy, bounds)
        self._queues: dict[Account, dict[int, deque[Party]]] = {}
        self._wakes: list[tuple[float, Account]] = []
        self.held = 0
        self._held_bytes = 0

    # Entering

    def enter(self, party: Party, now: float) -> Literal["go", "held", "full"]:
        """Go now, wait, or be refused. What was sent once already or is durable is never refused."""
        account = account_of(party.seats[0].request)
        until = inf if account in self._queues else self._admit(account, party.seats, now)
        if until is None:
            self._go(account, party, now)
            return "go"
        if self._is_full(party.seats):
            return "full"
        self._hold(account, party)
        self._wake_at(until, account)
        return "held"

    def _admit(self, account: Account, seats: tuple[Seat, ...], now: float) -> float | None:
        """See `Limits.admit`. Tokens are counted only near a limit: far from it their bytes, never too few, will do."""
        until = self._limits.admit(account, sum([seat.request.size for seat in seats]), now)
        if until is None or not isfinite(until):
            return until
        tokens = sum(map(self.count, seats))
        return self._limits.admit(account, self._counts.safe(*account, tokens), now)

    def count(self, seat: Seat) -> int:
        """The seat's input tokens, counted once."""
        if seat.tokens is None:
            seat.tokens = self._counts.bound(seat.request.prompt)
        return seat.tokens

    def _go(self, account: Account, party: Party, now: float) -> None:
        likely = sum([seat.tokens or seat.request.likely_tokens for seat in party.seats])
        self._limits.started(account, likely, now)

    def _is_full(self, seats: tuple[Seat, ...]) -> bool:
        if any(seat.attempt or seat.durable for seat in seats):
            return False
        size = sum([seat.request.size for seat in seats])
        return self.held + len(seats) > self._policy.max_queue or (
            self._held_bytes + size > self._policy.max_queue_bytes
        )

    # Holding

    def _hold(self, account: Account, party: Party) -> None:
        rank = min(RANK[seat.request.priority] for seat in party.seats)
        self._queues.setdefault(account, {}).setdefault(rank, deque()).append(party)
        self._count_held(party, 1)

    def _count_held(self, party: Party, sign: int) -> None:
        self.held += sign * len(party.seats)
        self._held_bytes += sign * sum([seat.request.size for seat in party.seats])

    def _wake_at(self, until: float, account: Account) -> None:
        """Infinity needs no wake: a call under way will end."""
        if isfinite(until):
            heappush(self._wakes, (until, account))

    def deadline(self) -> float | None:
        """When `due` has to be called next; None if only the end of a call can let anyone go."""
        return self._wakes[0][0] if self._wakes else None

    def due(self, now: float) -> list[Party]:
        """Who may go because time has passed."""
        ready: list[Party] = []
        while self._wakes and self._wakes[0][0] <= now:
            _, account = heappop(self._wakes)
            ready += self._ready(account, now)
        return ready

    def ready(self, provider: str, now: float) -> list[Party]:
        """Who may go because a call to this provider has ended."""
        if not self._queues:
            return []
        accounts = [account for account in self._queues if account[0] == provider]
        return [party for account in accounts for party in self._ready(account, now)]

    def _ready(self, account: Account, now: float) -> list[Party]:
        """By priority, then by the time of asking. Those whose seats nobody wants any more come too, for nothing."""
        ready: list[Party] = []
        while ranks := self._queues.get(account):
            rank = min(ranks)
            party = ranks[rank][0]
            seats = tuple(seat for seat in party.seats if seat.open)
            until = self._admit(account, seats, now) if seats else None
            if until is not None:
                self._wake_at(until, account)
                break
            self._drop_first(account, rank)
            ready.append(party)
            if seats:
                self._go(account, party, now)
        return ready

    def _drop_first(self, account: Account, rank: int) -> None:
        ranks = self._queues[account]
        self._count_held(ranks[rank].popleft(), -1)
        if not ranks[rank]:
            del ranks[rank]
        if not ranks:
            del self._queues[account]

    # Ending

    def finished(self, request: Request, report: Report | None, now: float) -> None:
        """A call for this request ended well, or was ended by us."""
        self._limits.finished(account_of(request), report, now)

    def failed(self, request: Request, fault: Fault, report: Report | None, now: float) -> None:
        """A call for this request ended with a fault."""
        self._limits.refused(account_of(request), fault, report, now, self._dice)
