"""Google's errors as faults: whose they are, whether waiting heals them, and the words in OpenAI's shape."""

import re
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any, Final

import msgspec
from msgspec import Struct

from batchway.core.types import Fault
from batchway.ports import Incoming

PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed: what google-genai retries where it is told to (providers.md
§13.2). A flex request that is shed is a 503 (§15)."""

TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}
"""HTTP status -> OpenAI's type of error. Others are the provider's: `server_error`."""

SPENT: Final = "insufficient_quota"
"""OpenAI's code for a 429 that waiting does not heal: its clients know it."""

HTTP: Final[Mapping[int, int]] = {
    1: 499,
    2: 500,
    3: 400,
    4: 504,
    5: 404,
    6: 409,
    7: 403,
    8: 429,
    9: 400,
    10: 409,
    11: 400,
    12: 501,
    13: 500,
    14: 503,
    15: 500,
    16: 401,
}
"""google.rpc.Code -> the HTTP status that it stands for."""

CANCELLED: Final = 499

SHORTEST_KEY: Final = 8
"""Characters. A shorter one is a placeholder and may be a word of the error."""
MAX_ERROR_BODY: Final = 64 * 1024
"""Bytes of an error body that are read and passed on."""

_SCRUB = re.compile(r"\bAIza[A-Za-z0-9_\-]{20,}|\bAQ\.[A-Za-z0-9_\-]{20,}|\bBearer\s+[A-Za-z0-9._~+/=\-]{16,}")
_DAILY = re.compile(r"per_?day", re.IGNORECASE)
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)s")

_anything = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode


class GoogleError(Struct, frozen=True, kw_only=True):
    """What an error says, whatever is missing of it (providers.md §13.1)."""

    message: str | None = None
    status: str | None = None
    details: tuple[dict[str, Any], ...] = ()

    @property
    def retry_delay(self) -> float | None:
        """Seconds, from a RetryInfo."""
        return next(filter(None, map(_seconds, self._all("retryDelay"))), None)

    @property
    def daily(self) -> bool:
        """The quota of a day is used up. Its RetryInfo may name seconds all the same, which heal nothing."""
        ids = [violation.get("quotaId") for violation in self._items("violations")]
        return any(isinstance(each, str) and _DAILY.search(each) for each in ids)

    @property
    def reason(self) -> str | None:
        """From an ErrorInfo: finer than the status, such as API_KEY_INVALID."""
        return next((each for each in self._all("reason") if isinstance(each, str)), None)

    @property
    def field(self) -> str | None:
        """The first field that is wrong, from a BadRequest, by Google's name."""
        fields = [violation.get("field") for violation in self._items("fieldViolations")]
        return next((each for each in fields if isinstance(each, str) and each), None)

    def _all(self, name: str) -> Iterator[object]:
        return (detail[name] for detail in self.details if name in detail)

    def _items(self, name: str) -> Iterator[dict[str, Any]]:
        return (
            each for found in self._all(name) if isinstance(found, list) for each in found if isinstance(each, dict)
        )


def read_error(text: str) -> GoogleError:
    """The error of a body: `{"error": {…}}`, a list of one such, or the inner object alone. Empty if it is none."""
    try:
        said = _anything.decode(text)
    except msgspec.DecodeError:
        return GoogleError()
    if isinstance(said, list) and said:
        said = said[0]
    inner = said.get("error", said) if isinstance(said, dict) else None
    if isinstance(inner, str):
        return GoogleError(message=inner)
    if not isinstance(inner, dict):
        return GoogleError()
    message, status, details = inner.get("message"), inner.get("status"), inner.get("details")
    return GoogleError(
        message=message if isinstance(message, str) and message else None,
        status=status if isinstance(status, str) and status else None,
        details=tuple(each for each in details if isinstance(each, dict)) if isinstance(details, list) else (),
    )


def http_status(said: Any) -> int:
    """The HTTP status of a google.rpc.Status, whose code is Google's or HTTP's own; 500 for what has none."""
    code = said.get("code") if isinstance(said, dict) else None
    if not isinstance(code, int):
        return 500
    return code if 400 <= code < 600 else HTTP.get(code, 500)


class Faults:
    """Makes faults of one account's errors: its own key is never shown."""

    def __init__(self, name: str, key: str | None) -> None:
        self._name = name
        self._key = key

    def of_status(self, incoming: Incoming) -> Fault:
        """An error status, passed on with the provider's own words."""
        text = self._scrub(incoming.body)
        error = read_error(text)
        # A redirect is never followed and means nothing to our caller.
        redirected = incoming.status < 400
        hint = "a redirect, which is not followed: check its base URL" if redirected else "and gave no reason"
        kind = SPENT if error.daily else _kind(incoming.status)
        code = SPENT if error.daily else _code(error)
        message = error.message or f"'{self._name}' answered {incoming.status}, {hint}."
        return Fault(
            whose="theirs",
            status=502 if redirected else incoming.status,
            type=kind,
            code=code,
            message=message,
            param=error.field,
            retry_after=None if error.daily else error.retry_delay or _header(incoming.headers),
            passing=incoming.status in PASSING and not error.daily,
            body=_shown(error, message, kind, code) if error.message else text.encode(),
            healthy=incoming.status < 500,
        )

    def of_words(self, content: bytes) -> Fault:
        """An error where an answer was due: its status was 200 already, so the words are all there is."""
        error = read_error(self._scrub(content))
        message = error.message or f"'{self._name}' reported an error where an answer was due."
        code = _code(error) or "upstream_error"
        return Fault(
            whose="theirs",
            status=502,
            type="upstream_error",
            code=code,
            message=message,
            retry_after=error.retry_delay,
            billed="unknown",
            passing=True,
            body=_shown(error, message, "upstream_error", code),
            healthy=False,
        )

    def _scrub(self, content: bytes) -> str:
        """The beginning of an error body as it may be shown: without our key or anything like one."""
        text = content[:MAX_ERROR_BODY].decode(errors="replace")
        if self._key is not None and len(self._key) >= SHORTEST_KEY:
            text = text.replace(self._key, "[key]")
        return _SCRUB.sub("[key]", text)


def _kind(status: int) -> str:
    return TYPES.get(status, "server_error" if status >= 500 else "upstream_error")


def _code(error: GoogleError) -> str | None:
    word = error.reason or error.status
    return word.lower() if word is not None else None


def _shown(error: GoogleError, message: str, kind: str, code: str | None) -> bytes:
    """OpenAI's error object, with Google's details beside its four fields."""
    shown: dict[str, Any] = {"message": message, "type": kind, "param": error.field, "code": code}
    shown |= {"status": error.status} if error.status else {}
    shown |= {"details": error.details} if error.details else {}
    return _encode({"error": shown})


def _seconds(duration: object) -> float | None:
    found = _DURATION.fullmatch(duration) if isinstance(duration, str) else None
    return float(found[1]) if found else None


def _header(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds. Gemini sends none by all that is known; whatever stands before it may."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return max(0.0, seconds) if isfinite(seconds) else None
