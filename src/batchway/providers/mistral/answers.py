"""Mistral's answers as OpenAI gives them: whole, chunk by chunk, and errors. Fields that need no change stay.

An answer's content may be a list of chunks (thoughts, text, references) where OpenAI has one text. The text becomes
`content`, the thoughts `reasoning_content` (as vLLM and others name them), and the rest stays in `content_chunks`.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from batchway.wire import chat, sse
from batchway.wire.body import parse
from batchway.wire.sse import Frame

_encode = msgspec.json.Encoder().encode

_REASONS = {"model_length": "length"}
_TIERS = {"standard": "default"}
_FIELDS = {"output_dimension": "dimensions", "random_seed": "seed"}
"""What the caller calls the fields that Mistral complains of."""


def completion(content: bytes) -> bytes:
    """A whole answer as a chat.completion. What is none, or no JSON at all, stays as it is."""
    whole = _object(content)
    if whole is None:
        return content
    for choice in _objects(whole.get("choices")):
        _conclude(choice)
        if isinstance(choice.get("message"), dict):
            _speak(choice["message"])
            for call in _objects(choice["message"].get("tool_calls")):
                _name_call(call)
    _account(whole)
    return _encode(whole)


class StreamReader(chat.StreamReader):
    """Follows Mistral's chunks and gives OpenAI's for them."""

    def read(self, frame: bytes, data: bytes) -> Sequence[Frame]:
        """Take one frame. Raises msgspec.DecodeError when it is not a chunk."""
        chunk = None if data == b"[DONE]" else parse(data)
        if not isinstance(chunk, dict):
            return super().read(frame, data)
        if "choices" not in chunk and "error" not in chunk and (error := _error(chunk)) is not None:
            # UNCONFIRMED how Mistral says an error amid a stream: it is looked for in all its shapes.
            self.error = _encode(error)
            return ()
        passed: list[Frame] = []
        for piece in map(_encode, _pieces(chunk)):
            passed += super().read(sse.frame(piece), piece)
        return passed


def _pieces(chunk: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The chunk, and its usage by itself: Mistral gives both at once, with the finish reason."""
    for choice in _objects(chunk.get("choices")):
        _conclude(choice)
        if isinstance(choice.get("delta"), dict):
            _speak(choice["delta"])
            for position, call in enumerate(_objects(choice["delta"].get("tool_calls"))):
                _name_call(call)
                if call.get("index") is None:
                    call["index"] = position
    _account(chunk)
    usage = chunk.pop("usage", None)
    if chunk.get("choices") or usage is None:
        yield chunk
    if usage is not None:
        yield chunk | {"choices": [], "usage": usage}


def _conclude(choice: dict[str, Any]) -> None:
    reason = choice.get("finish_reason")
    if reason in _REASONS:
        choice["finish_reason"] = _REASONS[reason]


def _speak(message: dict[str, Any]) -> None:
    """Chunks become a text, thoughts, and what is neither."""
    chunks = message.get("content")
    if not isinstance(chunks, list):
        return
    thoughts = "".join(_texts([part for each in _of(chunks, "thinking") for part in _objects(each.get("thinking"))]))
    rest = [chunk for chunk in _objects(chunks) if chunk.get("type") not in ("text", "thinking")]
    text = "".join(_texts(_of(chunks, "text")))
    message["content"] = text if text or not thoughts else None
    if thoughts:
        message["reasoning_content"] = thoughts
    if rest:
        message["content_chunks"] = rest


def _of(chunks: list[Any], kind: str) -> list[dict[str, Any]]:
    return [chunk for chunk in _objects(chunks) if chunk.get("type") == kind]


def _texts(chunks: list[dict[str, Any]]) -> Iterator[str]:
    return (chunk["text"] for chunk in chunks if isinstance(chunk.get("text"), str))


def _name_call(call: dict[str, Any]) -> None:
    """A tool call as OpenAI has it: it says its type, and its arguments are text."""
    if not call.get("type"):
        call["type"] = "function"
    function = call.get("function")
    if isinstance(function, dict) and isinstance(function.get("arguments"), dict):
        function["arguments"] = json.dumps(function["arguments"], ensure_ascii=False)


def _account(whole: dict[str, Any]) -> None:
    """Usage in OpenAI's places: the tier beside it, the cached tokens among its details."""
    usage = whole.get("usage")
    if not isinstance(usage, dict):
        return
    tier, cached = usage.get("service_tier"), usage.get("num_cached_tokens")
    if isinstance(tier, str):
        whole["service_tier"] = _TIERS.get(tier, tier)
    if isinstance(cached, int) and not usage.get("prompt_tokens_details"):
        usage["prompt_tokens_details"] = {"cached_tokens": cached}


# Errors


def error_body(content: bytes) -> bytes:
    """An error body in OpenAI's shape, if it is one of Mistral's; anything else as it is."""
    said = _object(content)
    error = None if said is None or "error" in said else _error(said)
    return content if error is None else _encode({"error": error})


def _error(said: dict[str, Any]) -> dict[str, Any] | None:
    """`{"object": "error", "message", …}`, or `{"detail": …}`, alone or as the message. None where neither is said."""
    message = said.get("message")
    inner = _object(message.encode()) if isinstance(message, str) else message
    detail = inner.get("detail") if isinstance(inner, dict) else said.get("detail")
    problems = [(_place(problem), problem.get("msg")) for problem in _objects(detail)]
    if problems:
        message = "; ".join(f"{place}: {what}" if place else str(what) for place, what in problems)
    elif not (message or detail):
        return None
    return {
        "message": message or detail,
        "type": said.get("type") or ("invalid_request_error" if problems else "upstream_error"),
        "param": said.get("param") or (problems[0][0] if problems else None) or None,
        "code": said.get("code"),
    }


def _place(problem: dict[str, Any]) -> str:
    """Where a field is, as OpenAI writes it: `["body", "messages", 0, "role"]` is `messages[0].role`."""
    path = problem.get("loc")
    steps = path[1:] if isinstance(path, list) and path[:1] == ["body"] else path or ()
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")
    return _FIELDS.get(place, place)


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        said = parse(content)
    except msgspec.DecodeError:
        return None
    return said if isinstance(said, dict) else None


def _objects(value: object) -> list[dict[str, Any]]:
    """The objects in a list; none in anything else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
