"""The one thing that talks to providers: exchanges over a pool of connections, with bounds on time and size.

No redirects, no cookies, no proxies from the environment: a key goes to the host that the settings name and nowhere
else. aiohttp was chosen after measuring (bench/): pyreqwest 0.15 cannot hang up on a request whose answer has not
begun, and what nobody waits for any more must end at the provider too.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO, Self

import aiohttp
from aiohttp.http import HttpProcessingError

from batchway.core.errors import Theirs, Unreachable, UpstreamCut, UpstreamMalformed, UpstreamTimeout
from batchway.ports import Flow, Incoming, Outgoing
from batchway.providers.exchange import Exchange, Pool, read
from batchway.providers.patience import Patience

FAILURES = (aiohttp.ClientError, HttpProcessingError, TimeoutError)
"""How an exchange may fail."""


class HttpSender:
    """Sends over one pool of connections. Use as an async context manager; closing ends what is under way."""

    def __init__(self, *, connect_timeout: float, request_timeout: float, max_body: int) -> None:
        # For a whole answer the bound holds from the first byte sent to the last received; for a stream, between two
        # pieces: an answer may well take longer than its first word may.
        self._connect_timeout = connect_timeout
        self._request_timeout = request_timeout
        self._max_body = max_body
        self._pool: Pool
        self._patience: Patience

    async def __aenter__(self) -> Self:
        self._pool = Pool(connect_timeout=self._connect_timeout, max_body=self._max_body)
        self._patience = Patience(self._request_timeout)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._patience.close()
        await self._pool.close()

    async def send(self, outgoing: Outgoing, timeout: float | None = None) -> Incoming:
        """Send, and read the whole response within the bounds."""
        patience = self._patience if timeout is None else Patience(timeout)
        try:
            with await self._pool.open(outgoing, patience=patience) as exchange:
                return Incoming(status=exchange.status, headers=exchange.headers, body=await exchange.body())
        except FAILURES as error:
            raise translate(error, outgoing.url) from error

    async def send_file(self, outgoing: Outgoing, file: BinaryIO, length: int) -> Incoming:
        """Send a body from a file. How long it takes depends on its size, so the bound is on silence."""
        try:
            flow = Flow(read(file), length)
            with await self._pool.open(outgoing, silence=self._request_timeout, flow=flow) as exchange:
                return Incoming(status=exchange.status, headers=exchange.headers, body=await exchange.body())
        except FAILURES as error:
            raise translate(error, outgoing.url) from error

    @asynccontextmanager
    async def stream(self, outgoing: Outgoing, content: Flow | None = None) -> AsyncIterator[Exchange]:
        """Send, and read the response as it comes. The time bound holds between two pieces, not for the whole."""
        try:
            with await self._pool.open(outgoing, silence=self._request_timeout, flow=content) as exchange:
                yield exchange
        except FAILURES as error:
            raise translate(error, outgoing.url) from error


def translate(error: Exception, url: str) -> Theirs:
    """What a failure of the client means for the request: was it sent, may it be billed."""
    host = url.split("/", 3)[2]
    reason = str(error) or type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return Unreachable(f"No connection to {host} ({reason}); nothing was sent.")
    if isinstance(error, TimeoutError):
        return UpstreamTimeout(f"{host} did not answer in time (request_timeout); it may still bill the request.")
    if isinstance(error, HttpProcessingError):
        return UpstreamMalformed(f"{host} answered with something that is not HTTP ({reason}).")
    return UpstreamCut(f"The connection to {host} broke before the answer ended ({reason}).")
