"""GET /v1/models and /v1/models/{id}, as Mistral describes its models."""

from typing import Any

import msgspec

from batchway.sandbox import state
from batchway.sandbox.contract import Part, Plan, Refused, Visit
from batchway.sandbox.openai.models import CREATED
from batchway.sandbox.openai.parameters import JSON
from batchway.sandbox.state import Sandbox

MODELS = (
    "mistral-large-latest",
    "mistral-medium-latest",
    "mistral-small-latest",
    "magistral-medium-latest",
    "ministral-8b-latest",
    "codestral-latest",
    "mistral-embed",
    "codestral-embed",
)
"""What Mistral lists, unless the sandbox is told which models there are."""


def list_models(sandbox: Sandbox) -> Plan:
    """The models by name."""
    return _plan({"object": "list", "data": [_card(name) for name in _listed(sandbox)]})


def show_model(sandbox: Sandbox, visit: Visit) -> Plan:
    """One model, listed or not: whatever the sandbox would answer as."""
    name = visit.path.removeprefix("/v1/models/")
    if not _knows(sandbox, name):
        raise Refused(404, f"Model {name} not found", kind="invalid_request_error")
    return _plan(_card(name))


def require_model(model: str, sandbox: Sandbox) -> None:
    """Raises the 400 of a model that is not there."""
    if not _knows(sandbox, model):
        raise Refused(400, f"Invalid model: {model}", kind="invalid_model", code="1500")


def _knows(sandbox: Sandbox, model: str) -> bool:
    return model in _listed(sandbox) if sandbox.strict else model != state.ABSENT


def _listed(sandbox: Sandbox) -> tuple[str, ...]:
    return MODELS if sandbox.models == state.MODELS else sandbox.models


def _card(name: str) -> dict[str, Any]:
    chat = "embed" not in name
    return {
        "id": name,
        "object": "model",
        "created": CREATED,
        "owned_by": "mistralai",
        "capabilities": {"completion_chat": chat, "function_calling": chat, "vision": chat},
        "name": name,
        "description": "Simulated by the sandbox",
        "max_context_length": 131072 if chat else 8192,
        "aliases": [],
        "type": "base",
    }


def _plan(answer: dict[str, Any]) -> Plan:
    return Plan(headers=JSON, parts=(Part(msgspec.json.encode(answer)),))
