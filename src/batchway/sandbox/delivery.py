"""Carries out a plan over ASGI: delays, trickles, hangs up, notices that the client has left, and books the call.

A call is booked before its last bytes go out, so whoever holds a whole answer finds its line in the ledger.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from typing import Any

from batchway.sandbox.blobs import Blob, Blocks
from batchway.sandbox.contract import Headers, Outcome, Part, Plan

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Sleep = Callable[[float], Awaitable[None]]
Book = Callable[[Plan, Outcome, int], None]
"""Writes the ledger line of a plan: how it ended and the output tokens that are billed."""

STEPS_PER_SECOND = 20
"""How finely a trickling body is cut: often enough to look slow, rarely enough to cost nothing."""


class ClientLeft(Exception):
    """The other side closed the connection."""


class Connection:
    """One request's connection: read the body, write the answer, pause, hang up."""

    def __init__(self, scope: Message, receive: Receive, send: Send, sleep: Sleep) -> None:
        self._transport: asyncio.Transport = scope["state"]["transport"]
        self._receive = receive
        self._send = send
        self._sleep = sleep

    async def body(self, limit: int) -> bytes | None:
        """The request body; None if it is longer than `limit` bytes. Raises ClientLeft."""
        message = await self._receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            return await self._rest(body, limit)
        if message["type"] == "http.disconnect":
            raise ClientLeft
        return body if len(body) <= limit else None

    async def _rest(self, first: bytes, limit: int) -> bytes | None:
        pieces, size, more = [first], len(first), True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            size += len(message["body"])
            if size <= limit:
                pieces.append(message["body"])
            more = message["more_body"]
        return b"".join(pieces) if size <= limit else None

    async def spool(self, limit: int) -> Blob | None:
        """The request body kept aside; None if it is longer than `limit` bytes. Raises ClientLeft."""
        blob, more = Blob(), True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            if blob.size <= limit:
                blob.append(message.get("body", b""))
            more = message.get("more_body", False)
        return blob if blob.size <= limit else None

    async def start(self, status: int, headers: Headers) -> None:
        """Send status and headers."""
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes, more: bool = True) -> None:
        """Send some of the body, or the last of it. Raises ClientLeft."""
        if self._transport.is_closing():
            raise ClientLeft
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def pause(self, seconds: float) -> None:
        """Sleep. Raises ClientLeft as soon as the client leaves."""
        sleeping = asyncio.ensure_future(self._sleep(seconds))
        leaving = asyncio.ensure_future(self._departure())
        try:
            await asyncio.wait({sleeping, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                raise ClientLeft
        finally:
            sleeping.cancel()
            leaving.cancel()
            await asyncio.gather(sleeping, leaving, return_exceptions=True)

    async def hang_up(self) -> None:
        """Close the connection without ending the message, once what was written has gone out."""
        self._transport.close()
        await self._departure()

    async def _departure(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def deliver(plan: Plan, connection: Connection, book: Book, count: Callable[[str], int]) -> None:
    """Send what the plan says, and book it once."""
    sent: list[str] = []
    held = b""
    try:
        if plan.delay:
            await connection.pause(plan.delay)
        if plan.parts:
            await connection.start(plan.status, _framing(plan))
            held = await _send_but_last(plan, connection, sent)
    except ClientLeft:
        book(plan, "aborted", _produced(sent, count) if plan.streaming else plan.bill.output)
        return
    book(plan, plan.outcome, _produced(sent, count) if plan.partial else plan.bill.output)
    if plan.parts:
        await connection.write(held, more=plan.hang_up)
    if plan.hang_up:
        await connection.hang_up()


async def deliver_whole(plan: Plan, connection: Connection, book: Book) -> None:
    """The short way of a plan that is one part without delay or damage: the same as `deliver`, cheaper."""
    book(plan, plan.outcome, plan.bill.output)
    await connection.start(plan.status, _framing(plan))
    await connection.write(plan.parts[0].data, more=False)


async def _send_but_last(plan: Plan, connection: Connection, sent: list[str]) -> bytes:
    """Write everything but the last piece, which is returned: it goes out after the booking."""
    held = b""
    for part in plan.parts:
        for piece in _pieces(part, plan.rate):
            if held:
                await connection.write(held)
            if plan.rate is not None:
                await connection.pause(len(piece) / plan.rate)
            held = piece
        sent.append(part.text)
    return held


def _pieces(part: Part, rate: float | None) -> Iterator[bytes]:
    if rate is None:
        yield part.data
        return
    step = max(1, int(rate / STEPS_PER_SECOND))
    for start in range(0, len(part.data), step):
        yield part.data[start : start + step]


def _framing(plan: Plan) -> Headers:
    if plan.streaming:
        return plan.headers
    length = plan.length if plan.length is not None else _size(plan.parts)
    return (*plan.headers, (b"content-length", str(length).encode()))


def _size(parts: Sequence[Part]) -> int:
    return parts.size if isinstance(parts, Blocks) else sum(len(part.data) for part in parts)


def _produced(sent: list[str], count: Callable[[str], int]) -> int:
    text = "".join(sent)
    return count(text) if text else 0
