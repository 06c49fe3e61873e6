"""The bare pass-through of the client that was not chosen: uvicorn, pyreqwest and orjson.

It costs less, but 0.15 cannot hang up on a request whose answer has not begun; this row says what that is worth.
"""

import os
from datetime import timedelta

import orjson
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.response import Response

from bench.asgi import JSON, Receive, Scope, Send, live, read_body, respond
from bench.yardstick import HEADERS, UPSTREAM

MAX_BODY = 64 * 1024 * 1024
"""Bytes; the gateway's default of `max_response_bytes`."""

TIMEOUT = timedelta(seconds=600)


def _client() -> Client:
    builder = ClientBuilder().follow_redirects(False).no_proxy().referer(False)
    return builder.connect_timeout(timedelta(seconds=5)).read_timeout(TIMEOUT).build()


class Bare:
    """Reads the request and the answer, and passes both through as they are."""

    def __init__(self, upstream: str) -> None:
        self._url = upstream + "/chat/completions"
        self._client: Client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the server's life."""
        if scope["type"] == "lifespan":
            async with _client() as self._client:
                return await live(receive, send)
        body = await read_body(receive)
        orjson.loads(body)
        request = self._client.post(self._url).body_bytes(body)
        for name, value in HEADERS.items():
            request = request.header(name, value)
        async with request.timeout(TIMEOUT).build_streamed() as answer:
            content = await _read(answer)
            orjson.loads(content)
            return await respond(send, answer.status, [JSON], content)


async def _read(answer: Response) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while (chunk := await answer.body_reader.read_chunk()) is not None:
        size += len(chunk)
        if size > MAX_BODY:
            raise ValueError(f"the answer is larger than {MAX_BODY} bytes")
        pieces.append(bytes(chunk))
    return b"".join(pieces)


app = Bare(os.environ.get(UPSTREAM, ""))
