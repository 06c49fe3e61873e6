"""GET /v1/models and /v1/models/{id}."""

from typing import Any

import msgspec

from batchway.sandbox.contract import Part, Plan, Visit
from batchway.sandbox.openai.parameters import JSON
from batchway.sandbox.openai.reading import require_model
from batchway.sandbox.state import Sandbox

CREATED = 1_735_689_600
"""When every model here was made: 2025-01-01."""


def list_models(sandbox: Sandbox) -> Plan:
    """The models by name."""
    return _plan({"object": "list", "data": [_card(name) for name in sandbox.models]})


def show_model(sandbox: Sandbox, visit: Visit) -> Plan:
    """One model, listed or not: whatever the sandbox would answer as."""
    name = visit.path.removeprefix("/v1/models/")
    require_model(name, sandbox)
    return _plan(_card(name))


def _card(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "sandbox"}


def _plan(answer: dict[str, Any]) -> Plan:
    return Plan(headers=JSON, parts=(Part(msgspec.json.encode(answer)),))
