"""Many requests in one body: JSON Lines, cut as they come, each line read and answered by itself.

A line is the body of a chat as it would come alone, or a line as OpenAI's Batch API takes them:
`{"custom_id": …, "method": "POST", "url": "/v1/chat/completions", "body": {…}}`.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from batchway.core.errors import BadRequest
from batchway.core.types import Fault, Request
from batchway.wire import body
from batchway.wire.endpoints import FRONTS, Front
from batchway.wire.hints import ALLOWED, SHOWN, refusal
from batchway.wire.native import error_of

MEDIA_TYPE = "application/x-ndjson"
MEDIA_TYPES = frozenset({b"application/x-ndjson", b"application/ndjson", b"application/jsonl", b"application/x-jsonl"})
"""What JSON Lines go by; none of them is registered."""

_BY_URL: Mapping[str, Front] = {"/v1" + front.path: front for front in FRONTS.values()}
_MARK = b'"custom_id"'
"""A line without it is no line of a batch: looking for it costs a tenth of reading the line."""
_BOM, _CR = b"\xef\xbb\xbf", b"\r"
"""What editors put before the first line and at the end of each: no part of what was asked."""


class Cutter:
    """Cuts a body into lines at 0x0A alone, numbered from 1; blank ones are numbered and dropped.

    Of a line that is longer than `longest` bytes a few more are kept than it may have, by which it is known.
    """

    def __init__(self, longest: int) -> None:
        self._room = longest + len(_BOM) + len(_CR) + 1
        self._begun: list[bytes] = []
        self._size = 0
        self._number = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The lines that are whole now."""
        first, *others = data.split(b"\n")
        self._hold(first)
        if not others:
            return []
        *whole, begun = others
        found = [self._line(b"".join(self._begun)), *[self._line(each[: self._room]) for each in whole]]
        self._begun, self._size = [], 0
        self._hold(begun)
        return [numbered for numbered in found if numbered[1]]

    def end(self) -> list[tuple[int, bytes]]:
        """The last line, which need not end in a newline."""
        number, line = self._line(b"".join(self._begun))
        return [(number, line)] if line else []

    def _hold(self, piece: bytes) -> None:
        self._begun.append(piece[: self._room - self._size])
        self._size += len(self._begun[-1])

    def _line(self, line: bytes) -> tuple[int, bytes]:
        """Its number and what stands in it; nothing, where it is blank."""
        self._number += 1
        if self._number == 1:
            line = line.removeprefix(_BOM)
        line = line.removesuffix(_CR)
        return self._number, b"" if line.isspace() else line


class Line(Struct, frozen=True, gc=False):
    """One request of a body of many."""

    front: Front
    content: bytes
    custom_id: str | None


class _Wrapped(Struct, gc=False):
    custom_id: str | UnsetType | None = UNSET
    method: Literal["POST"] | UnsetType = UNSET
    url: str | UnsetType = UNSET
    body: Raw | UnsetType = UNSET


_wrapped = msgspec.json.Decoder(_Wrapped)


def read(content: bytes) -> Line:
    """What stands in a line. Raises BadRequest."""
    if _MARK not in content:
        return Line(FRONTS["chat"], content, None)
    try:
        given = _wrapped.decode(content)
    except RecursionError as error:
        raise BadRequest("The JSON is nested too deep; flatten it.", code="json_too_deep") from error
    except UnicodeDecodeError as error:
        raise BadRequest("The line is not valid UTF-8; send JSON encoded as UTF-8.", code="invalid_utf8") from error
    except msgspec.DecodeError as error:
        raise refusal(error, content) from error
    if isinstance(given.custom_id, UnsetType):
        return Line(FRONTS["chat"], content, None)
    if isinstance(given.body, UnsetType):
        raise BadRequest("body: missing; a line with a custom_id has its request in `body`.", param="body")
    url = "/v1/chat/completions" if isinstance(given.url, UnsetType) else given.url
    front = _BY_URL.get(url)
    if front is None:
        raise BadRequest(f"url: '{url[:SHOWN]}' is not one of {', '.join(_BY_URL)}.", param="url")
    return Line(front, bytes(given.body), given.custom_id)


def anew(request: Request, custom_id: str) -> bytes:
    """A line that asks what this request asked, with the hints that held for it; as long for its answer as it had."""
    fields = body.fields(request.body)
    for name in _STREAMING:
        fields.pop(name, None)
    held: dict[str, object] = {name: getattr(request, name) for name in (*ALLOWED, "provider", "tags")}
    held["caller_id"] = None if request.caller == request.key else request.caller
    held["deadline"] = None if request.deadline is None else request.deadline - request.asked_at
    if "provider" in fields:  # an object, which is the provider's own
        held |= {"provider": None, "model": f"{request.provider}/{request.prompt.model}"}
    fields |= {name: body.raw(value) for name, value in held.items() if value is not None}
    url = "/v1" + FRONTS[request.endpoint].path
    return one(_encode(_Wrapped(custom_id, "POST", url, Raw(body.join(fields)))))


_STREAMING = ("stream", "stream_options")
"""What is submitted is never streamed."""


def one(text: bytes) -> bytes:
    """A JSON text as one line: what breaks it stands between its tokens, since in its strings it is escaped."""
    return text.translate(_UNBROKEN) + b"\n"


_UNBROKEN = bytes.maketrans(b"\r\n", b"  ")


class _Said(Struct, omit_defaults=True):
    line: int
    request_id: str | None
    status: Literal["pending", "completed", "failed", "refused"]
    error: Raw | UnsetType = UNSET
    retry_after: float | UnsetType | None = UNSET


_encode = msgspec.json.Encoder().encode


def taken(number: int, request_id: str, status: Literal["pending", "completed"] = "pending") -> bytes:
    """What is said of a line whose request is on disk."""
    return _encode(_Said(number, request_id, status)) + b"\n"


def failed(number: int, request_id: str, fault: Fault) -> bytes:
    """What is said of a line whose request was taken before, and has failed since."""
    return one(_encode(_Said(number, request_id, "failed", error_of(fault))))


def refused(number: int, request_id: str | None, fault: Fault) -> bytes:
    """What is said of a line that was not taken. It has `retry_after` (seconds, or null) if it may be taken later as it
    is."""
    later = fault.retry_after if fault.passing else UNSET
    return one(_encode(_Said(number, request_id, "refused", error_of(fault), later)))
