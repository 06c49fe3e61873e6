"""Google's Gemini API: its routes, its keys, its errors, in versions v1 and v1beta alike."""

import re
from collections.abc import Callable

import msgspec
from msgspec import Struct

from batchway.sandbox.contract import Headers, Lane, Part, Peek, Plan, Refused, Route, Visit
from batchway.sandbox.gemini.batch_rows import ENDPOINTS
from batchway.sandbox.gemini.batches import Batches
from batchway.sandbox.gemini.embeddings import embed, embed_all
from batchway.sandbox.gemini.files import Files
from batchway.sandbox.gemini.generation import complete, count_tokens, frame, stream
from batchway.sandbox.gemini.models import list_models, show_model
from batchway.sandbox.gemini.reading import JSON
from batchway.sandbox.openai.allowance import Allowance
from batchway.sandbox.state import Sandbox

_PATH = re.compile(r"/(?:v1|v1beta)/models(?:/([^:]+)(?::([A-Za-z]+))?)?")
_KEPT = re.compile(r"/(?:v1|v1beta)/((files|batches)(/[^:/]+)?)(?::([A-Za-z]+))?")
"""Files and batches: all, or one by its name, and what is done with it."""
_UPLOAD = re.compile(r"/upload/(?:v1|v1beta)/files")

STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""HTTP status -> Google's word for it."""

Answer = Callable[[Sandbox, str, Visit], Plan]
"""What answers a method of a model, whose name it is told."""

Named = Callable[[str, Visit], Plan]
"""What answers for a file or a batch, whose name it is told."""

METHODS: dict[str, tuple[str, Answer]] = {
    "generateContent": ("chat", complete),
    "streamGenerateContent": ("chat", stream),
    "embedContent": ("embeddings", embed),
    "batchEmbedContents": ("embeddings", embed_all),
    "countTokens": ("count_tokens", count_tokens),
}
"""Method after the colon -> the endpoint's name in ledger and faults, and what answers it."""


class _Glance(Struct, rename="camel"):
    service_tier: str | None = None


_glance = msgspec.json.Decoder(_Glance)


class Gemini:
    """One provider that speaks Gemini's dialect."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._allowance = Allowance(sandbox)
        self._files = Files(sandbox)
        self._batches = Batches(sandbox, self._files)
        self._kept = _kept(self._files, self._batches)

    def find(self, method: str, path: str) -> Route | None:
        """The route of a path: `/v1beta/models`, `/v1/models/{model}:generateContent`, `/v1/batches/{id}:cancel`."""
        found = _PATH.fullmatch(path)
        if found is None:
            return self._find_kept(method, path)
        model, verb = found.groups()
        if method == "GET" and verb is None:
            return Route("models", lambda _: show_model(self._sandbox, model) if model else list_models(self._sandbox))
        if method == "POST" and verb in ENDPOINTS:
            return Route("batches.create", lambda visit: self._batches.create(model, verb, visit), settled=True)
        if method != "POST" or verb not in METHODS:
            return None
        endpoint, answer = METHODS[verb]
        return Route(endpoint, lambda visit: self._allowance.charge(visit, answer(self._sandbox, model, visit)))

    def _find_kept(self, method: str, path: str) -> Route | None:
        """The route of a file or a batch, or of all of them."""
        if method == "POST" and _UPLOAD.fullmatch(path):
            return Route("files.create", self._files.upload, bulky=True, settled=True)
        found = _KEPT.fullmatch(path)
        if found is None:
            return None
        name, kind, one, verb = found.groups()
        endpoint, answer = self._kept.get((method, kind, one is not None, verb), (None, None))
        if endpoint is None or answer is None:
            return None
        return Route(endpoint, lambda visit: answer(name, visit), settled=True)

    def key(self, headers: Headers) -> str:
        """The `x-goog-api-key` header, or a bearer."""
        named = dict(headers)
        bearer = named.get(b"authorization", b"")
        key = named.get(b"x-goog-api-key") or (bearer[len(b"bearer ") :] if bearer[:7].lower() == b"bearer " else b"")
        return key.strip().decode("latin-1")

    def peek(self, visit: Visit) -> Peek:
        """Model and method are in the path, the tier is in the body."""
        found = _PATH.fullmatch(visit.path)
        model, verb = found.groups() if found else (None, None)
        try:
            tier = _glance.decode(visit.body).service_tier
        except (msgspec.DecodeError, RecursionError):
            tier = None
        lane: Lane = "flex" if tier == "flex" else "direct"
        return Peek(model=model or "", stream=verb == "streamGenerateContent", lane=lane)

    def admit(self, visit: Visit) -> Headers:
        """Check the key, then the key's allowance, of which Google's headers say nothing.

        The id of an upload is as good as a key.
        """
        if _UPLOAD.fullmatch(visit.path) and b"upload_id=" in visit.query:
            return ()
        if not visit.key:
            raise Refused(403, "Method doesn't allow unregistered callers. Please use API Key to call this API.")
        if not self._sandbox.accepts(visit.key):
            raise Refused(400, "API key not valid. Please pass a valid API key.", code="API_KEY_INVALID")
        self._allowance.take(visit)
        return ()

    def refusal(self, refused: Refused) -> Plan:
        """`{"error": {code, message, status, details}}`; when to come back is one of the details, no header."""
        body = msgspec.json.encode({"error": _error(refused)})
        return Plan(status=refused.status, headers=JSON, parts=(Part(body),), outcome="refused")

    def error_frame(self, refused: Refused) -> bytes:
        """The same object as an event."""
        return frame({"error": _error(refused)})


def _kept(files: Files, batches: Batches) -> dict[tuple[str, str, bool, str | None], tuple[str, Named]]:
    """By method, kind, whether it is one of them, and verb: the endpoint's name and what answers, told the name."""
    return {
        ("GET", "files", False, None): ("files.list", lambda _, visit: files.list(visit)),
        ("GET", "files", True, None): ("files.retrieve", files.show),
        ("GET", "files", True, "download"): ("files.content", files.download),
        ("DELETE", "files", True, None): ("files.delete", files.delete),
        ("GET", "batches", False, None): ("batches.list", lambda _, visit: batches.list(visit)),
        ("GET", "batches", True, None): ("batches.retrieve", batches.show),
        ("POST", "batches", True, "cancel"): ("batches.cancel", batches.cancel),
        ("DELETE", "batches", True, None): ("batches.delete", batches.delete),
    }


def _error(refused: Refused) -> dict[str, object]:
    details: list[dict[str, object]] = []
    if refused.code is not None and refused.code.isupper():
        details.append(_detail("ErrorInfo", reason=refused.code, domain="googleapis.com"))
    if refused.param is not None:
        violation = {"field": refused.param, "description": refused.message}
        details.append(_detail("BadRequest", fieldViolations=[violation]))
    if refused.retry_after is not None:
        details.append(_detail("RetryInfo", retryDelay=f"{refused.retry_after:g}s"))
    status = STATUSES.get(refused.status, "UNKNOWN")
    error: dict[str, object] = {"code": refused.status, "message": refused.message, "status": status}
    return error | ({"details": details} if details else {})


def _detail(kind: str, **fields: object) -> dict[str, object]:
    return {"@type": f"type.googleapis.com/google.rpc.{kind}", **fields}
