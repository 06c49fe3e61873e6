"""Rate limits and retries: examples worked by hand, and no sequence of calls that waits for ever or breaks a bound."""

from math import inf
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from batchway.core.errors import SettingsError
from batchway.core.limits import JITTER, KEYS, Limits, Report, backoff, retry_at
from batchway.core.policy import Policy
from batchway.core.types import Fault

KEY = ("openai", "m")
OTHER = ("openai", "n")


class Fixed:
    """Dice that always show the same."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


LOW, HALF, HIGH = Fixed(0.0), Fixed(0.5), Fixed(0.999)


def fault(status: int = 429, *, retry_after: float | None = None, passing: bool = True, billed: str = "no") -> Fault:
    return Fault(
        whose="theirs",
        status=status,
        type="upstream_error",
        code=None,
        message="no",
        retry_after=retry_after,
        passing=passing,
        billed=billed,  # type: ignore[arg-type]
    )


def call(limits: Limits, key: tuple[str, str] = KEY, *, report: Report | None = None, now: float = 0.0) -> None:
    """One call from start to answer."""
    limits.started(key, 10, now)
    limits.finished(key, report, now)


def refuse(limits: Limits, now: float, *, told: float | None = None, dice: Fixed = HIGH, status: int = 429) -> None:
    """One call from start to refusal."""
    limits.started(KEY, 10, now)
    limits.refused(KEY, fault(status, retry_after=told), None, now, dice)


# Retries


@pytest.mark.parametrize(
    ("failed", "attempt", "policy", "expected"),
    [
        (fault(503), 0, Policy(), 100.25),  # half of 0.5 s
        (fault(503), 1, Policy(), 100.5),  # half of 1 s
        (fault(503), 2, Policy(), None),  # two retries are all
        (fault(503), 0, Policy(max_retries=0), None),
        (fault(503), 9, Policy(max_retries=10), 104.0),  # half of the cap
        (fault(503), 5000, Policy(max_retries=9999), 104.0),
        (fault(429, passing=False), 0, Policy(), None),  # insufficient_quota
        (fault(400, passing=False), 0, Policy(), None),
        (fault(504, billed="unknown"), 0, Policy(), None),  # it may be paid twice
        (fault(504, billed="unknown"), 0, Policy(retry_unknown=True), 100.25),
        (fault(429, retry_after=0.0), 0, Policy(), 100.25),  # zero says nothing
        (fault(429, retry_after=-5.0), 0, Policy(), 100.25),
        (fault(429, retry_after=20.0), 1, Policy(), 121.0),  # 5 % later
        (fault(429, retry_after=20.0), 2, Policy(), None),
        (fault(429, retry_after=121.0), 0, Policy(), None),  # the caller decides
        (fault(429, retry_after=121.0), 0, Policy(max_retry_after=200), 227.05),
    ],
)
def test_when_to_try_again(failed: Fault, attempt: int, policy: Policy, expected: float | None) -> None:
    assert retry_at(failed, attempt, policy, 100.0, HALF) == pytest.approx(expected)


@given(st.floats(0.001, 120), st.floats(0, 0.999), st.floats(0, 4e9))
def test_a_retry_after_is_never_undercut(told: float, dice: float, now: float) -> None:
    at = retry_at(fault(retry_after=told), 0, Policy(), now, Fixed(dice))
    assert at is not None
    assert now + told <= at <= now + told * (1 + JITTER)


def test_backoff_grows_to_its_cap_and_is_spread_over_all_of_it() -> None:
    assert [backoff(failures, Policy(), Fixed(1.0)) for failures in range(6)] == [0.5, 1, 2, 4, 8, 8]
    assert backoff(3, Policy(), LOW) == 0.0


# Calls under way


def test_an_account_has_a_bound_over_all_its_models() -> None:
    limits = Limits(Policy(max_in_flight=2))
    limits.started(KEY, 1, 0.0)
    limits.started(OTHER, 1, 0.0)
    assert limits.admit(KEY, 1, 0.0) == inf
    assert limits.admit(("xai", "m"), 1, 0.0) is None
    limits.finished(OTHER, None, 1.0)
    assert limits.admit(KEY, 1, 1.0) is None
    assert limits.under_way("openai") == 1


def test_an_account_can_have_its_own_bound() -> None:
    limits = Limits(Policy(max_in_flight=9), {"openai": 1})
    limits.started(KEY, 1, 0.0)
    assert limits.admit(KEY, 1, 0.0) == inf
    with pytest.raises(SettingsError, match="max_in_flight of openai is 0; it must be at least 1"):
        Limits(Policy(), {"openai": 0})


@pytest.mark.parametrize("status", [400, 429, 500, 504])
def test_every_fault_frees_its_slot(status: int) -> None:
    limits = Limits(Policy(max_in_flight=1))
    limits.started(KEY, 1, 0.0)
    limits.refused(KEY, fault(status), None, 0.0, LOW)
    assert limits.under_way("openai") == 0
    assert limits.admit(KEY, 1, 0.5) is None


def test_ending_a_call_that_never_started_is_a_mistake() -> None:
    limits = Limits(Policy())
    with pytest.raises(ValueError, match=r"no call of .* is under way"):
        limits.finished(KEY, None, 0.0)
    call(limits)
    with pytest.raises(ValueError, match=r"no call of .* is under way"):
        limits.refused(KEY, fault(), None, 0.0, LOW)


# Refusals


@pytest.mark.parametrize(
    ("status", "passing", "blocked"),
    [
        (429, True, True),
        (503, True, True),
        (529, True, True),
        (429, False, False),  # out of money: waiting does not help
        (500, True, False),
        (502, True, False),
        (504, True, False),
        (400, False, False),
    ],
)
def test_only_overload_blocks(status: int, passing: bool, blocked: bool) -> None:
    limits = Limits(Policy())
    limits.started(KEY, 1, 0.0)
    limits.refused(KEY, fault(status, retry_after=7.0, passing=passing), None, 0.0, HALF)
    assert limits.admit(KEY, 1, 6.0) == (7.0 if blocked else None)
    assert limits.admit(KEY, 1, 7.0) is None
    assert limits.admit(OTHER, 1, 0.0) is None, "another model has its own budget"


def test_a_retry_after_may_come_with_the_report() -> None:
    limits = Limits(Policy())
    limits.started(KEY, 1, 0.0)
    limits.refused(KEY, fault(), Report(retry_after=3.0), 0.0, HALF)
    assert limits.admit(KEY, 1, 1.0) == 3.0


def test_refusals_in_a_row_block_for_longer_and_a_success_ends_the_row() -> None:
    limits, now, waits = Limits(Policy()), 0.0, []
    for _ in range(6):
        refuse(limits, now, dice=HALF)
        ready = limits.admit(KEY, 1, now)
        assert ready is not None
        waits.append(ready - now)
        now = ready
    assert waits == [0.25, 0.5, 1, 2, 4, 4]
    call(limits, now=now)
    refuse(limits, now, dice=HALF)
    assert limits.admit(KEY, 1, now) == now + 0.25


def test_calls_sent_before_a_refusal_say_nothing_about_the_time_after_it() -> None:
    limits = Limits(Policy())
    for _ in range(4):
        limits.started(KEY, 1, 0.0)
    limits.refused(KEY, fault(), None, 1.0, HALF)
    limits.refused(KEY, fault(), None, 1.0, HALF)
    limits.finished(KEY, None, 1.125)
    assert limits.admit(KEY, 1, 1.125) == 1.25, "neither longer nor over"
    limits.refused(KEY, fault(retry_after=5.0), None, 1.125, HALF)
    assert limits.admit(KEY, 1, 1.125) == 6.125, "but a Retry-After counts"
    refuse(limits, 7.0, dice=HALF)
    assert limits.admit(KEY, 1, 7.0) == 7.5, "the second of the row, not the fourth"


def test_a_refusal_halves_the_crowd_and_each_success_adds_one() -> None:
    limits = Limits(Policy())
    for _ in range(8):
        limits.started(KEY, 1, 0.0)
    limits.refused(KEY, fault(), None, 0.0, LOW)
    assert limits.admit(KEY, 1, 1.0) == inf, "seven under way, four allowed"
    for _ in range(3):
        limits.refused(KEY, fault(400, passing=False), None, 1.0, LOW)
    assert limits.admit(KEY, 1, 1.0) == inf
    limits.finished(KEY, None, 1.0)
    assert limits.admit(KEY, 1, 1.0) is None
    limits.started(KEY, 1, 1.0)
    assert limits.admit(KEY, 1, 1.0) is None, "five are allowed now"
    limits.started(KEY, 1, 1.0)
    assert limits.admit(KEY, 1, 1.0) == inf


def test_one_call_at_a_time_is_always_allowed() -> None:
    limits = Limits(Policy())
    for now in range(0, 100, 10):
        assert limits.admit(KEY, 1, float(now)) is None
        refuse(limits, float(now))


# Reports


def report(requests: int, *, limit: int | None = None, reset: float | None = 60.0) -> Report:
    return Report(remaining_requests=requests, limit_requests=limit, reset_requests=reset)


def test_calls_started_since_the_report_are_counted() -> None:
    limits = Limits(Policy())
    call(limits, report=report(2))
    limits.started(KEY, 1, 1.0)
    assert limits.admit(KEY, 1, 1.0) is None
    limits.started(KEY, 1, 1.0)
    assert limits.admit(KEY, 1, 1.0) == 60.0


def test_a_limit_is_forgotten_at_its_reset() -> None:
    limits = Limits(Policy())
    call(limits, report=report(0))
    assert limits.admit(KEY, 1, 59.0) == 60.0
    assert limits.admit(KEY, 1, 60.0) is None
    call(limits, now=61.0)
    assert limits.admit(KEY, 1, 61.0) is None


def test_a_reset_in_the_past_says_nothing() -> None:
    limits = Limits(Policy())
    call(limits, report=report(0, limit=60, reset=4.0), now=5.0)
    assert limits.admit(KEY, 1, 5.0) is None


def test_a_count_without_a_reset_is_not_held_against_anybody() -> None:
    limits = Limits(Policy())
    call(limits, report=report(0, reset=None))
    assert limits.admit(KEY, 1, 0.0) is None


def test_a_known_limit_refills_evenly() -> None:
    limits = Limits(Policy())
    call(limits, report=report(0, limit=60))
    assert limits.admit(KEY, 1, 0.0) == 1.0, "60 in 60 s"
    limits.started(KEY, 1, 1.0)
    assert limits.admit(KEY, 1, 1.0) == 2.0
    assert limits.admit(KEY, 1, 2.0) is None


def test_tokens_are_counted_too_and_the_scarcer_of_both_decides() -> None:
    limits = Limits(Policy())
    tokens = Report(
        remaining_requests=0,
        limit_requests=60,
        reset_requests=60.0,
        remaining_tokens=100,
        limit_tokens=700,
        reset_tokens=60.0,
    )
    call(limits, report=tokens)
    assert limits.admit(KEY, 100, 0.0) == 1.0, "waits for a request"
    assert limits.admit(KEY, 400, 0.0) == 30.0, "waits for 300 tokens at 10 a second"
    assert limits.admit(KEY, 99_999, 0.0) == 60.0, "more than there ever is: when all are there"
    limits.started(KEY, 50, 30.0)
    assert limits.admit(KEY, 400, 30.0) == 35.0


def test_a_call_above_the_whole_limit_goes_when_all_of_it_is_there() -> None:
    limits = Limits(Policy())
    call(limits, report=Report(remaining_tokens=700, limit_tokens=700, reset_tokens=60.0))
    assert limits.admit(KEY, 99_999, 0.0) is None


def test_a_newer_report_replaces_the_older() -> None:
    limits = Limits(Policy())
    call(limits, report=report(0))
    call(limits, report=report(5))
    assert limits.admit(KEY, 1, 0.0) is None
    call(limits, report=Report())
    call(limits, report=report(0, reset=30.0))
    assert limits.admit(KEY, 1, 0.0) == 30.0


# Memory


def test_the_number_of_keys_is_bounded_and_busy_ones_are_kept() -> None:
    limits = Limits(Policy(max_in_flight=KEYS))
    limits.started(("openai", "busy"), 1, 0.0)
    call(limits, ("openai", "first"), report=report(0))
    for number in range(KEYS):
        call(limits, ("openai", str(number)))
    assert len(limits) == KEYS
    assert limits.admit(("openai", "first"), 1, 0.0) is None, "forgotten"
    limits.finished(("openai", "busy"), None, 1.0)


def test_a_key_in_use_outlives_an_idle_one() -> None:
    limits = Limits(Policy())
    call(limits, ("openai", "used"), report=report(5))
    call(limits, ("openai", "idle"), report=report(0))
    call(limits, ("openai", "used"), report=report(0))
    for number in range(KEYS - 1):
        call(limits, ("openai", str(number)))
    assert limits.admit(("openai", "used"), 1, 0.0) == 60.0
    assert limits.admit(("openai", "idle"), 1, 0.0) is None


# Properties

COUNTS = st.none() | st.integers(-1, 50)
RESETS = st.none() | st.floats(-10, 100)
TIMES = st.none() | st.floats(-1, 0) | st.floats(0.001, 300)


class LimitsMachine(RuleBasedStateMachine):
    """Whatever the provider says, in any order: a bound holds, and every wait has an end at which a call may go."""

    @initialize(bound=st.integers(1, 6), seed=st.integers(0, 99))
    def start(self, bound: int, seed: int) -> None:
        self.limits, self.bound, self.dice = Limits(Policy(max_in_flight=bound)), bound, Random(seed)
        self.now = 1e9
        self.under_way: list[tuple[str, str]] = []

    @rule(key=st.sampled_from([KEY, OTHER]), tokens=st.integers(0, 200))
    def ask(self, key: tuple[str, str], tokens: int) -> None:
        ready = self.limits.admit(key, tokens, self.now)
        if ready is None:
            self.limits.started(key, tokens, self.now)
            self.under_way.append(key)
            return
        assert ready > self.now
        if ready == inf:
            assert self.under_way, "only the end of a call can free a slot"

    @rule(
        data=st.data(),
        status=st.sampled_from([200, 400, 429, 503]),
        told=TIMES,
        counts=st.tuples(COUNTS, COUNTS, COUNTS, COUNTS),
        resets=st.tuples(RESETS, RESETS),
    )
    def end(
        self,
        data: st.DataObject,
        status: int,
        told: float | None,
        counts: tuple[int | None, ...],
        resets: tuple[float | None, ...],
    ) -> None:
        if not self.under_way:
            return
        key = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        said = Report(
            remaining_requests=counts[0],
            limit_requests=counts[1],
            remaining_tokens=counts[2],
            limit_tokens=counts[3],
            reset_requests=None if resets[0] is None else self.now + resets[0],
            reset_tokens=None if resets[1] is None else self.now + resets[1],
        )
        if status == 200:
            self.limits.finished(key, said, self.now)
            return
        failed = fault(status, retry_after=told, passing=status != 400)
        self.limits.refused(key, failed, said, self.now, self.dice)
        if status != 400 and told is not None and told > 0:
            assert (self.limits.admit(key, 1, self.now) or 0.0) >= self.now + told

    @rule(step=st.floats(0, 20))
    def pass_time(self, step: float) -> None:
        self.now += step

    @rule(key=st.sampled_from([KEY, OTHER]), tokens=st.integers(0, 200))
    def wait_as_told(self, key: tuple[str, str], tokens: int) -> None:
        """Nothing is waited for more than a few times: a block, then requests, then tokens."""
        for _ in range(4):
            ready = self.limits.admit(key, tokens, self.now)
            if ready is None or ready == inf:
                return
            self.now = ready
        raise AssertionError("told to wait again and again")

    @invariant()
    def bounds_hold(self) -> None:
        assert len(self.under_way) == self.limits.under_way("openai") <= self.bound


LimitsMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestLimitsMachine = LimitsMachine.TestCase
