"""The one thing that talks to providers: a pooled HTTP client with bounds on time and size.

No redirects, no cookies, no proxies from the environment: a key goes to the host that the settings name and nowhere
else. aiohttp was chosen after measuring (bench/): pyreqwest costs a third less CPU, but 0.15 cannot hang up on a
request whose answer has not begun, and what nobody waits for any more must end at the provider too.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from typing import BinaryIO, Self

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from batchway import __version__
from batchway.core.errors import Theirs, Unreachable, UpstreamCut, UpstreamMalformed, UpstreamTimeout
from batchway.ports import Incoming, Outgoing

CHUNK = 256 * 1024
"""Bytes that are read ahead of who takes them: a whole answer mostly, and a bound for a stream that nobody reads."""


USER_AGENT = ("user-agent", f"batchway/{__version__}")

LARGE = 1 << 20
"""Bytes from which a body is written piece by piece, so that sending it holds up nobody else."""

MANY_URLS = 200
"""URLs kept parsed: every provider's endpoints, and not the model names that callers look up."""


class HttpSender:
    """Sends over one pool of connections. Use as an async context manager; closing ends what is under way."""

    def __init__(self, *, connect_timeout: float, request_timeout: float, max_body: int) -> None:
        # For a whole answer the bound holds from the first byte sent to the last received; for a stream, between two
        # pieces: an answer may well take longer than its first word may.
        self._connect = connect_timeout
        self._whole = aiohttp.ClientTimeout(total=request_timeout, sock_connect=connect_timeout)
        self._pieces = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout, sock_read=request_timeout)
        self._max_body = max_body
        self._session: aiohttp.ClientSession | None = None
        self._urls: dict[str, URL] = {}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # How many calls run at once is for the planner to decide.
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("user-agent",),
            read_bufsize=CHUNK,
            trust_env=False,
        )
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, outgoing: Outgoing, timeout: float | None = None) -> Incoming:
        """Send, and read the whole response within the bounds."""
        bound = self._whole if timeout is None else aiohttp.ClientTimeout(total=timeout, sock_connect=self._connect)
        try:
            async with self._request(outgoing, bound) as response:
                stream = _Stream(response, self._max_body)
                return Incoming(status=response.status, headers=stream.headers, body=await stream.body())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise translate(error, outgoing.url) from error

    async def send_file(self, outgoing: Outgoing, file: BinaryIO, length: int) -> Incoming:
        """Send a body from a file. How long it takes depends on its size, so the bound is on silence."""
        assert self._session is not None, "enter the sender before sending"
        headers = CIMultiDict((*outgoing.headers, USER_AGENT, ("content-length", str(length))))
        try:
            async with self._session.request(
                outgoing.method,
                self._url(outgoing.url),
                headers=headers,
                data=file,
                timeout=self._pieces,
                allow_redirects=False,
            ) as response:
                stream = _Stream(response, self._max_body)
                return Incoming(status=response.status, headers=stream.headers, body=await stream.body())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise translate(error, outgoing.url) from error

    @asynccontextmanager
    async def stream(self, outgoing: Outgoing) -> AsyncIterator["_Stream"]:
        """Send, and read the response as it comes. The time bound holds between two pieces, not for the whole."""
        try:
            async with self._request(outgoing, self._pieces) as response:
                yield _Stream(response, self._max_body)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise translate(error, outgoing.url) from error

    def _request(self, outgoing: Outgoing, timeout: aiohttp.ClientTimeout) -> "aiohttp.client._RequestContextManager":
        assert self._session is not None, "enter the sender before sending"
        return self._session.request(
            outgoing.method,
            self._url(outgoing.url),
            headers=CIMultiDict((*outgoing.headers, USER_AGENT)),
            data=outgoing.body if len(outgoing.body) < LARGE else BytesIO(outgoing.body),
            timeout=timeout,
            allow_redirects=False,
        )

    def _url(self, text: str) -> URL:
        """The parsed URL; those of the endpoints are few and come again with every call."""
        url = self._urls.get(text)
        if url is None:
            url = URL(text, encoded=True)
            if len(self._urls) < MANY_URLS:
                self._urls[text] = url
        return url


class _Stream:
    """A response whose body is read piece by piece, none of it past the bound."""

    def __init__(self, response: aiohttp.ClientResponse, max_body: int) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self._response = response
        self._max_body = max_body

    async def chunks(self) -> AsyncIterator[bytes]:
        async for chunk in self._response.content.iter_any():
            yield chunk

    async def body(self) -> bytes:
        length = self._response.content_length
        if length is not None and length > self._max_body:
            raise self._too_large()
        pieces: list[bytes] = []
        size = 0
        # What a compressed body unpacks to is counted, not what its header says.
        async for chunk in self._response.content.iter_any():
            size += len(chunk)
            if size > self._max_body:
                raise self._too_large()
            pieces.append(chunk)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _too_large(self) -> UpstreamMalformed:
        return UpstreamMalformed(
            f"The provider's answer is larger than {self._max_body} bytes; raise max_response_bytes if that is right.",
            code="upstream_too_large",
        )


def translate(error: aiohttp.ClientError | TimeoutError, url: str) -> Theirs:
    """What a failure of the client means for the request: was it sent, may it be billed."""
    host = url.split("/", 3)[2]
    reason = str(error) or type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return Unreachable(f"No connection to {host} ({reason}); nothing was sent.")
    if isinstance(error, TimeoutError):
        return UpstreamTimeout(f"{host} did not answer in time (request_timeout); it may still bill the request.")
    if isinstance(error, aiohttp.ClientResponseError):
        return UpstreamMalformed(f"{host} answered with something that is not HTTP ({reason}).")
    return UpstreamCut(f"The connection to {host} broke before the answer ended ({reason}).")
