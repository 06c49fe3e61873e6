"""GET /v1/models and /v1/models/{id}."""

from typing import Any
from urllib.parse import parse_qs

import msgspec

from batchway.sandbox.anthropic.messages import MODELS, knows
from batchway.sandbox.contract import Part, Plan, Refused, Visit
from batchway.sandbox.openai.parameters import JSON
from batchway.sandbox.state import Sandbox

CREATED = "2025-01-01T00:00:00Z"
"""When every model here was made."""

PAGE, MOST = 20, 1000
"""Models on a page unless asked otherwise, and at most."""


def list_models(sandbox: Sandbox, visit: Visit) -> Plan:
    """A page of the models: Anthropic's, and what the sandbox was told of that name."""
    told = [model for model in sandbox.models if model.startswith("claude") and model not in MODELS]
    names = [*MODELS, *told]
    asked = {name: values[-1] for name, values in parse_qs(visit.query.decode("latin-1")).items()}
    limit = asked.get("limit", str(PAGE))
    if not (limit.isdecimal() and 1 <= int(limit) <= MOST):
        raise Refused(400, f"limit: Input should be between 1 and {MOST}")
    after = asked.get("after_id")
    if after is not None:
        names = names[names.index(after) + 1 :] if after in names else []
    page = names[: int(limit)]
    ends = {"first_id": page[0] if page else None, "last_id": page[-1] if page else None}
    return _plan({"data": [_card(name) for name in page], "has_more": len(page) < len(names), **ends})


def show_model(sandbox: Sandbox, visit: Visit) -> Plan:
    """One model, listed or not: whatever the sandbox would answer as."""
    name = visit.path.removeprefix("/v1/models/")
    if not knows(sandbox, name):
        raise Refused(404, f"model: {name}")
    return _plan(_card(name))


def _card(name: str) -> dict[str, Any]:
    shown = name.replace("-", " ").title()
    return {
        "type": "model",
        "id": name,
        "display_name": shown,
        "created_at": CREATED,
        "lifecycle": "active",
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
    }


def _plan(answer: dict[str, Any]) -> Plan:
    return Plan(headers=JSON, parts=(Part(msgspec.json.encode(answer)),))
