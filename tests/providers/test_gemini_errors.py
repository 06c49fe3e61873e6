"""Google's errors as faults: what a caller reads, what is tried again, and what is never shown."""

import json
from typing import Any

import pytest
from tests.providers.gemini_speaking import BASE, DIALECT, KEY, ask, incoming

from batchway.core.types import Fault
from batchway.providers.gemini import GeminiDialect
from batchway.providers.gemini.errors import MAX_ERROR_BODY

RPC = "type.googleapis.com/google.rpc."
ASKED = ask("chat", {"model": "m", "messages": [{"role": "user", "content": "x"}]})


def error(code: int, status: str, message: str = "It failed.", *details: dict[str, Any]) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def retry(delay: str) -> dict[str, Any]:
    return {"@type": f"{RPC}RetryInfo", "retryDelay": delay}


def quota(identity: str) -> dict[str, Any]:
    return {"@type": f"{RPC}QuotaFailure", "violations": [{"quotaMetric": "x", "quotaId": identity}]}


def fault_of(status: int, body: Any = b"", dialect: GeminiDialect = DIALECT, **headers: str) -> Fault:
    fault = dialect.decode(ASKED, incoming(status, body, **headers), 0.0)
    assert isinstance(fault, Fault)
    return fault


@pytest.mark.parametrize(
    ("status", "word", "kind", "passing", "healthy"),
    [
        (400, "INVALID_ARGUMENT", "invalid_request_error", False, True),
        (400, "FAILED_PRECONDITION", "invalid_request_error", False, True),
        (401, "UNAUTHENTICATED", "authentication_error", False, True),
        (403, "PERMISSION_DENIED", "permission_error", False, True),
        (404, "NOT_FOUND", "invalid_request_error", False, True),
        (409, "ABORTED", "upstream_error", False, True),
        (429, "RESOURCE_EXHAUSTED", "rate_limit_error", True, True),
        (500, "INTERNAL", "server_error", True, False),
        (503, "UNAVAILABLE", "server_error", True, False),
        (504, "DEADLINE_EXCEEDED", "server_error", True, False),
    ],
)
@pytest.mark.parametrize("listed", [False, True], ids=["object", "list"])
def test_an_error_in_openais_shape(
    status: int, word: str, kind: str, passing: bool, healthy: bool, listed: bool
) -> None:
    said = error(status, word)
    fault = fault_of(status, [said] if listed else said)
    assert (fault.whose, fault.status, fault.type, fault.code) == ("theirs", status, kind, word.lower())
    assert (fault.message, fault.passing, fault.healthy, fault.billed) == ("It failed.", passing, healthy, "no")
    shown = json.loads(fault.body or b"")["error"]
    assert shown == {
        "message": "It failed.", "type": kind, "param": None, "code": word.lower(), "status": word,
    }  # fmt: skip


@pytest.mark.parametrize(("delay", "seconds"), [("17s", 17.0), ("36.429760048s", 36.429760048), ("0.5s", 0.5)])
def test_when_to_come_back(delay: str, seconds: float) -> None:
    said = error(429, "RESOURCE_EXHAUSTED", "Slow down.", quota("GenerateRequestsPerMinutePerProject"), retry(delay))
    fault = fault_of(429, said)
    assert (fault.retry_after, fault.passing) == (seconds, True)
    assert json.loads(fault.body or b"")["error"]["details"] == said["error"]["details"]


@pytest.mark.parametrize("delay", ["soon", "", "-3s", "1h", 5, None, "1e9s"])
def test_a_delay_that_says_nothing(delay: Any) -> None:
    said = error(429, "RESOURCE_EXHAUSTED", "x", {"@type": f"{RPC}RetryInfo", "retryDelay": delay})
    assert fault_of(429, said).retry_after is None


@pytest.mark.parametrize("value", ["7", "soon", "inf", "-1"])
def test_a_header_counts_where_the_body_says_nothing(value: str) -> None:
    expected = {"7": 7.0, "-1": 0.0}.get(value)
    assert fault_of(503, error(503, "UNAVAILABLE"), DIALECT, **{"retry-after": value}).retry_after == expected


def test_the_quota_of_a_day_is_final() -> None:
    """Its RetryInfo names seconds all the same, after which it is refused again."""
    daily = quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier")
    fault = fault_of(429, error(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", daily, retry("36s")))
    assert (fault.status, fault.passing, fault.retry_after) == (429, False, None)
    assert (fault.type, fault.code) == ("insufficient_quota", "insufficient_quota")
    assert json.loads(fault.body or b"")["error"]["type"] == "insufficient_quota"


def test_the_reason_and_the_field_are_named() -> None:
    invalid = {"@type": f"{RPC}ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
    assert fault_of(400, error(400, "INVALID_ARGUMENT", "API key not valid.", invalid)).code == "api_key_invalid"
    field = "generation_config.temperature"
    wrong = {"@type": f"{RPC}BadRequest", "fieldViolations": [{"field": field, "description": "x"}]}
    fault = fault_of(400, error(400, "INVALID_ARGUMENT", "Out of range.", wrong))
    assert (fault.param, fault.code) == (field, "invalid_argument")
    assert json.loads(fault.body or b"")["error"]["param"] == field


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>busy</html>", b"\xff", b"[]", b"[1]", b"null", b"{}", b'{"error":null}', b'{"error":{}}',
        b'{"error":{"message":1,"status":2,"details":3}}',
        b'{"error":{"details":[1,{"violations":[1],"fieldViolations":{}}]}}',
    ],
)  # fmt: skip
def test_an_error_that_says_nothing(body: bytes) -> None:
    fault = fault_of(502, body)
    assert fault.message == "'gemini' answered 502, and gave no reason."
    assert (fault.type, fault.code, fault.passing, fault.healthy) == ("server_error", None, True, False)


def test_other_shapes() -> None:
    assert fault_of(429, {"error": "slow down"}).message == "slow down"
    assert fault_of(400, {"message": "flat", "status": "INVALID_ARGUMENT"}).code == "invalid_argument"


def test_a_redirect_is_not_followed() -> None:
    fault = fault_of(302)
    assert (fault.status, fault.passing) == (502, False)
    assert "check its base URL" in fault.message


def test_no_key_is_shown() -> None:
    other = "AIzaSyAnotherOnes0123456789abcdefghijk"
    said = error(400, "INVALID_ARGUMENT", f"key={KEY} and {other}, Bearer ya29.a0AfH6SMBx-very-long", retry(KEY))
    fault = fault_of(400, said)
    shown = fault.message + (fault.body or b"").decode()
    assert not any(secret in shown for secret in (KEY, other, "ya29"))
    assert fault.message == "key=[key] and [key], [key]"
    odd = GeminiDialect("gemini", BASE, "an-odd-key")
    assert fault_of(400, error(400, "X", "an-odd-key!"), odd).message == "[key]!"
    assert fault_of(400, b"an-odd-key", odd).body == b"[key]"
    assert fault_of(400, error(400, "X", "a word"), GeminiDialect("gemini", BASE, "word")).message == "a word"
    assert KEY not in odd.error_frame(json.dumps({"message": KEY}).encode()).message


def test_a_huge_error_is_not_kept() -> None:
    assert len(fault_of(500, b"x" * (MAX_ERROR_BODY + 1)).body or b"") == MAX_ERROR_BODY
