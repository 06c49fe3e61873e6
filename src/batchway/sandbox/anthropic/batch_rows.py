"""The requests of a message batch: each done by what answers direct calls, its result a line (providers.md §4)."""

from collections.abc import Generator
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from batchway.sandbox.anthropic.body import explain
from batchway.sandbox.anthropic.caching import PromptCache
from batchway.sandbox.anthropic.errors import error_body
from batchway.sandbox.anthropic.messages import create
from batchway.sandbox.batch_contract import Done, Ending, Failure, Problem
from batchway.sandbox.blobs import Blob, Pile
from batchway.sandbox.contract import Bill, Headers, Plan, Refused, Visit, digest
from batchway.sandbox.state import Sandbox

TIER = "batch"
"""What the usage of an answer in a batch says."""

UNDONE: dict[Ending, dict[str, Any] | None] = {
    "cancelled": {"type": "canceled"},
    "expired": {"type": "expired"},
    "completed": None,
    "failed": {"type": "errored", "error": error_body(Refused(500, "Internal server error"), None)},
}
"""The result of a request that was not done, by how its batch ended. (`completed` without all of them is a fault of the
sandbox's: such requests are missing.)"""


class Wanted(Struct, forbid_unknown_fields=True):
    """A request of a batch."""

    custom_id: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_-]+$")]
    params: Raw


class _Body(Struct, forbid_unknown_fields=True):
    requests: Annotated[list[Wanted], Meta(min_length=1)]


class _Glance(Struct):
    """What must be known of a message before it is answered."""

    model: str = ""
    stream: bool = False


_body = msgspec.json.Decoder(_Body)
_wanted = msgspec.json.Decoder(Wanted)
_glance = msgspec.json.Decoder(_Glance)
_encode = msgspec.json.Encoder().encode


def read(content: bytes) -> list[Wanted]:
    """The requests of a batch to create; what they ask for is judged when they are done. Raises Refused."""
    try:
        requests = _body.decode(content).requests
    except msgspec.ValidationError as error:
        raise Refused(400, explain(str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, "The request body is not valid JSON") from error
    seen: set[str] = set()
    for number, wanted in enumerate(requests):
        if not bytes(wanted.params).startswith(b"{"):
            raise Refused(400, f"requests.{number}.params: Input should be an object")
        if wanted.custom_id in seen:
            raise Refused(400, f"requests.{number}.custom_id: '{wanted.custom_id}' is used more than once")
        seen.add(wanted.custom_id)
    return requests


class Rows:
    """The work of one batch."""

    in_order = False

    def __init__(self, sandbox: Sandbox, batch: Visit, requests: list[Wanted], cache: PromptCache) -> None:
        """`batch` is the visit that created it: its version of the API is that of every request."""
        self.results: Blob | None = None
        """All lines, once it has ended."""
        self._sandbox = sandbox
        self._batch = batch
        self._cache = cache
        self._headers: Headers = ((b"anthropic-version", (batch.header(b"anthropic-version") or "").encode()),)
        self._requests = Pile()
        for wanted in requests:
            self._requests.add(_encode(wanted))

    @property
    def size(self) -> int:
        """Requests."""
        return len(self._requests)

    def check(self, _at: float) -> Generator[None, None, tuple[Problem, ...]]:
        """Never asked for: they were read when the batch was created."""
        yield
        return ()

    def do(self, index: int, at: float, failure: Failure | None) -> Done:
        """Do one as a direct call would be, apart from rate limits and price."""
        wanted = self._read(index)
        visit = Visit(
            number=self._sandbox.next_number(),
            at=at,
            provider=self._batch.provider,
            method="POST",
            path="/v1/messages",
            headers=self._headers,
            body=bytes(wanted.params),
            key=self._batch.key,
        )
        failed, status, bill, result = self._answered(visit) if failure is None else _failed(failure, visit)
        return Done(
            custom_id=wanted.custom_id,
            data=_line(wanted.custom_id, result),
            place="output",
            failed=failed,
            status=status,
            endpoint="messages",
            bill=bill,
            request_id=visit.request_id,
            request_hash=digest(visit.body),
        )

    def give_up(self, index: int, ending: Ending) -> bytes | None:
        """Each request that was not done says so."""
        result = UNDONE[ending]
        return None if result is None else _line(self._read(index).custom_id, result)

    def close(self, output: Pile, errors: Pile, _at: float) -> None:
        """All lines in one file. Those that were not done come first: the last line may be half written (a fault)."""
        self.results = output.blob
        if len(errors):
            self.results = errors.blob
            for block in output.blob.blocks():
                self.results.append(block)

    def _read(self, index: int) -> Wanted:
        return _wanted.decode(self._requests.line(index))

    def _answered(self, visit: Visit) -> tuple[bool, int, Bill, dict[str, Any]]:
        """Whether it failed, its status, its bill and its result."""
        glance = _look(visit.body)
        try:
            if glance.stream:
                raise Refused(400, "stream: Batches do not stream")
            plan: Plan = create(self._sandbox, visit, self._cache, TIER)
        except Refused as refused:
            return True, refused.status, Bill(model=glance.model, tier=TIER), _errored(refused, visit)
        return False, plan.status, plan.bill, {"type": "succeeded", "message": Raw(plan.parts[0].data)}


def _look(body: bytes) -> _Glance:
    """As far as it can be read: what is wrong with it is said by what answers it."""
    try:
        return _glance.decode(body)
    except (ValueError, RecursionError):
        return _Glance()


def _failed(failure: Failure, visit: Visit) -> tuple[bool, int | None, Bill, dict[str, Any]]:
    """A request that was made to fail."""
    bill = Bill(model=_look(visit.body).model, tier=TIER)
    return failure.counted, failure.status, bill, _errored(Refused(failure.status or 500, failure.message), visit)


def _errored(refused: Refused, visit: Visit) -> dict[str, Any]:
    return {"type": "errored", "error": error_body(refused, visit.request_id)}


def _line(custom_id: str, result: dict[str, Any]) -> bytes:
    return _encode({"custom_id": custom_id, "result": result})
