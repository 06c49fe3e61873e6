"""What passes between the sandbox and a dialect: a visit goes in, a plan of the answer comes out.

A dialect decides (pure: `Visit` to `Plan`), faults bend the plan, `delivery` carries it out. So a fault is written once
for every dialect and endpoint.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Protocol

from msgspec import Struct

Headers = tuple[tuple[bytes, bytes], ...]
Lane = Literal["direct", "flex", "batch"]
Outcome = Literal["completed", "refused", "cut", "aborted"]
"""completed: answered whole. refused: an error, nothing done, nothing billed. cut: work done and billed, but what was
sent is not a whole answer. aborted: the client left first; what was produced until then is billed."""


class Bulk(Protocol):
    """A request body that is kept aside, since it may be large (`blobs.Blob`)."""

    size: int

    def blocks(self) -> Iterator[bytes]:
        """All of it, a block at a time."""
        ...

    def digest(self) -> str:
        """Its hash, as the ledger has it."""
        ...


class Fault(Protocol):
    """A fault rule that applies to a visit (`rules.Rule`)."""

    @property
    def kind(self) -> str:
        """The name of the fault."""
        ...


class Visit(Struct, frozen=True, kw_only=True, gc=False):
    """One HTTP request as it came, with the sandbox's running number for it."""

    number: int
    at: float
    provider: str
    method: str
    path: str
    """Below the provider's prefix: `/v1/chat/completions`."""
    query: bytes = b""
    headers: Headers = ()
    body: bytes = b""
    bulk: Bulk | None = None
    """The body of a route that is `bulky`, instead of `body`."""
    key: str = ""
    """The API key it carries, in whatever header the dialect uses; empty if none."""
    faults: tuple[Fault, ...] = ()
    """The rules that struck it: what a batch is made with, it keeps."""

    def header(self, name: bytes) -> str | None:
        """The value of a header (lower-case name), or None."""
        return next((value.decode("latin-1") for found, value in self.headers if found == name), None)

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return len(self.body) if self.bulk is None else self.bulk.size

    @property
    def digest(self) -> str:
        """BLAKE2b (8 bytes) of the body as it came: equal bytes, equal hash."""
        return digest(self.body) if self.bulk is None else self.bulk.digest()

    @property
    def request_id(self) -> str:
        """What the provider calls this request; the same for the same number."""
        return f"req_{self.number:032x}"


def digest(body: bytes) -> str:
    """BLAKE2b of 8 bytes, in hexadecimal."""
    return hashlib.blake2b(body, digest_size=8).hexdigest()


class Peek(Struct, frozen=True, kw_only=True):
    """What a request says about itself, read without judging it: for fault rules and for the lines of refused calls."""

    model: str = ""
    stream: bool = False
    lane: Lane = "direct"


class Bill(Struct, frozen=True, kw_only=True, gc=False):
    """What a call costs in tokens when its answer goes out whole."""

    model: str = ""
    lane: Lane = "direct"
    tier: str | None = None
    input: int = 0
    output: int = 0
    cached: int = 0
    """Of the input: read from the prefix cache."""
    written: int = 0
    """Of the input: put into it, where that has a price of its own."""
    written_hour: int = 0
    """Of what was put into it: kept for an hour, which has another."""


class Part(Struct, frozen=True, gc=False):
    """Some bytes of an answer: a whole body, or one frame of a stream."""

    data: bytes
    text: str = ""
    """The model's words in it: what is billed if the stream ends here."""
    place: Literal["body", "finish", "done"] = "body"
    """`finish` says why the answer ended (and its usage), `done` that the stream is over."""


class Plan(Struct, frozen=True, kw_only=True, gc=False):
    """What will be sent and how."""

    status: int = 200
    headers: Headers = ()
    parts: Sequence[Part] = ()
    """A tuple; or `blobs.Blocks`, read from disk as they are sent."""
    streaming: bool = False
    """Chunked, frame by frame; otherwise the length is declared."""
    bill: Bill = Bill()
    outcome: Outcome = "completed"
    partial: bool = False
    """Only the words in `parts` are billed, not the whole of `bill.output`."""
    length: int | None = None
    """Declare this many bytes instead of the true length (a body that breaks off)."""
    delay: float = 0.0
    """Seconds before the first byte."""
    rate: float | None = None
    """Bytes per second."""
    hang_up: bool = False
    """Close the connection after the last part, amid the message; with no parts at all, before any answer."""


class Refused(Exception):
    """A dialect does not serve this visit. Each dialect gives it the provider's error shape."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code
        self.retry_after = retry_after


class Route(Struct, frozen=True):
    """A path that a dialect serves: the endpoint's name in ledger and faults, and what answers it."""

    endpoint: str
    answer: Callable[[Visit], Plan]
    bulky: bool = False
    """The body is kept aside as `Visit.bulk`, on disk if it is large."""
    settled: bool = False
    """Batches are brought up to the present before it answers."""


class Dialect(Protocol):
    """A provider's way of speaking, with that provider's state. One instance per provider name."""

    def find(self, method: str, path: str) -> Route | None:
        """The route of a path, or None."""
        ...

    def key(self, headers: Headers) -> str:
        """The API key among the headers; empty if there is none."""
        ...

    def peek(self, visit: Visit) -> Peek:
        """Model, stream flag and lane, as far as they can be read."""
        ...

    def admit(self, visit: Visit) -> Headers:
        """Check key and rate limits. Returns headers for the answer; raises Refused."""
        ...

    def refusal(self, refused: Refused) -> Plan:
        """The provider's error answer."""
        ...

    def error_frame(self, refused: Refused) -> bytes:
        """An error in the middle of a stream whose status was 200."""
        ...
