"""The Anthropic dialect: POST /v1/messages and GET /v1/models for one account."""

from collections.abc import Mapping
from typing import Any
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
        self.root = base_url.rstrip("/").removesuffix("/v1")
        self._plain = (("content-type", "application/json"), ("anthropic-version", version))
        # One of the two headers, never both: sources disagree on what Anthropic makes of that (providers.md §1).
        self._keyed = (*self._plain, ("x-api-key", key)) if key is not None else self._plain
        self._key = key
        self._errors = errors

    def encode(self, request: Request) -> Outgoing:
        """The request as a message to create. Raises BadRequest that names what cannot be expressed."""
        message = self.message(request, stream=request.prompt.stream)
        headers = self.headers(request.authorization)
        if "speed" in message:
            headers = (*headers, FAST)
        return Outgoing(method="POST", url=f"{self.root}/v1/messages", headers=headers, body=_encode(message))

    def message(self, request: Request, *, stream: bool) -> dict[str, Any]:
        """The body of the message to create. Raises BadRequest that names what cannot be expressed."""
        if request.endpoint != "chat":
            raise BadRequest(
                f"model: '{self._name}' has no {request.endpoint}; send this to another provider.",
                param="model",
                code="unsupported_endpoint",
            )
        return translate_request(request.body, stream=stream, version=self._version)

    def encode_models(self, model: str | None, authorization: str | None) -> Outgoing:
        """GET /v1/models, or /v1/models/{id}."""
        url = f"{self.root}/v1/models" + (f"?limit={MODELS}" if model is None else f"/{quote(model)}")
        return Outgoing(method="GET", url=url, headers=self.headers(authorization), body=b"")

    def decode_models(self, body: bytes) -> bytes:
        """OpenAI's list of models, or one of them. Raises msgspec.DecodeError."""
        return translate_models(body)

    def headers(self, authorization: str | None) -> tuple[tuple[str, str], ...]:
        """Those of every call: our key, or where we have none the caller's own."""
        if self._key is None and authorization is not None:
            return (*self._plain, ("authorization", authorization))
        return self._keyed

    def decode(self, request: Request, incoming: Incoming, now: float) -> Answer | Fault:  # noqa: ARG002 - only chat is asked
        """A message is an answer; all else is a fault."""
        return self.answer(incoming.body, now) if 200 <= incoming.status < 300 else self.fault(incoming)

    def answer(self, body: bytes, now: float) -> Answer | Fault:
        """A message as an answer; what is none is a fault."""
        try:
            return chat.answer(translate_answer(body, now), now)
        except msgspec.DecodeError as error:
            return self._reported(body) or self._malformed(error)

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

    def _malformed(self, cause: Exception) -> Fault:
        return UpstreamMalformed(f"'{self._name}' answered with what is no message ({cause}).").fault
