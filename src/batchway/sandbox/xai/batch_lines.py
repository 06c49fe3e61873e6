"""The lines of an xAI batch: OpenAI's, each with a path and a model of its own; results with the codes of gRPC."""

from typing import Final

import msgspec
from msgspec import Raw

from batchway.sandbox.batch_contract import Done, Ending, Failure
from batchway.sandbox.contract import Bill, Refused
from batchway.sandbox.openai.batch_lines import Lines as OpenAILines
from batchway.sandbox.openai.batch_lines import Outcome

NAMES: Final = {"/v1/chat/completions": "chat_get_completion"}
"""Paths, and what their answers are called."""

CODES: Final = {400: 3, 401: 16, 403: 7, 404: 5, 409: 10, 422: 3, 429: 8, 500: 13, 501: 12, 503: 14, 504: 4}
"""Statuses of HTTP as codes of google.rpc. Others are UNKNOWN."""

UNKNOWN = 2
CANCELLED = 1

_encode = msgspec.json.Encoder().encode


class Lines(OpenAILines):
    """The work of one batch. All its results are in one place, in whatever order they came about."""

    def do(self, index: int, at: float, failure: Failure | None) -> Done:
        """Do one line."""
        done = super().do(index, at, failure)
        return msgspec.structs.replace(done, place="output")

    def give_up(self, index: int, ending: Ending) -> bytes | None:
        """What was cancelled says so; what is pending when the batch expires is pending. (Both UNCONFIRMED.)"""
        if ending == "expired":
            return None
        words = {"code": "cancelled", "message": "The request was cancelled."}
        undone = Outcome(status=None, failed=True, place="errors", bill=Bill(), error=words)
        return self.write(0, self._read(index).custom_id, undone)

    def write(self, _number: int, custom_id: str, outcome: Outcome) -> bytes:
        """An entry of the results. An answer comes with an error of code 0, which is none (github vercel/ai)."""
        if outcome.answer is not None:
            named = {NAMES["/v1/chat/completions"]: Raw(outcome.answer)}
            result = {"response": named, "error": {"code": 0, "message": ""}}
            return _encode({"batch_request_id": custom_id, "batch_result": result})
        code, words = _failed(outcome)
        failed = {"error": {"code": code, "message": words}}
        return _encode({"batch_request_id": custom_id, "batch_result": failed, "error_message": words})

    def _check_url(self, url: str) -> None:
        allowed = [each for each in self._offer.endpoints if each in NAMES]
        if url not in allowed:
            raise Refused(400, f"The url '{url}' is not one of {', '.join(allowed)}.", param="url", code="invalid_url")


def _failed(outcome: Outcome) -> tuple[int, str]:
    if outcome.refused is not None:
        return CODES.get(outcome.refused.status, UNKNOWN), outcome.refused.message
    if outcome.error is not None:
        return CANCELLED if outcome.error["code"] == "cancelled" else UNKNOWN, outcome.error["message"]
    return UNKNOWN, ""
