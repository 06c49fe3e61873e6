"""The Mistral dialect: OpenAI's with other names, stricter about fields, and with answers in chunks."""

from collections.abc import Mapping

from msgspec import structs

from batchway.core.limits import Report
from batchway.core.types import Answer, Fault, Request
from batchway.ports import Dialect, Incoming, Outgoing
from batchway.providers.mistral import answers, requests
from batchway.wire.endpoints import StreamReader

MINUTE = 60.0

_HEADERS = {
    "x-ratelimit-limit-req-minute": "x-ratelimit-limit-requests",
    "x-ratelimit-limit-tokens-minute": "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-req-minute": "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens-minute": "x-ratelimit-remaining-tokens",
}
"""Rate-limit headers by the name that OpenAI gives them (seen in mistralai/client-ts#169; no header says the reset)."""


class MistralDialect:
    """Translates what the OpenAI dialect of the same account sends and gets.

    Responses pass as they are: Mistral's endpoint of that name has OpenAI's shape (SDK mistralai 3.7).
    """

    def __init__(self, openai: Dialect) -> None:
        self._openai = openai

    def encode(self, request: Request) -> Outgoing:
        """The request in Mistral's words. Raises BadRequest for what it cannot be asked."""
        outgoing = self._openai.encode(request)
        translate = _REQUESTS.get(request.endpoint)
        return outgoing if translate is None else structs.replace(outgoing, body=translate(outgoing.body))

    def encode_models(self, model: str | None, authorization: str | None) -> Outgoing:
        """As OpenAI's."""
        return self._openai.encode_models(model, authorization)

    def decode_models(self, body: bytes) -> bytes:
        """As they are: OpenAI's fields, and others beside them."""
        return body

    def decode(self, request: Request, incoming: Incoming, now: float) -> Answer | Fault:
        """The answer in OpenAI's shape."""
        if not 200 <= incoming.status < 300:
            return self.fault(incoming)
        if request.endpoint == "chat":
            incoming = structs.replace(incoming, body=answers.completion(incoming.body))
        return self._openai.decode(request, incoming, now)

    def follow(self, request: Request, *, fold: bool) -> StreamReader:
        """A reader that makes OpenAI's chunks of Mistral's."""
        if request.endpoint == "chat":
            return answers.StreamReader(fold=fold, n=request.prompt.n)
        return self._openai.follow(request, fold=fold)

    def fault(self, incoming: Incoming) -> Fault:
        """The fault, in OpenAI's shape."""
        return self._openai.fault(structs.replace(incoming, body=answers.error_body(incoming.body)))

    def error_frame(self, error: bytes) -> Fault:
        """The fault that an error inside a stream is; the reader has put it into OpenAI's shape."""
        return self._openai.error_frame(error)

    def report(self, headers: Mapping[str, str], now: float) -> Report | None:
        """Mistral's limits are by the minute, and it does not say when that ends: after a minute at the latest."""
        found = {ours: headers[theirs] for theirs, ours in _HEADERS.items() if theirs in headers}
        report = self._openai.report({**headers, **found}, now)
        if report is None:
            return None
        return structs.replace(
            report,
            reset_requests=None if report.remaining_requests is None else now + MINUTE,
            reset_tokens=None if report.remaining_tokens is None else now + MINUTE,
        )


_REQUESTS = {"chat": requests.chat, "embeddings": requests.embeddings}
