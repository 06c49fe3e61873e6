"""What Mistral says where it refuses: where a body is wrong, or one flat object."""

import re
from typing import Any

from batchway.sandbox.contract import Refused

_STEP = re.compile(r"[^.\[\]]+")


def error_of(refused: Refused) -> dict[str, Any]:
    """`{"detail": […]}` for a body that is not as described (422), else `{"object": "error", …}`."""
    return {"detail": [_problem(refused)]} if refused.status == 422 else flat_error(refused)


def flat_error(refused: Refused) -> dict[str, Any]:
    """An error as one object."""
    return {
        "object": "error",
        "message": refused.message,
        "type": refused.kind,
        "param": refused.param,
        "code": refused.code,
    }


def _problem(refused: Refused) -> dict[str, Any]:
    steps = [int(step) if step.isdigit() else step for step in _STEP.findall(refused.param or "")]
    return {"type": refused.code or "value_error", "loc": ["body", *steps], "msg": refused.message}
