"""Anthropic's dialect: routes, keys, versions, errors (shapes: anthropic SDK 2.11, providers.md §10)."""

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
from msgspec import Struct, structs

from batchway.sandbox.anthropic.batches import BATCHES, CANCEL, RESULTS, Batches
from batchway.sandbox.anthropic.body import VERSIONS
from batchway.sandbox.anthropic.caching import PromptCache
from batchway.sandbox.anthropic.errors import error_object, refusal
from batchway.sandbox.anthropic.events import event
from batchway.sandbox.anthropic.messages import create
from batchway.sandbox.anthropic.models import list_models, show_model
from batchway.sandbox.contract import Headers, Peek, Plan, Refused, Route, Visit
from batchway.sandbox.openai.allowance import MINUTE, Allowance
from batchway.sandbox.state import Sandbox

BEARER = b"bearer "
MODELS = "/v1/models/"
ID = "{id}"


class _Glance(Struct):
    model: str | None = None
    stream: bool | None = None


_glance = msgspec.json.Decoder(_Glance)


class Anthropic:
    """One provider that speaks Anthropic's dialect."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._allowance = Allowance(sandbox)
        cache = PromptCache()
        self._routes = {
            ("POST", "/v1/messages"): Route("messages", self._answering(lambda visit: create(sandbox, visit, cache))),
            ("GET", "/v1/models"): Route("models", self._answering(lambda visit: list_models(sandbox, visit))),
            **self._batch_routes(Batches(sandbox, cache)),
        }
        self._model = Route("models", self._answering(lambda visit: show_model(sandbox, visit)))

    def find(self, method: str, path: str) -> Route | None:
        """The route of a path."""
        if method == "GET" and path.startswith(MODELS):
            return self._model
        return self._routes.get((method, path)) or self._routes.get((method, _without_id(path)))

    def key(self, headers: Headers) -> str:
        """The key of `x-api-key`, or the bearer."""
        found = dict(headers)
        bearer = found.get(b"authorization", b"")
        token = bearer[len(BEARER) :].strip() if bearer[: len(BEARER)].lower() == BEARER else b""
        return found.get(b"x-api-key", token).decode("latin-1")

    def peek(self, visit: Visit) -> Peek:
        """What the body's top level says; of a body that is no such JSON, nothing."""
        try:
            glance = _glance.decode(visit.body)
        except (msgspec.DecodeError, RecursionError):
            return Peek()
        return Peek(model=glance.model or "", stream=bool(glance.stream))

    def admit(self, visit: Visit) -> Headers:
        """The id of the request, which errors carry as well: whoever may not pass is refused by the route, so that the
        refusal has it."""
        return ((b"request-id", visit.request_id.encode()),)

    def refusal(self, refused: Refused) -> Plan:
        """`{"type": "error", "error": {type, message}}` with the status, and Retry-After where it is known."""
        return refusal(refused, None)

    def error_frame(self, refused: Refused) -> bytes:
        """The `error` event, which the SDK raises as an APIStatusError."""
        return event("error", {"error": error_object(refused)})

    def _batch_routes(self, batches: Batches) -> dict[tuple[str, str], Route]:
        one = f"{BATCHES}/{ID}"
        answers = {
            ("POST", BATCHES): ("create", batches.create),
            ("GET", BATCHES): ("list", batches.list),
            ("GET", one): ("retrieve", batches.show),
            ("DELETE", one): ("delete", batches.delete),
            ("POST", one + CANCEL): ("cancel", batches.cancel),
            ("GET", one + RESULTS): ("results", batches.results),
        }
        return {
            route: Route(f"batches.{name}", self._answering(answer), settled=True)
            for route, (name, answer) in answers.items()
        }

    def _answering(self, answer: Callable[[Visit], Plan]) -> Callable[[Visit], Plan]:
        def answer_or_refuse(visit: Visit) -> Plan:
            try:
                limits = self._check(visit)
                plan = self._allowance.charge(visit, answer(visit))
            except Refused as refused:
                return refusal(refused, visit.request_id)
            return structs.replace(plan, headers=(*plan.headers, *limits))

        return answer_or_refuse

    def _check(self, visit: Visit) -> Headers:
        """Check key, version and allowance. Returns the rate-limit headers."""
        both = visit.header(b"x-api-key") is not None and visit.header(b"authorization") is not None
        if both:
            raise Refused(400, "Send x-api-key or Authorization, not both.")
        if not visit.key:
            raise Refused(401, "x-api-key header is required")
        if not self._sandbox.accepts(visit.key):
            raise Refused(401, "invalid x-api-key")
        version = visit.header(b"anthropic-version")
        if version is None:
            raise Refused(400, "anthropic-version: header is required")
        if version not in VERSIONS:
            raise Refused(400, f'anthropic-version: "{version}" is not a valid version')
        return tuple(_named(name, value, visit.at) for name, value in self._allowance.take(visit))


def _without_id(path: str) -> str:
    """`/v1/messages/batches/b-1/cancel` becomes `/v1/messages/batches/{id}/cancel`."""
    steps = path.split("/")
    return "/".join((*steps[:4], ID, *steps[5:]))


def _named(name: bytes, value: bytes, at: float) -> tuple[bytes, bytes]:
    """OpenAI's `x-ratelimit-WHAT-OF` as Anthropic's `anthropic-ratelimit-OF-WHAT`; a reset is an instant."""
    what, _, of = name.removeprefix(b"x-ratelimit-").partition(b"-")
    if what == b"reset":
        instant = datetime.fromtimestamp(at - at % MINUTE + MINUTE, UTC)
        value = instant.isoformat().replace("+00:00", "Z").encode()
    return b"anthropic-ratelimit-" + of + b"-" + what, value
