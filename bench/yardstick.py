"""The yardstick: the pass-through that people write in an afternoon, with uvicorn, aiohttp and orjson."""

import os

import aiohttp
import orjson

from bench.asgi import EVENT_STREAM, JSON, Receive, Scope, Send, live, read_body, respond

UPSTREAM = "BENCH_UPSTREAM"
"""The variable with the upstream's base URL."""

HEADERS = {"content-type": "application/json", "authorization": "Bearer sk-upstream"}


class Yardstick:
    """Reads the request and the answer, and passes both through as they are."""

    def __init__(self, upstream: str) -> None:
        self._url = upstream + "/chat/completions"
        self._session: aiohttp.ClientSession

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the server's life."""
        if scope["type"] == "lifespan":
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as self._session:
                return await live(receive, send)
        body = await read_body(receive)
        asked = orjson.loads(body)
        async with self._session.post(self._url, data=body, headers=HEADERS) as answer:
            if asked.get("stream"):
                return await _pass_chunks(send, answer)
            content = await answer.read()
            orjson.loads(content)
            return await respond(send, answer.status, [JSON], content)


async def _pass_chunks(send: Send, answer: aiohttp.ClientResponse) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": [EVENT_STREAM]})
    async for chunk in answer.content.iter_any():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


app = Yardstick(os.environ.get(UPSTREAM, ""))
