"""Seats: the questions on their way to an answer, everyone who waits for each, and how a newcomer finds its place."""

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from batchway.core.analysis import Analysis
from batchway.core.fingerprint import adoption_key, reusable, twin_key
from batchway.core.memory import Known
from batchway.core.packer import Pack
from batchway.core.packing import Missing
from batchway.core.types import Lane, Request

_NONE: Mapping[Lane, str] = MappingProxyType({})


class Seat(Struct, eq=False):
    """One question on its way to an answer, and everyone who waits for it."""

    request: Request
    """What is sent; its caller came first, and may be gone."""
    waiting: dict[str, Request]
    """Everyone who waits for it, by `ask`, in the order in which they came."""
    shared: bool
    """Whether twins may join, and the answer be kept for others."""
    tokens: int | None
    """Input tokens, once somebody had to count them."""
    durable: bool
    """It goes on, whoever waits: on disk, or on its way there."""
    on_disk: bool = False
    """The disk has it as pending: how it ends has to be kept there before anybody is told."""
    item: int | None = None
    """Tokens of its last message, once it was to be packed."""
    job: str | None = None
    """The job that it rides in. Jobs live in rows; the seat is kept only for those who wait."""
    elsewhere: bool = False
    """Another process, or a job of before, has it."""
    lane: Lane = "direct"
    """The lane that was chosen."""
    barred: Mapping[Lane, str] = _NONE
    """Lanes that are closed to it alone, and why."""
    fitted: str | None = None
    """What was left out to make it fit, once that was tried."""
    spent: int = 0
    """Picodollars of its share in calls that had no answer for it."""
    analysis: Analysis | None = None
    """What its prompt asks for, once somebody had to know."""
    known: Known | None = None
    """An answer that was made for another and is this one's as well, once the disk has it so."""
    attempt: int = 0
    """Calls made for it so far."""
    flight: "Flight | None" = None
    open: bool = True
    abandoned: bool = False
    """Nobody waits, but its call goes on so that a retry can adopt it."""
    abandoned_until: float = 0.0
    """When the time for that is over."""
    kept: bool = False
    """Somebody was told that it goes on, and may come back for its answer."""
    recorded: bool = False
    """Its own caller was refused, which is what its record says: how it ends for others is no second one."""
    why: str = ""

    @property
    def away(self) -> bool:
        """It is seen to elsewhere: in a job, or by another process."""
        return self.job is not None or self.elsewhere

    @property
    def payer(self) -> Request:
        """Who is charged: the first who still waits."""
        return next(iter(self.waiting.values()), self.request)


def seat_of(request: Request, *, waited_for: bool = True) -> Seat:
    """The seat of a request that has just come."""
    return Seat(
        request=request,
        waiting={request.ask: request} if waited_for else {},
        shared=reusable(request) is None,
        tokens=request.tokens,
        durable=request.durable,
    )


def stored_seat(request: Request) -> Seat:
    """The seat of a request that comes from the disk, without its caller."""
    shared = reusable(request) is None
    return Seat(request=request, waiting={}, shared=shared, tokens=request.tokens, durable=True, on_disk=True)


class Sample(Struct, frozen=True):
    """A packed answer that is compared with a single one to the same request."""

    pack: Pack
    answers: tuple[str | Missing, ...]
    """All answers of the pack: one that equals a neighbour's was exchanged."""


class Flight(Struct, eq=False):
    """A call under way, for one seat or several (packed)."""

    call_id: str
    lane: Lane
    seats: tuple[Seat, ...]
    pack: Pack | None
    """What the packer knows it by; a pack of one could have been packed and was not."""
    sample: Sample | None
    """It is a sample of the guard's, and nobody waits for it."""
    attempt: int
    started: bool = False
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

    def away(self) -> list[Seat]:
        """Those that are seen to elsewhere, and for which nothing is done here."""
        return [seat for seat in self._by_lead.values() if seat.away and seat.flight is None]

    def waited_for(self) -> list[Seat]:
        """Those that have callers here."""
        return [seat for seat in self._by_lead.values() if seat.waiting]

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
        """A shared seat with the same question, whose answer may still come."""
        seat = self._twins.get(twin_key(request))
        return seat if seat is not None and seat.open else None

    def abandoned(self, request: Request) -> Seat | None:
        """The seat that an earlier try of this caller left behind."""
        if not self._abandoned or request.prompt.stream:
            return None
        return self._abandoned.get(adoption_key(request))
