"""The OpenAI dialect: what OpenAI's own front sends is what the provider gets (identity), and the same back."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache
from math import isfinite
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

from batchway.core.errors import UpstreamMalformed
from batchway.core.limits import Report
from batchway.core.types import Answer, Fault, Request
from batchway.ports import Incoming, Outgoing
from batchway.wire import body
from batchway.wire.endpoints import FRONTS, StreamReader

PASSING = frozenset({408, 409, 425, 429, 498, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
"""Statuses after which the same request may succeed: what official SDKs retry (providers.md §13.2), the edge's own
5xx, and Groq's 498 (flex capacity)."""

FINAL_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
"""Codes or types of a 429 that waiting does not heal (providers.md §13.2)."""

_SCRUB = re.compile(rb"\b(?:(?:sk|xai|bw|key)-|gsk_)[A-Za-z0-9_*\-]{4,}|\bBearer\s+[A-Za-z0-9._~+/=\-]{16,}")
SHORTEST_KEY = 8
"""Characters. A shorter one is a placeholder, such as `EMPTY` for a local server, and may be a word of the error."""
LONGEST_NUMBER = 18
"""Digits: more are no count of anything, and would cost their square to read."""
MAX_ERROR_BODY = 64 * 1024
"""Bytes of an error body that are passed on."""


class _Error(Struct, frozen=True, kw_only=True):
    """What a provider's error says, whatever its shape (providers.md §13.1)."""

    message: str | None = None
    type: str | None = None
    param: str | None = None
    code: str | None = None


_anything = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode
_STREAM_USAGE = body.raw({"include_usage": True})


class OpenAIDialect:
    """Encodes and decodes for one account of a provider that speaks OpenAI's API."""

    def __init__(self, name: str, base_url: str, key: str | None) -> None:
        self._name = name
        self._urls = {endpoint: base_url.rstrip("/") + front.path for endpoint, front in FRONTS.items()}
        self._models_url = base_url.rstrip("/") + "/models"
        self._key = key
        # A provider's durations come again and again (`6m0s`): reading one costs as much as reading the whole answer.
        self._seconds = lru_cache(maxsize=1000)(seconds_of)
        json = ("content-type", "application/json")
        self._plain: tuple[tuple[str, str], ...] = (json,)
        self._keyed = (json, ("authorization", f"Bearer {key}")) if key is not None else self._plain

    def encode(self, request: Request) -> Outgoing:
        """The request as it is; a stream is asked to report its usage."""
        content = request.body
        if request.prompt.stream and request.endpoint == "chat":
            content = _asking_for_usage(content)
        headers = self._headers(request.authorization)
        return Outgoing(method="POST", url=self._urls[request.endpoint], headers=headers, body=content)

    def encode_models(self, model: str | None, authorization: str | None) -> Outgoing:
        """GET /models, or /models/{id}: ids may hold slashes, which belong to the path as they are."""
        url = self._models_url if model is None else f"{self._models_url}/{quote(model)}"
        return Outgoing(method="GET", url=url, headers=self._headers(authorization), body=b"")

    def decode_models(self, body: bytes) -> bytes:
        """As they are."""
        return body

    def _headers(self, authorization: str | None) -> tuple[tuple[str, str], ...]:
        if self._key is None and authorization is not None:
            return (*self._plain, ("authorization", authorization))
        return self._keyed

    def decode(self, request: Request, incoming: Incoming, now: float) -> Answer | Fault:
        """A 2xx that is what the endpoint promises is an answer; all else is a fault."""
        if not 200 <= incoming.status < 300:
            return self.fault(incoming)
        try:
            return FRONTS[request.endpoint].answer(incoming.body, now)
        except ValueError as error:  # Not JSON, not of this shape, or not UTF-8 where it is read.
            reported = self._reported(incoming.body)
            if reported is not None:
                return reported
            what = f"answered {incoming.status} with a body that is not a {request.endpoint} object"
            return self._malformed(what, error)

    def follow(self, request: Request, *, fold: bool) -> StreamReader:
        """A reader of the endpoint's stream."""
        follow = FRONTS[request.endpoint].follow
        assert follow is not None, f"{request.endpoint} does not stream"
        return follow(request.prompt, fold)

    def fault(self, incoming: Incoming) -> Fault:
        """An error status with the provider's own words, scrubbed of keys, passed through."""
        text = self._scrub(incoming.body)
        error = _read_error(text)
        # A redirect is never followed and means nothing to our caller.
        redirected = incoming.status < 400
        hint = "a redirect, which is not followed: check its base URL" if redirected else "and gave no reason"
        return Fault(
            whose="theirs",
            status=502 if redirected else incoming.status,
            type=error.type or "upstream_error",
            code=error.code,
            message=error.message or f"'{self._name}' answered {incoming.status}, {hint}.",
            param=error.param,
            retry_after=retry_after(incoming.headers),
            passing=_is_passing(incoming, error),
            body=text,
            healthy=incoming.status < 500,
        )

    def error_frame(self, error: bytes) -> Fault:
        """An error inside a stream: its status was 200 already, so the words are all there is."""
        text = self._scrub(b'{"error":' + error + b"}")
        return self._worded(_read_error(text), text)

    def _reported(self, content: bytes) -> Fault | None:
        """The fault that a 2xx reports in its body: OpenRouter answers 200 first and may fail later."""
        text = self._scrub(content)
        error = _read_error(text)
        return self._worded(error, text) if error.message is not None else None

    def _worded(self, error: _Error, text: bytes) -> Fault:
        return Fault(
            whose="theirs",
            status=502,
            type=error.type or "upstream_error",
            code=error.code or "upstream_error",
            message=error.message or f"'{self._name}' reported an error where an answer was due.",
            param=error.param,
            billed="unknown",
            passing=True,
            body=text,
            healthy=False,
        )

    def _scrub(self, text: bytes) -> bytes:
        """The beginning of an error body as it may be shown: valid UTF-8, without our key or anything like one."""
        readable = text[:MAX_ERROR_BODY].decode(errors="replace")
        if self._key is not None and len(self._key) >= SHORTEST_KEY:
            readable = readable.replace(self._key, "[key]")
        return scrub(readable.encode())

    def report(self, headers: Mapping[str, str], now: float) -> Report | None:
        """The `x-ratelimit-*` headers and Retry-After (providers.md §13.3); None where there are none."""
        after = retry_after(headers)
        requests, tokens = headers.get("x-ratelimit-remaining-requests"), headers.get("x-ratelimit-remaining-tokens")
        if requests is None and tokens is None:
            return Report(retry_after=after) if after is not None else None
        return Report(
            limit_requests=_whole(headers.get("x-ratelimit-limit-requests")),
            limit_tokens=_whole(headers.get("x-ratelimit-limit-tokens")),
            remaining_requests=_whole(requests),
            remaining_tokens=_whole(tokens),
            reset_requests=self._later(headers.get("x-ratelimit-reset-requests"), now),
            reset_tokens=self._later(headers.get("x-ratelimit-reset-tokens"), now),
            retry_after=after,
        )

    def _later(self, duration: str | None, now: float) -> float | None:
        seconds = self._seconds(duration) if duration is not None else None
        return None if seconds is None else now + seconds

    def _malformed(self, what: str, cause: Exception) -> Fault:
        return UpstreamMalformed(f"'{self._name}' {what} ({cause}).").fault


def _asking_for_usage(content: bytes) -> bytes:
    """The body with `stream_options.include_usage`, its other options kept."""
    fields = body.fields(content)
    options = fields.get("stream_options")
    if options is None or body.given(options) is None:
        fields["stream_options"] = _STREAM_USAGE
    else:
        fields["stream_options"] = body.raw(body.fields(bytes(options)) | {"include_usage": body.raw(True)})
    return body.join(fields)


def _read_error(text: bytes) -> _Error:
    """The words of an error body: `{"error": {…}}`, `{"error": "…"}`, flat, `{"detail": …}`, or a list of one."""
    try:
        said = _anything.decode(text)
    except msgspec.DecodeError:
        return _Error()
    if isinstance(said, list) and said:
        said = said[0]
    if not isinstance(said, dict):
        return _Error()
    inner = said.get("error")
    found = inner if isinstance(inner, dict) else said
    message = found.get("message") or (inner if isinstance(inner, str) else None) or found.get("detail")
    return _Error(
        message=_words(message),
        type=_words(found.get("type")),
        param=_words(found.get("param")),
        code=_words(found.get("code")),
    )


def _words(value: Any) -> str | None:
    """A value of an error as text; what is no text is shown as JSON."""
    if value is None or isinstance(value, str):
        return value or None
    return _encode(value).decode()


def _is_passing(incoming: Incoming, error: _Error) -> bool:
    """Whether the same request may succeed later. `x-should-retry` is the provider's own word on it."""
    told = incoming.headers.get("x-should-retry")
    if told in ("true", "false"):
        return told == "true"
    return incoming.status in PASSING and FINAL_CODES.isdisjoint((error.code, error.type))


def scrub(text: bytes) -> bytes:
    """The text without anything that looks like a key: providers repeat wrong keys in their errors."""
    return _SCRUB.sub(b"[key]", text)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from `retry-after-ms`, or from `retry-after` as seconds or as a date; None if neither can be read."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        given = headers.get(name)
        seconds = _number(given) if given is not None else None
        if seconds is not None:
            return max(0.0, seconds * unit)
    return _until_date(headers) if "retry-after" in headers else None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None


def _until_date(headers: Mapping[str, str]) -> float | None:
    """Seconds to a `retry-after` date, by the provider's own clock: its `date` header. None where one is missing."""
    try:
        when, now = (parsedate_to_datetime(headers[name]) for name in ("retry-after", "date"))
        return max(0.0, (when - now).total_seconds())
    except (KeyError, TypeError, ValueError):
        return None


def _whole(text: str | None) -> int | None:
    if text is None or len(text) > LONGEST_NUMBER or not (text.isascii() and text.isdecimal()):
        return None
    return int(text)


_DURATION = re.compile(
    r"(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9}(?:\.[0-9]+)?)s)?(?:([0-9]{1,9}(?:\.[0-9]+)?)ms)?"
)


def seconds_of(duration: str) -> float | None:
    """The seconds of a duration such as `1s`, `6m0s` or `120ms`; None if it is not one."""
    found = _DURATION.fullmatch(duration)
    if found is None or not any(found.groups()):
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
