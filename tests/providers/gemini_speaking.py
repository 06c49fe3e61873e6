"""What the tests of the Gemini dialect say and hear: requests as the gateway reads them, Google's answers."""

import json
from collections.abc import Iterable
from typing import Any

from tests.core.asking import request

from batchway.core.types import Request
from batchway.ports import Incoming
from batchway.providers.gemini import GeminiDialect
from batchway.wire import sse
from batchway.wire.endpoints import FRONTS, StreamReader
from batchway.wire.sse import Frame

BASE = "https://generativelanguage.googleapis.com"
ROOT = f"{BASE}/v1beta"
KEY = "AIzaSyNotAKeyOfAnybody0123456789abcdefg"
DIALECT = GeminiDialect("gemini", BASE, KEY)


def dumps(value: Any) -> bytes:
    """JSON as msgspec writes it: the fields in their order, no spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def ask(endpoint: Any, body: dict[str, Any], **fields: Any) -> Request:
    """A request, its prompt read from the body as the gateway does."""
    content = dumps(body)
    prompt = FRONTS[endpoint].read(content).prompt
    read = {name: getattr(prompt, name) for name in prompt.__struct_fields__}
    return request(endpoint=endpoint, body=content, provider="gemini", **read, **fields)


def incoming(status: int, body: Any = b"", **headers: str) -> Incoming:
    """A response; what is not bytes is JSON, indented as Google's."""
    content = body if isinstance(body, bytes) else json.dumps(body, indent=2, ensure_ascii=False).encode()
    return Incoming(status=status, headers=headers, body=content)


def reply(*parts: dict[str, Any], end: str | None = "STOP", index: int = 0) -> dict[str, Any]:
    """A GenerateContentResponse with one candidate."""
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": index}
    if end is not None:
        candidate["finishReason"] = end
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 5, "totalTokenCount": 14}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m-001", "responseId": "r-1"}


def read_stream(reader: StreamReader, fragments: Iterable[dict[str, Any]]) -> list[Frame]:
    """The frames that a caller gets for these fragments, which come as Google sends them, line ends and all."""
    cutter = sse.FrameCutter(1 << 20)
    data = b"".join(b"data: " + dumps(fragment) + b"\r\n\r\n" for fragment in fragments)
    return [passed for frame in cutter.feed(data) for passed in reader.read(frame, sse.payload(frame) or b"")]
