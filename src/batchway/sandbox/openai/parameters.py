"""What several endpoints read alike: numbers with their bounds, tools, tiers, the JSON that is asked for."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta

from batchway.sandbox.contract import Bill, Headers, Refused
from batchway.sandbox.model import Said, Tool

Temperature = Annotated[float, Meta(ge=0, le=2)]
TopP = Annotated[float, Meta(ge=0, le=1)]
OutputLimit = Annotated[int, Meta(ge=1)]
Tier = Literal["auto", "default", "flex", "scale", "priority", "fast"]
Content = str | list[dict[str, Any]] | None

JSON: Headers = ((b"content-type", b"application/json"),)
EVENTS: Headers = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))

WORDS_PER_CHUNK = 3
PICTURE = 85
"""Input tokens of an image or file, whatever its size: OpenAI's price of a low-detail image."""

_SERVED: dict[str, str] = {"auto": "default", "fast": "priority"}


def served(tier: Tier | None) -> str:
    """The service tier that the answer names for the one that was asked for."""
    return "default" if tier is None else _SERVED.get(tier, tier)


def bill(model: str, tier: Tier | None, prompt_tokens: int, said: Sequence[Said]) -> Bill:
    """The bill of a generated answer."""
    return Bill(
        model=model,
        lane="flex" if tier == "flex" else "direct",
        tier=served(tier),
        input=prompt_tokens,
        output=sum(each.tokens for each in said),
    )


def texts(content: Content) -> list[str]:
    """The texts of a message's content."""
    if isinstance(content, list):
        return [part["text"] for part in content if isinstance(part.get("text"), str)]
    return [content] if content else []


def pictures(content: Content) -> int:
    """How many parts of a content are not text."""
    return sum("text" not in part for part in content) if isinstance(content, list) else 0


def wanted_tool(functions: Sequence[dict[str, Any]], choice: str | dict[str, Any] | None) -> Tool | None:
    """The function that `tool_choice` makes the model call: a named one, or with `required` the first."""
    if isinstance(choice, dict):
        inner = choice.get("function", choice)
        name = inner.get("name") if isinstance(inner, dict) else None
        chosen = [function for function in functions if function.get("name") == name]
        if not chosen:
            raise Refused(400, f"Tool choice '{name}' not found in 'tools' parameter.", param="tool_choice")
    elif choice == "required":
        chosen = list(functions)
    else:
        return None
    if not chosen:
        raise Refused(400, "'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
    function = chosen[0]
    if not isinstance(function.get("name"), str):
        raise Refused(400, "A tool has no function name.", param="tools", code="missing_required_parameter")
    return Tool(name=function["name"], schema=as_schema(function.get("parameters"), "tools") or {"type": "object"})


def as_schema(value: object, param: str) -> dict[str, Any]:
    """A JSON Schema, or `{}` where there is none. Raises Refused for anything else."""
    if value is not None and not isinstance(value, dict):
        raise Refused(400, "A JSON Schema must be an object.", param=param, code="invalid_json_schema")
    return value or {}


def chunks(text: str) -> list[str]:
    """A text in pieces of a few words that join to the same text."""
    words = text.split(" ")
    grouped = [" ".join(words[at : at + WORDS_PER_CHUNK]) for at in range(0, len(words), WORDS_PER_CHUNK)]
    return [grouped[0], *(" " + piece for piece in grouped[1:])] if text else []


def sampled(temperature: float | None, seed: int | None) -> bool:
    """Whether equal requests may get different answers: OpenAI's default temperature is 1."""
    return seed is None and temperature != 0
