"""Mistral's dialect: OpenAI's paths and keys, its own parameters, answers, models and errors (SDK mistralai 3.7)."""

import msgspec

from batchway.sandbox.contract import Headers, Part, Plan, Refused, Route, Visit
from batchway.sandbox.mistral.batches import CANCEL, JOBS, Batches
from batchway.sandbox.mistral.chat import complete
from batchway.sandbox.mistral.embeddings import embed
from batchway.sandbox.mistral.files import Files
from batchway.sandbox.mistral.models import list_models, show_model
from batchway.sandbox.mistral.refusing import error_of, flat_error
from batchway.sandbox.openai import ID, OpenAI
from batchway.sandbox.openai.files import CONTENT, FILES
from batchway.sandbox.state import Sandbox

_HEADERS = {
    b"x-ratelimit-limit-requests": b"x-ratelimit-limit-req-minute",
    b"x-ratelimit-limit-tokens": b"x-ratelimit-limit-tokens-minute",
    b"x-ratelimit-remaining-requests": b"x-ratelimit-remaining-req-minute",
    b"x-ratelimit-remaining-tokens": b"x-ratelimit-remaining-tokens-minute",
}
"""Mistral's names of the rate-limit headers. It does not say when a limit is back."""


class Mistral(OpenAI):
    """One provider that speaks Mistral's dialect."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox)
        self._served = {
            ("POST", "/v1/chat/completions"): Route("chat", self._charged(complete)),
            ("POST", "/v1/embeddings"): Route("embeddings", self._charged(embed)),
            ("GET", "/v1/models"): Route("models", lambda _: list_models(sandbox)),
            **_batch_routes(sandbox),
        }
        self._model = Route("models", lambda visit: show_model(sandbox, visit))

    def find(self, method: str, path: str) -> Route | None:
        """The route of a path."""
        if method == "GET" and path.startswith("/v1/models/"):
            return self._model
        return self._served.get((method, path)) or self._served.get((method, _without_id(path)))

    def admit(self, visit: Visit) -> Headers:
        """Check the key and its allowance."""
        return tuple((_HEADERS[name], value) for name, value in super().admit(visit) if name in _HEADERS)

    def refusal(self, refused: Refused) -> Plan:
        """In Mistral's words."""
        body = msgspec.json.encode(error_of(refused))
        return msgspec.structs.replace(super().refusal(refused), parts=(Part(body),))

    def error_frame(self, refused: Refused) -> bytes:
        """An error amid a stream. UNCONFIRMED: in the shape of Mistral's other errors."""
        return b"data: " + msgspec.json.encode(flat_error(refused)) + b"\n\n"


def _batch_routes(sandbox: Sandbox) -> dict[tuple[str, str], Route]:
    """Files and batch jobs, with state of their own."""
    files = Files(sandbox)
    batches = Batches(sandbox, files)
    one_file, one_job = f"{FILES}/{ID}", f"{JOBS}/{ID}"
    return {
        ("POST", FILES): Route("files.create", files.upload, bulky=True, settled=True),
        ("GET", FILES): Route("files.list", files.list, settled=True),
        ("GET", one_file): Route("files.retrieve", files.show, settled=True),
        ("DELETE", one_file): Route("files.delete", files.delete, settled=True),
        ("GET", one_file + CONTENT): Route("files.content", files.content, settled=True),
        ("POST", JOBS): Route("batches.create", batches.create, settled=True),
        ("GET", JOBS): Route("batches.list", batches.list, settled=True),
        ("GET", one_job): Route("batches.retrieve", batches.show, settled=True),
        ("DELETE", one_job): Route("batches.delete", batches.delete, settled=True),
        ("POST", one_job + CANCEL): Route("batches.cancel", batches.cancel, settled=True),
    }


def _without_id(path: str) -> str:
    """`/v1/batch/jobs/1/cancel` becomes `/v1/batch/jobs/{id}/cancel`."""
    place = next((place for place in (FILES, JOBS) if path.startswith(f"{place}/")), "")
    _, slash, rest = path.removeprefix(f"{place}/").partition("/")
    return f"{place}/{ID}{slash}{rest}"
