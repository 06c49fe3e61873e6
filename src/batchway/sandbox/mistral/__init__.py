"""Mistral's dialect: OpenAI's paths and keys, its own parameters, answers, models and errors (SDK mistralai 3.7)."""

import re
from typing import Any

import msgspec

from batchway.sandbox.contract import Headers, Part, Plan, Refused, Route, Visit
from batchway.sandbox.mistral.chat import complete
from batchway.sandbox.mistral.embeddings import embed
from batchway.sandbox.mistral.models import list_models, show_model
from batchway.sandbox.openai import OpenAI
from batchway.sandbox.state import Sandbox

_HEADERS = {
    b"x-ratelimit-limit-requests": b"x-ratelimit-limit-req-minute",
    b"x-ratelimit-limit-tokens": b"x-ratelimit-limit-tokens-minute",
    b"x-ratelimit-remaining-requests": b"x-ratelimit-remaining-req-minute",
    b"x-ratelimit-remaining-tokens": b"x-ratelimit-remaining-tokens-minute",
}
"""Mistral's names of the rate-limit headers. It does not say when a limit is back."""

_STEP = re.compile(r"[^.\[\]]+")


class Mistral(OpenAI):
    """One provider that speaks Mistral's dialect."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox)
        self._served = {
            ("POST", "/v1/chat/completions"): Route("chat", self._charged(complete)),
            ("POST", "/v1/embeddings"): Route("embeddings", self._charged(embed)),
            ("GET", "/v1/models"): Route("models", lambda _: list_models(sandbox)),
        }
        self._model = Route("models", lambda visit: show_model(sandbox, visit))

    def find(self, method: str, path: str) -> Route | None:
        """The route of a path."""
        if method == "GET" and path.startswith("/v1/models/"):
            return self._model
        return self._served.get((method, path))

    def admit(self, visit: Visit) -> Headers:
        """Check the key and its allowance."""
        return tuple((_HEADERS[name], value) for name, value in super().admit(visit) if name in _HEADERS)

    def refusal(self, refused: Refused) -> Plan:
        """`{"detail": […]}` for a body that is not as described (422), else `{"object": "error", …}`."""
        wrong = refused.status == 422
        body = {"detail": [_problem(refused)]} if wrong else _error(refused)
        return msgspec.structs.replace(super().refusal(refused), parts=(Part(msgspec.json.encode(body)),))

    def error_frame(self, refused: Refused) -> bytes:
        """An error amid a stream. UNCONFIRMED: in the shape of Mistral's other errors."""
        return b"data: " + msgspec.json.encode(_error(refused)) + b"\n\n"


def _error(refused: Refused) -> dict[str, Any]:
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
