"""A request and its response on a connection: uvicorn's cycle, but that a whole response is written in one piece.

uvicorn looks at each header by two regular expressions and writes head and body one after the other: with the dozen
headers of an answer that was more than reading its request, and two packets instead of one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

LARGE = 64 * 1024
"""Bytes of a body from which on a packet less is not worth a copy."""

Message = Mapping[str, Any]


class Cycle(RequestResponseCycle):
    """Holds the head of a response back until the first piece of its body comes, as ASGI has it, and writes what then
    is whole. Streams, HEAD, large bodies and what does not end with its length go uvicorn's way."""

    _head: Message | None = None

    async def send(self, message: Any) -> None:
        """Take one message of the application."""
        if message["type"] == "http.response.start" and not self.response_started:
            self._head = message
            return
        head, self._head = self._head, None
        if head is not None:
            if self._is_whole(head, message):
                self._write(head["status"], head["headers"], message["body"])
                return
            await super().send(head)  # type: ignore[arg-type]
        await super().send(message)

    def _is_whole(self, head: Message, message: Message) -> bool:
        if message.get("more_body") or self.flow.write_paused or self.disconnected or self.scope["method"] == "HEAD":
            return False
        headers, size = head["headers"], len(message.get("body", b""))
        # `exchange.send_body` says the length last.
        return size < LARGE and bool(headers) and headers[-1] == (b"content-length", b"%d" % size)

    def _write(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        lines = [*map(b": ".join, headers)]
        if not self.keep_alive:
            lines.append(b"connection: close")
        _refuse_breaks(b"".join(lines))
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        if not self.transport.is_closing():
            # It may be closing for what came behind this request on its connection.
            self.transport.write(STATUS_LINE[status] + b"\r\n".join([*lines, b"", body]))
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def _refuse_breaks(headers: bytes) -> None:
    """Nothing in a header may end it and begin another."""
    if b"\n" in headers or b"\r" in headers or b"\0" in headers:
        raise ValueError("a line break in a header of a response")
