"""What the sandbox answers, asked without a network: its dialects are functions of a visit."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from batchway.sandbox import Sandbox
from batchway.sandbox.contract import Plan, Visit
from batchway.sandbox.openai.chat import complete
from batchway.sandbox.openai.embeddings import embed
from batchway.sandbox.openai.responses import respond

AT = 1_790_000_000.0


def _asked(endpoint: Callable[[Sandbox, Visit], Plan], path: str, body: dict[str, Any]) -> bytes:
    sandbox = Sandbox(now=lambda: AT, sleep=asyncio.sleep)
    visit = Visit(number=1, at=AT, provider="openai", method="POST", path=path, body=msgspec.json.encode(body))
    return b"".join(part.data for part in endpoint(sandbox, visit).parts)


def chat_whole(body: dict[str, Any]) -> bytes:
    """A chat.completion."""
    return _asked(complete, "/v1/chat/completions", body)


def chat_stream(body: dict[str, Any]) -> bytes:
    """The stream of the same, with its usage."""
    return chat_whole(body | {"stream": True, "stream_options": {"include_usage": True}})


def response_whole(body: dict[str, Any]) -> bytes:
    """A response object."""
    return _asked(respond, "/v1/responses", body)


def response_stream(body: dict[str, Any]) -> bytes:
    """The stream of the same."""
    return response_whole(body | {"stream": True})


def vectors(body: dict[str, Any]) -> bytes:
    """A list of embeddings."""
    return _asked(embed, "/v1/embeddings", body)
