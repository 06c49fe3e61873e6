"""OpenAI responses: reading a request and an answer, following its named stream events and replaying them."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from batchway.core.cost import credible
from batchway.core.errors import BadRequest
from batchway.core.types import Answer, Prompt, Usage
from batchway.wire import sse
from batchway.wire.body import given, parse
from batchway.wire.hints import HintFields, from_body, refusal
from batchway.wire.reading import Reading
from batchway.wire.sse import Frame


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
    top_logprobs: int | None = None
    tools: Raw | UnsetType = UNSET
    text: Raw | UnsetType = UNSET


_body = msgspec.json.Decoder(_ResponsesBody)
_SYSTEM = frozenset({"system", "developer"})
_MEDIA = {"input_image": "images", "input_file": "images", "input_audio": "audio"}


def read(body: bytes) -> Reading:
    """Read a request. Raises BadRequest that names the field."""
    try:
        asked = _body.decode(body)
    except msgspec.DecodeError as error:
        raise refusal(error, body) from error
    if not asked.input and not _has_other_input(asked):
        raise BadRequest("input: give a text or a list of items.", param="input", code="missing_required_parameter")
    hints, ours = from_body(asked)
    texts, system, features = _texts(asked)
    prompt = Prompt(
        model=asked.model or "",
        texts=tuple(texts),
        system="\n".join(system),
        stream=asked.stream is True,
        temperature=asked.temperature,
        top_p=asked.top_p,
        max_output=asked.max_output_tokens,
        features=tuple(sorted(features)),
    )
    user = asked.safety_identifier or asked.user
    continues = asked.previous_response_id
    return Reading(prompt=prompt, hints=hints, ours=ours, user=user, continues=continues, include_usage=True)


def _has_other_input(asked: _ResponsesBody) -> bool:
    """The model reads a template, or what was said before: there may be nothing to add."""
    return bool(given(asked.prompt) or asked.previous_response_id or given(asked.conversation))


def _texts(asked: _ResponsesBody) -> tuple[list[str], list[str], set[str]]:
    """All texts in order, those of the system, and what rules lanes out."""
    texts = [asked.instructions] if asked.instructions else []
    system = list(texts)
    features: set[str] = set()
    if isinstance(asked.input, str):
        texts.append(asked.input)
    for item in asked.input if isinstance(asked.input, list) else ():
        said = _item_texts(item, features)
        texts += said
        if item.role in _SYSTEM:
            system += said
    for name, value in (("tools", asked.tools), ("response_format", asked.text)):
        if (wanted := given(value)) is not None:
            features.add(name)
            texts.append(wanted.decode())
    if asked.top_logprobs:
        features.add("logprobs")
    # A response is stored at the provider unless the caller says `store: false`.
    if asked.store is not False or asked.background or asked.previous_response_id or given(asked.conversation):
        features.add("stateful")
    return texts, system, features


def _item_texts(item: _Item, features: set[str]) -> list[str]:
    parts = item.content if isinstance(item.content, list) else []
    texts = [item.content] if isinstance(item.content, str) else [part.text for part in parts if part.text is not None]
    features.update(_MEDIA[part.type] for part in parts if part.type in _MEDIA)
    if item.arguments is not None:
        features.add("tools")
        texts.append(item.arguments)
    if (output := given(item.output)) is not None:
        texts.append(output.decode())
    return texts


class _InputDetails(Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(Struct):
    reasoning_tokens: int | None = None


class _ResponseUsage(Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
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


def _usage(usage: _ResponseUsage, tier: str | None) -> Usage | None:
    read, written = usage.input_tokens_details, usage.output_tokens_details
    return credible(
        Usage(
            input=usage.input_tokens or 0,
            output=usage.output_tokens or 0,
            cached=(read.cached_tokens or 0) if read else 0,
            cache_written=(read.cache_write_tokens or 0) if read else 0,
            reasoning=(written.reasoning_tokens or 0) if written else 0,
            tier=tier,
        )
    )


class _Event(Struct):
    type: str = ""
    response: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET


_event = msgspec.json.Decoder(_Event)
ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
"""Events that end a stream; each holds the whole response object."""


class StreamReader:
    """Follows the events of one response. The last one holds the whole object, so nothing needs to be folded."""

    def __init__(self) -> None:
        self._last: Answer | None = None
        self.done = False
        self.error: bytes | None = None

    def read(self, frame: bytes, data: bytes) -> Sequence[Frame]:
        """Take one frame, whose data this is. The caller gets it as it is; usage is part of the last event.

        Raises msgspec.DecodeError when it is not an event, or ends without a response object.
        """
        if data == b"[DONE]":
            return ()
        event = _event.decode(data)
        if event.type == "error":
            self.error = given(event.error) or data
            return ()
        if event.type in ENDS and (whole := given(event.response)) is not None:
            self._last = answer(whole, 0.0)
            self.done = True
        return ((frame, False),)

    @property
    def whole(self) -> bool:
        """The event that ends a response has come."""
        return self._last is not None

    @property
    def usage(self) -> Usage | None:
        """What the response cost, once its last event has come."""
        return self._last.usage if self._last is not None else None

    def answer(self, now: float) -> Answer:
        """The response object of the last event."""
        if self._last is None:
            return Answer(body=b"", complete=False, finished_at=now)
        return msgspec.structs.replace(self._last, finished_at=now)


_encode = msgspec.json.Encoder().encode


def unfold(body: bytes) -> list[Frame]:
    """The frames of a stream that ends in this response object."""
    whole = parse(body)
    begun = {name: _AT_FIRST.get(name, value) for name, value in whole.items()}
    events: list[dict[str, Any]] = [
        {"type": f"response.{name}", "response": begun} for name in ("created", "in_progress")
    ]
    for index, item in enumerate(whole["output"]):
        events += _item_events(index, item)
    events.append({"type": f"response.{whole.get('status') or 'completed'}", "response": whole})
    return [
        (sse.frame(_encode({**event, "sequence_number": number}), event["type"]), False)
        for number, event in enumerate(events)
    ]


_AT_FIRST: dict[str, Any] = {
    "status": "in_progress",
    "output": [],
    "usage": None,
    "completed_at": None,
    "incomplete_details": None,
}
"""What a response object does not say yet when its stream begins."""

_PARTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "output_text": ("text", "response.output_text", {"logprobs": []}),
    "reasoning_text": ("text", "response.reasoning_text", {}),
    "refusal": ("refusal", "response.refusal", {}),
}
"""By type of part: the field that its text grows in, the events that grow it, and what these hold besides."""


def _item_events(index: int, item: dict[str, Any]) -> list[dict[str, Any]]:
    """An item comes empty, grows by its parts, and is given whole at its end."""
    at = {"output_index": index}
    here = {**at, "item_id": item.get("id", "")}
    empty = {"status": "in_progress", "content": [], "arguments": ""}
    added = {**item, **{name: value for name, value in empty.items() if name in item}}
    events: list[dict[str, Any]] = [{"type": "response.output_item.added", **at, "item": added}]
    for number, part in enumerate(item.get("content") or ()):
        events += _part_events({**here, "content_index": number}, part)
    if item.get("type") == "function_call":
        name, arguments = item.get("name"), item.get("arguments", "")
        events.append({"type": "response.function_call_arguments.delta", **here, "delta": arguments})
        done = {"type": "response.function_call_arguments.done", **here, "name": name, "arguments": arguments}
        events.append(done)
    return [*events, {"type": "response.output_item.done", **at, "item": item}]


def _part_events(here: dict[str, Any], part: dict[str, Any]) -> list[dict[str, Any]]:
    field, event, more = _PARTS.get(part.get("type", ""), ("", "", {}))
    added = {**part, field: ""} if field else part
    growing = [
        {"type": f"{event}.delta", **here, "delta": part.get(field, ""), **more},
        {"type": f"{event}.done", **here, field: part.get(field, ""), **more},
    ]
    return [
        {"type": "response.content_part.added", **here, "part": added},
        *(growing if field else ()),
        {"type": "response.content_part.done", **here, "part": part},
    ]
