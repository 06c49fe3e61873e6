"""Tools and which of them must be called, as Gemini's function declarations and function calling config."""

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import UNSET, Raw, Struct, UnsetType

from batchway.wire.body import given


class Function(Struct, forbid_unknown_fields=True):
    """A function as the model is told of it."""

    name: str
    description: str | None = None
    parameters: Raw | UnsetType = UNSET
    strict: bool | None = None


class Tool(Struct, forbid_unknown_fields=True, kw_only=True):
    """A tool; OpenAI's other types have no counterpart."""

    type: Literal["function"]
    function: Function
    cache_control: object = None


class _Named(Struct, forbid_unknown_fields=True):
    name: str


class NamedTool(Struct, forbid_unknown_fields=True, tag_field="type", tag="function"):
    """This function must be called."""

    function: _Named


class _Listed(Struct, forbid_unknown_fields=True):
    mode: Literal["auto", "required"]
    tools: list[NamedTool]


class AllowedTools(Struct, forbid_unknown_fields=True, tag_field="type", tag="allowed_tools"):
    """Only these functions may, or one of them must, be called."""

    allowed_tools: _Listed


Choice = Literal["none", "auto", "required"] | NamedTool | AllowedTools

_MODES = {"none": "NONE", "auto": "AUTO", "required": "ANY"}


def declare(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """`tools` of a request. The schemas go as JSON Schema, untouched: Gemini's own kind knows a part of it only."""
    return [{"functionDeclarations": [_declaration(tool.function) for tool in tools]}]


def _declaration(function: Function) -> dict[str, Any]:
    declaration: dict[str, Any] = {"name": function.name}
    if function.description is not None:
        declaration["description"] = function.description
    if given(function.parameters) is not None:
        declaration["parametersJsonSchema"] = function.parameters
    return declaration


def choose(choice: Choice | None, tools: Sequence[Tool]) -> dict[str, Any] | None:
    """`toolConfig` of a request; None where the model is free to call or not.

    A `strict` function makes free calls VALIDATED, the mode that holds arguments to their schema; ANY does so itself.
    """
    free = "VALIDATED" if any(tool.function.strict for tool in tools) else "AUTO"
    match choice:
        case NamedTool(function=named):
            return _config("ANY", named.name)
        case AllowedTools(allowed_tools=listed):
            # A list of names needs a mode that holds to it: AUTO does not ([G] FunctionCallingConfigMode).
            mode = "ANY" if listed.mode == "required" else "VALIDATED"
            return _config(mode, *(tool.function.name for tool in listed.tools))
        case "none" | "required":
            return _config(_MODES[choice])
    return _config(free) if free != "AUTO" else None


def _config(mode: str, *names: str) -> dict[str, Any]:
    allowed = {"allowedFunctionNames": list(names)} if names else {}
    return {"functionCallingConfig": {"mode": mode} | allowed}
