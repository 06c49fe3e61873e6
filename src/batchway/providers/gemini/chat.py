"""A chat request as the body of generateContent: pure, and the same bytes for the same question."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from batchway.core.errors import BadRequest
from batchway.providers.gemini.fields import CONFIG, OWN, OWN_CONFIG, asked_of_chat
from batchway.providers.gemini.tools import Choice, Tool, choose, declare
from batchway.providers.gemini.turns import Message, encode_turns
from batchway.wire.body import Fields
from batchway.wire.hints import refusal

LEVELS: Final[Mapping[str, str]] = {level: level.upper() for level in ("minimal", "low", "medium", "high", "xhigh")}
"""`reasoning_effort` -> `thinkingLevel`: models from Gemini 3 on, which cannot leave thinking off."""

BUDGETS: Final[Mapping[str, int]] = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
"""`reasoning_effort` -> `thinkingBudget` in tokens, as Google's own OpenAI-compatible front has it (Gemini 2.5)."""

BUDGETED: Final = ("gemini-2.5",)
"""How models begin that take a budget."""

TIERS: Final[Mapping[str, str | None]] = {
    "auto": None,
    "default": None,
    "flex": "flex",
    "priority": "priority",
    "fast": "priority",
}
"""OpenAI's service tiers -> Gemini's (providers.md §15). None: what it gives unasked."""


class _Schema(Struct):
    schema: Raw


class _JsonSchema(Struct, tag_field="type", tag="json_schema"):
    json_schema: _Schema


class _JsonObject(Struct, tag_field="type", tag="json_object"):
    pass


class _PlainText(Struct, tag_field="type", tag="text"):
    pass


class _Chat(Struct):
    messages: list[Message]
    tools: list[Tool] | None = None
    tool_choice: Choice | None = None
    response_format: _PlainText | _JsonObject | _JsonSchema | None = None
    stop: str | list[str] | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    reasoning_effort: str | None = None
    service_tier: str | None = None


_chat = msgspec.json.Decoder(_Chat)
_encode = msgspec.json.Encoder().encode


def encode_chat(model: str, content: bytes) -> bytes:
    """The body that asks Gemini what this chat body asks. Raises BadRequest, naming what cannot be expressed.

    What many requests share comes first: prompts are cached by their beginning.
    """
    asked = asked_of_chat(content)
    try:
        chat = _chat.decode(content)
    except msgspec.DecodeError as error:
        raise refusal(error) from error
    turns = encode_turns(chat.messages)
    tools = chat.tools or []
    fields: dict[str, Any] = {
        "systemInstruction": {"parts": turns.system} if turns.system else None,
        "tools": declare(tools) if tools else None,
        "toolConfig": choose(chat.tool_choice, tools),
        "generationConfig": _config(model, chat, asked) or None,
        "serviceTier": _tier(chat.service_tier),
    }
    fields |= {own: asked.get(own) for own in OWN.values()}
    fields["contents"] = turns.contents
    return _encode({name: value for name, value in fields.items() if value is not None})


def _config(model: str, chat: _Chat, asked: Fields) -> dict[str, Any]:
    if "top_logprobs" in asked and "logprobs" not in asked:
        raise BadRequest("top_logprobs: set logprobs to true as well.", param="top_logprobs")
    config: dict[str, Any] = {name: asked[field] for field, name in CONFIG.items() if field in asked}
    limit = chat.max_completion_tokens or chat.max_tokens
    if limit is not None:
        config["maxOutputTokens"] = limit
    if chat.stop:
        config["stopSequences"] = [chat.stop] if isinstance(chat.stop, str) else chat.stop
    if isinstance(chat.response_format, _JsonObject | _JsonSchema):
        config["responseMimeType"] = "application/json"
    if isinstance(chat.response_format, _JsonSchema):
        config["responseJsonSchema"] = chat.response_format.json_schema.schema
    config |= {name: asked[name] for name in OWN_CONFIG.values() if name in asked}
    if chat.reasoning_effort is not None:
        config["thinkingConfig"] = think(model, chat.reasoning_effort) | _read_object(config.get("thinkingConfig"))
    return config


def _read_object(given: Raw | None) -> Fields:
    if given is None:
        return {}
    try:
        return msgspec.json.decode(given, type=Fields)
    except msgspec.DecodeError as error:
        raise BadRequest(f"thinking_config: not an object ({error}).", param="thinking_config") from error


def think(model: str, effort: str) -> dict[str, Any]:
    """`thinkingConfig` for an effort. Raises BadRequest for one that the model does not have."""
    budgeted = model.removeprefix("models/").startswith(BUDGETED)
    table: Mapping[str, object] = BUDGETS if budgeted else LEVELS
    if effort not in table:
        raise BadRequest(
            f"reasoning_effort: {model} has no '{effort}'; allowed: {', '.join(table)}.", param="reasoning_effort"
        )
    return {"thinkingBudget" if budgeted else "thinkingLevel": table[effort]}


def _tier(tier: str | None) -> str | None:
    if tier is None:
        return None
    if tier not in TIERS:
        raise BadRequest(f"service_tier: Gemini has no '{tier}'; allowed: {', '.join(TIERS)}.", param="service_tier")
    return TIERS[tier]
