"""A message as its stream of named events (shapes: anthropic SDK 2.11, types/raw_*_event; providers.md §10.3)."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from batchway.sandbox.contract import Part
from batchway.sandbox.openai.parameters import chunks

_encode = msgspec.json.Encoder().encode

CUMULATIVE = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "output_tokens_details",
)
"""What of the usage the last events repeat."""


def event(name: str, fields: dict[str, Any]) -> bytes:
    """One event: its name, and its type in the data."""
    return b"event: " + name.encode() + b"\ndata: " + _encode({"type": name, **fields}) + b"\n\n"


def events(message: dict[str, Any]) -> tuple[Part, ...]:
    """The whole sequence."""
    usage = {name: value for name, value in message["usage"].items() if name != "output_tokens_details"}
    begun = message | {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage | {"output_tokens": 1}}
    parts = [Part(event("message_start", {"message": begun}))]
    for index, block in enumerate(message["content"]):
        opened = _opened(block)
        parts.append(Part(event("content_block_start", {"index": index, "content_block": opened})))
        if index == 0:
            parts.append(Part(event("ping", {})))
        for delta, text in _deltas(block):
            parts.append(Part(event("content_block_delta", {"index": index, "delta": delta}), text))
        parts.append(Part(event("content_block_stop", {"index": index})))
    counted = {name: message["usage"][name] for name in CUMULATIVE}
    ending = {name: message[name] for name in ("stop_reason", "stop_sequence")}
    parts.append(Part(event("message_delta", {"delta": ending, "usage": counted}), place="finish"))
    return (*parts, Part(event("message_stop", {}), place="done"))


def _opened(block: dict[str, Any]) -> dict[str, Any]:
    """The block as it is when nothing of it is written."""
    empty: dict[str, dict[str, Any]] = {
        "text": {"text": ""},
        "thinking": {"thinking": "", "signature": ""},
        "tool_use": {"input": {}},
    }
    return block | empty[block["type"]]


def _deltas(block: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """The pieces of a block, and the model's words in each."""
    if block["type"] == "text":
        for text in chunks(block["text"]):
            yield {"type": "text_delta", "text": text}, text
    elif block["type"] == "thinking":
        for text in chunks(block["thinking"]):
            yield {"type": "thinking_delta", "thinking": text}, text
        yield {"type": "signature_delta", "signature": block["signature"]}, ""
    else:
        yield {"type": "input_json_delta", "partial_json": ""}, ""
        for text in chunks(json.dumps(block["input"])):
            yield {"type": "input_json_delta", "partial_json": text}, text
