"""The lines of a Mistral batch job: `{custom_id, body}`; path and model are the job's (SDK mistralai 3.7)."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from batchway.sandbox.batch_contract import Ending
from batchway.sandbox.blobs import Blob, Pile
from batchway.sandbox.contract import Plan, Visit
from batchway.sandbox.mistral.chat import complete
from batchway.sandbox.mistral.embeddings import embed
from batchway.sandbox.mistral.refusing import error_of
from batchway.sandbox.openai.batch_lines import LONGEST_ID, Outcome, Wanted
from batchway.sandbox.openai.batch_lines import Lines as OpenAILines
from batchway.sandbox.state import Sandbox

ANSWERS: Final[Mapping[str, tuple[str, Callable[[Sandbox, Visit], Plan]]]] = {
    "/v1/chat/completions": ("chat", complete),
    "/v1/embeddings": ("embeddings", embed),
}


class Line(Struct):
    """One line of the input."""

    custom_id: Annotated[str, Meta(min_length=1, max_length=LONGEST_ID)]
    body: dict[str, Raw]


_line = msgspec.json.Decoder(Line)
_encode = msgspec.json.Encoder().encode


class Lines(OpenAILines):
    """The work of one job."""

    answers = ANSWERS

    def __init__(
        self,
        sandbox: Sandbox,
        batch: Visit,
        endpoint: str,
        content: Blob,
        close: Callable[[Pile, Pile, float], None],
        *,
        model: str | None,
    ) -> None:
        """`model`: the job's, which takes the place of any that a line names."""
        super().__init__(sandbox, batch, endpoint, content, close)
        self._model = model

    def parse(self, line: bytes) -> Wanted:
        """What a line wants, the job's path and model with it."""
        read = _line.decode(line)
        model = {} if self._model is None else {"model": Raw(_encode(self._model))}
        return Wanted(custom_id=read.custom_id, method="POST", url=self.endpoint, body=Raw(_encode(read.body | model)))

    def give_up(self, _index: int, _ending: Ending) -> bytes | None:
        """Nothing is said of what was not done."""
        return None

    def write(self, number: int, custom_id: str, outcome: Outcome) -> bytes:
        """A line of the output or the error file; an error is words."""
        status = outcome.status if outcome.status is not None else 500
        words = outcome.error["message"] if outcome.error is not None else None
        response = {"status_code": status, "body": self.content(outcome)}
        return _encode({"id": f"batch-{number:024x}", "custom_id": custom_id, "response": response, "error": words})

    def content(self, outcome: Outcome) -> Any:
        """What was answered, or why not, in the shape of Mistral's errors."""
        if outcome.refused is not None:
            return error_of(outcome.refused)
        return None if outcome.answer is None else Raw(outcome.answer)

    def _check_url(self, url: str) -> None:
        """It is the job's."""
