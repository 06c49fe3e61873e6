"""The upstream of the benchmark: answers every chat request with the same 1 kB, or with a stream of 20 chunks; with
a word where it is asked to, which every item of a packed call gets.

`metadata.delay_ms` of a request is waited before each piece of its answer.

It is served by the process of the load, whose loop never sleeps meanwhile: whoever sends to a process that sleeps on
another core pays for waking it, which on a virtual machine is a fifth of what the gateway takes for a request, and the
more the longer it takes. A provider across a network is woken by nobody here.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import orjson
import uvicorn

from bench.asgi import EVENT_STREAM, JSON, Headers, Receive, Scope, Send, read_body, respond

CHUNKS = 20
"""Pieces of text in a stream."""

_TEXT = "The gateway passes this answer through as it is, and reads from it only what the ledger needs. " * 5
_USAGE = {"prompt_tokens": 180, "completion_tokens": 95, "total_tokens": 275}

ANSWER = orjson.dumps(
    {
        "id": "chatcmpl-BenchAnswer0000000000000000",
        "object": "chat.completion",
        "created": 1790000000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": _TEXT, "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            **_USAGE,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
    }
)

# Limits that no run reaches, in the form of OpenAI's headers: they are read, and hold nobody back.
LIMITS: Headers = (
    (b"x-request-id", b"req_00000000000000000000000000000000"),
    (b"x-ratelimit-limit-requests", b"1000000"),
    (b"x-ratelimit-limit-tokens", b"1000000000"),
    (b"x-ratelimit-remaining-requests", b"999999"),
    (b"x-ratelimit-remaining-tokens", b"999999000"),
    (b"x-ratelimit-reset-requests", b"1ms"),
    (b"x-ratelimit-reset-tokens", b"1ms"),
)


_ITEM = re.compile(r'<item id="([0-9]+)">')


def _answer(question: str) -> bytes:
    """A word where that is asked for, under each id of a packed call."""
    if not question.endswith(("yes or no.", "one for each id.")):
        return ANSWER
    ids = _ITEM.findall(question)
    answer = orjson.loads(ANSWER)
    told = "\n".join([f'<answer id="{each}">No.</answer>' for each in ids]) or "No."
    answer["choices"][0]["message"]["content"] = told
    answer["usage"] |= {"prompt_tokens": len(question) // 4 + 180, "completion_tokens": 1 + 17 * len(ids)}
    return orjson.dumps(answer)


def _frame(choices: list[dict[str, object]], usage: dict[str, int] | None) -> bytes:
    chunk = {
        "id": "chatcmpl-BenchStream0000000000000000",
        "object": "chat.completion.chunk",
        "created": 1790000000,
        "model": "gpt-4o-mini-2024-07-18",
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
        "choices": choices,
        "usage": usage,
    }
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def _choice(delta: dict[str, str], finish_reason: str | None) -> list[dict[str, object]]:
    return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]


_FRAMES = [_frame(_choice({"content": f" word{number}"}, None), None) for number in range(CHUNKS - 1)]
_FRAMES.append(_frame(_choice({}, "stop"), None))
_WITH_USAGE = _frame([], _USAGE)
_DONE = b"data: [DONE]\n\n"


class Upstream:
    """The application. `calls`: how many came."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        asked = orjson.loads(await read_body(receive))
        self.calls += 1
        delay = int(asked.get("metadata", {}).get("delay_ms", "0")) / 1000
        if asked.get("stream"):
            usage = bool((asked.get("stream_options") or {}).get("include_usage"))
            return await _stream(send, delay, [*_FRAMES, _WITH_USAGE] if usage else _FRAMES)
        if delay:
            await asyncio.sleep(delay)
        return await respond(send, 200, [JSON, *LIMITS], _answer(asked["messages"][-1]["content"]))


async def _stream(send: Send, delay: float, frames: list[bytes]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [EVENT_STREAM, *LIMITS]})
    for frame in frames:
        await asyncio.sleep(delay)
        await send({"type": "http.response.body", "body": frame, "more_body": True})
    await send({"type": "http.response.body", "body": _DONE})


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves signals to the process that it is in."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(application: Upstream, port: int) -> AsyncIterator[None]:
    """Serve it in the running loop, and keep that awake."""
    server = _Server(
        uvicorn.Config(
            application,
            port=port,
            http="httptools",
            ws="none",
            lifespan="off",
            timeout_keep_alive=75,
            access_log=False,
            server_header=False,
            date_header=False,
            log_level="warning",
        )
    )
    task = asyncio.create_task(server.serve())
    with _awake(asyncio.get_running_loop()):
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            yield
        finally:
            server.should_exit = server.force_exit = True
            await task


@contextmanager
def _awake(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """There is always something to do."""
    handle = None

    def turn() -> None:
        nonlocal handle
        handle = loop.call_soon(turn)

    turn()
    try:
        yield
    finally:
        if handle is not None:
            handle.cancel()
