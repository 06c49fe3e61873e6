"""The bare pass-through of batchway's own sender: uvicorn, `batchway.providers.http` and orjson, and nothing else.

Between it and the yardstick lies what aiohttp's session costs; between it and batchway direct, all that batchway does.
"""

import os

import orjson

from batchway.ports import Outgoing
from batchway.providers.http import HttpSender
from bench.asgi import JSON, Receive, Scope, Send, live, read_body, respond
from bench.yardstick import HEADERS, UPSTREAM


class Bare:
    """Reads the request and the answer, and passes both through as they are."""

    def __init__(self, upstream: str) -> None:
        self._url = upstream + "/chat/completions"
        self._sender: HttpSender

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the server's life."""
        if scope["type"] == "lifespan":
            # The gateway's defaults.
            async with HttpSender(connect_timeout=5, request_timeout=600, max_body=64 * 1024 * 1024) as self._sender:
                return await live(receive, send)
        body = await read_body(receive)
        orjson.loads(body)
        asked = Outgoing(method="POST", url=self._url, headers=tuple(HEADERS.items()), body=body)
        answer = await self._sender.send(asked)
        orjson.loads(answer.body)
        return await respond(send, answer.status, [JSON], answer.body)


app = Bare(os.environ.get(UPSTREAM, ""))
