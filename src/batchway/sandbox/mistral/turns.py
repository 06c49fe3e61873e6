"""The turns of a chat as Mistral takes them: every role and every chunk with its fields, and what is refused."""

import re
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from batchway.sandbox.contract import Refused


class _Chunk(Struct, tag_field="type", forbid_unknown_fields=True, omit_defaults=True):
    """A piece of content."""


class Text(_Chunk, tag="text"):
    """Words."""

    text: str


class Thinking(_Chunk, tag="thinking"):
    """Words thought, not said."""

    thinking: list[Text]
    signature: str | None = None
    closed: bool | None = None


class Image(_Chunk, tag="image_url"):
    """An image by its URL, or with how closely to look."""

    image_url: str | dict[str, Any]


class Document(_Chunk, tag="document_url"):
    """A document by its URL."""

    document_url: str
    document_name: str | None = None


class File(_Chunk, tag="file"):
    """A file that was uploaded."""

    file_id: str


class Audio(_Chunk, tag="input_audio"):
    """Sound as base64."""

    input_audio: str


class Reference(_Chunk, tag="reference"):
    """Where something was found."""

    reference_ids: list[int | str]


Content = str | list[Text | Thinking | Image | Document | File | Audio | Reference] | None


class ToolCall(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A call that the model has made."""

    function: dict[str, Any]
    id: str = "null"
    type: str | None = None
    index: int | None = None


class System(Struct, tag_field="role", tag="system", forbid_unknown_fields=True, omit_defaults=True):
    """What holds for the whole chat."""

    content: str | list[Text | Thinking]


class User(Struct, tag_field="role", tag="user", forbid_unknown_fields=True, omit_defaults=True):
    """What the user says."""

    content: Content


class Assistant(Struct, tag_field="role", tag="assistant", forbid_unknown_fields=True, omit_defaults=True):
    """What the model has said; `prefix`: and is to go on with."""

    content: Content = None
    tool_calls: list[ToolCall] | None = None
    prefix: bool = False


class Result(Struct, tag_field="role", tag="tool", forbid_unknown_fields=True, omit_defaults=True):
    """What a tool gave."""

    content: Content
    tool_call_id: str | None = None
    name: str | None = None


Turn = System | User | Assistant | Result

_CALL_ID = re.compile(r"[a-zA-Z0-9]{9}")


def texts(content: str | Sequence[object] | None) -> list[str]:
    """The words of a content, thoughts included."""
    if content is None or isinstance(content, str):
        return [content] if content else []
    found: list[str] = []
    for chunk in content:
        if isinstance(chunk, Text):
            found.append(chunk.text)
        elif isinstance(chunk, Thinking):
            found += [thought.text for thought in chunk.thinking]
    return found


def pictures(content: str | Sequence[object] | None) -> int:
    """How many chunks of a content are not words."""
    if content is None or isinstance(content, str):
        return 0
    return sum(not isinstance(chunk, Text | Thinking) for chunk in content)


def check(turns: Sequence[Turn]) -> None:
    """Refuse what Mistral refuses: empty assistants, ids of calls that are not its own, a last word of the model's."""
    for turn in turns:
        if isinstance(turn, Assistant):
            if not turn.content and not turn.tool_calls:
                raise Refused(400, "Assistant message must have either content or tool_calls, but not none.")
            for call in turn.tool_calls or ():
                _check_id(call.id)
        elif isinstance(turn, Result) and turn.tool_call_id is not None:
            _check_id(turn.tool_call_id)
    last = turns[-1]
    if not (isinstance(last, User | Result) or (isinstance(last, Assistant) and last.prefix)):
        role = str(last.__struct_config__.tag)
        message = f"Expected last role User or Tool (or Assistant with prefix True) for serving but got {role}"
        raise Refused(400, message, kind="invalid_request_message_order", code="3230")


def _check_id(call_id: str) -> None:
    if not _CALL_ID.fullmatch(call_id):
        message = f"Tool call id was {call_id} but must be a-z, A-Z, 0-9, with a length of 9."
        raise Refused(400, message, kind="invalid_function_call", code="3280")
