"""Server-sent events: cut a byte stream into frames and name what is in them (providers.md §14)."""

DONE = b"data: [DONE]\n\n"

Frame = tuple[bytes, bool]
"""A frame for a caller, and whether it holds nothing but the usage, which is for those who asked for it."""


class FrameCutter:
    """Gathers bytes as the network gives them and hands out whole frames, each ending in its blank line.

    Lines may end in LF or CRLF, and a read may end anywhere, inside a UTF-8 sequence too. `max_frame` bounds what an
    upstream that never ends a frame can make us hold.
    """

    def __init__(self, max_frame: int) -> None:
        self._rest = bytearray()
        self._half = b""
        """A CR at the end of a read: it may be half of a CRLF."""
        self._max_frame = max_frame

    def feed(self, data: bytes) -> list[bytes]:
        """The frames completed by these bytes. Raises ValueError when what is held of the next is past the bound."""
        if self._half or b"\r" in data:
            data = self._with_line_feeds(data)
        if self._rest:
            # Only what is new is searched: a frame of megabytes that comes in small reads would cost their square.
            searched = len(self._rest) - 1
            self._rest += data
            if self._rest.find(b"\n\n", searched) == -1:
                self._check_bound()
                return []
            data = bytes(self._rest)
        *frames, rest = data.split(b"\n\n")
        self._rest = bytearray(rest)
        self._check_bound()
        return [frame + b"\n\n" for frame in frames if frame.strip(b"\n")]

    def _check_bound(self) -> None:
        if len(self._rest) > self._max_frame:
            raise ValueError(f"a frame is larger than {self._max_frame} bytes")

    def _with_line_feeds(self, data: bytes) -> bytes:
        text = self._half + data
        self._half = b"\r" if text.endswith(b"\r") else b""
        return text.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def rest(self) -> bytes:
        """What is left when the stream ends: bytes of a frame that never ended."""
        return bytes(self._rest).strip()


def payload(frame: bytes) -> bytes | None:
    """The data of a frame, its lines joined by a line feed; None for comments and frames without data (`data:` alone
    says nothing)."""
    if frame.startswith(b"data:") and frame.find(b"\n", 0, -2) == -1:
        return frame[5:-2].strip() or None
    lines = [line[5:].removeprefix(b" ") for line in frame.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines).strip() or None


def frame(data: bytes, event: str | None = None) -> bytes:
    """One frame with this data, named if it has a name."""
    head = b"event: " + event.encode() + b"\n" if event else b""
    return head + b"data: " + data + b"\n\n"


def comment(text: str) -> bytes:
    """A comment, which every reader of event streams skips."""
    return b": " + text.encode() + b"\n\n"
