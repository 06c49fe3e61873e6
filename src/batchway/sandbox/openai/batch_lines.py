"""The lines of a batch's input file: checked as a whole, then each done by what answers direct calls (§3.2 to §3.6)."""

from array import array
from collections.abc import Callable, Generator, Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from batchway.sandbox.batch_contract import Done, Ending, Failure, Problem
from batchway.sandbox.blobs import Blob, Pile
from batchway.sandbox.contract import Bill, Plan, Refused, Visit, digest
from batchway.sandbox.offers import Offer
from batchway.sandbox.openai.chat import complete
from batchway.sandbox.openai.embeddings import embed
from batchway.sandbox.openai.reading import error_object
from batchway.sandbox.openai.responses import respond
from batchway.sandbox.state import Sandbox

ENDPOINTS: Final[Mapping[str, tuple[str, Callable[[Sandbox, Visit], Plan]]]] = {
    "/v1/chat/completions": ("chat", complete),
    "/v1/embeddings": ("embeddings", embed),
    "/v1/responses": ("responses", respond),
}
"""What a line may ask for: the endpoint's name in the ledger, and what answers it."""

LONGEST_ID = 64
MOST_PROBLEMS = 20
SLICE = 256
"""Lines that are checked between two turns for others."""

EXPIRED = {
    "code": "batch_expired",
    "message": "This request could not be executed before the completion window expired.",
}


class Wanted(Struct):
    """One line of the input."""

    custom_id: Annotated[str, Meta(min_length=1, max_length=LONGEST_ID)]
    method: str
    url: str
    body: Raw


class Glance(Struct):
    """What is checked of a line's body; the rest is judged when the line is done."""

    model: str = ""
    stream: Any = None


_wanted = msgspec.json.Decoder(Wanted)
_glance = msgspec.json.Decoder(Glance)
_names = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode


class Outcome(Struct, kw_only=True):
    """What became of one line, before it is written in a provider's shape."""

    status: int | None
    """Of HTTP; None: it was not answered."""
    failed: bool
    place: Literal["output", "errors"]
    bill: Bill
    answer: bytes | None = None
    refused: Refused | None = None
    error: dict[str, str] | None = None
    """Code and message, where there was no answer."""
    request_id: str = ""


class Lines:
    """The work of one batch. Dialects that have lines of another shape say how they are read, answered and written."""

    in_order = False
    answers = ENDPOINTS

    def __init__(
        self,
        sandbox: Sandbox,
        batch: Visit,
        endpoint: str,
        content: Blob,
        close: Callable[[Pile, Pile, float], None],
    ) -> None:
        """`batch` is the visit that created it; `close` is told the results once they are all there."""
        self.close = close
        self.endpoint = endpoint
        self.model: str | None = None
        self.tokens = 0
        """Prompt tokens, counted (on the raw body) only where there is a limit on them."""
        self._sandbox = sandbox
        self._batch = batch
        self._offer: Offer = sandbox.offer(batch.provider)
        self._content = content
        self._forget()

    @property
    def size(self) -> int:
        """Lines found."""
        return len(self._starts)

    def check(self, at: float) -> Generator[None, None, tuple[Problem, ...]]:
        """Read the whole file: every line by itself, then all together."""
        self._forget()
        problems: list[Problem] = []
        ids: set[str] = set()
        for number, (start, line) in enumerate(self._content.lines(), 1):
            if number % SLICE == 0:
                yield
            if not line.strip():
                continue
            try:
                self._check_line(line, ids)
            except Refused as wrong:
                problems.append(Problem(code=wrong.code or "", message=wrong.message, line=number, param=wrong.param))
            if len(problems) == MOST_PROBLEMS:
                break
            self._starts.append(start)
            self._lengths.append(len(line))
        return tuple(problems) or self._check_all(at)

    def do(self, index: int, at: float, failure: Failure | None) -> Done:
        """Do one line as a direct call would be, apart from rate limits and price."""
        wanted = self._read(index)
        visit = self._visit(wanted, at)
        outcome = self._answered(visit) if failure is None else self._failed(failure, visit)
        return Done(
            custom_id=wanted.custom_id,
            data=self.write(visit.number, wanted.custom_id, outcome),
            place=outcome.place,
            failed=outcome.failed,
            status=outcome.status,
            endpoint=self.answers[wanted.url][0],
            bill=outcome.bill,
            request_id=visit.request_id,
            request_hash=digest(bytes(wanted.body)),
        )

    def give_up(self, index: int, ending: Ending) -> bytes | None:
        """Of an expired batch each line that was not done says so; of others nothing is said (§3.4)."""
        if ending != "expired":
            return None
        undone = Outcome(status=None, failed=True, place="errors", bill=Bill(), error=EXPIRED)
        return self.write(self._sandbox.next_number(), self._read(index).custom_id, undone)

    def parse(self, line: bytes) -> Wanted:
        """What a line of the input wants."""
        return _wanted.decode(line)

    def write(self, number: int, custom_id: str, outcome: Outcome) -> bytes:
        """The line of a result file."""
        response = None
        if outcome.status is not None:
            response = {"status_code": outcome.status, "request_id": outcome.request_id, "body": self.content(outcome)}
        identity = f"batch_req_{number:024x}"
        return _encode({"id": identity, "custom_id": custom_id, "response": response, "error": outcome.error})

    def content(self, outcome: Outcome) -> Any:
        """What was answered, or why not."""
        if outcome.refused is not None:
            return {"error": error_object(outcome.refused)}
        return None if outcome.answer is None else Raw(outcome.answer)

    def _forget(self) -> None:
        self.tokens = 0
        self._starts = array("Q")
        self._lengths = array("Q")
        self._models: set[str] = set()

    def _read(self, index: int) -> Wanted:
        return self.parse(self._content.read(self._starts[index], self._lengths[index]))

    def _visit(self, wanted: Wanted, at: float) -> Visit:
        return Visit(
            number=self._sandbox.next_number(),
            at=at,
            provider=self._batch.provider,
            method=wanted.method,
            path=wanted.url,
            body=_without_stream(bytes(wanted.body)),
            key=self._batch.key,
        )

    def _answered(self, visit: Visit) -> Outcome:
        identity = visit.request_id
        try:
            plan = self.answers[visit.path][1](self._sandbox, visit)
        except Refused as refused:
            bill = Bill(model=self.model or "")
            return Outcome(
                status=refused.status, failed=True, place="errors", bill=bill, refused=refused, request_id=identity
            )
        answer = plan.parts[0].data
        return Outcome(
            status=plan.status, failed=False, place="output", bill=plan.bill, answer=answer, request_id=identity
        )

    def _failed(self, failure: Failure, visit: Visit) -> Outcome:
        """A line that was made to fail: with an HTTP error, with status 0 and no body, or before it had an answer."""
        outcome = Outcome(
            status=failure.status,
            failed=failure.counted,
            place=failure.place,
            bill=Bill(model=self.model or ""),
            request_id=visit.request_id,
        )
        if failure.status is None:
            outcome.error = {"code": failure.code, "message": failure.message}
        elif failure.status:
            kind = "server_error" if failure.status >= 500 else "invalid_request_error"
            outcome.refused = Refused(failure.status, failure.message, kind=kind, code=failure.code)
        return outcome

    def _check_line(self, line: bytes, ids: set[str]) -> None:
        try:
            wanted = self.parse(line)
            glance = _glance.decode(wanted.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refused(400, f"This line is not a request: {error}.", code="invalid_json_line") from error
        if wanted.custom_id in ids:
            message = f"The custom_id '{wanted.custom_id}' is used more than once."
            raise Refused(400, message, param="custom_id", code="duplicate_custom_id")
        if wanted.method != "POST":
            raise Refused(400, "The method must be POST.", param="method", code="invalid_method")
        self._check_url(wanted.url)
        if glance.stream and self._offer.streams == "refuse":
            raise Refused(400, "Batches do not stream.", param="body.stream", code="invalid_request")
        ids.add(wanted.custom_id)
        self._models.add(glance.model)
        if self._offer.enqueued_tokens is not None:
            self.tokens += self._sandbox.count(bytes(wanted.body).decode())

    def _check_url(self, url: str) -> None:
        if url != self.endpoint:
            message = f"The url '{url}' is not the batch's endpoint '{self.endpoint}'."
            raise Refused(400, message, param="url", code="url_mismatch")

    def _check_all(self, at: float) -> tuple[Problem, ...]:
        most, models = self._offer.most_requests, sorted(self._models)
        self.model = models[0] if len(models) == 1 else None
        if not self.size:
            return (Problem(code="empty_file", message="The input file holds no requests."),)
        if most is not None and self.size > most:
            message = f"The input file holds {self.size} requests. A batch takes at most {most}."
            return (Problem(code="too_many_tasks", message=message),)
        refused = [model for model in models if model in self._offer.unbatchable]
        if refused:
            message = f"Model {refused[0]} is not supported for batch processing."
            return (Problem(code="model_not_batchable", message=message, param="body.model"),)
        if self._offer.one_model and len(models) > 1:
            message = f"All requests of a batch must name the same model, not {', '.join(models)}."
            return (Problem(code="mismatched_model", message=message, param="body.model"),)
        return self._check_tokens(at)

    def _check_tokens(self, at: float) -> tuple[Problem, ...]:
        limit = self._offer.enqueued_tokens
        if limit is None or self.tokens + self._enqueued(at) <= limit:
            return ()
        message = (
            f"Enqueued token limit reached for {self.model} in organization org-sandbox. Limit: {limit:,} enqueued "
            "tokens. Please try again once some in_progress batches have been completed."
        )
        return (Problem(code="token_limit_exceeded", message=message),)

    def _enqueued(self, at: float) -> int:
        """Tokens of the same key and model in batches that had not ended at that moment."""
        return sum(
            batch.work.tokens
            for batch in self._sandbox.batches.live()
            if isinstance(batch.work, Lines) and batch.live(at) and batch.work.rivals(self)
        )

    def rivals(self, other: "Lines") -> bool:
        """Whether both count against the same limit."""
        mine, others = self._batch, other._batch
        return self is not other and (mine.provider, mine.key, self.model) == (others.provider, others.key, other.model)


def _without_stream(body: bytes) -> bytes:
    if b'"stream' not in body:
        return body
    fields = _names.decode(body)
    return _encode({name: value for name, value in fields.items() if name not in ("stream", "stream_options")})
