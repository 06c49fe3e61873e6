"""The body of POST /v1/messages, as strict as Anthropic is: what it does not know is a 400 that names it.

Shapes: anthropic SDK 2.11, types/message_create_params; the two versions: providers.md §10.1.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from batchway.sandbox.contract import Refused

Name = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,128}$")]
Words = Annotated[str, Meta(min_length=1)]


class CacheControl(Struct, forbid_unknown_fields=True):
    """The prompt up to here may be kept."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] = "5m"


class _Block(Struct, forbid_unknown_fields=True, tag_field="type", kw_only=True):
    cache_control: CacheControl | None = None


class Text(_Block, tag="text"):
    """Words."""

    text: Words
    citations: Any = None


class Base64(Struct, forbid_unknown_fields=True, tag="base64"):
    """A picture or document in the body."""

    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp", "application/pdf"]
    data: Words


class Url(Struct, forbid_unknown_fields=True, tag="url"):
    """A picture or document elsewhere."""

    url: Annotated[str, Meta(pattern="^https?://")]


class Image(_Block, tag="image"):
    """A picture."""

    source: Base64 | Url


class Document(_Block, tag="document"):
    """A document."""

    source: Base64 | Url
    title: str | None = None
    context: str | None = None
    citations: Any = None


class ToolUse(_Block, tag="tool_use"):
    """The model calls a tool."""

    id: Name
    name: Name
    input: dict[str, Any]


class ToolResult(_Block, tag="tool_result"):
    """What the tool said."""

    tool_use_id: Name
    content: str | list[Text | Image | Document] = ""
    is_error: bool = False


class Thinking(_Block, tag="thinking"):
    """What the model thought, signed."""

    thinking: str
    signature: str


class RedactedThinking(_Block, tag="redacted_thinking"):
    """What the model thought, sealed."""

    data: str


Block = Text | Image | Document | ToolUse | ToolResult | Thinking | RedactedThinking


class Message(Struct, forbid_unknown_fields=True):
    """One turn, or a part of one: neighbours of the same role are one turn."""

    role: Literal["user", "assistant", "system"]
    content: str | list[Block]

    @property
    def blocks(self) -> list[Block]:
        """The content as blocks."""
        return [Text(text=self.content)] if isinstance(self.content, str) else self.content


class Tool(Struct):
    """A tool: one of the caller's, with a schema, or one of Anthropic's, with a type."""

    name: Name
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None
    cache_control: CacheControl | None = None


class ToolChoice(Struct, forbid_unknown_fields=True):
    """Who decides on a call."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool = False


class Enabled(Struct, forbid_unknown_fields=True, tag="enabled"):
    """Think, within a budget of tokens."""

    budget_tokens: Annotated[int, Meta(ge=1024)]
    display: Literal["summarized", "omitted"] | None = None


class Adaptive(Struct, forbid_unknown_fields=True, tag="adaptive"):
    """Think as the question needs it."""

    display: Literal["summarized", "omitted"] | None = None


class BetweenTools(Struct, forbid_unknown_fields=True, tag="between_tools"):
    """Think between the calls of tools only."""


class Disabled(Struct, forbid_unknown_fields=True, tag="disabled"):
    """Do not think."""


class Format(Struct, forbid_unknown_fields=True):
    """The JSON that the answer is to be."""

    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(Struct, forbid_unknown_fields=True):
    """How the answer is to be."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: Format | None = None


class Metadata(Struct, forbid_unknown_fields=True):
    """Who asks."""

    user_id: str | None = None


class Body(Struct, forbid_unknown_fields=True, kw_only=True):
    """A message to create, as of version 2026-10-21."""

    model: Words
    max_tokens: Annotated[int, Meta(ge=0)]
    messages: Annotated[list[Message], Meta(min_length=1, max_length=100_000)]
    system: str | list[Text] = ""
    stop_sequences: list[Words] = []
    stream: bool = False
    tools: list[Tool] = []
    tool_choice: ToolChoice | None = None
    thinking: Enabled | Adaptive | BetweenTools | Disabled | None = None
    output_config: OutputConfig | None = None
    metadata: Metadata | None = None
    service_tier: Literal["auto", "standard_only"] = "auto"
    speed: Literal["standard", "fast"] | None = None
    cache_control: CacheControl | None = None
    inference_geo: str | None = None
    container: Any = None
    diagnostics: Any = None

    @property
    def sampled(self) -> bool:
        """Two answers to this may differ."""
        return True


class SampledBody(Body):
    """A message to create, as of version 2023-06-01."""

    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0)] | None = None

    @property
    def sampled(self) -> bool:
        """Two answers to this may differ."""
        return self.temperature != 0


VERSIONS: Mapping[str, msgspec.json.Decoder[Any]] = {
    "2023-06-01": msgspec.json.Decoder(SampledBody),
    "2026-10-21": msgspec.json.Decoder(Body),
}
"""The versions of the API, and what a body may say under each."""

_STEP = re.compile(r"\[(\d+|\.\.\.)\]")
_LONG = re.compile(r"Expected `str` of length <= (\d+)")


def read(content: bytes, version: str) -> Body:
    """Decode a body. Raises Refused."""
    try:
        body: Body = VERSIONS[version].decode(content)
    except msgspec.ValidationError as error:
        raise Refused(400, explain(str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, "The request body is not valid JSON") from error
    return body


def explain(problem: str) -> str:
    """msgspec's words for what is wrong, in Anthropic's manner: `messages.0.content: …`."""
    what, _, path = problem.partition(" - at `$")
    place = _STEP.sub(r".\1", path.removesuffix("`")).lstrip(".")
    unknown = re.search(r"unknown field `([^`]*)`", what)
    missing = re.search(r"missing required field `([^`]+)`", what)
    long = _LONG.fullmatch(what)
    if long:
        what = f"String should have at most {long[1]} characters"
    for found, said in ((unknown, "Extra inputs are not permitted"), (missing, "Field required")):
        if found:
            return f"{place}.{found[1]}: {said}".lstrip(".")
    return f"{place}: {what}" if place else what
