"""One HTTP exchange over bare ASGI: a body read within bounds, a response sent, and the headers that say what it is."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from batchway.core.cost import dollars
from batchway.core.errors import TooLarge, UnsupportedEncoding
from batchway.core.types import Fault
from batchway.wire.native import error_body

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
PRIVATE = (b"cache-control", b"private, no-store")
"""An answer is its caller's alone: no cache on the way may keep it."""

BOUND = " (max_body_bytes)"
"""The setting that bounds the bodies that are read whole."""

MAX_WHY = 500
"""Characters of the reasons in a header."""


class Gone(Exception):
    """The caller closed its connection, or does not read."""


def read_headers(scope: Scope) -> dict[str, str]:
    """The headers by lower-case name; of one given twice, the last."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def refuse_packed(headers: Mapping[str, str]) -> None:
    """Raises UnsupportedEncoding: what a body unpacks to could not be bounded before it is read."""
    packed = headers.get("content-encoding", "")
    if packed.strip().lower() not in ("", "identity"):
        raise UnsupportedEncoding(f"content-encoding: '{packed[:50]}' is not taken; send the body as it is.")


async def read_body(receive: Receive, headers: Mapping[str, str], max_bytes: int) -> bytes:
    """The whole body. Raises TooLarge or Gone; what comes is counted, whatever the headers say."""
    declared_length(headers, max_bytes, BOUND)
    pieces: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        piece, more = message.get("body", b""), message.get("more_body", False)
        size += len(piece)
        if size > max_bytes:
            raise _too_large(max_bytes, BOUND)
        pieces.append(piece)
    return b"".join(pieces)


def declared_length(headers: Mapping[str, str], max_bytes: int, bound: str = "") -> int | None:
    """Bytes that the body will have; None: it does not say. Raises TooLarge, which names the `bound`."""
    declared = headers.get("content-length", "")
    length = int(declared) if declared.isdigit() else None
    if length is not None and length > max_bytes:
        raise _too_large(max_bytes, bound)
    return length


async def body_pieces(receive: Receive, max_bytes: float) -> AsyncIterator[bytes]:
    """The body piece by piece, as it comes. Raises TooLarge or Gone."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        piece, more = message.get("body", b""), message.get("more_body", False)
        size += len(piece)
        if size > max_bytes:
            raise _too_large(max_bytes, "")
        if piece:
            yield piece


def _too_large(max_bytes: float, bound: str) -> TooLarge:
    return TooLarge(f"The body is larger than {max_bytes} bytes{bound}.")


async def send_body(send: Send, status: int, headers: Headers, content: bytes) -> None:
    """A whole response."""
    headers.append((b"content-length", b"%d" % len(content)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def write(send: Send, content: bytes, *, more: bool) -> None:
    """One piece of a response."""
    await send({"type": "http.response.body", "body": content, "more_body": more})


async def send_fault(
    send: Send, fault: Fault, request_id: str | None, extra: Headers | None = None, *, retries: bool = True
) -> None:
    """A fault in OpenAI's shape."""
    headers = fault_headers(fault, request_id, retries=retries)
    await send_body(send, fault.status, [*headers, *(extra or ())], error_body(fault, request_id))


def id_headers(request_id: str) -> Headers:
    """Which request it is."""
    name = request_id.encode()
    return [(b"x-batchway-request-id", name), (b"x-request-id", name)]


def way_headers(via: str, why: str) -> Headers:
    """How it was answered, and why so."""
    return [(b"x-batchway-routed-via", via.encode()), why_header(why)]


def why_header(why: str) -> tuple[bytes, bytes]:
    """Why it ended so. It may quote a provider, so it is made fit for a header."""
    return (b"x-batchway-why", (why if why.isprintable() else repr(why))[:MAX_WHY].encode("ascii", "replace"))


def money_headers(cost: int | None, saved: int | None) -> Headers:
    """What it cost and saved, as far as that is known. Picodollars."""
    headers: Headers = []
    if cost is not None:
        headers.append((b"x-batchway-cost-usd", dollars(cost).encode()))
    if saved is not None:
        headers.append((b"x-batchway-saved-usd", dollars(saved).encode()))
    return headers


def fault_headers(fault: Fault, request_id: str | None, *, retries: bool = True) -> Headers:
    """Retry-After where it makes sense; `x-should-retry: false` where a provider's fault is not for an SDK to retry:
    we have done so already (`retries`), it is no use, or it may be paid twice."""
    headers: Headers = [JSON, PRIVATE]
    if request_id is not None:
        headers += id_headers(request_id)
    if fault.retry_after is not None:
        # Whole seconds, rounded up: SDKs read the header as a number, some only as an integer.
        headers.append((b"retry-after", b"%d" % max(1, -int(-fault.retry_after // 1))))
    if fault.billed == "unknown" or (fault.whose == "theirs" and (retries or not fault.passing)):
        headers.append((b"x-should-retry", b"false"))
    return headers
