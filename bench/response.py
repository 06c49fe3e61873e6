"""Reading HTTP/1.1 responses off one connection, with a length or in chunks; just enough, and cheap."""

from msgspec import Struct

_LENGTH = b"\r\ncontent-length:"
_CHUNKED = b"\r\ntransfer-encoding: chunked"


class Response(Struct, frozen=True, kw_only=True):
    """One response. `head`: the status line and the headers, as sent."""

    status: int
    head: bytes
    body: bytes

    def header(self, name: bytes) -> str | None:
        """A header's value, by its name in lower case."""
        return _value(self.head, b"\r\n" + name + b":")


class Reader:
    """Feed it what arrives; it gives the response once that is whole. One request at a time."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._buffer = bytearray()
        self._head: bytes | None = None
        self._length: int | None = None
        self._at = 0
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> Response | None:
        """The response, if this was the last of it. Raises ValueError for what this reader does not understand."""
        self._buffer += data
        if self._head is None and not self._read_head():
            return None
        if self._length is None:
            return self._finish(b"".join(self._pieces)) if self._read_chunks() else None
        end = self._at + self._length
        return self._finish(bytes(self._buffer[self._at : end])) if len(self._buffer) >= end else None

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        self._head, self._at = bytes(self._buffer[: end + 2]), end + 4
        length = _value(self._head, _LENGTH)
        if length is not None:
            self._length = int(length)
        elif _CHUNKED not in self._head.lower():
            raise ValueError(f"a response has neither a length nor chunks: {self._head!r}")
        return True

    def _read_chunks(self) -> bool:
        """Whether the last chunk is there. Trailers are not understood: no subject sends any."""
        while (end := self._buffer.find(b"\r\n", self._at)) >= 0:
            size = int(self._buffer[self._at : end], 16)
            start, following = end + 2, end + 2 + size + 2
            if len(self._buffer) < following:
                return False
            if size == 0:
                return True
            self._pieces.append(bytes(self._buffer[start : start + size]))
            self._at = following
        return False

    def _finish(self, body: bytes) -> Response:
        assert self._head is not None
        response = Response(status=int(self._head[9:12]), head=self._head, body=body)
        self._begin()
        return response


def _value(head: bytes, name: bytes) -> str | None:
    # Most servers write names in lower case; the others cost a copy.
    start = head.find(name)
    if start < 0:
        start = head.lower().find(name)
    if start < 0:
        return None
    return head[start + len(name) : head.index(b"\r\n", start + 2)].strip().decode()
