"""The dialect itself: where each question goes, with which key, and what is made of the answer."""

from collections.abc import Mapping
from typing import Final

from batchway.core.errors import BadRequest, UpstreamMalformed
from batchway.core.limits import Report
from batchway.core.types import Answer, Fault, Request
from batchway.ports import Incoming, Outgoing
from batchway.providers.gemini.chat import encode_chat
from batchway.providers.gemini.embeddings import decode_embeddings, encode_embeddings
from batchway.providers.gemini.errors import Faults
from batchway.providers.gemini.models import decode_models, resource_of
from batchway.providers.gemini.stream import StreamReader
from batchway.wire import chat, embeddings

VERSION: Final = "v1beta"
"""The version that knows all of what is asked here; `v1` is spoken alike."""

PAGE: Final = 1000
"""Models that one answer may list: the most that Google allows, and more than there are."""

_JSON: Final = ("content-type", "application/json")


def unspoken(name: str, request: Request) -> BadRequest:
    """What to raise for an endpoint that Gemini does not have."""
    return BadRequest(f"'{name}' does not speak {request.endpoint}; use chat completions.", code="unsupported_endpoint")


class GeminiDialect:
    """Encodes and decodes for one account of Google's Gemini API (providers.md §1, §11)."""

    def __init__(self, name: str, base_url: str, key: str | None, version: str | None = None) -> None:
        self._name = name
        self._root = f"{base_url.rstrip('/')}/{version or VERSION}"
        self._key = key
        self._faults = Faults(name, key)

    def encode(self, request: Request) -> Outgoing:
        """The question in Gemini's words. Raises BadRequest, naming the field, for what it cannot be asked."""
        resource = resource_of(request.prompt.model)
        if request.endpoint == "chat":
            method = "streamGenerateContent?alt=sse" if request.prompt.stream else "generateContent"
            content = encode_chat(request.prompt.model, request.body)
        elif request.endpoint == "embeddings":
            method, content = "batchEmbedContents", encode_embeddings(resource, request.body)
        else:
            raise unspoken(self._name, request)
        url = f"{self._root}/{resource}:{method}"
        return Outgoing(method="POST", url=url, headers=self._headers(request.authorization), body=content)

    def encode_models(self, model: str | None, authorization: str | None) -> Outgoing:
        """GET the list of models, or one."""
        path = f"models?pageSize={PAGE}" if model is None else resource_of(model)
        return Outgoing(method="GET", url=f"{self._root}/{path}", headers=self._headers(authorization), body=b"")

    def _headers(self, authorization: str | None) -> tuple[tuple[str, str], ...]:
        """Our key in its own header, never in the URL, where logs would keep it; or the caller's bearer."""
        if self._key is not None:
            return (_JSON, ("x-goog-api-key", self._key))
        return (_JSON, ("authorization", authorization)) if authorization is not None else (_JSON,)

    def decode_models(self, body: bytes) -> bytes:
        """OpenAI's list of models, or one. Raises msgspec.DecodeError."""
        return decode_models(body)

    def decode(self, request: Request, incoming: Incoming, now: float) -> Answer | Fault:
        """A 2xx that is what the endpoint promises is an answer; all else is a fault."""
        if not 200 <= incoming.status < 300:
            return self.fault(incoming)
        try:
            if request.endpoint == "embeddings":
                listed = decode_embeddings(request.body, request.prompt.model, incoming.body)
                return embeddings.answer(listed, now)
            return self._decode_chat(request, incoming, now)
        except ValueError as error:  # Not JSON, not of this shape, or not UTF-8 where it is read.
            what = f"answered {incoming.status} with a body that is not a {request.endpoint} object"
            return UpstreamMalformed(f"'{self._name}' {what} ({error}).").fault

    def _decode_chat(self, request: Request, incoming: Incoming, now: float) -> Answer | Fault:
        reader = self._reader(request, fold=False, created=now, tier=incoming.headers.get("x-gemini-service-tier"))
        completion = reader.read_whole(incoming.body)
        if reader.error is not None:
            return self.error_frame(reader.error)
        return chat.answer(completion, now)

    def follow(self, request: Request, *, fold: bool) -> StreamReader:
        """A reader of a chat's stream."""
        return self._reader(request, fold=fold, created=request.asked_at)

    def _reader(self, request: Request, *, fold: bool, created: float, tier: str | None = None) -> StreamReader:
        return StreamReader(
            fold=fold,
            identity=f"chatcmpl-{request.ask}",
            model=request.prompt.model,
            created=int(created),
            tier=tier,
        )

    def fault(self, incoming: Incoming) -> Fault:
        """An error status with Google's words in OpenAI's shape."""
        return self._faults.of_status(incoming)

    def error_frame(self, error: bytes) -> Fault:
        """An error inside a stream, or in the place of an answer."""
        return self._faults.of_words(error)

    def report(self, headers: Mapping[str, str], now: float) -> Report | None:  # noqa: ARG002 - see below
        """None: Gemini's headers say nothing about limits; its refusals do (providers.md §13.3)."""
        return None
