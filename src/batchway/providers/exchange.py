"""One HTTP exchange with a provider, over aiohttp's pool of connections.

aiohttp's connector (names, TLS, connections kept open) and its protocol (parsing, unpacking, back-pressure) are used
without its session: cookies, redirects, proxies, credentials in URLs, tracing and a task for every body are half of
what a bare pass-through costs (bench/), and a gateway wants none of them.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from functools import cached_property, lru_cache
from typing import BinaryIO, Self

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.http import StreamWriter
from msgspec import Struct
from multidict import CIMultiDict
from yarl import URL

from batchway import __version__
from batchway.core.errors import UpstreamTooLarge
from batchway.ports import Flow, Outgoing
from batchway.providers.patience import Patience

READ_AHEAD = 256 * 1024
"""Bytes that are read ahead of who takes them: a whole answer mostly, and a bound for a stream that nobody reads."""

LARGE = 1 << 20
"""Bytes from which a body is written piece by piece, so that sending it holds up nobody else."""

PIECE = 256 * 1024

REPEATABLE = frozenset({"GET", "DELETE"})
"""Methods that are sent once more where a connection that was kept open turns out to be closed by the other side."""

SWITCHING = 101
"""The one interim status that no other follows."""

USER_AGENT = ("user-agent", f"batchway/{__version__}")

MANY_HEADS = 200
"""Heads kept written: every provider's endpoints, and not the model names that callers look up."""

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class _Origin(aiohttp.ClientRequest):
    """Tells the connector where to connect. It is never sent itself, nor changed, so that its key is made once."""

    @cached_property
    def connection_key(self) -> ConnectionKey:
        return super().connection_key


class _Head(Struct, frozen=True, kw_only=True):
    """What requests of one kind have in common."""

    origin: _Origin
    text: bytes
    """Request line and headers, all but the length of the body."""


class Pool:
    """Connections to all providers. It is made within the running loop, and closed in it."""

    def __init__(self, *, connect_timeout: float, max_body: int) -> None:
        """`connect_timeout` in seconds; `max_body`: bytes of a response's body that is read as a whole."""
        # How many calls run at once is for the planner to decide.
        self._connector = aiohttp.TCPConnector(limit=0)
        self._timeout = aiohttp.ClientTimeout(connect=connect_timeout)
        self._head = lru_cache(maxsize=MANY_HEADS)(_head)
        self._max_body = max_body

    async def close(self) -> None:
        """Close all connections, those in use as well."""
        await self._connector.close()

    async def open(
        self,
        outgoing: Outgoing,
        *,
        silence: float | None = None,
        patience: Patience | None = None,
        flow: Flow | None = None,
    ) -> "Exchange":
        """Send a request; the exchange once the head of its response is there, to be left as a context manager.

        `silence`: seconds that may pass without a byte either way. `patience` bounds the exchange from the first byte
        sent to the last received. `flow`: in place of the request's body. Raises aiohttp.ClientError,
        HttpProcessingError for what is not HTTP, TimeoutError.
        """
        try:
            return await self._open(outgoing, silence, patience, flow)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
            if outgoing.method not in REPEATABLE:
                raise
            return await self._open(outgoing, silence, patience, flow)

    async def _open(
        self, outgoing: Outgoing, silence: float | None, patience: Patience | None, flow: Flow | None
    ) -> "Exchange":
        head, body = self._head(outgoing.method, outgoing.url, outgoing.headers), outgoing.body
        try:
            connection = await self._connector.connect(head.origin, traces=[], timeout=self._timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError("it took too long to connect") from error
        exchange = Exchange(connection, silence, patience, self._max_body)
        try:
            if flow is not None and flow.length is None:
                exchange.upload(head.text + b"transfer-encoding: chunked\r\n\r\n", flow.pieces, chunked=True)
            elif flow is not None and flow.length is not None:
                exchange.upload(_framed(head.text, flow.length), flow.pieces)
            elif len(body) >= LARGE:
                exchange.upload(_framed(head.text, len(body)), _cut(body))
            elif body or outgoing.method != "GET":
                exchange.write(_framed(head.text, len(body)) + body)
            else:
                exchange.write(head.text + b"\r\n")
            await exchange.begin()
        except BaseException:
            exchange.abort()
            raise
        return exchange


class Exchange:
    """A request that was sent, and its response: the head is there, the body is read as it comes."""

    def __init__(
        self,
        connection: aiohttp.connector.Connection,
        silence: float | None,
        patience: Patience | None,
        max_body: int,
    ) -> None:
        protocol = connection.protocol
        assert protocol is not None, "a connection from the pool is open"
        protocol.set_response_params(read_until_eof=True, read_timeout=silence, read_bufsize=READ_AHEAD)
        self._connection = connection
        self._protocol = protocol
        self._patience = patience
        self._max_body = max_body
        self._uploading: asyncio.Task[None] | None = None
        self._content: aiohttp.StreamReader | None = None
        if patience is not None:
            patience.begin(self)
        self.status: int
        self.headers: Mapping[str, str]

    # Sending

    def write(self, message: bytes) -> None:
        """Send all there is to send."""
        transport = self._protocol.transport
        assert transport is not None, "a connection from the pool is open"
        transport.write(message)
        self._protocol.start_timeout()

    def upload(self, head: bytes, body: AsyncIterator[bytes | memoryview], *, chunked: bool = False) -> None:
        """Send a body piece by piece, while the response may come already. `chunked`: its length is not in the head."""
        self.write(head)
        self._uploading = asyncio.get_running_loop().create_task(self._upload(body, chunked))

    async def _upload(self, body: AsyncIterator[bytes | memoryview], chunked: bool) -> None:
        writer = StreamWriter(self._protocol, asyncio.get_running_loop())
        if chunked:
            writer.enable_chunking()
        try:
            async for piece in body:
                await writer.write(piece)
                self._protocol.start_timeout()
            await writer.write_eof()
        except Exception as error:  # noqa: BLE001  # Told to whoever waits for the response.
            failed = aiohttp.ClientConnectionError(f"the body could not be sent: {error!r}")
            self._protocol.set_exception(failed, error)

    # Receiving

    async def begin(self) -> None:
        """Wait for the head of the response; interim ones are passed over."""
        message, self._content = await self._protocol.read()
        while message.code < 200 and message.code != SWITCHING:
            message, self._content = await self._protocol.read()
        self.status, self.headers = message.code, message.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body piece by piece; the next piece is read from the network only when it is asked for."""
        assert self._content is not None, "an open exchange has begun"
        while piece := await self._content.readany():
            yield piece

    async def body(self) -> bytes:
        """The whole body. Raises UpstreamTooLarge past the bound: what a compressed one unpacks to is counted."""
        assert self._content is not None, "an open exchange has begun"
        length = self.headers.get("content-length")
        if length is not None and int(length) > self._max_body:
            raise UpstreamTooLarge(self._max_body)
        pieces: list[bytes] = []
        size = 0
        while not self._content.at_eof():
            piece = await self._content.readany()
            size += len(piece)
            if size > self._max_body:
                raise UpstreamTooLarge(self._max_body)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # Ending

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Keep the connection open for others if all was said on it, else hang up."""
        if self._uploading is not None and not self._uploading.done():
            self.abort()
            return
        if self._patience is not None:
            self._patience.end(self)
        self._connection.release()

    def abort(self) -> None:
        """Hang up."""
        if self._uploading is not None:
            self._uploading.cancel()
        if self._patience is not None:
            self._patience.end(self)
        self._connection.close()

    def give_up(self) -> None:
        """It has taken too long: whoever reads is told so."""
        late = aiohttp.SocketTimeoutError("the answer did not end in time")
        self._protocol.set_exception(late)
        if self._content is not None:
            self._content.set_exception(late)


def _head(method: str, url: str, headers: tuple[tuple[str, str], ...]) -> _Head:
    where = URL(url, encoded=True)
    # Made as a GET, which has no body and so no headers of one.
    origin = _Origin("GET", where, headers=CIMultiDict((*headers, USER_AGENT)), loop=asyncio.get_running_loop())
    lines = [f"{method} {where.raw_path_qs} HTTP/1.1", *(f"{name}: {value}" for name, value in origin.headers.items())]
    if any(map(_CONTROL.search, lines)):
        raise ValueError(f"a control character in the head of a request to {where.host}")
    return _Head(origin=origin, text="".join([f"{line}\r\n" for line in lines]).encode())


def _framed(head: bytes, length: int) -> bytes:
    return b"%bcontent-length: %d\r\n\r\n" % (head, length)


async def _cut(body: bytes) -> AsyncIterator[memoryview]:
    whole = memoryview(body)
    for start in range(0, len(body), PIECE):
        yield whole[start : start + PIECE]


async def read(file: BinaryIO) -> AsyncIterator[bytes]:
    """A file as the pieces that are sent."""
    while piece := await asyncio.to_thread(file.read, PIECE):
        yield piece
