"""A chat request as the body of POST /v1/messages: each field translated, refused by name, or dropped at its default.

The same request gives the same message, field by field in the same order: prompt caches hang on it.
"""

import re
from typing import Any

import msgspec
from msgspec import Struct

from batchway.core.errors import BadRequest
from batchway.providers.anthropic import thinking, tools, turns
from batchway.providers.anthropic.fields import OWN, check, present
from batchway.providers.anthropic.reading import SHOWN, missing, read, unsupported
from batchway.wire import body
from batchway.wire.body import Fields
from batchway.wire.hints import refusal

OUTPUT = 4096
"""Output tokens that are allowed where the caller sets no bound: Anthropic wants one. Thinking comes on top."""

UNSAMPLED = "2026-10-21"
"""From this version of the API on, temperature, top_p and top_k are refused, whatever their value."""

SAMPLING_DEFAULTS = {"temperature": 1, "top_p": 1}

TIERS = {
    "auto": {"service_tier": "auto"},
    "default": {"service_tier": "standard_only"},
    "standard_only": {"service_tier": "standard_only"},
    "priority": {"service_tier": "auto"},
    "fast": {"speed": "fast"},
}
"""OpenAI's tiers (and Anthropic's own) as Anthropic is asked for them; its `auto` takes priority capacity if there is
any. There is no flex tier."""

_PERSONAL = re.compile(r"@|^\+?[0-9][0-9 ()./\-]{5,}$")
"""E-mail addresses and telephone numbers, which Anthropic does not want as a user's id."""


class _Schema(Struct):
    schema: Fields | None = None


class _Format(Struct):
    type: str
    json_schema: _Schema | None = None


class _Thinking(Struct):
    budget_tokens: int = 0


class _Metadata(Struct):
    user_id: str | None = None


class Asked(Struct, kw_only=True):
    """The fields of a chat request that are translated."""

    model: str
    messages: list[turns.Message]
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: str | list[str] | None = None
    tools: list[Fields] | None = None
    tool_choice: str | Fields | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Format | None = None
    reasoning_effort: str | None = None
    service_tier: str | None = None
    thinking: Fields | None = None
    output_config: Fields | None = None
    speed: str | None = None
    user: str | None = None
    safety_identifier: str | None = None


TRANSLATED = frozenset(Asked.__struct_fields__)

_asked = msgspec.json.Decoder(Asked)
_thought = msgspec.json.Decoder(_Thinking)
_metadata = msgspec.json.Decoder(_Metadata)


def translate(content: bytes, *, stream: bool, version: str) -> dict[str, Any]:
    """The message to create. Raises BadRequest that names the field which cannot be expressed."""
    try:
        asked = _asked.decode(content)
        fields = present(body.fields(content))
        check(fields, TRANSLATED)
    except msgspec.DecodeError as error:
        raise refusal(error) from error
    system, said = turns.translate(asked.messages)
    message: dict[str, Any] = {"model": asked.model, "max_tokens": _max_tokens(asked, fields)}
    message |= {"stream": True} if stream else {}
    message |= _sampling(fields, asked, version)
    message |= _stops(asked.stop)
    message |= _tier(asked)
    message |= _user(asked, fields)
    message |= _thinking(asked, message["max_tokens"], said)
    message |= {name: fields[name] for name in OWN if name in fields}
    message |= _tools(asked)
    message |= {"system": system} if system else {}
    return message | {"messages": said}


def _max_tokens(asked: Asked, fields: Fields) -> int:
    for bound in (asked.max_completion_tokens, asked.max_tokens):
        if bound is not None:
            return bound
    if "thinking" in fields:
        return OUTPUT + read(fields["thinking"], _thought, "thinking").budget_tokens
    return OUTPUT + thinking.budget(asked.reasoning_effort)


def _sampling(fields: Fields, asked: Asked, version: str) -> Fields:
    """What is given and not the default; newer models refuse even that, so it is never sent."""
    kept: Fields = {}
    for name in ("temperature", "top_p", "top_k"):
        value = getattr(asked, name)
        if value is None or value == SAMPLING_DEFAULTS.get(name):
            continue
        if version >= UNSAMPLED:
            raise unsupported(
                name,
                f"version {version} of Anthropic's API takes none. Leave it out, or set the provider's version to "
                "2023-06-01, by which models up to Claude 4.6 take it.",
            )
        kept[name] = fields[name]
    if asked.temperature is not None and asked.temperature > 1:
        raise unsupported("temperature", f"{asked.temperature:g}; Anthropic takes 0 to 1.")
    return kept


def _stops(stop: str | list[str] | None) -> dict[str, Any]:
    if not stop:
        return {}
    return {"stop_sequences": [stop] if isinstance(stop, str) else stop}


def _tier(asked: Asked) -> dict[str, Any]:
    speed = {} if asked.speed is None else {"speed": asked.speed}
    if asked.service_tier is None:
        return speed
    if asked.service_tier not in TIERS:
        shown = asked.service_tier[:SHOWN]
        raise unsupported("service_tier", f"Anthropic has no tier '{shown}'; it has {', '.join(TIERS)}.")
    return {**TIERS[asked.service_tier], **speed}


def _user(asked: Asked, fields: Fields) -> dict[str, Any]:
    """Who asks. `metadata.user_id` is Anthropic's own place for it; what else is in `metadata` stays with us."""
    user = asked.safety_identifier or asked.user
    if user is None and "metadata" in fields:
        user = read(fields["metadata"], _metadata, "metadata").user_id
    return {"metadata": {"user_id": user}} if user and not _PERSONAL.search(user) else {}


def _thinking(asked: Asked, max_tokens: int, said: list[turns.Turn]) -> dict[str, Any]:
    """`thinking` and `output_config`: those of the caller, and in them what OpenAI's fields ask for."""
    asks: dict[str, Any] = {}
    output: dict[str, Any] = dict(asked.output_config or {})
    if asked.reasoning_effort is not None:
        asks, level = thinking.think(asked.reasoning_effort, asked.model, max_tokens)
        if asks["type"] == "enabled" and not turns.thinks(said):
            asks = {}
        output |= {"effort": level} if level else {}
    if asked.thinking is not None:
        asks = dict(asked.thinking)
    output |= _format(asked.response_format)
    return ({"thinking": asks} if asks else {}) | ({"output_config": output} if output else {})


def _format(wanted: _Format | None) -> dict[str, Any]:
    if wanted is None or wanted.type == "text":
        return {}
    if wanted.type != "json_schema":
        raise unsupported(
            "response_format",
            f"Anthropic has no '{wanted.type[:SHOWN]}'; give a json_schema, or ask for JSON in words.",
        )
    schema = wanted.json_schema.schema if wanted.json_schema else None
    if schema is None:
        raise missing("response_format.json_schema.schema")
    return {"format": {"type": "json_schema", "schema": schema}}


def _tools(asked: Asked) -> dict[str, Any]:
    """Without tools, a choice that allows for none says nothing."""
    if asked.tools:
        return {"tools": tools.translate(asked.tools), **tools.choose(asked.tool_choice, asked.parallel_tool_calls)}
    if asked.tool_choice in (None, "auto", "none"):
        return {}
    raise BadRequest("tool_choice: there are no tools to choose from.", param="tool_choice")
