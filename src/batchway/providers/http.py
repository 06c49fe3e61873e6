"""The one thing that talks to providers: a pooled HTTP client with bounds on time and size.

No redirects, no cookies, no proxies from the environment: a key goes to the host that the settings name and nowhere
else. Chosen by measurement (bench/): pyreqwest costs a third less CPU per call than aiohttp.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Self

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PoolTimeoutError, PyreqwestError, RequestTimeoutError
from pyreqwest.request import StreamRequest
from pyreqwest.response import Response

from batchway import __version__
from batchway.core.errors import Theirs, Unreachable, UpstreamCut, UpstreamMalformed, UpstreamTimeout
from batchway.ports import Incoming, Outgoing

CONNECTING = "client error (Connect)"
"""Among its causes, what tells a failure to connect from one after the request was sent. pyreqwest calls both
ConnectError, and a time-out before the answer's first byte ConnectTimeoutError; only the first is safe to retry."""


class HttpSender:
    """Sends over one pool of connections. Use as an async context manager; closing ends what is under way."""

    def __init__(self, *, connect_timeout: float, request_timeout: float, max_body: int) -> None:
        self._timeout = timedelta(seconds=request_timeout)
        self._connect_timeout = timedelta(seconds=connect_timeout)
        self._max_body = max_body
        self._client: Client | None = None

    async def __aenter__(self) -> Self:
        self._client = (
            ClientBuilder()
            .follow_redirects(False)
            .no_proxy()
            .referer(False)
            .user_agent(f"batchway/{__version__}")
            .connect_timeout(self._connect_timeout)
            .read_timeout(self._timeout)
            .build()
        )
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def send(self, outgoing: Outgoing) -> Incoming:
        """Send, and read the whole response within the bounds."""
        try:
            async with self._request(outgoing, self._timeout) as response:
                stream = _Stream(response, self._max_body)
                return Incoming(status=response.status, headers=stream.headers, body=await stream.body())
        except PyreqwestError as error:
            raise translate(error, outgoing.url) from error

    @asynccontextmanager
    async def stream(self, outgoing: Outgoing) -> AsyncIterator["_Stream"]:
        """Send, and read the response as it comes. The time bound holds between two pieces, not for the whole."""
        try:
            async with self._request(outgoing, None) as response:
                yield _Stream(response, self._max_body)
        except PyreqwestError as error:
            raise translate(error, outgoing.url) from error

    def _request(self, outgoing: Outgoing, timeout: timedelta | None) -> StreamRequest:
        assert self._client is not None, "enter the sender before sending"
        request = self._client.request(outgoing.method, outgoing.url).body_bytes(outgoing.body)
        for name, value in outgoing.headers:
            request = request.header(name, value)
        if timeout is not None:
            return request.timeout(timeout).build_streamed()
        # By default it reads 64 KiB ahead before it gives the first byte: a whole stream, for most.
        return request.streamed_read_buffer_limit(0).build_streamed()


class _Stream:
    """A response whose body is read piece by piece, none of it past the bound."""

    def __init__(self, response: Response, max_body: int) -> None:
        self.status = response.status
        # The client's own map: names match in any case, and only what is looked up crosses from Rust.
        self.headers: Mapping[str, str] = response.headers
        self._reader = response.body_reader
        self._max_body = max_body

    async def chunks(self) -> AsyncIterator[bytes]:
        while (chunk := await self._reader.read_chunk()) is not None:
            yield bytes(chunk)

    async def body(self) -> bytes:
        length = self.headers.get("content-length")
        if length is not None and length.isdigit() and int(length) > self._max_body:
            raise self._too_large()
        pieces: list[bytes] = []
        size = 0
        while (chunk := await self._reader.read_chunk()) is not None:
            size += len(chunk)
            if size > self._max_body:
                raise self._too_large()
            pieces.append(bytes(chunk))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _too_large(self) -> UpstreamMalformed:
        return UpstreamMalformed(
            f"The provider's answer is larger than {self._max_body} bytes; raise max_response_bytes if that is right.",
            code="upstream_too_large",
        )


def translate(error: PyreqwestError, url: str) -> Theirs:
    """What a failure of the client means for the request: was it sent, may it be billed."""
    host = url.split("/", 3)[2]
    details = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], dict) else {}
    causes = [cause["message"] for cause in details.get("causes") or ()]
    reason = causes[-1] if causes else error.message
    if isinstance(error, PoolTimeoutError) or CONNECTING in causes:
        return Unreachable(f"No connection to {host} ({reason}); nothing was sent.")
    if isinstance(error, RequestTimeoutError):
        return UpstreamTimeout(f"{host} did not answer in time (request_timeout); it may still bill the request.")
    return UpstreamCut(f"The connection to {host} broke before the answer ended ({reason}).")
