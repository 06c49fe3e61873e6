"""OpenAI responses: reading a request and an answer, following its named stream events and replaying them."""

from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from batchway.core.errors import BadRequest
from batchway.core.types import Answer, Prompt, Usage
from batchway.wire import sse
from batchway.wire.hints import HintFields, from_body, refusal
from batchway.wire.reading import Reading


class _Part(Struct):
    type: str = ""
    text: str | None = None


class _Item(Struct):
    type: str = "message"
    role: str | None = None
    content: str | list[_Part] | None = None
    arguments: str | None = None
    output: Raw | UnsetType = UNSET


class _ResponsesBody(HintFields):
    model: str | None = None
    input: str | list[_Item] | None = None
    instructions: str | None = None
    prompt: Raw | UnsetType = UNSET
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    store: bool | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    conversation: Raw | UnsetType = UNSET
    user: str | None = None
    safety_identifier: str | None = None
    tools: Raw | UnsetType = UNSET
    text: Raw | UnsetType = UNSET


_body = msgspec.json.Decoder(_ResponsesBody)
_NULL = b"null"


def read(body: bytes) -> Reading:
    """Read a request. Raises BadRequest that names the field."""
    try:
        asked = _body.decode(body)
    except msgspec.DecodeError as error:
        raise refusal(error) from error
    if not asked.input and not _given(asked.prompt) and not asked.previous_response_id:
        raise BadRequest("input: give a text or a list of items.", param="input", code="missing_required_parameter")
    hints, ours = from_body(asked)
    texts, features = _texts(asked)
    prompt = Prompt(
        model=asked.model or "",
        texts=tuple(texts),
        system=asked.instructions or "",
        stream=asked.stream is True,
        temperature=asked.temperature,
        top_p=asked.top_p,
        max_output=asked.max_output_tokens,
        features=tuple(sorted(features)),
    )
    return Reading(prompt=prompt, hints=hints, ours=ours, user=asked.safety_identifier or asked.user, include_usage=True)


def _given(value: Raw | UnsetType) -> bool:
    return value is not UNSET and bytes(value) != _NULL


def _texts(asked: _ResponsesBody) -> tuple[list[str], set[str]]:
    texts = [asked.instructions] if asked.instructions else []
    features: set[str] = set()
    if isinstance(asked.input, str):
        texts.append(asked.input)
    for item in asked.input if isinstance(asked.input, list) else ():
        texts += _item_texts(item, features)
    for name, value in (("tools", asked.tools), ("response_format", asked.text)):
        if _given(value):
            features.add(name)
            texts.append(bytes(value).decode())
    # A response is stored at the provider unless the caller says `store: false`.
    if asked.store is not False or asked.background or asked.previous_response_id or _given(asked.conversation):
        features.add("stateful")
    return texts, features


def _item_texts(item: _Item, features: set[str]) -> list[str]:
    texts = [item.content] if isinstance(item.content, str) else []
    for part in item.content if isinstance(item.content, list) else ():
        if part.text is not None:
            texts.append(part.text)
        elif part.type in ("input_image", "input_file"):
            features.add("images")
        elif part.type == "input_audio":
            features.add("audio")
    if item.arguments is not None:
        features.add("tools")
        texts.append(item.arguments)
    if _given(item.output):
        texts.append(bytes(item.output).decode())
    return texts


class _InputDetails(Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(Struct):
    reasoning_tokens: int | None = None


class _ResponseUsage(Struct):
    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


class _Response(Struct):
    output: list[Raw]
    status: str | None = None
    usage: _ResponseUsage | None = None
    service_tier: str | None = None


_response = msgspec.json.Decoder(_Response)


def answer(body: bytes, now: float) -> Answer:
    """Read a response object. Raises msgspec.DecodeError when it is not one."""
    response = _response.decode(body)
    return Answer(
        body=body,
        usage=_usage(response.usage, response.service_tier) if response.usage else None,
        complete=response.status == "completed",
        finished_at=now,
    )


def _usage(usage: _ResponseUsage, tier: str | None) -> Usage:
    read, written = usage.input_tokens_details, usage.output_tokens_details
    return Usage(
        input=usage.input_tokens,
        output=usage.output_tokens,
        cached=(read.cached_tokens or 0) if read else 0,
        cache_written=(read.cache_write_tokens or 0) if read else 0,
        reasoning=(written.reasoning_tokens or 0) if written else 0,
        tier=tier,
    )


class _Event(Struct):
    type: str = ""
    response: Raw | UnsetType = UNSET


_event = msgspec.json.Decoder(_Event)
ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
"""Events that end a stream; each holds the whole response object."""


class StreamReader:
    """Follows the events of one response. The last one holds the whole object, so nothing needs to be folded."""

    def __init__(self, *, fold: bool) -> None:
        self._last: bytes | None = None
        self.done = False
        self.error: bytes | None = None

    def read(self, data: bytes, event: str | None = None) -> bool:
        """Take the data of one frame. Never only usage: that is part of the last event."""
        if data == b"[DONE]":
            return False
        known = _event.decode(data)
        if known.type == "error":
            self.error = data
        elif known.type in ENDS and _given(known.response):
            self._last = bytes(known.response)
            self.done = True
        return False

    @property
    def whole(self) -> bool:
        """The event that ends a response has come."""
        return self._last is not None

    @property
    def usage(self) -> Usage | None:
        """What the response cost, once its last event has come."""
        return answer(self._last, 0.0).usage if self._last is not None else None

    def answer(self, now: float) -> Answer:
        """The response object of the last event."""
        if self._last is None:
            return Answer(body=b"", complete=False, finished_at=now)
        return answer(self._last, now)


_anything = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode


def unfold(body: bytes) -> list[tuple[bytes, bool]]:
    """The frames of a stream that ends in this response object."""
    whole = _anything.decode(body)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    events: list[dict[str, Any]] = [{"type": f"response.{name}", "response": begun} for name in ("created", "in_progress")]
    for index, item in enumerate(whole["output"]):
        events += _item_events(index, item)
    events.append({"type": f"response.{whole.get('status') or 'completed'}", "response": whole})
    return [
        (sse.frame(_encode({**event, "sequence_number": number}), event["type"]), False)
        for number, event in enumerate(events)
    ]


def _item_events(index: int, item: dict[str, Any]) -> list[dict[str, Any]]:
    """An item comes empty, grows by its parts, and is given whole at its end."""
    at = {"output_index": index}
    named = {**at, "item_id": item.get("id")}
    empty = {**item, "status": "in_progress", "content": []} if "content" in item else {**item, "status": "in_progress"}
    events: list[dict[str, Any]] = [{"type": "response.output_item.added", **at, "item": empty}]
    for number, part in enumerate(item.get("content") or ()):
        here = {**named, "content_index": number}
        events.append({"type": "response.content_part.added", **here, "part": {**part, **({"text": ""} if "text" in part else {})}})
        if part.get("type") == "output_text":
            events.append({"type": "response.output_text.delta", **here, "delta": part["text"], "logprobs": []})
            events.append({"type": "response.output_text.done", **here, "text": part["text"], "logprobs": []})
        events.append({"type": "response.content_part.done", **here, "part": part})
    if item.get("type") == "function_call":
        events.append({"type": "response.function_call_arguments.delta", **named, "delta": item.get("arguments", "")})
        events.append({"type": "response.function_call_arguments.done", **named, "arguments": item.get("arguments", "")})
    return [*events, {"type": "response.output_item.done", **at, "item": item}]
