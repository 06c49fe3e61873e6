"""Windows: examples worked by hand, the limits as properties, and every step compared with a naive model."""

from collections.abc import Hashable
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec import Struct

from batchway.core.batcher import MEMORY, RHYTHMS, WEIGHT, Batcher, Closed, Open, Ticket, worth_waiting
from batchway.core.policy import RULES, WindowRule

PLAIN = WindowRule(max_wait=1.0, max_size=3, max_tokens=100, max_bytes=1000)
LIVELY = WindowRule(max_wait=0.5, max_size=4, adaptive=True)


def ticket(name: str, at: float = 0.0, *, tokens: int = 10, size: int = 10, patience: float = 1.0) -> Ticket:
    return Ticket(id=name, tokens=tokens, size=size, at=at, patience=patience)


def names(closed: list[Closed]) -> list[tuple[str, str]]:
    """Each window as its ticket ids, joined, and its reason."""
    return [("".join(ticket.id for ticket in window.tickets), window.reason) for window in closed]


# Triggers


def test_size_closes_with_the_ticket_that_reaches_it() -> None:
    batcher = Batcher()
    assert batcher.add("k", ticket("a"), PLAIN, 0.0) == []
    assert batcher.add("k", ticket("b", 0.25), PLAIN, 0.25) == []
    assert batcher.add("k", ticket("c", 0.5), PLAIN, 0.5) == [
        Closed(
            key="k",
            tickets=(ticket("a"), ticket("b", 0.25), ticket("c", 0.5)),
            reason="size",
            opened_at=0.0,
            closed_at=0.5,
            max_wait=1.0,
        )
    ]
    assert (len(batcher), batcher.deadline()) == (0, None)


def test_a_window_of_one_closes_at_once() -> None:
    batcher = Batcher()
    assert names(batcher.add("k", ticket("a"), WindowRule(max_wait=9.0, max_size=1), 0.0)) == [("a", "size")]


@pytest.mark.parametrize(("bound", "amounts"), [("tokens", {"tokens": 60}), ("bytes", {"size": 600})])
def test_a_ticket_that_would_exceed_finds_the_window_closed(bound: str, amounts: dict[str, int]) -> None:
    batcher = Batcher()
    batcher.add("k", ticket("a", **amounts), PLAIN, 0.0)
    assert names(batcher.add("k", ticket("b", **amounts), PLAIN, 0.25)) == [("a", bound)]
    assert names(batcher.due(1.0)) == [("b", "wait")]


def test_reaching_the_token_bound_exactly_does_not_close() -> None:
    batcher = Batcher()
    batcher.add("k", ticket("a", tokens=60), PLAIN, 0.0)
    assert batcher.add("k", ticket("b", tokens=40), PLAIN, 0.0) == []
    assert len(batcher) == 2


@pytest.mark.parametrize(("bound", "amounts"), [("tokens", {"tokens": 101}), ("bytes", {"size": 1001})])
def test_an_oversized_ticket_goes_alone_and_leaves_the_window_open(bound: str, amounts: dict[str, int]) -> None:
    batcher = Batcher()
    batcher.add("k", ticket("a"), PLAIN, 0.0)
    assert names(batcher.add("k", ticket("x", **amounts), PLAIN, 0.25)) == [("x", bound)]
    batcher.add("k", ticket("b"), PLAIN, 0.5)
    assert names(batcher.due(1.0)) == [("ab", "wait")]


def test_one_ticket_can_close_two_windows() -> None:
    batcher = Batcher()
    batcher.add("k", ticket("a", tokens=60), PLAIN, 0.0)
    single = WindowRule(max_wait=1.0, max_size=1)
    assert names(batcher.add("k", ticket("b", tokens=60), single, 0.0)) == [("a", "tokens"), ("b", "size")]


def test_the_wait_counts_from_the_arrival_of_the_oldest() -> None:
    batcher = Batcher()
    batcher.add("k", ticket("a", at=10.0), PLAIN, 10.25)
    batcher.add("k", ticket("b", at=10.5), PLAIN, 10.5)
    assert batcher.deadline() == 11.0
    assert batcher.due(10.75) == []
    assert names(batcher.due(11.0)) == [("ab", "wait")]


def test_the_least_patient_ticket_decides_and_frees_the_others_when_it_leaves() -> None:
    batcher = Batcher()
    batcher.add("k", ticket("a", patience=4.0), PLAIN, 0.0)
    batcher.add("k", ticket("b", at=1.0, patience=0.25), PLAIN, 1.0)
    assert batcher.deadline() == 1.25
    assert batcher.remove("b")
    assert batcher.deadline() == 4.0
    (closed,) = batcher.due(4.0)
    assert (closed.reason, closed.max_wait) == ("wait", 4.0)


def test_a_ticket_that_comes_late_is_due_at_once_but_not_before_it_came() -> None:
    batcher = Batcher()
    batcher.add("k", ticket("a", at=0.0), PLAIN, 7.0)
    assert batcher.deadline() == 7.0


def test_tickets_join_an_overdue_window_until_somebody_asks_what_is_due() -> None:
    batcher = Batcher()
    batcher.add("k", ticket("a"), PLAIN, 0.0)
    batcher.add("k", ticket("b", at=2.0), PLAIN, 2.0)
    assert names(batcher.due(2.0)) == [("ab", "wait")]


def test_idleness_counts_from_the_newest_ticket() -> None:
    batcher, idle = Batcher(), WindowRule(max_wait=100.0, max_size=9, max_idle=2.0)
    batcher.add("k", ticket("a", 0.0), idle, 0.0)
    batcher.add("k", ticket("b", 1.5), idle, 1.5)
    assert batcher.deadline() == 3.5
    assert names(batcher.due(3.5)) == [("ab", "idle")]


def test_idleness_is_not_forgotten_when_outdated_timers_are_cleaned_away() -> None:
    batcher, idle = Batcher(), WindowRule(max_wait=1e6, max_size=10_000, max_idle=2.0)
    for number in range(1000):
        batcher.add("k", ticket(str(number), number / 1000), idle, number / 1000)
    for number in range(999):
        batcher.remove(str(number))
    assert batcher.due(2.998) == []
    assert names(batcher.due(2.999)) == [("999", "idle")]


def test_a_removed_ticket_still_broke_the_idleness() -> None:
    batcher, idle = Batcher(), WindowRule(max_wait=100.0, max_size=9, max_idle=2.0)
    batcher.add("k", ticket("a", 0.0), idle, 0.0)
    batcher.add("k", ticket("b", 1.5), idle, 1.5)
    batcher.remove("b")
    assert batcher.deadline() == 3.5


def test_the_default_job_window_waits_300_seconds_however_long_idleness_may_be() -> None:
    batcher = Batcher()
    batcher.add("k", ticket("a", 0.0), RULES["job"], 0.0)
    batcher.add("k", ticket("b", 299.0), RULES["job"], 299.0)
    assert names(batcher.due(300.0)) == [("ab", "wait")]


def test_an_open_window_keeps_the_bounds_it_was_opened_with() -> None:
    batcher = Batcher()
    batcher.add("k", ticket("a"), PLAIN, 0.0)
    wide = WindowRule(max_wait=0.25, max_size=99)
    batcher.add("k", ticket("b"), wide, 0.0)
    assert batcher.deadline() == 0.25, "each ticket brings its own wait"
    assert names(batcher.add("k", ticket("c"), wide, 0.0)) == [("abc", "size")]


# Order, flush, removal, views


def test_windows_come_out_in_the_order_of_opening_not_of_ending() -> None:
    batcher = Batcher()
    batcher.add("slow", ticket("a", patience=4.0), PLAIN, 0.0)
    batcher.add("quick", ticket("b", patience=0.25), PLAIN, 0.5)
    assert names(batcher.due(9.0)) == [("a", "wait"), ("b", "wait")]


def test_flush_closes_what_is_asked_for() -> None:
    batcher = Batcher()
    batcher.add(("openai", "m"), ticket("a"), PLAIN, 0.0)
    batcher.add(("xai", "m"), ticket("b"), PLAIN, 0.0)
    batcher.add(("openai", "n"), ticket("c"), PLAIN, 0.0)
    assert names(batcher.flush(0.5, lambda key: isinstance(key, tuple) and key[0] == "openai")) == [
        ("a", "flush"),
        ("c", "flush"),
    ]
    assert names(batcher.flush(0.5)) == [("b", "flush")]
    assert batcher.deadline() is None


def test_removing_the_last_ticket_ends_the_window() -> None:
    batcher = Batcher()
    batcher.add("k", ticket("a"), PLAIN, 0.0)
    assert batcher.remove("a")
    assert not batcher.remove("a")
    assert (len(batcher), batcher.deadline(), list(batcher.windows())) == (0, None, [])


def test_a_removed_ticket_makes_room() -> None:
    batcher = Batcher()
    batcher.add("k", ticket("a", tokens=60), PLAIN, 0.0)
    batcher.add("k", ticket("b", tokens=40), PLAIN, 0.0)
    batcher.remove("a")
    assert batcher.add("k", ticket("c", tokens=60), PLAIN, 0.0) == []


def test_a_removed_ticket_makes_room_for_bytes() -> None:
    batcher = Batcher()
    batcher.add("k", ticket("a", size=600), PLAIN, 0.0)
    batcher.add("k", ticket("b", size=400), PLAIN, 0.0)
    batcher.remove("a")
    assert batcher.add("k", ticket("c", size=600), PLAIN, 0.0) == []


def test_a_ticket_that_returns_gets_a_new_wait() -> None:
    batcher = Batcher()
    batcher.add("k", ticket("a", patience=0.25), PLAIN, 0.0)
    batcher.add("k", ticket("b"), PLAIN, 0.0)
    batcher.remove("a")
    batcher.add("k", ticket("a", at=0.5), PLAIN, 0.5)
    assert batcher.deadline() == 1.0


def test_the_same_ticket_twice_is_refused() -> None:
    batcher = Batcher()
    batcher.add("k", ticket("a"), PLAIN, 0.0)
    with pytest.raises(ValueError, match="ticket 'a' waits already"):
        batcher.add("j", ticket("a"), PLAIN, 0.0)


def test_the_view_of_a_window() -> None:
    batcher = Batcher()
    batcher.add("k", ticket("a", at=0.5), PLAIN, 1.0)
    batcher.add("k", ticket("b", at=0.25), PLAIN, 1.0)
    assert list(batcher.windows()) == [Open(key="k", size=2, tokens=20, oldest_at=0.25, closes_by=1.25)]
    assert "a" in batcher
    assert "z" not in batcher


def test_memory_stays_in_proportion_to_what_waits() -> None:
    batcher, long = Batcher(), WindowRule(max_wait=1e6, max_size=2, max_idle=1e6)
    for turn in range(2_000):
        batcher.add("k", ticket(str(turn)), long, 0.0)
    assert len(batcher) == 0
    assert len(batcher._timers) < 100


def test_deadlines_stay_in_order_when_most_tickets_are_cancelled() -> None:
    batcher = Batcher()
    waits = [float(number * 37 % 200) for number in range(200)]
    for number, wait in enumerate(waits):
        batcher.add(number, ticket(str(number), patience=wait), PLAIN, 0.0)
    for number in range(180):
        batcher.remove(str(number))
    assert len(batcher._timers) < 200
    ends = [window.closed_at for window in _run_until(batcher, inf)]
    assert ends == sorted(waits[180:])


# The adaptive rule


@pytest.mark.parametrize(
    ("gap", "wait", "decision"),
    [
        (None, 0.05, False),  # nothing known: a lone request is not kept waiting
        (None, inf, False),
        (0.0, 0.05, True),  # several at the same instant
        (0.01, 0.05, True),  # five more expected
        (0.05, 0.05, True),  # exactly one more
        (0.06, 0.05, False),  # the next one comes too late
        (0.06, 0.2, True),  # unless the request is patient
        (0.0, 0.0, True),  # no wait to be saved
    ],
)
def test_is_it_worth_waiting(gap: float | None, wait: float, decision: bool) -> None:
    assert worth_waiting(gap, wait) is decision


def test_a_lone_request_is_due_in_the_same_instant() -> None:
    batcher = Batcher()
    assert batcher.add("k", ticket("a", 5.0), LIVELY, 5.0) == []
    assert batcher.deadline() == 5.0
    assert names(batcher.due(5.0)) == [("a", "alone")]


def test_a_slow_conversation_never_waits() -> None:
    batcher = Batcher()
    for turn in range(20):
        at = turn * 0.75
        batcher.add("k", ticket(str(turn), at), LIVELY, at)
        assert names(batcher.due(at)) == [(str(turn), "alone")]


def test_a_burst_within_one_turn_shares_a_window() -> None:
    batcher = Batcher()
    for name in "abc":
        assert batcher.add("k", ticket(name), LIVELY, 0.0) == []
    assert names(batcher.due(0.0)) == [("abc", "wait")]


def test_a_burst_over_several_turns_forms_windows_after_its_first() -> None:
    batcher, closed = Batcher(), []
    for turn, name in enumerate("abcdefghi"):
        at = turn * 0.0625
        closed += batcher.add("k", ticket(name, at), LIVELY, at) + batcher.due(at)
    assert names(closed) == [("a", "alone"), ("bcde", "size"), ("fghi", "size")]


def test_a_request_nobody_joined_has_waited() -> None:
    batcher = Batcher()
    batcher.add("k", ticket("a"), LIVELY, 0.0)
    batcher.due(0.0)
    batcher.add("k", ticket("b", 0.25), LIVELY, 0.25)
    assert names(batcher.due(0.75)) == [("b", "wait")]


def test_a_long_pause_is_forgotten_so_that_the_next_burst_forms_at_once() -> None:
    batcher = Batcher()
    for name, at in (("a", 0.0), ("b", 3600.0)):
        batcher.add("k", ticket(name, at), LIVELY, at)
        assert names(batcher.due(at)) == [(name, "alone")]
    batcher.add("k", ticket("c", 3600.25), LIVELY, 3600.25)
    assert batcher.deadline() == 3600.75


def test_a_patient_request_waits_for_a_slower_rhythm() -> None:
    batcher = Batcher()
    batcher.add("k", ticket("a"), LIVELY, 0.0)
    batcher.due(0.0)
    batcher.add("k", ticket("b", 1.0, patience=4.0), LIVELY, 1.0)
    assert batcher.deadline() == 3.0


def test_keys_learn_apart() -> None:
    batcher = Batcher()
    batcher.add("k", ticket("a"), LIVELY, 0.0)
    batcher.add("j", ticket("b"), LIVELY, 0.0)
    assert names(batcher.due(0.0)) == [("a", "alone"), ("b", "alone")]


def test_the_number_of_remembered_keys_is_bounded() -> None:
    batcher = Batcher()
    for key in range(RHYTHMS + 1):
        batcher.add(key, ticket(str(key)), LIVELY, 0.0)
        batcher.due(0.0)
    assert len(batcher._rhythms._seen) == RHYTHMS
    batcher.add(0, ticket("again"), LIVELY, 0.0)
    assert batcher.deadline() == 0.0, "the key longest unseen is unknown again"


def test_a_key_in_use_is_remembered_longer_than_a_silent_one() -> None:
    batcher = Batcher()
    for key in ["used", "silent", "used", *range(RHYTHMS - 1)]:
        batcher.add(key, ticket("x"), LIVELY, 0.0)
        batcher.due(0.0)
        batcher.remove("x")
    batcher.add("used", ticket("x"), LIVELY, 0.0)
    batcher.add("silent", ticket("y"), LIVELY, 0.0)
    assert names(batcher.due(0.0)) == [("y", "alone")]


# Properties

AMOUNTS = st.integers(0, 120)
PATIENCE = st.sampled_from([0.0, 0.25, 1.0, 4.0])
STEPS = st.one_of(st.sampled_from([0.0, 0.125, 0.25, 1.0]), st.floats(0, 3))
WINDOW_RULES = st.builds(
    WindowRule,
    max_wait=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    max_size=st.integers(1, 4),
    max_tokens=st.none() | st.integers(60, 200),
    max_bytes=st.none() | st.integers(60, 200),
    max_idle=st.none() | st.sampled_from([0.1, 0.3, 2.0]),
    adaptive=st.booleans(),
)
ARRIVALS = st.lists(st.tuples(st.sampled_from("jk"), STEPS, AMOUNTS, AMOUNTS, PATIENCE), max_size=30)


@settings(max_examples=150)
@given(WINDOW_RULES, ARRIVALS)
def test_a_punctual_owner_sees_every_limit_kept(
    window_rule: WindowRule, arrivals: list[tuple[str, float, int, int, float]]
) -> None:
    batcher, closed, now = Batcher(), [], 0.0
    for number, (key, step, tokens, size, patience) in enumerate(arrivals):
        closed += _run_until(batcher, now + step)
        now += step
        new = Ticket(id=f"{key}{number}", tokens=tokens, size=size, at=now, patience=patience)
        closed += batcher.add(key, new, window_rule, now)
        assert (batcher.deadline() is None) == (len(batcher) == 0)
    closed += _run_until(batcher, inf)
    handed_over = [ticket.id for window in closed for ticket in window.tickets]
    assert len(handed_over) == len(set(handed_over)) == len(arrivals), "nothing lost, nothing doubled"
    for window in closed:
        _check_limits(window, window_rule)


def _run_until(batcher: Batcher, end: float) -> list[Closed]:
    """Ask for what is due at every deadline up to `end`."""
    closed = []
    while (deadline := batcher.deadline()) is not None and deadline <= end:
        due = batcher.due(deadline)
        assert due, "a deadline at which nothing closes would spin for ever"
        closed += due
    return closed


def _check_limits(window: Closed, window_rule: WindowRule) -> None:
    tickets = window.tickets
    assert {ticket.id[0] for ticket in tickets} == {window.key}
    assert 1 <= len(tickets) <= window_rule.max_size
    if len(tickets) > 1:
        assert sum(ticket.tokens for ticket in tickets) <= (window_rule.max_tokens or inf)
        assert sum(ticket.size for ticket in tickets) <= (window_rule.max_bytes or inf)
    waits = [window_rule.max_wait * ticket.patience for ticket in tickets]
    assert window.max_wait == min(waits)
    for ticket, wait in zip(tickets, waits, strict=True):
        assert window.opened_at <= ticket.at <= window.closed_at <= ticket.at + wait
    if window_rule.max_idle is not None:
        assert window.closed_at <= tickets[-1].at + window_rule.max_idle


class Seat(Struct, frozen=True):
    """A waiting ticket of the naive model."""

    ticket: Ticket
    wait: float
    until: float
    lone: bool


class NaiveWindow(Struct):
    """A window of the naive model: its facts, with everything else worked out anew each time."""

    key: Hashable
    rule: WindowRule
    opened_at: float
    newest_at: float
    seats: list[Seat]

    def end(self) -> tuple[float, str]:
        """When it closes by time, and why. Ends of the same instant: the wait comes before the idleness."""
        first = min(self.seats, key=lambda seat: seat.until)
        if self.rule.max_idle is not None and self.newest_at + self.rule.max_idle < first.until:
            return self.newest_at + self.rule.max_idle, "idle"
        return first.until, "alone" if first.lone and len(self.seats) == 1 else "wait"

    def close(self, reason: str, now: float) -> Closed:
        return Closed(
            key=self.key,
            tickets=tuple(seat.ticket for seat in self.seats),
            reason=reason,  # type: ignore[arg-type]
            opened_at=self.opened_at,
            closed_at=now,
            max_wait=min(seat.wait for seat in self.seats),
        )

    def total(self, amount: str) -> int:
        return sum(getattr(seat.ticket, amount) for seat in self.seats)


class Naive:
    """The batcher as one would explain it: a list of windows, searched from end to end."""

    def __init__(self) -> None:
        self.windows: list[NaiveWindow] = []
        self.arrivals: dict[Hashable, list[tuple[float, float]]] = {}

    def add(self, key: Hashable, new: Ticket, window_rule: WindowRule, now: float) -> list[Closed]:
        for reason, amount, bound in self.bounds(window_rule):
            if getattr(new, amount) > bound:
                alone = NaiveWindow(key, window_rule, now, now, [self.seat(new, window_rule, False, now)])
                return [alone.close(reason, now)]
        closed = []
        window = next((window for window in self.windows if window.key == key), None)
        if window:
            for reason, amount, bound in self.bounds(window.rule):
                if window in self.windows and window.total(amount) + getattr(new, amount) > bound:
                    closed.append(self.close(window, reason, now))
        if window not in self.windows or window is None:
            window = NaiveWindow(key, window_rule, now, now, [])
            self.windows.append(window)
        window.seats.append(self.seat(new, window_rule, self.is_lone(key, new, window_rule), now))
        window.newest_at = now
        if len(window.seats) == window.rule.max_size:
            closed.append(self.close(window, "size", now))
        return closed

    def bounds(self, window_rule: WindowRule) -> list[tuple[str, str, float]]:
        return [("tokens", "tokens", window_rule.max_tokens or inf), ("bytes", "size", window_rule.max_bytes or inf)]

    def seat(self, new: Ticket, window_rule: WindowRule, lone: bool, now: float) -> Seat:
        wait = window_rule.max_wait * new.patience
        return Seat(new, wait, now if lone else max(now, new.at + wait), lone)

    def is_lone(self, key: Hashable, new: Ticket, window_rule: WindowRule) -> bool:
        if not window_rule.adaptive:
            return False
        history = self.arrivals.setdefault(key, [])
        history.append((new.at, window_rule.max_wait))
        mean: float | None = None
        latest = history[0][0]
        for at, wait in history[1:]:
            gap, latest = max(0.0, at - latest), max(at, latest)
            mean = None if gap > MEMORY * wait else gap if mean is None else mean + WEIGHT * (gap - mean)
        return mean is None or mean > window_rule.max_wait * new.patience

    def close(self, window: NaiveWindow, reason: str, now: float) -> Closed:
        self.windows.remove(window)
        return window.close(reason, now)

    def due(self, now: float) -> list[Closed]:
        return [self.close(window, window.end()[1], now) for window in list(self.windows) if window.end()[0] <= now]

    def flush(self, now: float, key: str) -> list[Closed]:
        return [self.close(window, "flush", now) for window in list(self.windows) if window.key == key]

    def remove(self, ticket_id: str) -> None:
        for window in list(self.windows):
            window.seats = [seat for seat in window.seats if seat.ticket.id != ticket_id]
            if not window.seats:
                self.windows.remove(window)

    def waiting(self) -> list[str]:
        return [seat.ticket.id for window in self.windows for seat in window.seats]

    def deadline(self) -> float | None:
        return min((window.end()[0] for window in self.windows), default=None)


class BatcherMachine(RuleBasedStateMachine):
    """Any calls in any order, punctual or late: the batcher does what the naive model does."""

    @initialize(choices=st.lists(WINDOW_RULES, min_size=1, max_size=2))
    def start(self, choices: list[WindowRule]) -> None:
        self.batcher, self.naive = Batcher(), Naive()
        self.choices, self.now, self.count = choices, 100.0, 0

    @rule(key=st.sampled_from("ijk"), tokens=AMOUNTS, size=AMOUNTS, late=STEPS, patience=PATIENCE, which=st.booleans())
    def add(self, key: str, tokens: int, size: int, late: float, patience: float, which: bool) -> None:
        self.count += 1
        new = Ticket(id=str(self.count), tokens=tokens, size=size, at=self.now - late, patience=patience)
        chosen = self.choices[which % len(self.choices)]
        assert self.batcher.add(key, new, chosen, self.now) == self.naive.add(key, new, chosen, self.now)

    @rule(step=STEPS, ask=st.booleans())
    def pass_time(self, step: float, ask: bool) -> None:
        self.now += step
        if ask:
            assert self.batcher.due(self.now) == self.naive.due(self.now)

    @rule()
    def reach_deadline(self) -> None:
        deadline = self.batcher.deadline()
        if deadline is not None:
            self.now = max(self.now, deadline)
            closed = self.batcher.due(deadline)
            assert closed
            assert closed == self.naive.due(deadline)

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([*self.naive.waiting(), "nobody"]))
        assert self.batcher.remove(name) is (name != "nobody")
        self.naive.remove(name)

    @rule(key=st.sampled_from("ijk"))
    def flush(self, key: str) -> None:
        assert self.batcher.flush(self.now, lambda other: other == key) == self.naive.flush(self.now, key)

    @invariant()
    def same_as_the_model(self) -> None:
        assert self.batcher.deadline() == self.naive.deadline()
        assert len(self.batcher) == len(self.naive.waiting())
        views = [(window.key, window.size, window.tokens) for window in self.batcher.windows()]
        assert views == [(window.key, len(window.seats), window.total("tokens")) for window in self.naive.windows]


BatcherMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestBatcherMachine = BatcherMachine.TestCase
