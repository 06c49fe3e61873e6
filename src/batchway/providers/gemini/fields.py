"""Which fields of an OpenAI body Gemini can be asked: what says nothing is dropped, what it cannot express is a 400."""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw, Struct

from batchway.core.errors import BadRequest
from batchway.core.fingerprint import UNANSWERING
from batchway.wire import body
from batchway.wire.body import Fields
from batchway.wire.hints import refusal

CONFIG: Final[Mapping[str, str]] = {
    "temperature": "temperature",
    "top_p": "topP",
    "n": "candidateCount",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
"""Fields that are only called otherwise in `generationConfig` (providers.md §11): their values pass byte for byte."""

TRANSLATED: Final = frozenset(
    {
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "reasoning_effort",
        "response_format",
        "service_tier",
        "stop",
        "tool_choice",
        "tools",
    }
)
"""Fields that take more than another name: `chat` sees to them."""

DEFAULTS: Final[Mapping[str, object]] = {
    "frequency_penalty": 0,
    "function_call": "none",
    "functions": [],
    "logit_bias": {},
    "logprobs": False,
    "modalities": ["text"],
    "n": 1,
    "parallel_tool_calls": True,
    "presence_penalty": 0,
    "store": False,
    "tools": [],
    "top_logprobs": 0,
    "verbosity": "medium",
}
"""What a field says where it might as well not be there. Models without penalties refuse even a penalty of 0."""

OWN_CONFIG: Final[Mapping[str, str]] = {
    "thinking_config": "thinkingConfig",
    "top_k": "topK",
    "media_resolution": "mediaResolution",
    "enable_enhanced_civic_answers": "enableEnhancedCivicAnswers",
}
"""Gemini's own fields of `generationConfig`, which a caller may give in either spelling ([G] models.py)."""

OWN: Final[Mapping[str, str]] = {
    "safety_settings": "safetySettings",
    "cached_content": "cachedContent",
    "labels": "labels",
}
"""The same for its fields beside `generationConfig`."""

EXTRA: Final = "extra_body"
"""Google's OpenAI-compatible front takes Gemini's own fields as `{"extra_body": {"google": {…}}}`; so do we."""

_SPELLINGS: Final = {**OWN_CONFIG, **OWN} | {own: own for own in (*OWN_CONFIG.values(), *OWN.values())}
_CHAT: Final = TRANSLATED | CONFIG.keys() | _SPELLINGS.keys()


class _Google(Struct, forbid_unknown_fields=True):
    google: Fields = {}


_google = msgspec.json.Decoder(_Google)
_anything = msgspec.json.Decoder()


def asked_of_chat(content: bytes) -> Fields:
    """The fields of a chat body that ask for something, Gemini's own in its spelling. Raises BadRequest."""
    fields = body.fields(content)
    extra = fields.pop(EXTRA, None)
    if extra is not None and body.given(extra) is not None:
        fields = _lift(extra) | fields
    asked = keep_asked(fields, _CHAT, DEFAULTS)
    return {_SPELLINGS.get(name, name): value for name, value in asked.items()}


def keep_asked(fields: Fields, known: frozenset[str], defaults: Mapping[str, object]) -> Fields:
    """The fields that ask for something: not null, not a default, not without effect on the answer.

    Raises BadRequest, which names the field, where one of them is not `known`.
    """
    asked = {name: value for name, value in fields.items() if name not in _SILENT and _says(name, value, defaults)}
    for name in asked:
        if name not in known:
            default = f", or at {msgspec.json.encode(defaults[name]).decode()}" if name in defaults else ""
            raise BadRequest(
                f"{name}: Gemini cannot be asked this; leave it out{default}.", param=name, code="unsupported_parameter"
            )
    return asked


_SILENT: Final = UNANSWERING | {"model"}
"""Fields that do not change the answer, and the model, which is part of the URL."""


def _says(name: str, value: Raw, defaults: Mapping[str, object]) -> bool:
    content = body.given(value)
    return content is not None and not (name in defaults and _anything.decode(content) == defaults[name])


def _lift(extra: Raw) -> Fields:
    try:
        google = _google.decode(extra).google
    except msgspec.DecodeError as error:
        raise refusal(error) from error
    for name in google:
        if name not in _SPELLINGS:
            param = f"{EXTRA}.google.{name}"
            raise BadRequest(f"{param}: Gemini cannot be asked this here.", param=param, code="unsupported_parameter")
    return google
