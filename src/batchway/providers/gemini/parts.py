"""Parts of a message as Gemini's: texts, images, sounds, files. Nothing is fetched: an address is passed on."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from msgspec import Struct

from batchway.core.errors import BadRequest

Part = dict[str, Any]
"""A part of a Gemini content, as JSON."""

MIME_TYPES: Final[Mapping[str, str]] = {
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "pdf": "application/pdf",
    "png": "image/png",
    "webp": "image/webp",
}
"""What the end of an address says that is there. Another end says nothing, and Gemini finds out itself."""

RESOLUTIONS: Final[Mapping[str, str]] = {"low": "MEDIA_RESOLUTION_LOW", "high": "MEDIA_RESOLUTION_HIGH"}
"""OpenAI's `detail` of an image -> `mediaResolution.level` of a part; `auto` says nothing ([G] PartMediaResolution)."""


class _Block(Struct, forbid_unknown_fields=True, kw_only=True, tag_field="type"):
    cache_control: object = None
    prompt_cache_breakpoint: object = None
    """Hints for the caches of others: no answer depends on them."""


class Text(_Block, kw_only=True, tag="text"):
    """A text."""

    text: str


class Refusal(_Block, kw_only=True, tag="refusal"):
    """What an assistant said instead of an answer."""

    refusal: str


class ImageAddress(Struct, forbid_unknown_fields=True):
    """A data URI or an address."""

    url: str
    detail: Literal["auto", "low", "high"] | None = None


class Image(_Block, kw_only=True, tag="image_url"):
    """A picture."""

    image_url: ImageAddress


class Sound(Struct, forbid_unknown_fields=True):
    """Base64, and `wav` or `mp3`."""

    data: str
    format: str


class Audio(_Block, kw_only=True, tag="input_audio"):
    """Something to hear."""

    input_audio: Sound


class Document(Struct, forbid_unknown_fields=True):
    """A file as a data URI; its name is for people."""

    file_data: str | None = None
    filename: str | None = None
    file_id: str | None = None


class File(_Block, kw_only=True, tag="file"):
    """A document."""

    file: Document


def encode_parts(content: str | Iterable[_Block] | None, where: str) -> list[Part]:
    """The parts of a message's content. `where` is its path in the body, for errors. Raises BadRequest."""
    if content is None:
        return []
    if isinstance(content, str):
        return [{"text": content}]
    return [_encode(block, f"{where}[{place}]") for place, block in enumerate(content)]


def _encode(block: _Block, where: str) -> Part:
    match block:
        case Text(text=text) | Refusal(refusal=text):
            return {"text": text}
        case Image(image_url=image):
            resolution = RESOLUTIONS.get(image.detail or "")
            part = _media(image.url, f"{where}.image_url.url")
            return part | {"mediaResolution": {"level": resolution}} if resolution else part
        case Audio(input_audio=sound):
            return {"inlineData": {"mimeType": f"audio/{sound.format}", "data": sound.data}}
        case File(file=document) if document.file_data is not None:
            return _media(document.file_data, f"{where}.file.file_data")
    param = f"{where}.file.file_id"
    raise BadRequest(f"{param}: a file that lies at OpenAI cannot be read by Gemini; send its file_data.", param=param)


def _media(address: str, where: str) -> Part:
    if address.startswith("data:"):
        head, _, data = address[len("data:") :].partition(",")
        kind, _, coding = head.rpartition(";")
        if coding != "base64" or not kind:
            raise BadRequest(f"{where}: a data URI must be 'data:TYPE;base64,DATA'.", param=where)
        return {"inlineData": {"mimeType": kind.partition(";")[0], "data": data}}
    if not address.startswith(("https://", "http://", "gs://")):
        raise BadRequest(f"{where}: give a data URI or an https address.", param=where)
    kind = MIME_TYPES.get(_ending(address), "")
    return {"fileData": ({"mimeType": kind} if kind else {}) | {"fileUri": address}}


def _ending(address: str) -> str:
    try:
        path = urlsplit(address).path
    except ValueError:  # No address at all: its provider shall say so.
        return ""
    return path.rpartition(".")[2].lower()
