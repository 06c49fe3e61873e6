"""The bare pass-through of batchway's own client: uvicorn, aiohttp and orjson, and nothing of batchway.

The client is used as `batchway.providers.http` uses it: its time-outs, no cookies, an answer read within a bound.
"""

import os

import aiohttp
import orjson

from bench.asgi import JSON, Receive, Scope, Send, live, read_body, respond
from bench.yardstick import HEADERS, UPSTREAM

MAX_BODY = 64 * 1024 * 1024
"""Bytes; the gateway's default of `max_response_bytes`."""

TIMEOUT = aiohttp.ClientTimeout(total=600, sock_connect=5)


class Bare:
    """Reads the request and the answer, and passes both through as they are."""

    def __init__(self, upstream: str) -> None:
        self._url = upstream + "/chat/completions"
        self._session: aiohttp.ClientSession

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the server's life."""
        if scope["type"] == "lifespan":
            async with aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar(), timeout=TIMEOUT
            ) as self._session:
                return await live(receive, send)
        body = await read_body(receive)
        orjson.loads(body)
        async with self._session.post(self._url, data=body, headers=HEADERS, allow_redirects=False) as answer:
            content = await _read(answer)
            orjson.loads(content)
            return await respond(send, answer.status, [JSON], content)


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY:
            raise ValueError(f"the answer is larger than {MAX_BODY} bytes")
        pieces.append(chunk)
    return b"".join(pieces)


app = Bare(os.environ.get(UPSTREAM, ""))
