"""Parts of a message's content as Anthropic's content blocks: texts, pictures, documents (providers.md §10.1)."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from batchway.core.errors import BadRequest
from batchway.providers.anthropic.fields import present
from batchway.providers.anthropic.reading import SHOWN, missing, read, unsupported
from batchway.wire.body import Fields

Block = dict[str, Any]
Content = str | list[Block]

OWN = frozenset(
    {
        "container_upload",
        "document",
        "image",
        "redacted_thinking",
        "search_result",
        "server_tool_use",
        "thinking",
        "tool_result",
        "tool_use",
        "web_fetch_tool_result",
        "web_search_tool_result",
    }
)
"""Blocks of Anthropic's own that pass as they are."""

PASSED = ("cache_control", "citations")
"""What a part may say beside itself: Anthropic's own words, which go with its block."""

UNHEARD = frozenset({"type", "prompt_cache_breakpoint"})
"""What a part may say that makes no difference here: OpenAI's cache marks."""

EMPTY = b'""'


class _Image(Struct):
    url: str
    detail: str | None = None


class _File(Struct):
    file_data: str | None = None
    filename: str | None = None


_kind = msgspec.json.Decoder(str)
_image_url = msgspec.json.Decoder(_Image)
_file = msgspec.json.Decoder(_File)


def translate(content: str | list[Fields] | None, where: str) -> Content:
    """A text as it is, parts as blocks; without empty texts, which Anthropic refuses."""
    if content is None or isinstance(content, str):
        return content or ""
    made = (_block(part, f"{where}[{index}]") for index, part in enumerate(content))
    return [block for block in made if block["type"] != "text" or bytes(block["text"]) != EMPTY]


def in_blocks(content: Content) -> list[Block]:
    """A content as blocks, though it be one text."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content


def as_text(content: str | list[Fields] | None, where: str) -> str:
    """The text of a content that can hold nothing else, such as a system message's."""
    texts = translate(content, where)
    if isinstance(texts, str):
        return texts
    if any(block["type"] != "text" for block in texts):
        raise unsupported(where, "Anthropic takes nothing but text here.")
    return "\n\n".join(_kind.decode(block["text"]) for block in texts)


def own(block: Fields, where: str) -> Block:
    """A block of Anthropic's own."""
    return {**block, "type": read(block.get("type", Raw(b"null")), _kind, f"{where}.type")}


def _block(part: Fields, where: str) -> Block:
    block = own(part, where)
    kind = block["type"]
    if kind in OWN:
        return block
    if kind not in _PARTS:
        raise BadRequest(f"{where}.type: '{kind[:SHOWN]}' is no part that Anthropic takes.", param=f"{where}.type")
    said = present(part)
    for name in said.keys() - UNHEARD - {kind, *PASSED}:
        raise unsupported(f"{where}.{name}", "Anthropic has no such thing; leave it out.")
    return {**_PARTS[kind](said, where), **{name: said[name] for name in PASSED if name in said}}


def _text(part: Fields, where: str) -> Block:
    return {"type": "text", "text": _required(part, "text", where)}


def _refusal(part: Fields, where: str) -> Block:
    return {"type": "text", "text": _required(part, "refusal", where)}


def _image(part: Fields, where: str) -> Block:
    place = f"{where}.image_url"
    image = read(_required(part, "image_url", where), _image_url, place)
    if image.detail not in (None, "auto", "high"):
        raise unsupported(f"{place}.detail", "Anthropic looks at every picture in full; leave it out.")
    if image.url.startswith(("https://", "http://")):
        return {"type": "image", "source": {"type": "url", "url": image.url}}
    return {"type": "image", "source": _data(image.url, f"{place}.url")}


def _document(part: Fields, where: str) -> Block:
    place = f"{where}.file"
    file = read(_required(part, "file", where), _file, place)
    if file.file_data is None:
        raise unsupported(place, "Anthropic cannot fetch OpenAI's files; give the file itself as file_data.")
    block: Block = {"type": "document", "source": _data(file.file_data, f"{place}.file_data")}
    return block if file.filename is None else {**block, "title": file.filename}


def _audio(_part: Fields, where: str) -> Block:
    raise unsupported(where, "Anthropic takes no audio.")


def _data(url: str, where: str) -> Block:
    head, _, data = url.partition(",")
    if not (head.startswith("data:") and head.endswith(";base64")):
        raise BadRequest(f"{where}: give an https URL or data:TYPE;base64,DATA.", param=where)
    return {"type": "base64", "media_type": head.removeprefix("data:").partition(";")[0], "data": data}


def _required(part: Fields, name: str, where: str) -> Raw:
    if name not in part:
        raise missing(f"{where}.{name}")
    return part[name]


_PARTS: Mapping[str, Callable[[Fields, str], Block]] = {
    "text": _text,
    "image_url": _image,
    "file": _document,
    "refusal": _refusal,
    "input_audio": _audio,
}
