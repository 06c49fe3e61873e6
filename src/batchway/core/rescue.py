"""Rescue: when a request must leave the batch lane to meet its deadline, and what is done with it then.

All that share a moment share the direct lane as well: the first of a hundred must leave earlier than a single one.
"""

from math import ceil
from typing import Literal

from msgspec import Struct

from batchway.core.types import Request

Measure = Literal["send", "fail", "leave"]
"""Ask directly as well; refuse with a typed fault; leave it to its job, since it may not be asked directly or the
spending cap is reached."""


class RescueRule(Struct, frozen=True, kw_only=True):
    """How rescue is done. Durations in seconds."""

    margin: float = 30.0
    """Kept beside what the direct lane needs."""
    call_seconds: float = 30.0
    """What one direct call needs, at worst mostly."""
    at_once: int = 64
    """Rescued calls that go at a time."""
    cap: int | None = None
    """Picodollars that rescues may cost a day, as expected; None: no bound."""
    undirected: frozenset[str] = frozenset()
    """Providers that may not be asked directly."""


def leave_at(request: Request, rule: RescueRule) -> float | None:
    """When a request must leave its job, if it is alone; None: it has no deadline. One that is to fail rather than cost
    more has until the deadline itself."""
    if request.deadline is None:
        return None
    if request.on_deadline == "fail":
        return request.deadline
    return max(request.asked_at, request.deadline - rule.margin - rule.call_seconds)


def overdue(request: Request, now: float) -> bool:
    """Whether it was to fail rather than come later than now."""
    return request.on_deadline == "fail" and request.deadline is not None and request.deadline <= now


def head_start(backlog: int, rule: RescueRule) -> float:
    """Seconds that the first of so many must leave before the time that holds for one alone: they go in turns."""
    turns = ceil(backlog / rule.at_once)
    return max(0, turns - 1) * rule.call_seconds


def may_go_directly(request: Request, rule: RescueRule) -> bool:
    """A rescue passes no limit of its key or its provider."""
    return request.provider not in rule.undirected and (request.lanes is None or "direct" in request.lanes)


def measure(request: Request, *, expected: int | None, spent: int, rule: RescueRule) -> Measure:
    """What to do with a request whose time has come. `expected`: what it will cost directly, in picodollars; None:
    unknown, and taken for nothing. `spent`: on rescues today."""
    if request.on_deadline == "fail":
        return "fail"
    if not may_go_directly(request, rule):
        return "leave"
    if rule.cap is not None and spent + (expected or 0) > rule.cap:
        return "leave"
    return "send"
