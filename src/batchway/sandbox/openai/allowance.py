"""Rate limits per API key, by the whole minute, as headers and as 429s."""

import math

from msgspec import Struct

from batchway.sandbox.contract import Headers, Plan, Refused, Visit
from batchway.sandbox.state import Sandbox

MINUTE = 60


class _Used(Struct):
    minute: int = -1
    requests: int = 0
    tokens: int = 0


class Allowance:
    """What each key has used of the minute. Without limits: no headers, no 429."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._requests = sandbox.requests_per_minute
        self._tokens = sandbox.tokens_per_minute
        self._used: dict[str, _Used] = {}

    def take(self, visit: Visit) -> Headers:
        """Take one request. Returns the rate-limit headers; raises Refused if the minute's allowance is used up."""
        if self._requests is None and self._tokens is None:
            return ()
        used = self._current(visit)
        left = MINUTE - visit.at % MINUTE
        for kind, limit, taken in (("requests", self._requests, used.requests), ("tokens", self._tokens, used.tokens)):
            if limit is not None and taken >= limit:
                message = f"Rate limit reached on {kind} per min. Limit: {limit}. Please try again in {left:.0f}s."
                raise Refused(429, message, kind=kind, code="rate_limit_exceeded", retry_after=math.ceil(left))
        used.requests += 1
        return self._headers(used, left)

    def charge(self, visit: Visit, plan: Plan) -> Plan:
        """Take the tokens of an answer; they count against the key's next requests."""
        if self._tokens is not None:
            self._current(visit).tokens += plan.bill.input + plan.bill.output
        return plan

    def _current(self, visit: Visit) -> _Used:
        used = self._used.setdefault(visit.key, _Used())
        minute = int(visit.at // MINUTE)
        if used.minute != minute:
            used.minute, used.requests, used.tokens = minute, 0, 0
        return used

    def _headers(self, used: _Used, left: float) -> Headers:
        headers: list[tuple[bytes, bytes]] = []
        for kind, limit, taken in (("requests", self._requests, used.requests), ("tokens", self._tokens, used.tokens)):
            if limit is not None:
                values = {"limit": limit, "remaining": max(0, limit - taken), "reset": f"{left:.0f}s"}
                headers += [(f"x-ratelimit-{name}-{kind}".encode(), str(v).encode()) for name, v in values.items()]
        return tuple(headers)
