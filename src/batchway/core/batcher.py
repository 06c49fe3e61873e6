"""The batcher: groups tickets of one key into windows and says when each window closes, and why.

It serves both levels, pack windows and job windows. A ticket stands for a request; bodies never come here.

States of a window:

      (none) ──add──▶ open ──add, remove──▶ open
                       │
                       ├── size                  the ticket just added reaches max_size
                       ├── tokens, bytes         the next ticket would exceed the bound (it opens the next window)
                       ├── wait, idle, alone     its time has come: `due`
                       ├── flush                 someone asked
                       │      └──▶ closed: handed over once as a `Closed` and forgotten
                       └── its last ticket was removed ──▶ (none)

A ticket that exceeds max_tokens or max_bytes by itself opens no window: it is handed over at once, by itself.

Invariants:
1. A ticket is in exactly one window, until that window is handed over or the ticket is removed.
2. All tickets of a window have its key, in the order of arrival, and there is one open window per key.
3. A window never holds more tickets, tokens or bytes than the rule that opened it allows.
4. A ticket waits at most its own allowance, counted from its own arrival: max_wait of the rule it came with, times its
   patience, or nothing where the rule adapts and nobody else is expected. (Held if `due` is called at `deadline`.)
5. A window that waits has a deadline, never before its newest ticket was added, and `due(deadline())` closes one.
6. The same calls give the same results; windows come out in the order in which they were opened.

Only `due` closes by time. So tickets that arrive while a window is overdue still join it: when the process is late, and
when several arrive in one turn of the event loop, they share a call instead of going one by one.
"""

from collections.abc import Callable, Hashable, Iterator
from heapq import heapify, heappop, heappush, heapreplace
from math import inf
from typing import Literal

from msgspec import Struct

from batchway.core.policy import WindowRule

Reason = Literal["wait", "size", "tokens", "bytes", "idle", "flush", "alone"]

WEIGHT = 0.25
"""Of the newest gap in the learnt one: a changed rhythm is believed after a handful of arrivals."""

MEMORY = 10
"""Gaps longer than this many waits are forgotten: whatever came before such a pause says nothing about now."""

RHYTHMS = 10_000
"""Keys whose rhythm is remembered; beyond it the one longest unseen is forgotten."""

SLACK = 64
"""Outdated timers that are kept before the heap is cleaned: fewer are not worth the work."""


class Ticket(Struct, frozen=True, kw_only=True):
    """What waits in place of a request."""

    id: str
    tokens: int
    """Input tokens of the request."""
    size: int
    """Bytes of its body."""
    at: float
    """When the request arrived: its wait counts from here."""
    patience: float = 1.0
    """Multiplier of the rule's max_wait, from the request's latency tolerance (`Tolerance.patience`)."""


class Closed(Struct, frozen=True, kw_only=True):
    """A window that has closed: its tickets are to be sent together."""

    key: Hashable
    tickets: tuple[Ticket, ...]
    reason: Reason
    """`tokens` and `bytes` also for a ticket that exceeds the bound by itself."""
    opened_at: float
    closed_at: float
    max_wait: float
    """Seconds that the least patient of its tickets allowed."""

    @property
    def early(self) -> bool:
        """Nobody was expected, so that it closed before it had waited: how many would have come is not known."""
        return self.reason in ("alone", "wait") and self.closed_at < self.opened_at + self.max_wait


class Open(Struct, frozen=True, kw_only=True):
    """An open window, for those who look on (statistics)."""

    key: Hashable
    size: int
    """Tickets in it."""
    tokens: int
    oldest_at: float
    """Arrival of the ticket that has waited longest."""
    closes_by: float
    """When it closes at the latest, if no ticket leaves it."""


def worth_waiting(gap: float | None, wait: float) -> bool:
    """Is one more ticket expected within `wait` seconds, if they come every `gap` seconds (None: not known)?

    An unknown key is not waited for: the first request of a burst goes at once, together with those of the same turn of
    the event loop, and the next ones find a rhythm learnt. That costs a burst one call more; the other way round every
    lone interactive request would wait in vain.
    """
    return gap is not None and gap <= wait


class Batcher:
    """Open windows by key. Not thread-safe: one owner calls it and passes the time, which never runs backwards."""

    def __init__(self) -> None:
        self._windows: dict[Hashable, _Window] = {}
        self._places: dict[str, _Place] = {}
        self._timers: list[_Timer] = []
        self._rhythms = _Rhythms()
        self._opened = 0
        self._timed = 0

    def __len__(self) -> int:
        """Tickets that wait."""
        return len(self._places)

    def __contains__(self, ticket_id: object) -> bool:
        return ticket_id in self._places

    def add(self, key: Hashable, ticket: Ticket, rule: WindowRule, now: float) -> list[Closed]:
        """Put a ticket into the window of its key; return the windows that this closes (at most two).

        `rule` holds for the window if the ticket opens it; an open window keeps the bounds it was opened with, and the
        ticket brings its own wait. A lone ticket is not returned here: it is due in the same instant (`deadline() ==
        now`), so that others of the same turn can still join it.
        """
        if ticket.id in self._places:
            raise ValueError(f"ticket {ticket.id!r} waits already; remove it before it is added again")
        bound = _exceeded(rule, ticket.tokens, ticket.size)
        if bound:
            return [_alone(key, ticket, rule, bound, now)]
        closed = []
        window = self._windows.get(key)
        if window:
            bound = _exceeded(window.rule, window.tokens + ticket.tokens, window.bytes + ticket.size)
            if bound:
                closed.append(self._close(window, bound, now))
                window = None
        if window is None:
            window = self._open(key, rule, now)
        self._seat(window, ticket, rule, now)
        if len(window.places) >= window.rule.max_size:
            closed.append(self._close(window, "size", now))
        return closed

    def remove(self, ticket_id: str) -> bool:
        """Take a ticket out of its window (its request was cancelled); False if it does not wait here."""
        place = self._places.pop(ticket_id, None)
        if place is None:
            return False
        window = place.window
        del window.places[ticket_id]
        window.tokens -= place.ticket.tokens
        window.bytes -= place.ticket.size
        if not window.places:
            self._forget(window)
        self._sweep()
        return True

    def deadline(self) -> float | None:
        """When `due` has to be called next; None if nothing waits."""
        timers = self._timers
        while timers:
            at, _, window, place = timers[0]
            if place is None and window.idle_at is not None and window.idle_at > at:
                self._timed += 1  # Those who came since have put it off.
                heapreplace(timers, (window.idle_at, self._timed, window, None))
            elif _runs(timers[0]):
                return at
            else:
                heappop(timers)
        return None

    def due(self, now: float) -> list[Closed]:
        """Close every window whose time has come."""
        closed = []
        while (deadline := self.deadline()) is not None and deadline <= now:
            _, _, window, place = heappop(self._timers)
            closed.append((window.order, self._close(window, _reason(window, place), now)))
        return [window for _, window in sorted(closed, key=_order)]

    def flush(self, now: float, only: Callable[[Hashable], bool] | None = None) -> list[Closed]:
        """Close the windows whose key satisfies `only`, or all."""
        chosen = [window for key, window in self._windows.items() if only is None or only(key)]
        return [self._close(window, "flush", now) for window in chosen]

    def windows(self) -> Iterator[Open]:
        """The open windows, in the order in which they were opened. Each costs time proportional to its size."""
        return (window.describe() for window in self._windows.values())

    def _open(self, key: Hashable, rule: WindowRule, now: float) -> "_Window":
        self._opened += 1
        window = self._windows[key] = _Window(key, rule, self._opened, now)
        return window

    def _seat(self, window: "_Window", ticket: Ticket, rule: WindowRule, now: float) -> None:
        wait = rule.max_wait * ticket.patience
        lone = rule.adaptive and not worth_waiting(self._rhythms.learn(window.key, ticket.at, rule.max_wait), wait)
        place = _Place(window, ticket, now if lone else max(now, ticket.at + wait), wait, lone)
        self._places[ticket.id] = window.places[ticket.id] = place
        window.tokens += ticket.tokens
        window.bytes += ticket.size
        self._set_timer(place.until, window, place)
        if window.rule.max_idle is not None:
            timed, window.idle_at = window.idle_at is not None, now + window.rule.max_idle
            if not timed:
                self._set_timer(window.idle_at, window, None)

    def _set_timer(self, at: float, window: "_Window", place: "_Place | None") -> None:
        self._timed += 1  # Breaks ties, so that windows are never compared.
        heappush(self._timers, (at, self._timed, window, place))

    def _close(self, window: "_Window", reason: Reason, now: float) -> Closed:
        places = window.places
        for ticket_id in places:
            del self._places[ticket_id]
        closed = Closed(
            key=window.key,
            tickets=tuple(place.ticket for place in places.values()),
            reason=reason,
            opened_at=window.opened_at,
            closed_at=now,
            max_wait=min(place.wait for place in places.values()),
        )
        self._forget(window)
        self._sweep()
        return closed

    def _forget(self, window: "_Window") -> None:
        del self._windows[window.key]
        window.places = {}
        window.idle_at = None

    def _sweep(self) -> None:
        """Clean the heap once most of its timers are outdated: each ticket pays for its own removal only."""
        if len(self._timers) > 4 * len(self._places) + SLACK:
            self._timers = [timer for timer in self._timers if _runs(timer)]
            heapify(self._timers)


class _Window:
    """An open window."""

    __slots__ = ("bytes", "idle_at", "key", "opened_at", "order", "places", "rule", "tokens")

    def __init__(self, key: Hashable, rule: WindowRule, order: int, opened_at: float) -> None:
        self.key = key
        self.rule = rule
        self.order = order
        self.opened_at = opened_at
        self.places: dict[str, _Place] = {}
        self.tokens = 0
        self.bytes = 0
        self.idle_at: float | None = None

    def describe(self) -> Open:
        """What an onlooker may know."""
        places = self.places.values()
        until = min(place.until for place in places)
        return Open(
            key=self.key,
            size=len(places),
            tokens=self.tokens,
            oldest_at=min(place.ticket.at for place in places),
            closes_by=until if self.idle_at is None else min(until, self.idle_at),
        )


class _Place(Struct, eq=False):
    """A ticket in its window."""

    window: _Window
    ticket: Ticket
    until: float
    wait: float
    lone: bool


_Timer = tuple[float, int, _Window, _Place | None]
"""When, a serial number, and what ends then: the wait of a ticket, or (None) the idleness of the window."""


class _Rhythms:
    """The learnt time between arrivals, by key: a decaying mean, forgotten after a long pause or by many other keys."""

    def __init__(self) -> None:
        self._seen: dict[Hashable, tuple[float, float | None]] = {}

    def learn(self, key: Hashable, at: float, wait: float) -> float | None:
        """Note an arrival; the mean gap in seconds, or None if the key is new or has long been silent."""
        last, gap = self._seen.pop(key, (-inf, None))
        step = max(0.0, at - last)
        if step > MEMORY * wait:
            gap = None
        elif gap is None:
            gap = step
        else:
            gap += WEIGHT * (step - gap)
        self._seen[key] = (max(at, last), gap)  # At the end: the dict keeps the order in which keys were last seen.
        if len(self._seen) > RHYTHMS:
            del self._seen[next(iter(self._seen))]
        return gap


def _exceeded(rule: WindowRule, tokens: int, size: int) -> Literal["tokens", "bytes"] | None:
    if rule.max_tokens is not None and tokens > rule.max_tokens:
        return "tokens"
    if rule.max_bytes is not None and size > rule.max_bytes:
        return "bytes"
    return None


def _alone(key: Hashable, ticket: Ticket, rule: WindowRule, bound: Reason, now: float) -> Closed:
    wait = rule.max_wait * ticket.patience
    return Closed(key=key, tickets=(ticket,), reason=bound, opened_at=now, closed_at=now, max_wait=wait)


def _runs(timer: _Timer) -> bool:
    """Does the timer still count? Those of tickets that have gone, and of windows, stay for a while. That of a window's
    idleness may be early: it is put off when it is looked at, not with every arrival."""
    _, _, window, place = timer
    if place is None:
        return window.idle_at is not None
    return window.places.get(place.ticket.id) is place


def _reason(window: _Window, place: _Place | None) -> Reason:
    if place is None:
        return "idle"
    return "alone" if place.lone and len(window.places) == 1 else "wait"


def _order(closed: tuple[int, Closed]) -> int:
    return closed[0]
