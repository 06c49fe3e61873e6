"""A message of Anthropic's as a chat.completion (providers.md §10.2), and its models as OpenAI's."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Raw, Struct

from batchway.providers.anthropic.usage import StopDetails, Usage, finish, tier
from batchway.providers.anthropic.usage import translate as usage_of

THINKING = frozenset({"thinking", "redacted_thinking"})
"""Blocks that a caller must hand back unchanged to continue a turn in which tools were used."""


class _Kind(Struct):
    type: str
    text: str = ""
    thinking: str = ""
    id: str = ""
    name: str = ""
    input: Raw = Raw(b"{}")


class _Message(Struct):
    id: str
    model: str
    content: list[Raw]
    stop_reason: str | None = None
    stop_details: StopDetails | None = None
    usage: Usage = Usage()


class _Model(Struct):
    id: str
    created_at: str = ""


class _Models(Struct):
    data: list[_Model] | None = None


_message = msgspec.json.Decoder(_Message)
_block = msgspec.json.Decoder(_Kind)
_models = msgspec.json.Decoder(_Models)
_model = msgspec.json.Decoder(_Model)
_encode = msgspec.json.Encoder().encode


def translate(body: bytes, now: float) -> bytes:
    """The chat.completion. Raises msgspec.DecodeError when the body is no message."""
    # Bytes that are not UTF-8 become U+FFFD: the answer is paid for.
    message = _message.decode(body.decode(errors="replace"))
    choice = {
        "index": 0,
        "message": _said(message),
        "logprobs": None,
        "finish_reason": finish(message.stop_reason),
    }
    return _encode(
        {
            "id": message.id,
            "object": "chat.completion",
            "created": int(now),
            "model": message.model,
            "choices": [choice],
            "usage": usage_of(message.usage),
            **tier(message.usage),
        }
    )


def _said(message: _Message) -> dict[str, Any]:
    blocks = [_block.decode(raw) for raw in message.content]
    calls = [call(block.id, block.name, bytes(block.input).decode()) for block in blocks if block.type == "tool_use"]
    reasoning = "".join(block.thinking for block in blocks if block.type == "thinking")
    thoughts = [raw for raw, block in zip(message.content, blocks, strict=True) if block.type in THINKING]
    return {
        "role": "assistant",
        "content": "".join(block.text for block in blocks if block.type == "text") or None,
        "refusal": message.stop_details.explanation if message.stop_details else None,
        **({"reasoning_content": reasoning} if reasoning else {}),
        **({"thinking_blocks": thoughts} if thoughts else {}),
        **({"tool_calls": calls} if calls else {}),
    }


def call(identity: str, name: str, arguments: str) -> dict[str, Any]:
    """A tool call of OpenAI's."""
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


def translate_models(body: bytes) -> bytes:
    """A list of models, or one. Raises msgspec.DecodeError."""
    found = _models.decode(body).data
    if found is None:
        return _encode(_card(_model.decode(body)))
    return _encode({"object": "list", "data": [_card(model) for model in found]})


def _card(model: _Model) -> dict[str, Any]:
    return {"id": model.id, "object": "model", "created": _seconds(model.created_at), "owned_by": "anthropic"}


def _seconds(instant: str) -> int:
    """An RFC 3339 instant as seconds since the epoch; 0 where it is none."""
    try:
        return int(datetime.fromisoformat(instant).timestamp())
    except ValueError:
        return 0
