"""Requests as the core's tests ask them."""

from typing import Any

from batchway.core.types import Prompt, Request

PROMPT_FIELDS = frozenset(Prompt.__struct_fields__)


def request(**fields: Any) -> Request:
    """A plain chat request; fields of its prompt may be given directly."""
    prompt = {name: value for name, value in fields.items() if name in PROMPT_FIELDS}
    given: dict[str, Any] = {
        "id": "r-1",
        "ask": "a-1",
        "tenant": "t",
        "key": "k",
        "caller": "c",
        "provider": "openai",
        "endpoint": "chat",
        "body": b"{}",
        "fingerprint": "f",
        "asked_at": 1000.0,
    }
    rest = {name: value for name, value in fields.items() if name not in PROMPT_FIELDS}
    return Request(**(given | rest), prompt=Prompt(**({"model": "m"} | prompt)))
