"""OpenAI requests as Mistral takes them: other names for a few fields, and none that it does not know.

Mistral refuses every field that it does not know (422, `extra_forbidden`). So each field of OpenAI's that is not
Mistral's too has its row here: it is renamed, rewritten, left out where it says nothing, or refused by name. What
OpenAI does not know either passes: it is Mistral's own (`safe_prompt`, `guardrails`, …), or Mistral's to refuse.
Shapes: SDK mistralai 3.7 (providers.md §0); the rule of tool call ids: its error in editor-code-assistant/eca#233.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Raw, convert

from batchway.core.errors import BadRequest
from batchway.wire import body
from batchway.wire.body import Fields, given

_RENAMED = {"max_completion_tokens": "max_tokens", "seed": "random_seed"}

_SILENT = frozenset({"prompt_cache_options", "prompt_cache_retention", "safety_identifier", "stream_options", "user"})
"""What the answer's words do not depend on: who asks, how OpenAI is to cache, and the usage of a stream, which Mistral
always reports."""

_DEFAULTS: Mapping[str, tuple[object, ...]] = {
    "audio": (),
    "function_call": (),
    "functions": ([],),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "moderation": (),
    "service_tier": ("auto",),
    "store": (False,),
    "tools": ([],),
    "verbosity": ("medium",),
    "web_search_options": (),
}
"""The values that ask for nothing beyond what Mistral does anyway."""


def chat(content: bytes) -> bytes:
    """A chat request for Mistral. Raises BadRequest, naming the field, for what it cannot be asked."""
    fields = _told(content)
    for theirs, ours in _RENAMED.items():
        if theirs in fields:
            fields[ours] = fields.pop(theirs)
    for name, rewrite in _REWRITTEN.items():
        if name in fields:
            fields[name] = _rewritten(name, fields[name], rewrite)
    return body.join(fields)


def _rewritten(name: str, value: Raw, rewrite: Callable[[object], object]) -> Raw:
    try:
        return body.raw(rewrite(msgspec.json.decode(value)))
    except msgspec.DecodeError as error:
        raise BadRequest(f"{name}: {error}.", param=name, code="invalid_type") from error


def embeddings(content: bytes) -> bytes:
    """An embeddings request for Mistral. Raises BadRequest for token ids: it embeds texts only."""
    fields = _told(content)
    if "dimensions" in fields:
        fields["output_dimension"] = fields.pop("dimensions")
    try:
        _texts.decode(fields["input"])
    except msgspec.ValidationError as error:
        raise BadRequest("input: Mistral embeds texts, not token ids; send a text or a list.", param="input") from error
    return body.join(fields)


_texts = msgspec.json.Decoder(str | list[str])


def _told(content: bytes) -> Fields:
    """The fields that say something: without nulls, silent ones and defaults."""
    fields = {
        name: value for name, value in body.fields(content).items() if given(value) is not None and name not in _SILENT
    }
    for name, defaults in _DEFAULTS.items():
        if name in fields and _is_one_of(fields[name], defaults):
            del fields[name]
        elif name in fields and name not in _REWRITTEN:
            raise _inexpressible(name)
    return fields


def _is_one_of(value: Raw, defaults: tuple[object, ...]) -> bool:
    try:
        return msgspec.json.decode(value) in defaults
    except msgspec.DecodeError:  # A number past all floats: no default is one.
        return False


def _inexpressible(param: str, instead: str = "leave it out, or choose another provider") -> BadRequest:
    return BadRequest(f"{param}: Mistral has nothing like it; {instead}.", param=param)


# Messages


_Object = dict[str, Any]
_Objects = list[_Object]


def _messages(given_messages: object) -> _Objects:
    messages = convert(given_messages, _Objects)
    return [_message(message, f"messages[{position}]") for position, message in enumerate(messages)]


_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
_ECHOES = frozenset({"annotations", "content_chunks", "reasoning_content", "refusal"})
"""What an answer carries beside its content, and an assistant's message may bring back."""
_OPENAIS = ("audio", "function_call", "name")


def _message(message: _Object, where: str) -> _Object:
    """One message: null fields say nothing, and what only OpenAI knows is refused."""
    role = _ROLES.get(message["role"])
    if role is None:
        raise _inexpressible(f"{where}.role", f"use one of {', '.join(_ROLES)}")
    said = {name: value for name, value in message.items() if value is not None and name not in _ECHOES}
    for name in _OPENAIS:
        if name in said and (name, role) != ("name", "tool"):
            raise _inexpressible(f"{where}.{name}")
    said["role"] = role
    content = _content(message, where)
    if content is not None:
        said["content"] = content
    if "tool_call_id" in said:
        said["tool_call_id"] = _call_id(said["tool_call_id"])
    if "tool_calls" in said:
        calls = convert(said["tool_calls"], _Objects)
        said["tool_calls"] = [_tool_call(call, f"{where}.tool_calls[{at}]") for at, call in enumerate(calls)]
    return said


def _content(message: _Object, where: str) -> str | _Objects | None:
    """Text as it is, parts as Mistral's chunks; the thoughts that came with an answer go back in front of it."""
    content = message.get("content") or message.get("refusal") or message.get("content")
    if isinstance(content, list):
        content = [_chunk(part, f"{where}.content[{position}]") for position, part in enumerate(content)]
    thoughts = message.get("reasoning_content")
    if not thoughts:
        return content
    thinking = {"type": "thinking", "thinking": [_text(thoughts)]}
    return [thinking, *([_text(content)] if isinstance(content, str) else content or ())]


def _text(text: str) -> _Object:
    return {"type": "text", "text": text}


_HINTS = frozenset({"cache_control", "prompt_cache_breakpoint"})
"""Where a prompt may be cached: Mistral decides that by itself."""


def _chunk(part: _Object, where: str) -> _Object:
    """A part of a message as a chunk. Kinds that OpenAI does not know pass."""
    rewrite = _CHUNKS.get(part["type"])
    if rewrite is not None:
        return rewrite(part, where)
    return {name: value for name, value in part.items() if value is not None and name not in _HINTS}


def _refusal(part: _Object, _where: str) -> _Object:
    return _text(part.get("refusal") or "")


def _sound(part: _Object, where: str) -> _Object:
    """Mistral takes the base64 alone; OpenAI wraps it with the format, which the data show by themselves."""
    sound = part.get("input_audio")
    data = sound.get("data") if isinstance(sound, dict) else sound
    if not isinstance(data, str):
        raise BadRequest(f"{where}.input_audio.data: give the sound as base64.", param=f"{where}.input_audio.data")
    return {"type": "input_audio", "input_audio": data}


def _file(part: _Object, where: str) -> _Object:
    """A file by its id (at Mistral), or a document by its data URL. Mistral's own shape passes."""
    if "file_id" in part:
        return part
    file = part.get("file")
    if isinstance(file, dict) and file.get("file_id"):
        return {"type": "file", "file_id": file["file_id"]}
    if isinstance(file, dict) and file.get("file_data"):
        name = {"document_name": file["filename"]} if file.get("filename") else {}
        return {"type": "document_url", "document_url": file["file_data"], **name}
    raise BadRequest(f"{where}.file: give its file_id or its file_data.", param=f"{where}.file")


_CHUNKS: Mapping[str, Callable[[_Object, str], _Object]] = {
    "file": _file,
    "input_audio": _sound,
    "refusal": _refusal,
}

# Tools

_CALL_ID = re.compile(r"[a-zA-Z0-9]{9}")


def _call_id(its_id: object) -> str:
    """Mistral takes no other ids than nine letters and digits; those of other providers are hashed to such."""
    known = convert(its_id, str)
    if _CALL_ID.fullmatch(known):
        return known
    return hashlib.blake2b(known.encode(), digest_size=8).hexdigest()[:9]


def _tool_call(call: _Object, where: str) -> _Object:
    if call.get("type", "function") != "function":
        raise _inexpressible(f"{where}.type", "only functions can be called")
    return call | {"id": _call_id(call["id"])} if "id" in call else call


def _tools(given_tools: object) -> _Objects:
    return [_tool(tool, f"tools[{position}]") for position, tool in enumerate(convert(given_tools, _Objects))]


def _tool(tool: _Object, where: str) -> _Object:
    """A function says its parameters, if only that there are none. Kinds that OpenAI does not know pass."""
    if tool.get("type") == "custom":
        raise _inexpressible(f"{where}.type", "describe it as a function")
    function = tool.get("function")
    if not isinstance(function, dict):
        return tool
    told = {name: value for name, value in function.items() if value is not None}
    return tool | {"function": {"parameters": {"type": "object", "properties": {}}} | told}


def _tool_choice(given_choice: object) -> str | _Object:
    choice: str | _Object = convert(given_choice, str | _Object)
    if isinstance(choice, dict) and choice.get("type", "function") != "function":
        raise _inexpressible("tool_choice", "use auto, none, required or one function")
    return "any" if choice == "required" else choice


def _prediction(given_prediction: object) -> _Object:
    """The predicted content as one text: Mistral takes no parts."""
    prediction = convert(given_prediction, _Object)
    content = prediction.get("content")
    if isinstance(content, list):
        content = "".join(part["text"] for part in convert(content, list[dict[str, str]]) if "text" in part)
    return prediction | {"content": content}


_TIERS = {"default": "standard_only", "standard_only": "standard_only"}


def _service_tier(tier: object) -> str:
    served = _TIERS.get(convert(tier, str))
    if served is None:
        raise _inexpressible("service_tier", "use auto or default")
    return served


_REWRITTEN: Mapping[str, Callable[[object], object]] = {
    "messages": _messages,
    "prediction": _prediction,
    "service_tier": _service_tier,
    "tool_choice": _tool_choice,
    "tools": _tools,
}
