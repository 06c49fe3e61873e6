"""The planner's whole state, and where it puts the commands of the turn: what every file of this package works on."""

from collections.abc import Callable, Hashable, Mapping
from heapq import heappop, heappush
from math import inf
from typing import Literal

from msgspec import structs

from batchway.core.batcher import Batcher, Closed
from batchway.core.catalog import Catalog
from batchway.core.commands import Command
from batchway.core.errors import Unconfigured
from batchway.core.gate import Gate
from batchway.core.limits import Dice
from batchway.core.memory import Memory
from batchway.core.packer import Packer
from batchway.core.packing_bank import Bank
from batchway.core.policy import Policy, WindowRule
from batchway.core.prefixes import Prefixes
from batchway.core.router import Offers, Outlook
from batchway.core.seats import Flight, Seat, Seats
from batchway.core.settlement import Bill
from batchway.core.tokens import TokenCounts
from batchway.core.turnaround import Turnarounds
from batchway.core.types import Answer, Fault, Lane, Packing, Request

Timer = Literal["retry", "abandoned", "deadline"]

Watch = Callable[[Literal["pack", "job"], Closed], None]
"""Is shown each window that closes, and which kind it is."""


class Plan:
    """One per planner. `now` and `out` are those of the fact that is being received."""

    def __init__(
        self,
        policy: Policy,
        catalog: Catalog,
        offers: Mapping[str, Offers],
        counts: TokenCounts,
        ids: Callable[[], str],
        dice: Dice,
        watch: Watch | None,
        turnarounds: Turnarounds,
    ) -> None:
        self.now = 0.0
        self.out: list[Command] = []
        self.policy = policy
        self.catalog = catalog
        self.offers = offers
        self.turnarounds = turnarounds
        self.closed: dict[tuple[str, str, Lane], str] = {}
        """Lanes that a provider turned out not to offer for a model, and why."""
        self.counts = counts
        self.ids = ids
        self.dice = dice
        self.watch = watch
        """Who looks on as windows close."""
        self.memory = Memory(policy)
        bounds: dict[Hashable, int] = {
            name: offer.max_in_flight for name, offer in offers.items() if offer.max_in_flight is not None
        }
        self.gate = Gate(policy, bounds, counts, dice)
        self.batcher = Batcher()
        self.pack_rules: Mapping[Packing, WindowRule] = {
            "auto": structs.replace(policy.pack, adaptive=True),
            "always": structs.replace(policy.pack, adaptive=False),
        }
        """The windows of packs: `auto` keeps nobody waiting whom nobody is expected to join."""
        self.beginnings: dict[str, int] = {}
        """Tokens of what requests have in common, by pack key."""
        self.paused: dict[tuple[str, str], tuple[float, str]] = {}
        """Until when requests of a tenant and pack key go singly at once, and why."""
        self.packer = Packer(dice, bank=Bank(stake=policy.pack_stake, risk=policy.pack_risk), most=policy.pack.max_size)
        self.prefixes = Prefixes()
        self.seats = Seats()
        self.flights: dict[str, Flight] = {}
        self.ended: dict[str, tuple[Seat, Answer | Fault, Bill]] = {}
        """What has ended and is not on disk yet, by `ask`."""
        self.answered = 0
        self.sampled_at = -inf
        """When a prompt was last counted only to learn from its bill."""
        self.stopping = False
        self.timers: list[tuple[float, int, Timer, object]] = []
        """What is looked at again at a time, the next first (a heap)."""
        self._timer_count = 0

    def offers_to(self, seat: Seat) -> Offers:
        """What is open to a request. Raises Unconfigured: it may be of a time when there were other providers."""
        request = seat.request
        offers = self.offers.get(request.provider)
        if offers is None:
            raise Unconfigured.any_more(request.provider)
        if self.closed or seat.barred:
            for lane in offers.open:
                closed = self.closed.get((request.provider, request.prompt.model, lane))
                reason = closed if closed is not None else seat.barred.get(lane)
                if reason is not None:
                    offers = offers.without(lane, reason)
        return offers

    def outlook(self, request: Request) -> Outlook:
        """How long each lane may take."""
        return Outlook(
            left=None if request.deadline is None else request.deadline - self.now,
            turnarounds=self.turnarounds,
            window=self.policy.job.max_wait,
            flex=self.policy.flex_timeout,
        )

    def set_timer(self, at: float, kind: Timer, what: object) -> None:
        """Have `what` looked at when it is time; it may have ended by then."""
        self._timer_count += 1
        heappush(self.timers, (at, self._timer_count, kind, what))

    def next_timer(self) -> float | None:
        """When the next timer runs out."""
        return self.timers[0][0] if self.timers else None

    def due_timer(self) -> tuple[Timer, object] | None:
        """One timer that has run out."""
        if not self.timers or self.timers[0][0] > self.now:
            return None
        _, _, kind, what = heappop(self.timers)
        return kind, what
