"""Seats: the questions on their way to an answer, everyone who waits for each, and how a newcomer finds its place."""

from collections.abc import Mapping
from types import MappingProxyType

from batchway.core.analysis import Analysis
from batchway.core.fingerprint import adoption_key, reusable, twin_key
from batchway.core.packer import Pack
from batchway.core.packing import Missing
from batchway.core.types import Lane, Request

_NONE: Mapping[Lane, str] = MappingProxyType({})


class Seat:
    """One question on its way to an answer, and everyone who waits for it."""

    __slots__ = (
        "abandoned",
        "analysis",
        "attempt",
        "barred",
        "durable",
        "elsewhere",
        "fitted",
        "flight",
        "item",
        "job",
        "lane",
        "on_disk",
        "open",
        "request",
        "shared",
        "spent",
        "tokens",
        "waiting",
        "why",
    )

    def __init__(self, request: Request, *, saved: bool = False, waited_for: bool = True) -> None:
        """`saved`: it comes from the disk, and no caller comes with it."""
        self.request = request
        """What is sent; its caller came first, and may be gone."""
        self.waiting: dict[str, Request] = {request.ask: request} if waited_for and not saved else {}
        self.shared = reusable(request) is None
        """Whether twins may join, and the answer be kept for others."""
        self.tokens = request.tokens
        """Input tokens, once somebody had to count them."""
        self.item: int | None = None
        """Tokens of its last message, once it was to be packed."""
        self.on_disk = saved
        """The disk has it as pending: how it ends has to be kept there before anybody is told."""
        self.job: str | None = None
        """The job that it rides in. Jobs live in rows; the seat is kept only for those who wait."""
        self.elsewhere = False
        """Another process, or a job of before, has it."""
        self.durable = saved or request.durable
        """It goes on, whoever waits: on disk, or on its way there."""
        self.lane: Lane = "direct"
        """The lane that was chosen."""
        self.barred: Mapping[Lane, str] = _NONE
        """Lanes that are closed to it alone, and why."""
        self.fitted: str | None = None
        """What was left out to make it fit, once that was tried."""
        self.spent = 0
        """Picodollars of its share in calls that had no answer for it."""
        self.analysis: Analysis | None = None
        """What its prompt asks for, once somebody had to know."""
        self.attempt = 0
        """Calls made for it so far."""
        self.flight: Flight | None = None
        self.open = True
        self.abandoned = False
        """Nobody waits, but its call goes on so that a retry can adopt it."""
        self.why = ""

    @property
    def away(self) -> bool:
        """It is seen to elsewhere: in a job, or by another process."""
        return self.job is not None or self.elsewhere

    @property
    def payer(self) -> Request:
        """Who is charged: the first who still waits."""
        return next(iter(self.waiting.values()), self.request)


class Sample:
    """A packed answer that is compared with a single one to the same request."""

    __slots__ = ("answers", "pack")

    def __init__(self, pack: Pack, answers: tuple[str | Missing, ...]) -> None:
        self.pack = pack
        self.answers = answers
        """All answers of the pack: one that equals a neighbour's was exchanged."""


class Flight:
    """A call under way, for one seat or several (packed)."""

    __slots__ = ("attempt", "call_id", "lane", "pack", "sample", "seats", "started")

    def __init__(
        self, call_id: str, lane: Lane, seats: tuple[Seat, ...], pack: Pack | None, sample: Sample | None
    ) -> None:
        self.call_id = call_id
        self.lane = lane
        self.seats = seats
        self.pack = pack
        """What the packer knows it by; a pack of one could have been packed and was not."""
        self.sample = sample
        """It is a sample of the guard's, and nobody waits for it."""
        self.attempt = max([seat.attempt for seat in seats])
        self.started = False
        """Its first bytes reached the callers."""


class Seats:
    """All open seats, and the ways to find one."""

    def __init__(self) -> None:
        self._by_ask: dict[str, Seat] = {}
        self._by_lead: dict[str, Seat] = {}
        self._twins: dict[tuple[str, bool], Seat] = {}
        self._named: dict[tuple[str, str], Seat] = {}
        self._abandoned: dict[tuple[str, str, str], Seat] = {}

    def awaited(self, *, in_jobs: bool) -> list[str]:
        """The `ask` of what is under way in another process and has callers here; `in_jobs`: or rides in a job."""
        return [
            ask
            for ask, seat in self._by_lead.items()
            if seat.waiting and seat.flight is None and (seat.elsewhere or (in_jobs and seat.job is not None))
        ]

    def __len__(self) -> int:
        """Callers who wait."""
        return len(self._by_ask)

    def add(self, seat: Seat) -> None:
        """Open a seat."""
        lead = seat.request
        self._by_lead[lead.ask] = seat
        for ask in seat.waiting:
            self._by_ask[ask] = seat
        if seat.shared:
            self._twins.setdefault(twin_key(lead), seat)
        if lead.named:
            self._named[lead.tenant, lead.id] = seat

    def join(self, seat: Seat, request: Request) -> None:
        """One more waits for this seat; it is no longer abandoned, if it was."""
        seat.waiting[request.ask] = request
        self._by_ask[request.ask] = seat
        if seat.abandoned:
            seat.abandoned = False
            self._abandoned.pop(adoption_key(seat.request), None)

    def leave(self, ask: str) -> Seat | None:
        """One waits no more. The seat that it had."""
        seat = self._by_ask.pop(ask, None)
        if seat is not None:
            del seat.waiting[ask]
        return seat

    def abandon(self, seat: Seat) -> None:
        """Nobody waits, but the seat stays open. A stream is not adopted: nobody could follow it from its beginning."""
        seat.abandoned = True
        if not seat.request.prompt.stream:
            self._abandoned[adoption_key(seat.request)] = seat

    def close(self, seat: Seat) -> list[Request]:
        """Forget a seat. Its callers, in the order in which they came."""
        lead = seat.request
        seat.open = False
        self._by_lead.pop(lead.ask, None)
        if seat.shared and self._twins.get(twin_key(lead)) is seat:
            del self._twins[twin_key(lead)]
        if lead.named and self._named.get((lead.tenant, lead.id)) is seat:
            del self._named[lead.tenant, lead.id]
        if seat.abandoned and self._abandoned.get(adoption_key(lead)) is seat:
            del self._abandoned[adoption_key(lead)]
        callers = list(seat.waiting.values())
        for caller in callers:
            del self._by_ask[caller.ask]
        return callers

    def of(self, ask: str) -> Seat | None:
        """The seat that this caller waits for."""
        return self._by_ask.get(ask)

    def led_by(self, ask: str) -> Seat | None:
        """The open seat whose question this was, whether its caller still waits or not."""
        return self._by_lead.get(ask)

    def named(self, request: Request) -> Seat | None:
        """The seat of the same tenant's same request_id."""
        return self._named.get((request.tenant, request.id))

    def twin(self, request: Request) -> Seat | None:
        """A shared seat with the same question."""
        return self._twins.get(twin_key(request))

    def abandoned(self, request: Request) -> Seat | None:
        """The seat that an earlier try of this caller left behind."""
        if not self._abandoned or request.prompt.stream:
            return None
        return self._abandoned.get(adoption_key(request))
