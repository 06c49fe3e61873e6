"""Calling providers: the one sender, and how a provider is spoken to."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import BinaryIO, Protocol

from msgspec import Struct

from batchway.core.limits import Report
from batchway.core.types import Answer, Fault, Request
from batchway.wire.endpoints import StreamReader


class Outgoing(Struct, frozen=True, kw_only=True, gc=False):
    """An HTTP request to a provider."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Incoming(Struct, frozen=True, kw_only=True, gc=False):
    """A whole HTTP response of a provider. Headers are looked up by lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Flow(Struct, frozen=True):
    """A body that is passed on as it comes."""

    pieces: AsyncIterator[bytes]
    length: int | None
    """Bytes; None: nobody knows before the end."""


class IncomingStream(Protocol):
    """An HTTP response whose body is read as it comes."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    def chunks(self) -> AsyncIterator[bytes]:
        """The body piece by piece; the next piece is read from the network only when it is asked for."""
        ...

    async def body(self) -> bytes:
        """The whole body, within the bound on responses."""
        ...


class Sender(Protocol):
    """The one thing that talks to providers.

    Raises errors of `core.errors.Theirs`: Unreachable (nothing was sent), UpstreamTimeout, UpstreamCut,
    UpstreamMalformed (larger than the bound).
    """

    async def send(self, outgoing: Outgoing, timeout: float | None = None) -> Incoming:
        """Send, and read the whole response. `timeout`: seconds for it all, instead of the setting."""
        ...

    async def send_file(self, outgoing: Outgoing, file: BinaryIO, length: int) -> Incoming:
        """The same with a body from a file of this many bytes: it may be 200 MB, and is never held whole."""
        ...

    def stream(self, outgoing: Outgoing, content: Flow | None = None) -> AbstractAsyncContextManager[IncomingStream]:
        """Send, and read the response as it comes. `content`: what is sent in place of the body, as that comes."""
        ...


class Dialect(Protocol):
    """How one provider is spoken to: pure encoding and decoding."""

    def encode(self, request: Request) -> Outgoing:
        """The HTTP request that asks this. Raises BadRequest, naming the field, for what this provider cannot do."""
        ...

    def encode_models(self, model: str | None, authorization: str | None) -> Outgoing:
        """The HTTP request for the list of models, or for one; `authorization` is used where we have no key."""
        ...

    def decode_models(self, body: bytes) -> bytes:
        """What came back for models, as OpenAI's list of models or as one. Raises msgspec.DecodeError."""
        ...

    def fault(self, incoming: Incoming) -> Fault:
        """The fault that an error status is."""
        ...

    def decode(self, request: Request, incoming: Incoming, now: float) -> Answer | Fault:
        """What came back, as an answer or a fault."""
        ...

    def follow(self, request: Request, *, fold: bool) -> StreamReader:
        """A reader of the frames of a stream; `fold`: keep what is needed to make a whole answer of it."""
        ...

    def error_frame(self, error: bytes) -> Fault:
        """The fault that an error inside a stream is."""
        ...

    def report(self, headers: Mapping[str, str], now: float) -> Report | None:
        """What the response headers say about rate limits."""
        ...
