"""The Anthropic dialect: POST /v1/messages and GET /v1/models for one account."""

from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from batchway.core.errors import BadRequest, UpstreamMalformed
from batchway.core.limits import Report
from batchway.core.types import Answer, Fault, Request
from batchway.ports import Dialect, Incoming, Outgoing
from batchway.providers.anthropic import faults
from batchway.providers.anthropic.answer import translate as translate_answer
from batchway.providers.anthropic.answer import translate_models
from batchway.providers.anthropic.request import translate as translate_request
from batchway.providers.anthropic.stream import EventReader
from batchway.wire import chat
from batchway.wire.endpoints import StreamReader

FAST = ("anthropic-beta", "fast-mode-2026-02-01")
"""Some models take `speed` only with this header (anthropic 2.11, message_create_params)."""

MODELS = 1000
"""Models asked for at once, the most that a page holds."""


class _Failure(msgspec.Struct):
    """A body that is an error, whatever its status."""

    error: msgspec.Raw


_failure = msgspec.json.Decoder(_Failure)
_encode = msgspec.json.Encoder().encode


class AnthropicDialect:
    """Encodes and decodes for one account.

    `version`: of Anthropic's API; what a request may say depends on it. `errors`: a dialect of the same account
    that reads errors of every shape, takes keys out of them, and knows Retry-After.
    """

    def __init__(self, name: str, base_url: str, key: str | None, version: str, *, errors: Dialect) -> None:
        self._name = name
        self._version = version
        root = base_url.rstrip("/").removesuffix("/v1")
        self._messages_url = f"{root}/v1/messages"
        self._models_url = f"{root}/v1/models"
        self._plain = (("content-type", "application/json"), ("anthropic-version", version))
        # One of the two headers, never both: sources disagree on what Anthropic makes of that (providers.md §1).
        self._keyed = (*self._plain, ("x-api-key", key)) if key is not None else self._plain
        self._key = key
        self._errors = errors

    def encode(self, request: Request) -> Outgoing:
        """The request as a message to create. Raises BadRequest that names what cannot be expressed."""
        if request.endpoint != "chat":
            raise BadRequest(
                f"model: '{self._name}' has no {request.endpoint}; send this to another provider.",
                param="model",
                code="unsupported_endpoint",
            )
        message = translate_request(request.body, stream=request.prompt.stream, version=self._version)
        headers = self._headers(request.authorization)
        if "speed" in message:
            headers = (*headers, FAST)
        return Outgoing(method="POST", url=self._messages_url, headers=headers, body=_encode(message))

    def encode_models(self, model: str | None, authorization: str | None) -> Outgoing:
        """GET /v1/models, or /v1/models/{id}."""
        url = f"{self._models_url}?limit={MODELS}" if model is None else f"{self._models_url}/{quote(model)}"
        return Outgoing(method="GET", url=url, headers=self._headers(authorization), body=b"")

    def decode_models(self, body: bytes) -> bytes:
        """OpenAI's list of models, or one of them. Raises msgspec.DecodeError."""
        return translate_models(body)

    def _headers(self, authorization: str | None) -> tuple[tuple[str, str], ...]:
        if self._key is None and authorization is not None:
            return (*self._plain, ("authorization", authorization))
        return self._keyed

    def decode(self, request: Request, incoming: Incoming, now: float) -> Answer | Fault:  # noqa: ARG002 - only chat is asked
        """A message is an answer; all else is a fault."""
        if not 200 <= incoming.status < 300:
            return self.fault(incoming)
        try:
            return chat.answer(translate_answer(incoming.body, now), now)
        except msgspec.DecodeError as error:
            return self._reported(incoming.body) or self._malformed(incoming.status, error)

    def follow(self, request: Request, *, fold: bool) -> StreamReader:
        """A reader of the events. They carry no time: an answer counts as made when it was asked for."""
        return EventReader(request.prompt.model, int(request.asked_at), fold=fold)

    def fault(self, incoming: Incoming) -> Fault:
        """An error status with the provider's own words, in OpenAI's shape."""
        return faults.translate(self._errors.fault(incoming))

    def error_frame(self, error: bytes) -> Fault:
        """An error inside a stream."""
        return faults.translate(self._errors.error_frame(error), streamed=True)

    def report(self, headers: Mapping[str, str], now: float) -> Report | None:
        """What the headers say about rate limits."""
        return faults.report(headers, self._errors.report(headers, now))

    def _reported(self, body: bytes) -> Fault | None:
        try:
            return self.error_frame(bytes(_failure.decode(body).error))
        except msgspec.DecodeError:
            return None

    def _malformed(self, status: int, cause: Exception) -> Fault:
        return UpstreamMalformed(f"'{self._name}' answered {status} with a body that is no message ({cause}).").fault
