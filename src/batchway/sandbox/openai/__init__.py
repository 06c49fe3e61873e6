"""OpenAI's dialect: its routes, its keys, its errors. Compatible vendors speak it under their own prefix."""

from collections.abc import Callable
from functools import partial

import msgspec
from msgspec import Struct

from batchway.sandbox.contract import Headers, Lane, Part, Peek, Plan, Refused, Route, Visit
from batchway.sandbox.openai.allowance import Allowance
from batchway.sandbox.openai.batches import BATCHES, CANCEL, Batches
from batchway.sandbox.openai.chat import complete, frame
from batchway.sandbox.openai.embeddings import embed
from batchway.sandbox.openai.files import CONTENT, FILES, Files
from batchway.sandbox.openai.models import list_models, show_model
from batchway.sandbox.openai.parameters import JSON
from batchway.sandbox.openai.reading import error_object
from batchway.sandbox.openai.responses import respond
from batchway.sandbox.openai.stored import COMPLETIONS, RESPONSES, Stored
from batchway.sandbox.state import Sandbox

BEARER = b"bearer "
MODELS = "/v1/models/"
ID = "{id}"


class _Glance(Struct):
    model: str | None = None
    stream: bool | None = None
    service_tier: str | None = None


_glance = msgspec.json.Decoder(_Glance)


class OpenAI:
    """One provider that speaks OpenAI's dialect."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._allowance = Allowance(sandbox)
        stored = Stored()
        self._routes = {
            ("POST", COMPLETIONS): Route("chat", stored.keeping(self._charged(complete), partial(complete, sandbox))),
            ("POST", "/v1/embeddings"): Route("embeddings", self._charged(embed)),
            ("POST", RESPONSES): Route("responses", stored.keeping(self._charged(respond), partial(respond, sandbox))),
            ("GET", "/v1/models"): Route("models", lambda _: list_models(sandbox)),
            **_batch_routes(sandbox),
            **stored.routes(),
        }
        self._one_model = Route("models", lambda visit: show_model(sandbox, visit))

    def find(self, method: str, path: str) -> Route | None:
        """The route of a path. A model's id may hold slashes."""
        if method == "GET" and path.startswith(MODELS):
            return self._one_model
        return self._routes.get((method, path)) or self._routes.get((method, _without_id(path)))

    def key(self, headers: Headers) -> str:
        """The bearer of the Authorization header."""
        for name, value in headers:
            if name == b"authorization" and value[: len(BEARER)].lower() == BEARER:
                return value[len(BEARER) :].strip().decode("latin-1")
        return ""

    def peek(self, visit: Visit) -> Peek:
        """What the body's top level says; of a body that is no such JSON, nothing."""
        try:
            glance = _glance.decode(visit.body)
        except (msgspec.DecodeError, RecursionError):
            return Peek()
        lane: Lane = "flex" if glance.service_tier == "flex" else "direct"
        return Peek(model=glance.model or "", stream=bool(glance.stream), lane=lane)

    def admit(self, visit: Visit) -> Headers:
        """Check the key, then the key's allowance."""
        if not visit.key:
            raise Refused(401, "You didn't provide an API key. Send it as 'Authorization: Bearer YOUR_KEY'.")
        if not self._sandbox.accepts(visit.key):
            raise Refused(401, f"Incorrect API key provided: ***{visit.key[-4:]}.", code="invalid_api_key")
        return self._allowance.take(visit)

    def refusal(self, refused: Refused) -> Plan:
        """`{"error": {message, type, param, code}}` with the status, and Retry-After where it is known."""
        headers = JSON
        if refused.retry_after is not None:
            headers = (*JSON, (b"retry-after", f"{refused.retry_after:g}".encode()))
        body = msgspec.json.encode({"error": error_object(refused)})
        return Plan(status=refused.status, headers=headers, parts=(Part(body),), outcome="refused")

    def error_frame(self, refused: Refused) -> bytes:
        """`data: {"error": …}`, which OpenAI's SDK raises as APIError."""
        return frame({"error": error_object(refused)})

    def _charged(self, answer: Callable[[Sandbox, Visit], Plan]) -> Callable[[Visit], Plan]:
        return lambda visit: self._allowance.charge(visit, answer(self._sandbox, visit))


def _batch_routes(sandbox: Sandbox) -> dict[tuple[str, str], Route]:
    """Files and batches, with state of their own."""
    files = Files(sandbox)
    batches = Batches(sandbox, files)
    one_file, one_batch = f"{FILES}/{ID}", f"{BATCHES}/{ID}"
    return {
        ("POST", FILES): Route("files.create", files.upload, bulky=True, settled=True),
        ("GET", FILES): Route("files.list", files.list, settled=True),
        ("GET", one_file): Route("files.retrieve", files.show, settled=True),
        ("DELETE", one_file): Route("files.delete", files.delete, settled=True),
        ("GET", one_file + CONTENT): Route("files.content", files.content, settled=True),
        ("POST", BATCHES): Route("batches.create", batches.create, settled=True),
        ("GET", BATCHES): Route("batches.list", batches.list, settled=True),
        ("GET", one_batch): Route("batches.retrieve", batches.show, settled=True),
        ("POST", one_batch + CANCEL): Route("batches.cancel", batches.cancel, settled=True),
    }


def _without_id(path: str) -> str:
    """`/v1/files/file-1/content` becomes `/v1/files/{id}/content`; completions have a step more before their id."""
    steps = path.split("/")
    at = 4 if path.startswith(COMPLETIONS) else 3
    return "/".join((*steps[:at], ID, *steps[at + 1 :]))
