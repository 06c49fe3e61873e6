"""The turns of a chat as Gemini's contents: system texts apart, results under their function's name."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from batchway.core.errors import BadRequest
from batchway.providers.gemini.parts import Audio, File, Image, Part, Refusal, Text, encode_parts
from batchway.wire.body import Fields


class _Google(Struct):
    thought_signature: str | None = None


class ExtraContent(Struct):
    """Where Google's OpenAI-compatible front carries what OpenAI has no field for, and where we do too."""

    google: _Google | None = None

    @property
    def signature(self) -> str | None:
        """The opaque thought signature, which must come back with what it came with (providers.md §11)."""
        return self.google.thought_signature if self.google else None


class CalledFunction(Struct, forbid_unknown_fields=True):
    """A function's name, and its arguments as JSON text."""

    name: str
    arguments: str


class ToolCall(Struct, forbid_unknown_fields=True, kw_only=True):
    """One call that the assistant made."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction
    index: int | None = None
    """Of a delta: clients that add up a stream may leave it in."""
    extra_content: ExtraContent | None = None


class _Message(Struct, forbid_unknown_fields=True, kw_only=True, tag_field="role"):
    name: str | None = None


class System(_Message, kw_only=True, tag="system"):
    """Instructions."""

    content: str | list[Text]


class Developer(System, kw_only=True, tag="developer"):
    """Instructions, as newer models call them."""


class User(_Message, kw_only=True, tag="user"):
    """What is asked."""

    content: str | list[Text | Image | Audio | File]


class Assistant(_Message, kw_only=True, tag="assistant"):
    """What was answered: as our answers have it, with all that OpenAI's SDK adds when it is sent back."""

    content: str | list[Text | Refusal] | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    images: list[Image] | None = None
    extra_content: ExtraContent | None = None
    reasoning_content: object = None
    """Summaries of thoughts: for people. The model gets its own back by the signature."""
    annotations: object = None
    audio: None = None
    function_call: None = None


class ToolResult(_Message, kw_only=True, tag="tool"):
    """What a called function gave."""

    content: str | list[Text]
    tool_call_id: str


Message = System | Developer | User | Assistant | ToolResult

_object = msgspec.json.Decoder(Fields)


class Turns(Struct, frozen=True):
    """A chat in Gemini's words."""

    system: list[Part]
    contents: list[dict[str, Any]]


def encode_turns(messages: Sequence[Message]) -> Turns:
    """Translate the messages. Raises BadRequest that names the field."""
    turns = Turns([], [])
    names: dict[str, str] = {}
    results: list[Part] | None = None
    for place, message in enumerate(messages):
        where = f"messages[{place}]"
        if isinstance(message, ToolResult):
            # All results of one turn belong into one content: Gemini counts them against the calls before.
            if results is None:
                results = []
                turns.contents.append({"role": "user", "parts": results})
            results.append(_result(message, names, where))
            continue
        results = None
        _refuse_name(message, where)
        if isinstance(message, System):
            turns.system.extend(encode_parts(message.content, f"{where}.content"))
        elif isinstance(message, User):
            turns.contents.append({"role": "user", "parts": encode_parts(message.content, f"{where}.content")})
        elif parts := _said(message, names, where):
            turns.contents.append({"role": "model", "parts": parts})
    if not turns.contents:
        raise BadRequest("messages: Gemini needs a message beside the instructions; add a user's.", param="messages")
    return turns


def _refuse_name(message: _Message, where: str) -> None:
    if message.name is not None:
        param = f"{where}.name"
        raise BadRequest(f"{param}: Gemini has no names of speakers; leave it out.", param=param)


def _said(message: Assistant, names: dict[str, str], where: str) -> list[Part]:
    """The parts of an assistant's turn; none if it said nothing."""
    parts = encode_parts(message.content or None, f"{where}.content")
    parts += encode_parts(message.refusal or None, f"{where}.refusal")
    if message.extra_content and (signature := message.extra_content.signature):
        if not parts:
            parts.append({"text": ""})
        parts[-1]["thoughtSignature"] = signature
    parts += encode_parts(message.images, f"{where}.images")
    for place, call in enumerate(message.tool_calls or ()):
        names[call.id] = call.function.name
        parts.append(_called(call, f"{where}.tool_calls[{place}]"))
    return parts


def _called(call: ToolCall, where: str) -> Part:
    arguments = _read_object(call.function.arguments or "{}")
    if arguments is None:
        param = f"{where}.function.arguments"
        raise BadRequest(f"{param}: not a JSON object, which Gemini needs.", param=param)
    part: Part = {"functionCall": {"id": call.id, "name": call.function.name, "args": arguments}}
    if call.extra_content and (signature := call.extra_content.signature):
        part["thoughtSignature"] = signature
    return part


def _result(message: ToolResult, names: dict[str, str], where: str) -> Part:
    name = names.get(message.tool_call_id, message.name)
    if name is None:
        param = f"{where}.tool_call_id"
        raise BadRequest(
            f"{param}: no call '{message.tool_call_id}' comes before it, and Gemini needs the function's name.",
            param=param,
        )
    content = message.content
    text = content if isinstance(content, str) else "".join(part.text for part in content)
    # What is an object is the result; anything else is put into the field that Gemini reads it from.
    given = _read_object(text)
    response = given if given is not None else {"output": text}
    return {"functionResponse": {"id": message.tool_call_id, "name": name, "response": response}}


def _read_object(text: str) -> Raw | None:
    """A JSON object as the very bytes it was; None for anything else."""
    content = text.encode()
    try:
        _object.decode(content)
    except msgspec.DecodeError:
        return None
    return Raw(content)
