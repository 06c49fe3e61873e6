"""GET models and models/{id}, as Google describes them, and which models there are."""

from typing import Any

import msgspec

from batchway.sandbox.contract import Part, Plan, Refused
from batchway.sandbox.gemini.reading import JSON
from batchway.sandbox.state import MODELS as USUAL
from batchway.sandbox.state import Sandbox

MODELS = (
    "gemini-4-argon",
    "gemini-3.8-flash",
    "gemini-3.5-flash-lite",
    "gemini-3.1-pro-preview",
    "gemini-2.5-flash",
    "gemini-2.5-pro",
    "gemini-embedding-2",
    "gemini-embedding-001",
)
"""What there is unless the sandbox is told other models."""

METHODS = ("generateContent", "streamGenerateContent", "countTokens")
EMBEDDING_METHODS = ("embedContent", "batchEmbedContents", "countTokens")


def list_models(sandbox: Sandbox) -> Plan:
    """All of them on one page."""
    return _plan({"models": [_card(name) for name in _names(sandbox)]})


def show_model(sandbox: Sandbox, name: str) -> Plan:
    """One model, listed or not: whatever the sandbox would answer as."""
    require_model(sandbox, name)
    return _plan(_card(name))


def require_model(sandbox: Sandbox, name: str) -> None:
    """Raises the 404 of a model that is not there."""
    if not (name in _names(sandbox) or sandbox.knows(name)):
        raise Refused(404, f"models/{name} is not found for API version v1beta, or is not supported for this method.")


def _names(sandbox: Sandbox) -> tuple[str, ...]:
    return MODELS if sandbox.models == USUAL else sandbox.models


def _card(name: str) -> dict[str, Any]:
    embedding = "embedding" in name
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name,
        "inputTokenLimit": 2048 if embedding else 1_048_576,
        "outputTokenLimit": 1 if embedding else 65_536,
        "supportedGenerationMethods": EMBEDDING_METHODS if embedding else METHODS,
    }


def _plan(answer: dict[str, Any]) -> Plan:
    return Plan(headers=JSON, parts=(Part(msgspec.json.encode(answer)),))
