"""Gemini's models as OpenAI lists them, and how a model is named in a URL."""

from typing import Any, Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

PREFIX: Final = "models/"
"""What stands before a name in Google's lists and paths."""

PREFIXES: Final = (PREFIX, "tunedModels/")
"""What a caller may write before a name, and what then stays."""


class _Model(Struct):
    name: str


class _Models(Struct):
    models: list[_Model] = []
    name: str | None = None


_models = msgspec.json.Decoder(_Models)


def resource_of(model: str) -> str:
    """The path of a model below the version: `models/…`, with nothing in it that could lead elsewhere."""
    prefix = next((prefix for prefix in PREFIXES if model.startswith(prefix)), "")
    return (prefix or PREFIX) + quote(model.removeprefix(prefix), safe="")


def decode_models(content: bytes) -> bytes:
    """A list of models, or one model. Raises msgspec.DecodeError where it is neither.

    Gemini does not say when a model was made: `created` is 0.
    """
    found = _models.decode(content)
    if found.name is not None:
        return msgspec.json.encode(_card(found.name))
    return msgspec.json.encode({"object": "list", "data": [_card(model.name) for model in found.models]})


def _card(name: str) -> dict[str, Any]:
    return {"id": name.removeprefix(PREFIX), "object": "model", "created": 0, "owned_by": "google"}
