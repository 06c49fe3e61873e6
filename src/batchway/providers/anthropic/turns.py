"""The messages of a chat as a system prompt and alternating turns (providers.md §10.1)."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from batchway.core.errors import BadRequest
from batchway.providers.anthropic import blocks
from batchway.providers.anthropic.blocks import Block, Content, as_text, in_blocks
from batchway.providers.anthropic.reading import SHOWN, missing, read, unsupported
from batchway.wire.body import Fields, given

SYSTEM = frozenset({"system", "developer"})
BREAK = "\n\n"
"""Between system messages that become one prompt."""


class _Function(Struct):
    name: str
    arguments: str = ""


class _Call(Struct):
    id: str
    function: _Function


class Message(Struct, forbid_unknown_fields=True):
    """One message of a chat. `reasoning_content`, `annotations` and `parsed` are what answers carry and callers hand
    back: Anthropic wants thinking only as the signed `thinking_blocks`, and the others say nothing."""

    role: str
    content: str | list[Fields] | None = None
    name: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    is_error: bool | None = None
    thinking_blocks: list[Fields] | None = None
    cache_control: Raw | UnsetType = UNSET
    refusal: str | None = None
    audio: Raw | UnsetType = UNSET
    function_call: Raw | UnsetType = UNSET
    reasoning_content: Raw | UnsetType = UNSET
    annotations: Raw | UnsetType = UNSET
    parsed: Raw | UnsetType = UNSET


Turn = dict[str, Any]
"""`role` and `content`."""

_arguments = msgspec.json.Decoder(Fields)


def translate(messages: list[Message]) -> tuple[Content, list[Turn]]:
    """The system prompt (empty where there is none), and the turns."""
    leading = next((at for at, message in enumerate(messages) if message.role not in SYSTEM), len(messages))
    spoken: list[tuple[str, list[Content]]] = []
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        _check(message, where)
        if index >= leading:
            role, content = _SPEAKERS[message.role](message, where)
            _add(spoken, role, content)
    if not spoken:
        raise BadRequest("messages: Anthropic needs a user message to answer.", param="messages")
    return _system(messages[:leading]), [{"role": role, "content": _together(said)} for role, said in spoken]


def thinks(turns: list[Turn]) -> bool:
    """Whether thinking may go on: Anthropic continues a turn of tool calls with thinking only if it gets the thinking
    that led to them, which callers who know OpenAI alone do not hand back."""
    asked = next((at for at in reversed(range(len(turns))) if _is_question(turns[at])), -1)
    called = [turn for turn in turns[asked + 1 :] if _has(turn, "tool_use")]
    return not called or any(_has(turn, "thinking") or _has(turn, "redacted_thinking") for turn in called)


def _is_question(turn: Turn) -> bool:
    return turn["role"] == "user" and not _has(turn, "tool_result")


def _has(turn: Turn, kind: str) -> bool:
    return isinstance(turn["content"], list) and any(block["type"] == kind for block in turn["content"])


def _check(message: Message, where: str) -> None:
    if message.role not in _SPEAKERS:
        allowed = ", ".join(_SPEAKERS)
        raise BadRequest(f"{where}.role: '{message.role[:SHOWN]}' is not one of {allowed}.", param=f"{where}.role")
    if message.name is not None and message.role != "tool":
        raise unsupported(f"{where}.name", "Anthropic has no names of speakers; say it in the content.")
    for name, value in (("audio", message.audio), ("function_call", message.function_call)):
        if given(value) is not None:
            raise unsupported(f"{where}.{name}", "Anthropic has no such thing; leave it out.")


def _system(messages: list[Message]) -> Content:
    """One text, or blocks where a caller wrote parts or marks: the cache needs them as they are."""
    said = [_content(message, f"messages[{index}]") for index, message in enumerate(messages)]
    for index, message in enumerate(messages):
        as_text(message.content, f"messages[{index}].content")
    if all(isinstance(content, str) for content in said):
        return BREAK.join(content for content in said if isinstance(content, str) and content)
    return [block for content in said for block in in_blocks(content)]


def _content(message: Message, where: str) -> Content:
    return _marked(blocks.translate(message.content, f"{where}.content"), message)


def _marked(content: Content, message: Message) -> Content:
    """A cache mark on a message is one on its last block."""
    mark = given(message.cache_control)
    if mark is None or not content:
        return content
    *before, last = in_blocks(content)
    return [*before, {**last, "cache_control": Raw(mark)}]


def _add(spoken: list[tuple[str, list[Content]]], role: str, content: Content) -> None:
    """Add to the turn of the same role before it, if there is one. What says nothing is left out."""
    if content and spoken and spoken[-1][0] == role:
        spoken[-1][1].append(content)
    elif content:
        spoken.append((role, [content]))


def _together(said: list[Content]) -> Content:
    """The contents of one turn. Results of tools come before all else that a user says."""
    if len(said) == 1:
        return said[0]
    return sorted((block for content in said for block in in_blocks(content)), key=_comes_later)


def _comes_later(block: Block) -> bool:
    return bool(block["type"] != "tool_result")


def _user(message: Message, where: str) -> tuple[str, Content]:
    return "user", _content(message, where)


def _assistant(message: Message, where: str) -> tuple[str, Content]:
    thought = [
        _thought(block, f"{where}.thinking_blocks[{index}]")
        for index, block in enumerate(message.thinking_blocks or ())
    ]
    called = [_use(call, f"{where}.tool_calls[{index}]") for index, call in enumerate(message.tool_calls or ())]
    said = _content(message, where) or message.refusal or ""
    return "assistant", [*thought, *in_blocks(said), *called] if thought or called else said


def _thought(block: Fields, where: str) -> Block:
    """As Anthropic signed it. Chunks of a stream number their blocks, since OpenAI's SDK merges them by `index`."""
    return blocks.own({name: value for name, value in block.items() if name != "index"}, where)


def _use(call: _Call, where: str) -> Block:
    arguments = call.function.arguments.encode()
    if arguments.strip():
        read(arguments, _arguments, f"{where}.function.arguments")
    return {"type": "tool_use", "id": call.id, "name": call.function.name, "input": Raw(arguments.strip() or b"{}")}


def _result(message: Message, where: str) -> tuple[str, Content]:
    if message.tool_call_id is None:
        raise missing(f"{where}.tool_call_id")
    content = blocks.translate(message.content, f"{where}.content")
    result: Block = {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": content}
    if message.is_error is not None:
        result["is_error"] = message.is_error
    return "user", _marked([result], message)


def _noted(message: Message, where: str) -> tuple[str, Content]:
    """A system message amid the turns: most models take none there (providers.md §10.1), so the user says it."""
    text = as_text(message.content, f"{where}.content")
    return "user", f"<system>\n{text}\n</system>" if text else ""


_SPEAKERS: Mapping[str, Callable[[Message, str], tuple[str, Content]]] = {
    "user": _user,
    "assistant": _assistant,
    "tool": _result,
    "system": _noted,
    "developer": _noted,
}
