"""Anthropic's errors as faults in OpenAI's shape, and its rate-limit headers (providers.md §13)."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, structs

from batchway.core.limits import Report
from batchway.core.types import Fault

STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The status of an error that came without one, in the middle of a stream. An `api_error` says nothing more than that
the provider failed."""

REFUSALS = frozenset({400, 401, 402, 403, 404, 413})
"""Statuses of errors that the same request meets again."""

FINAL = frozenset(
    {
        "billing_error",
        "contract_spend_limit_reached",
        "enforced_spend_limit_reached",
        "linked_organization_billing_unavailable",
        "linked_organization_spend_limit_reached",
        "organization_on_hold",
        "ramp_limit_exceeded",
    }
)
"""Types and codes of errors that waiting does not heal: somebody has to pay first (anthropic 2.11, _error_classes)."""


class _Details(Struct):
    error_code: Any = None


class _Error(Struct):
    type: str | None = None
    details: _Details | None = None


class _Body(Struct):
    error: _Error = msgspec.field(default_factory=_Error)
    request_id: str | None = None


_body = msgspec.json.Decoder(_Body)
_encode = msgspec.json.Encoder().encode


def translate(fault: Fault, *, streamed: bool = False) -> Fault:
    """The fault with what only Anthropic says: the code that names the cause, whether somebody must pay first, and the
    id under which Anthropic finds the request. `streamed`: its status was 200 already."""
    said = _read(fault.body or b"")
    named = said.error.details.error_code if said.error.details else None
    code = named if isinstance(named, str) else fault.code
    status = STATUSES.get(said.error.type or "", fault.status) if streamed else fault.status
    passing = fault.passing and status not in REFUSALS and FINAL.isdisjoint((code, said.error.type))
    error = {"message": fault.message, "type": fault.type, "param": fault.param, "code": code}
    if said.request_id is not None:
        error["request_id"] = said.request_id
    return structs.replace(
        fault,
        status=status,
        code=code,
        passing=passing,
        healthy=fault.healthy or status < 500,
        body=_encode({"error": error}),
    )


def status_of(error: bytes) -> int:
    """The HTTP status that an error body of Anthropic's comes with, by its type; 500 for an `api_error` and for a type
    that is not known."""
    return STATUSES.get(_read(error).error.type or "", 500)


def _read(text: bytes) -> _Body:
    try:
        return _body.decode(text)
    except msgspec.DecodeError:
        return _Body()


def report(headers: Mapping[str, str], known: Report | None) -> Report | None:
    """`anthropic-ratelimit-*` over what is `known` already (Retry-After); None where there is neither.

    What is counted before a call are its input tokens, so their limit is the one to know; where it is not told, the one
    on all tokens.
    """
    told = {name: _counts(headers, name) for name in ("requests", "input-tokens", "tokens")}
    requests, tokens = told["requests"], told["input-tokens"] or told["tokens"]
    if requests is None and tokens is None:
        return known
    return structs.replace(
        known or Report(),
        limit_requests=requests.limit if requests else None,
        remaining_requests=requests.remaining if requests else None,
        reset_requests=requests.reset if requests else None,
        limit_tokens=tokens.limit if tokens else None,
        remaining_tokens=tokens.remaining if tokens else None,
        reset_tokens=tokens.reset if tokens else None,
    )


class _Counts(Struct):
    """What the headers say of one limit."""

    limit: int | None
    remaining: int
    reset: float | None


def _counts(headers: Mapping[str, str], name: str) -> _Counts | None:
    limit, remaining, reset = (headers.get(f"anthropic-ratelimit-{name}-{what}") for what in _WHAT)
    left = _whole(remaining)
    return None if left is None else _Counts(_whole(limit), left, _instant(reset))


_WHAT = ("limit", "remaining", "reset")
_WHOLE = re.compile(r"[0-9]{1,18}")


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and _WHOLE.fullmatch(text) else None


def _instant(text: str | None) -> float | None:
    """An RFC 3339 instant; None for what is none, or does not say in which zone."""
    try:
        instant = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return instant.timestamp() if instant.tzinfo is not None else None
