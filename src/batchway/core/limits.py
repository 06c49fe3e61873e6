"""Rate limits and retries: when the next call may go, as learnt from the provider's headers and refusals.

A key names one budget of one account, for example `(provider, model)`; its first element is the account, which bounds
the calls under way.

States of a key:

      (unknown) ──started──▶ open ──refused for load──▶ blocked until Retry-After, or a growing jittered backoff
                              ▲                             │
                              └──────── the time comes ─────┘

Invariants:
1. Every `started` is ended by exactly one `finished` (an answer) or `refused` (any fault).
2. `admit` answers None (go), a time after now, or infinity; infinity only while calls are under way whose end frees
   a slot.
3. No more calls are under way at an account than its bound, nor at a key than its ceiling. A refusal halves the
   ceiling, each success adds one: providers without rate-limit headers are learnt this way, and the end of a block
   releases half a crowd, not the whole one again.
4. One overload is one refusal: while a key is blocked, calls that started earlier neither lengthen its backoff nor
   end it (a Retry-After still counts).
5. A reported limit is forgotten at its reset.

The counts are a brake, not a proof: a report comes with the end of a call and lags by its duration. The refusal
decides.
"""

from collections.abc import Hashable, Mapping
from math import inf
from typing import Protocol

from msgspec import Struct

from batchway.core.errors import SettingsError
from batchway.core.policy import Policy
from batchway.core.types import Fault

Key = tuple[Hashable, ...]

OVERLOADED = frozenset({429, 503, 529})
"""Statuses that mean "later", for this key and not for one request (529: Anthropic's `overloaded_error`)."""

JITTER = 0.1
"""Share of a Retry-After that is added at random, so that those who were told the same time do not come as one."""

KEYS = 10_000
"""Keys remembered. Callers choose model names, so their number needs a bound; the one longest idle is forgotten."""


class Dice(Protocol):
    """What is needed of `random.Random`."""

    def random(self) -> float:
        """At least 0, less than 1."""
        ...


class Report(Struct, frozen=True, kw_only=True):
    """What the headers of one response said about the limits. None: not said."""

    remaining_requests: int | None = None
    remaining_tokens: int | None = None
    limit_requests: int | None = None
    limit_tokens: int | None = None
    reset_requests: float | None = None
    """When the count is back at its limit; seconds since the epoch, as all times."""
    reset_tokens: float | None = None
    retry_after: float | None = None
    """Seconds from the response."""


def backoff(failures: int, policy: Policy, dice: Dice) -> float:
    """Seconds to wait after so many earlier failures: full jitter, so that clients who failed together spread out."""
    # 2**32 half seconds are 68 years; a greater exponent would only overflow.
    return dice.random() * min(policy.backoff_cap, policy.backoff_base * 2.0 ** min(failures, 32))


def retry_at(fault: Fault, attempt: int, policy: Policy, now: float, dice: Dice) -> float | None:
    """When to send the request again after `attempt` retries (0: its first call failed); None: tell its caller.

    A Retry-After is kept or exceeded by a little, never undercut; zero says nothing. One beyond `max_retry_after` is
    for the caller to decide on.
    """
    if not fault.passing or attempt >= policy.max_retries:
        return None
    if fault.billed == "unknown" and not policy.retry_unknown:
        return None
    told = fault.retry_after
    if told is None or told <= 0:
        return now + backoff(attempt, policy, dice)
    if told > policy.max_retry_after:
        return None
    return now + told * (1 + JITTER * dice.random())


class Limits:
    """The budgets of all keys. Not thread-safe; every operation takes constant time."""

    def __init__(self, policy: Policy, bounds: Mapping[Hashable, int] | None = None) -> None:
        """`bounds`: calls under way at single accounts, where it is not `policy.max_in_flight`."""
        self._policy = policy
        for account, bound in (bounds or {}).items():
            if bound < 1:
                raise SettingsError(f"max_in_flight of {account} is {bound}; it must be at least 1")
        self._bounds = bounds or {}
        self._accounts: dict[Hashable, _Account] = {}
        self._budgets: dict[Key, _Budget] = {}

    def __len__(self) -> int:
        """Keys remembered."""
        return len(self._budgets)

    def under_way(self, account: Hashable) -> int:
        """Calls of an account that have started and not ended."""
        return self._account(account).under_way

    def admit(self, key: Key, tokens: int, now: float) -> float | None:
        """None: a call of so many input tokens may start now. Else when to ask again; infinity: after a call's end."""
        budget = self._budgets.get(key)
        account = self._account(key[0]) if budget is None else budget.account
        if account.under_way >= account.bound:
            return inf
        return None if budget is None else budget.admit(tokens, now)

    def started(self, key: Key, tokens: int, now: float) -> None:
        """A call was sent."""
        budget = self._budgets.pop(key, None) or self._make_room(key)
        self._budgets[key] = budget  # At the end: the dict keeps the order of use.
        budget.account.under_way += 1
        budget.under_way += 1
        budget.requests.spend(1, now)
        budget.tokens.spend(tokens, now)

    def finished(self, key: Key, report: Report | None, now: float) -> None:
        """A call ended with an answer."""
        budget = self._end(key, report, now)
        if now >= budget.blocked_until:
            budget.refusals = 0
            budget.ceiling = min(budget.ceiling + 1, budget.account.bound)

    def refused(self, key: Key, fault: Fault, report: Report | None, now: float, dice: Dice) -> None:
        """A call ended with a fault: any ends it, one that means overload blocks the key as well."""
        budget = self._end(key, report, now)
        if fault.passing and fault.status in OVERLOADED:
            told = fault.retry_after or (report.retry_after if report else None) or 0.0
            budget.block(told, self._policy, now, dice)

    def _account(self, name: Hashable) -> "_Account":
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = _Account(self._bounds.get(name, self._policy.max_in_flight))
        return account

    def _end(self, key: Key, report: Report | None, now: float) -> "_Budget":
        budget = self._budgets.get(key)
        if budget is None or not budget.under_way:
            raise ValueError(f"no call of {key} is under way: each `started` is ended once")
        budget.under_way -= 1
        budget.account.under_way -= 1
        if report is not None:
            budget.learn(report, now)
        return budget

    def _make_room(self, key: Key) -> "_Budget":
        """A new budget, in place of the one longest idle if there are too many. Those with calls under way are kept."""
        if len(self._budgets) >= KEYS:
            idle = next((key for key, budget in self._budgets.items() if not budget.under_way), None)
            if idle is not None:
                del self._budgets[idle]
        return _Budget(self._account(key[0]))


class _Account:
    """The calls under way at one account, and how many they may be. There are as many accounts as are configured."""

    __slots__ = ("bound", "under_way")

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.under_way = 0


class _Budget:
    """What is known about one key."""

    __slots__ = ("account", "blocked_until", "ceiling", "refusals", "requests", "tokens", "under_way")

    def __init__(self, account: _Account) -> None:
        self.account = account
        self.under_way = 0
        self.ceiling: float = inf
        self.refusals = 0
        self.blocked_until = -inf
        self.requests = _Count()
        self.tokens = _Count()

    def admit(self, tokens: int, now: float) -> float | None:
        if self.blocked_until > now:
            return self.blocked_until
        if self.under_way >= self.ceiling:
            return inf
        if self.requests.left is None and self.tokens.left is None:
            return None
        return _later(self.requests.ready(1, now), self.tokens.ready(tokens, now))

    def learn(self, report: Report, now: float) -> None:
        self.requests.learn(report.remaining_requests, report.limit_requests, report.reset_requests, now)
        self.tokens.learn(report.remaining_tokens, report.limit_tokens, report.reset_tokens, now)

    def block(self, told: float, policy: Policy, now: float, dice: Dice) -> None:
        """`told`: seconds of the provider's Retry-After, 0 if it gave none. The refused call has ended already."""
        if now >= self.blocked_until:
            told = told if told > 0 else backoff(self.refusals, policy, dice)
            self.refusals += 1
            self.ceiling = max(1.0, (self.under_way + 1) // 2)
        self.blocked_until = max(self.blocked_until, now + told)


class _Count:
    """Requests or tokens left, as last reported and spent since.

    It refills evenly until its reset, which OpenAI documents as the time until the limit is back in its initial state:
    a token bucket. A provider that counts in fixed windows would refuse a little earlier, and its refusal is obeyed.
    """

    __slots__ = ("at", "left", "limit", "rate", "reset")

    def __init__(self) -> None:
        self.left: int | None = None
        self.limit: int | None = None
        self.reset = -inf
        self.at = -inf
        self.rate = 0.0

    def learn(self, left: int | None, limit: int | None, reset: float | None, now: float) -> None:
        """Take what a report says. A count without a reset is no use: how long it holds would be a guess."""
        if left is None or reset is None:
            return
        self.left, self.limit, self.reset, self.at = left, limit, reset, now
        self.rate = (limit - left) / (reset - now) if limit is not None and reset > now else 0.0

    def spend(self, amount: int, now: float) -> None:
        """Count a call that has started since."""
        if self.left is not None and now < self.reset:
            self.left -= amount

    def ready(self, amount: int, now: float) -> float | None:
        """None if so much is left, else when it will be."""
        if self.left is None:
            return None
        if now >= self.reset:
            self.left = None
            return None
        if self.limit is not None:
            amount = min(amount, self.limit)  # More than the limit is never left: the provider shall say so itself.
        if self.left >= amount:
            return None
        refilled = self.at + (amount - self.left) / self.rate if self.rate > 0 else self.reset
        return min(refilled, self.reset) if refilled > now else None


def _later(one: float | None, other: float | None) -> float | None:
    if one is None:
        return other
    return one if other is None else max(one, other)
