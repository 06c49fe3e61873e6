"""The OpenAI dialect: what OpenAI's own front sends is what the provider gets (identity), and the same back."""

import re
from collections.abc import Mapping
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

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
"""Codes of a 429 that waiting does not heal (providers.md §13.2)."""

_SCRUB = re.compile(rb"(?:sk|xai|gsk|bw|key)-[A-Za-z0-9_*\-]{4,}|Bearer\s+[^\s\"\\]+")
MAX_ERROR_BODY = 64 * 1024
"""Bytes of an error body that are passed on."""


class _Error(Struct):
    message: str | None = None
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


class _ErrorBody(Struct):
    error: _Error | str | UnsetType = UNSET
    message: str | UnsetType = UNSET
    detail: Raw | UnsetType = UNSET


_error_body = msgspec.json.Decoder(_ErrorBody, strict=False)
_STREAM_USAGE = body.raw({"include_usage": True})


class OpenAIDialect:
    """Encodes and decodes for one account of a provider that speaks OpenAI's API."""

    def __init__(self, name: str, base_url: str, key: str | None) -> None:
        self._name = name
        self._urls = {endpoint: base_url.rstrip("/") + front.path for endpoint, front in FRONTS.items()}
        self._models_url = base_url.rstrip("/") + "/models"
        self._key = key
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
        except msgspec.DecodeError as error:
            return self._malformed(f"answered {incoming.status} with a body that is not a {request.endpoint} object", error)

    def follow(self, request: Request, *, fold: bool) -> StreamReader:
        """A reader of the endpoint's stream."""
        follow = FRONTS[request.endpoint].follow
        assert follow is not None, f"{request.endpoint} does not stream"
        return follow(fold)

    def fault(self, incoming: Incoming) -> Fault:
        """An error status with the provider's own words, scrubbed of keys, passed through."""
        text = scrub(incoming.body[:MAX_ERROR_BODY])
        error = _read_error(text)
        code = str(error.code) if error.code is not None else None
        passing = incoming.status in PASSING and code not in FINAL_CODES
        if incoming.headers.get("x-should-retry") == "false":
            passing = False
        return Fault(
            whose="theirs",
            # A redirect is never followed and means nothing to our caller.
            status=incoming.status if incoming.status >= 400 else 502,
            type=error.type or "upstream_error",
            code=code,
            message=error.message or f"'{self._name}' answered {incoming.status}.",
            param=error.param,
            retry_after=retry_after(incoming.headers),
            passing=passing,
            body=text,
            healthy=incoming.status < 500,
        )

    def error_frame(self, error: bytes) -> Fault:
        """An error inside a stream: its status was 200 already, so the words are all there is."""
        wrapped = error if b'"error"' in error else b'{"error":' + error + b"}"
        text = scrub(wrapped[:MAX_ERROR_BODY])
        read = _read_error(text)
        return Fault(
            whose="theirs",
            status=502,
            type=read.type or "upstream_error",
            code=str(read.code) if read.code is not None else "upstream_error",
            message=read.message or f"'{self._name}' reported an error inside the stream.",
            param=read.param,
            billed="unknown",
            passing=True,
            body=text,
            healthy=False,
        )

    def report(self, headers: Mapping[str, str], now: float) -> Report | None:
        """The `x-ratelimit-*` headers and Retry-After (providers.md §13.3); None where there are none."""
        after = retry_after(headers)
        requests, tokens = (headers.get(f"x-ratelimit-remaining-{what}") for what in ("requests", "tokens"))
        if requests is None and tokens is None:
            return Report(retry_after=after) if after is not None else None
        return Report(
            limit_requests=_whole(headers.get("x-ratelimit-limit-requests")),
            limit_tokens=_whole(headers.get("x-ratelimit-limit-tokens")),
            remaining_requests=_whole(requests),
            remaining_tokens=_whole(tokens),
            reset_requests=_later(headers.get("x-ratelimit-reset-requests"), now),
            reset_tokens=_later(headers.get("x-ratelimit-reset-tokens"), now),
            retry_after=after,
        )

    def _malformed(self, what: str, cause: Exception) -> Fault:
        return UpstreamMalformed(f"'{self._name}' {what} ({cause}).").fault


def _asking_for_usage(content: bytes) -> bytes:
    """The body with `stream_options.include_usage`, its other options kept."""
    fields = body.fields(content)
    given = fields.get("stream_options")
    if given is None or bytes(given) == b"null":
        fields["stream_options"] = _STREAM_USAGE
    else:
        options = body.fields(bytes(given))
        options["include_usage"] = body.raw(True)
        fields["stream_options"] = body.raw(options)
    return body.join(fields)


def _read_error(text: bytes) -> _Error:
    try:
        read = _error_body.decode(text)
    except msgspec.DecodeError:
        return _Error()
    if isinstance(read.error, _Error):
        return read.error
    if isinstance(read.error, str):
        return _Error(message=read.error)
    if isinstance(read.message, str):
        return _Error(message=read.message)
    return _Error(message=bytes(read.detail).decode(errors="replace")) if isinstance(read.detail, Raw) else _Error()


def scrub(text: bytes) -> bytes:
    """The text without anything that looks like a key: providers repeat wrong keys in their errors."""
    return _SCRUB.sub(b"[key]", text)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from `retry-after-ms` or `retry-after`. A date is left out: it would need the provider's clock."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        given = headers.get(name)
        if given is not None:
            try:
                return max(0.0, float(given) * unit)
            except ValueError:
                continue
    return None


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")


def _later(text: str | None, now: float) -> float | None:
    """The instant that a duration such as `1s`, `6m0s` or `120ms` ends."""
    found = _DURATION.fullmatch(text) if text else None
    if found is None or not any(found.groups()):
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in found.groups())
    return now + hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
