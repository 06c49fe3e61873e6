"""The requests of a batch: a line of the input file each, done by what answers direct calls (providers.md §5.1)."""

from array import array
from collections.abc import Callable, Generator, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from batchway.sandbox.batch_contract import Done, Ending, Failure, Problem
from batchway.sandbox.blobs import Blob, Pile
from batchway.sandbox.contract import Bill, Plan, Refused, Visit, digest
from batchway.sandbox.gemini.embeddings import embed
from batchway.sandbox.gemini.generation import complete
from batchway.sandbox.state import Sandbox

Answer = Callable[[Sandbox, str, Visit], Plan]

ENDPOINTS: Mapping[str, tuple[str, Answer]] = {
    "batchGenerateContent": ("chat", complete),
    "asyncBatchEmbedContent": ("embeddings", embed),
}
"""What a model is asked to do with a batch -> the endpoint's name in the ledger, and what answers a request."""

RPC: Mapping[int, int] = {400: 3, 401: 16, 403: 7, 404: 5, 409: 10, 429: 8, 499: 1, 500: 13, 501: 12, 503: 14, 504: 4}
"""HTTP status -> google.rpc.Code."""

MOST_PROBLEMS = 20
SLICE = 256
"""Lines that are checked between two turns for others."""


class Wanted(Struct, omit_defaults=True):
    """One line of the input."""

    request: Raw
    key: str | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET

    @property
    def name(self) -> str:
        """What the ledger knows it by."""
        if isinstance(self.key, str):
            return self.key
        return "" if isinstance(self.metadata, UnsetType) else str(self.metadata.get("key", ""))


class _Vector(Struct, rename="camel"):
    embedding: Raw
    usage_metadata: dict[str, int]


_wanted = msgspec.json.Decoder(Wanted)
_vector = msgspec.json.Decoder(_Vector)
_encode = msgspec.json.Encoder().encode


class Rows:
    """The work of one batch."""

    in_order = True

    def __init__(self, sandbox: Sandbox, batch: Visit, model: str, method: str, content: Blob) -> None:
        """`batch` is the visit that created it."""
        self.close: Callable[[Pile, Pile, float], None] = _forget
        self._sandbox = sandbox
        self._batch = batch
        self._model = model
        self._endpoint, self._answer = ENDPOINTS[method]
        self._content = content
        self._starts, self._lengths = array("Q"), array("Q")

    @property
    def size(self) -> int:
        """Lines found."""
        return len(self._starts)

    def check(self, _at: float) -> Generator[None, None, tuple[Problem, ...]]:
        """Read the whole input."""
        problems: list[Problem] = []
        for number, (start, line) in enumerate(self._content.lines(), 1):
            if number % SLICE == 0:
                yield
            if not line.strip():
                continue
            try:
                _wanted.decode(line)
            except (ValueError, RecursionError) as error:
                message = f"Line {number} of the input is not a request: {error}."
                problems.append(Problem(code="invalid_request", message=message, line=number))
            if len(problems) == MOST_PROBLEMS:
                break
            self._starts.append(start)
            self._lengths.append(len(line))
        if not self.size:
            problems.append(Problem(code="invalid_request", message="The input holds no requests."))
        return tuple(problems)

    def tokens(self) -> int:
        """Prompt tokens of all lines, counted on their bytes."""
        return sum(self._sandbox.count(line.decode(errors="replace")) for _, line in self._content.lines())

    def do(self, index: int, at: float, failure: Failure | None) -> Done:
        """Do one line as a direct call would be, apart from rate limits and price."""
        wanted = self._read(index)
        visit = Visit(
            number=self._sandbox.next_number(),
            at=at,
            provider=self._batch.provider,
            method="POST",
            path=f"/v1beta/models/{self._model}",
            body=bytes(wanted.request),
            key=self._batch.key,
        )
        failed, status, bill, result = self._answered(visit) if failure is None else self._failed(failure)
        told = {"key": wanted.key, "metadata": wanted.metadata} | result
        return Done(
            custom_id=wanted.name,
            data=_encode({name: value for name, value in told.items() if value is not UNSET}),
            place="output",
            failed=failed,
            status=status,
            endpoint=self._endpoint,
            bill=bill,
            request_id=visit.request_id,
            request_hash=digest(visit.body),
        )

    def give_up(self, _index: int, _ending: Ending) -> None:
        """What was not done is not spoken of: a batch that does not succeed has no results at all."""

    def _read(self, index: int) -> Wanted:
        return _wanted.decode(self._content.read(self._starts[index], self._lengths[index]))

    def _answered(self, visit: Visit) -> tuple[bool, int, Bill, dict[str, Any]]:
        """Whether it failed, its status, its bill and its result."""
        try:
            plan = self._answer(self._sandbox, self._model, visit)
        except Refused as refused:
            return True, refused.status, Bill(model=self._model), _error(refused.status, refused.message)
        return False, plan.status, plan.bill, {"response": self._on_a_line(plan.parts[0].data)}

    def _on_a_line(self, answer: bytes) -> Raw | dict[str, Any]:
        if self._endpoint == "chat":
            return Raw(msgspec.json.format(answer, indent=-1))
        found = _vector.decode(answer)
        return {"embedding": found.embedding, "tokenCount": found.usage_metadata["promptTokenCount"]}

    def _failed(self, failure: Failure) -> tuple[bool, int | None, Bill, dict[str, Any]]:
        """A line that was made to fail."""
        bill = Bill(model=self._model)
        return failure.counted, failure.status, bill, _error(failure.status or 500, failure.message)


def _error(status: int, message: str) -> dict[str, Any]:
    return {"error": {"code": RPC.get(status, 2), "message": message}}


def _forget(_output: Pile, _errors: Pile, _at: float) -> None:
    """Nobody asked for the results."""
