"""Anthropic's errors: types by status, as answers, in streams and in the lines of batches (providers.md §13.1)."""

from typing import Any

import msgspec

from batchway.sandbox.contract import Part, Plan, Refused
from batchway.sandbox.openai.parameters import JSON

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""The type of an error by its status; every other 4xx is an `invalid_request_error`, every other 5xx an `api_error`."""


def refusal(refused: Refused, request_id: str | None) -> Plan:
    """The error answer, with Retry-After where it is known."""
    headers = JSON
    if refused.retry_after is not None:
        headers = (*JSON, (b"retry-after", f"{refused.retry_after:g}".encode()))
    body = msgspec.json.encode(error_body(refused, request_id))
    return Plan(status=refused.status, headers=headers, parts=(Part(body),), outcome="refused")


def error_body(refused: Refused, request_id: str | None) -> dict[str, Any]:
    """The whole error."""
    return {"type": "error", "error": error_object(refused), "request_id": request_id}


def error_object(refused: Refused) -> dict[str, Any]:
    """What stands under `error`."""
    whose = "api_error" if refused.status >= 500 else "invalid_request_error"
    usual = TYPES.get(refused.status, whose)
    known = refused.kind in TYPES.values() and refused.kind != "invalid_request_error"
    error: dict[str, Any] = {"type": refused.kind if known else usual, "message": refused.message}
    return error if refused.code is None else error | {"details": {"error_code": refused.code}}
