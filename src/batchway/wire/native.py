"""Our own fields on an answer, and the shape of an error: what batchway says beside what the provider said."""

from datetime import UTC, datetime
from functools import lru_cache
from math import floor

import msgspec
from msgspec import UNSET, Struct, UnsetType

from batchway.core.types import Fault, Via
from batchway.wire import body, chat

_encode = msgspec.json.Encoder().encode


def instant(at: float) -> str:
    """An RFC 3339 instant in UTC, to the millisecond."""
    second = floor(at)
    return f"{_to_the_second(second)}.{int((at - second) * 1000):03d}Z"


@lru_cache(maxsize=16)
def _to_the_second(second: int) -> str:
    """Writing a date costs more than the rest of an envelope, and thousands of answers share a second."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class _Ours(Struct, kw_only=True):
    """Our fields; a completion has none of these names itself (`wire.chat.answer`)."""

    request_id: str
    status: str = "completed"
    provider: str
    routed_via: Via
    batch_id: str | None
    completed_at: str
    error: None = None
    content: str | UnsetType | None = UNSET


def envelope(
    answer: bytes,
    *,
    request_id: str,
    provider: str,
    via: Via,
    batch_id: str | None,
    completed_at: float,
    with_content: bool,
) -> bytes:
    """A chat.completion with our fields at the end of its own, which stay byte for byte."""
    ours = _Ours(
        request_id=request_id,
        provider=provider,
        routed_via=via,
        batch_id=batch_id,
        completed_at=instant(completed_at),
        content=chat.content(answer) if with_content else UNSET,
    )
    return b"%b,%b" % (answer.rstrip()[:-1], _encode(ours)[1:])


def pending(request_id: str) -> bytes:
    """The status of a request that has no answer yet."""
    return _encode({"request_id": request_id, "status": "pending", "message": "Request is still processing"})


def completed(request_id: str, response: bytes) -> bytes:
    """The status of a request that was answered. `response`: what its caller got, or would have got."""
    return _encode({"request_id": request_id, "status": "completed", "response": msgspec.Raw(response)})


def error_body(fault: Fault, request_id: str | None) -> bytes:
    """A fault in OpenAI's shape, with our fields beside it; a provider's own error object is kept as it came."""
    return _encode({"error": error_of(fault), "status": "failed", "request_id": request_id, "content": None})


def error_of(fault: Fault) -> msgspec.Raw:
    """The error object of a fault."""
    own = _upstream_error(fault.body)
    return own or body.raw({"message": fault.message, "type": fault.type, "param": fault.param, "code": fault.code})


def _upstream_error(given: bytes | None) -> msgspec.Raw | None:
    """The `error` object of a provider's body, if it has one in this shape."""
    if given is None:
        return None
    try:
        error = body.fields(given).get("error")
    except msgspec.DecodeError:
        return None
    return error if error is not None and bytes(error).startswith(b"{") else None
