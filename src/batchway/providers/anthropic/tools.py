"""Tools and the choice among them, as Anthropic names them (providers.md §10.1)."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from batchway.core.errors import BadRequest
from batchway.providers.anthropic.fields import present
from batchway.providers.anthropic.reading import SHOWN, missing, read, unsupported
from batchway.wire.body import Fields

OBJECT = Raw(b'"object"')
FUNCTION = Raw(b'"function"')

CHOICES = {"auto": "auto", "required": "any", "none": "none"}
"""OpenAI's words for who decides on a call, and Anthropic's."""


class _Function(Struct):
    name: str
    description: str | None = None
    parameters: Fields | None = None
    strict: bool | None = None


class _Named(Struct):
    name: str


class _Choice(Struct):
    type: str
    function: _Named | None = None


_function = msgspec.json.Decoder(_Function)
_choice = msgspec.json.Decoder(_Choice)
_encode = msgspec.json.Encoder().encode


def translate(tools: list[Fields]) -> list[dict[str, Any]]:
    """The tools. Anthropic's own (`web_search_…`, `{name, input_schema}`) pass as they are."""
    return [_tool(present(tool), f"tools[{index}]") for index, tool in enumerate(tools)]


def _tool(tool: Fields, where: str) -> dict[str, Any]:
    if "custom" in tool:
        raise unsupported(f"{where}.custom", "Anthropic takes functions with a JSON Schema only.")
    if "function" not in tool:
        if tool.get("type") == FUNCTION:
            raise missing(f"{where}.function")
        return dict(tool)
    function = read(tool["function"], _function, f"{where}.function")
    translated: dict[str, Any] = {"name": function.name}
    if function.description is not None:
        translated["description"] = function.description
    translated["input_schema"] = _schema(function.parameters)
    if function.strict is not None:
        translated["strict"] = function.strict
    if "cache_control" in tool:
        translated["cache_control"] = tool["cache_control"]
    return translated


def _schema(parameters: Fields | None) -> Fields:
    """Anthropic's schemas must say that they are of an object; OpenAI's need not, and a function may take nothing."""
    schema = parameters or {}
    return schema if "type" in schema else {"type": OBJECT, **schema}


def choose(choice: str | Fields | None, parallel: bool | None) -> dict[str, Any]:
    """`tool_choice` for a request that has tools, as a field of the message; empty where the default is meant."""
    chosen = _chosen(choice)
    if parallel is False and chosen.get("type") != "none":
        chosen = {**(chosen or {"type": "auto"}), "disable_parallel_tool_use": True}
    return {"tool_choice": chosen} if chosen else {}


def _chosen(choice: str | Fields | None) -> dict[str, Any]:
    if choice is None:
        return {}
    if isinstance(choice, str):
        if choice not in CHOICES:
            allowed = ", ".join(CHOICES)
            raise BadRequest(f"tool_choice: '{choice[:SHOWN]}' is not one of {allowed}.", param="tool_choice")
        return {"type": CHOICES[choice]}
    said = read(_encode(choice), _choice, "tool_choice")
    if said.type == "function" and said.function is not None:
        return {"type": "tool", "name": said.function.name}
    if said.type in ("tool", *CHOICES.values()):
        return {**choice, "type": said.type}
    raise unsupported("tool_choice", f"Anthropic cannot be told to choose by '{said.type[:SHOWN]}'.")
