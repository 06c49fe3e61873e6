"""The fields of a chat request: which Anthropic knows itself, which say nothing here, which it has no words for."""

from collections.abc import Mapping

import msgspec

from batchway.core.errors import BadRequest
from batchway.core.fingerprint import UNANSWERING
from batchway.providers.anthropic.reading import SHOWN, unsupported
from batchway.wire.body import Fields

OWN = (
    "cache_control",
    "container",
    "context_management",
    "diagnostics",
    "inference_geo",
    "mcp_servers",
    "user_profile_id",
)
"""Fields of Anthropic's own that pass as they are, in the order in which they are sent. (`thinking`, `output_config`
and `speed` are its own as well; the fields that are translated to them are laid over what is given.)"""

DEFAULTS: Mapping[str, object] = {
    "audio": None,
    "frequency_penalty": 0,
    "function_call": None,
    "functions": None,
    "logit_bias": {},
    "logprobs": False,
    "modalities": ["text"],
    "moderation": None,
    "n": 1,
    "prediction": None,
    "presence_penalty": 0,
    "seed": None,
    "store": False,
    "top_logprobs": 0,
    "verbosity": "medium",
    "web_search_options": None,
}
"""What Anthropic has no words for, with the value that asks for nothing: that one is dropped, any other is refused."""

INSTEAD: Mapping[str, str] = {
    "functions": "; use tools",
    "function_call": "; use tool_choice",
    "n": "; send the request n times",
}
"""What to do in place of some of them."""

_anything = msgspec.json.Decoder()


def present(fields: Fields) -> Fields:
    """The fields that are not null: null means unset."""
    return {name: value for name, value in fields.items() if bytes(value) != b"null"}


def check(fields: Fields, translated: frozenset[str]) -> None:
    """Refuse the first field that would be lost: one that Anthropic cannot express, or that nobody knows."""
    for name in fields.keys() - translated - UNANSWERING - frozenset(OWN):
        if name not in DEFAULTS:
            shown = name[:SHOWN]
            raise BadRequest(
                f"{shown}: Anthropic's Messages API has no such field.", param=shown, code="unknown_parameter"
            )
        if _anything.decode(fields[name]) != DEFAULTS[name]:
            raise unsupported(name, f"Anthropic's Messages API cannot be asked this{INSTEAD.get(name, '')}.")
