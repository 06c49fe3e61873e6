"""Fault switches of batches: struck when a batch is created, they stay with it until it has ended, and after.

What goes wrong with a single call is in `faults`, and serves here too: `match` the endpoints `files.create`,
`files.content`, `batches.create`, `batches.retrieve`, `batches.list`, `batches.cancel`, and where results are no file
`batches.results`. A batch that was accepted although the answer was lost is `status` or `drop` with `accepted`, or a
`delay` that outlasts the client.
"""

import json
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, structs

from batchway.sandbox.batch_contract import Done, Ending, Failure, Look, Pause, Problem, Schedule, Sight, Verdict
from batchway.sandbox.blobs import Pile
from batchway.sandbox.contract import Dialect, Plan
from batchway.sandbox.rules import NotNegative, Positive, Rule

Seconds = Annotated[float, Meta(ge=0)]

FOREVER = float("inf")


class BatchRule(Rule, frozen=True, kw_only=True):
    """A fault of a batch. The call that creates it goes well."""

    for_endpoint: ClassVar[str | None] = "batches.create"

    def bend(self, plan: Plan, _: Dialect, /) -> Plan:
        return plan

    def reschedule(self, schedule: Schedule) -> Schedule:
        """Other times, another end."""
        return schedule

    def look(self, sight: Sight, _: Look) -> Sight:
        """Tell a poll something else."""
        return sight

    def fail(self, _: int) -> Failure | None:
        """Let a line fail."""
        return None

    def write(self, _nth: int, _done: Done, lines: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """Write something else than the result of a line."""
        return lines

    def close(self, output: Pile) -> None:
        """Damage the results as a whole."""


class BatchHidden(BatchRule, frozen=True, kw_only=True, tag="batch_hidden"):
    """404 to the first `polls` polls and for the first `seconds`; `listed`: the list shows it all the same."""

    polls: NotNegative = 0
    seconds: Seconds = 0
    listed: bool = False

    def look(self, sight: Sight, look: Look) -> Sight:
        hidden = look.polls <= self.polls or look.age < self.seconds
        return _unseen(sight, self.listed) if hidden else sight


class BatchVanishes(BatchRule, frozen=True, kw_only=True, tag="batch_vanishes"):
    """404 for ever once `seconds` have passed since creation; `listed`: the list shows it all the same."""

    seconds: Seconds = 0
    listed: bool = False

    def look(self, sight: Sight, look: Look) -> Sight:
        return _unseen(sight, self.listed) if look.age >= self.seconds else sight


class ListedLate(BatchRule, frozen=True, kw_only=True, tag="listed_late"):
    """Polls find it, but the list does not show it for the first `seconds`."""

    seconds: Seconds

    def look(self, sight: Sight, look: Look) -> Sight:
        return structs.replace(sight, listed=sight.listed and look.age >= self.seconds)


class BatchStuck(BatchRule, frozen=True, kw_only=True, tag="batch_stuck"):
    """Stays where it is for `seconds` longer, or for ever and beyond its window. When running, after `lines` lines."""

    state: Literal["validating", "running", "finalizing", "cancelling"]
    lines: NotNegative = 0
    seconds: Seconds | None = None

    def reschedule(self, schedule: Schedule) -> Schedule:
        longer = FOREVER if self.seconds is None else self.seconds
        window = FOREVER if self.seconds is None else schedule.window
        if self.state == "running":
            return structs.replace(schedule, window=window, pause=Pause(lines=self.lines, seconds=longer))
        return structs.replace(schedule, window=window, **{self.state: getattr(schedule, self.state) + longer})


class BatchStatus(BatchRule, frozen=True, kw_only=True, tag="batch_status"):
    """Shows a status that nobody knows: to all polls, or to the first `polls`."""

    status: str
    polls: Positive | None = None

    def look(self, sight: Sight, look: Look) -> Sight:
        shown = self.polls is None or look.polls <= self.polls
        return structs.replace(sight, state=self.status) if shown else sight


class BatchEnds(BatchRule, frozen=True, kw_only=True, tag="batch_ends"):
    """The provider ends it after `lines` lines, as `state`; a failed one says `code` and `message`."""

    state: Ending
    lines: NotNegative = 0
    code: str = "token_limit_exceeded"
    message: str = (
        "Enqueued token limit reached for the model in organization org-sandbox. Limit: 90,000 enqueued tokens. "
        "Please try again once some in_progress batches have been completed."
    )

    def reschedule(self, schedule: Schedule) -> Schedule:
        problem = Problem(code=self.code, message=self.message) if self.state == "failed" else None
        return structs.replace(schedule, verdict=Verdict(state=self.state, lines=self.lines, problem=problem))


class CancelIgnored(BatchRule, frozen=True, kw_only=True, tag="cancel_ignored"):
    """A cancel is accepted and shown as `cancelling`, but the batch is completed: it was too late."""

    def reschedule(self, schedule: Schedule) -> Schedule:
        return structs.replace(schedule, cancel="ignored")


class CancelLate(BatchRule, frozen=True, kw_only=True, tag="cancel_late"):
    """Cancelling takes `seconds`, and until then lines go on being done and billed."""

    seconds: Seconds

    def reschedule(self, schedule: Schedule) -> Schedule:
        return structs.replace(schedule, cancel="late", cancelling=self.seconds)


class FilesLate(BatchRule, frozen=True, kw_only=True, tag="files_late"):
    """It has ended, but the result files are not named for `polls` polls more."""

    polls: Positive

    def look(self, sight: Sight, look: Look) -> Sight:
        return structs.replace(sight, files=sight.files and look.polls_since_end > self.polls)


class BlankFileIds(BatchRule, frozen=True, kw_only=True, tag="blank_file_ids"):
    """A file that there is not has the id "" instead of null."""

    def look(self, sight: Sight, _: Look) -> Sight:
        return structs.replace(sight, absent="")


class TagsForgotten(BatchRule, frozen=True, kw_only=True, tag="tags_forgotten"):
    """The metadata that the batch was created with are not kept."""

    def look(self, sight: Sight, _: Look) -> Sight:
        return structs.replace(sight, tags=None)


class LineRule(BatchRule, frozen=True, kw_only=True):
    """A fault of `lines` lines (null: of all), once `after` have been done."""

    after: NotNegative = 0
    lines: Positive | None = 1

    def strikes(self, nth: int) -> bool:
        """Whether the nth line to be done is one of them."""
        return self.after <= nth and (self.lines is None or nth < self.after + self.lines)


class LinesFail(LineRule, frozen=True, kw_only=True, tag="lines_fail"):
    """Lines fail with an HTTP `status` (0 too), or with null before they were answered; `counted` false: unnoticed."""

    status: Annotated[int, Meta(ge=0, le=599)] | None = 500
    code: str = "server_error"
    message: str = "The sandbox was told to let this line fail."
    file: Literal["output", "errors"] = "errors"
    counted: bool = True

    def fail(self, nth: int) -> Failure | None:
        if not self.strikes(nth):
            return None
        return Failure(status=self.status, code=self.code, message=self.message, place=self.file, counted=self.counted)


class LinesMissing(LineRule, frozen=True, kw_only=True, tag="lines_missing"):
    """Lines are done, counted and billed, but in no file."""

    def write(self, nth: int, _: Done, lines: tuple[bytes, ...]) -> tuple[bytes, ...]:
        return () if self.strikes(nth) else lines


class LinesDoubled(LineRule, frozen=True, kw_only=True, tag="lines_doubled"):
    """Lines are in the file twice."""

    def write(self, nth: int, _: Done, lines: tuple[bytes, ...]) -> tuple[bytes, ...]:
        return lines * 2 if self.strikes(nth) else lines


class GhostLines(LineRule, frozen=True, kw_only=True, tag="ghost_lines"):
    """Beside a line there is its copy under a custom_id that nobody asked for."""

    def write(self, nth: int, done: Done, lines: tuple[bytes, ...]) -> tuple[bytes, ...]:
        ghost = done.data.replace(_quoted(done.custom_id), _quoted(f"ghost-{nth}"))
        return (*lines, ghost) if self.strikes(nth) else lines


class GarbageLines(LineRule, frozen=True, kw_only=True, tag="garbage_lines"):
    """Before a line there is one that is not JSON: `text`."""

    text: str = '{"id": "batch_req_0", "custom_id": <!DOCTYPE html>'

    def write(self, nth: int, _: Done, lines: tuple[bytes, ...]) -> tuple[bytes, ...]:
        return (self.text.encode(), *lines) if self.strikes(nth) else lines


class OddSeparators(LineRule, frozen=True, kw_only=True, tag="odd_separators"):
    """Texts hold U+2028, U+2029 and U+0085 unescaped, which are legal in JSON and which splitlines() cuts at."""

    def write(self, nth: int, _: Done, lines: tuple[bytes, ...]) -> tuple[bytes, ...]:
        return _put_in_words(lines, " \u2028\u2029\u0085 ".encode()) if self.strikes(nth) else lines


class InvalidUtf8(LineRule, frozen=True, kw_only=True, tag="invalid_utf8"):
    """Texts hold a byte that is not UTF-8."""

    def write(self, nth: int, _: Done, lines: tuple[bytes, ...]) -> tuple[bytes, ...]:
        return _put_in_words(lines, b" \xff ") if self.strikes(nth) else lines


class LinesReversed(BatchRule, frozen=True, kw_only=True, tag="lines_reversed"):
    """The results are in the opposite order of their doing, wherever they are promised in that of the input."""

    def close(self, output: Pile) -> None:
        output.reverse()


class HalfLine(BatchRule, frozen=True, kw_only=True, tag="half_line"):
    """The last line of the output file is half written, for good."""

    def close(self, output: Pile) -> None:
        output.halve_last()


BatchFault = (
    BatchHidden
    | BatchVanishes
    | ListedLate
    | BatchStuck
    | BatchStatus
    | BatchEnds
    | CancelIgnored
    | CancelLate
    | FilesLate
    | BlankFileIds
    | TagsForgotten
    | LinesFail
    | LinesMissing
    | LinesDoubled
    | GhostLines
    | GarbageLines
    | OddSeparators
    | InvalidUtf8
    | LinesReversed
    | HalfLine
)


def _unseen(sight: Sight, listed: bool) -> Sight:
    return structs.replace(sight, found=False, listed=listed)


def _quoted(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode()


def _put_in_words(lines: tuple[bytes, ...], odd: bytes) -> tuple[bytes, ...]:
    """Into what the model says: its texts have a bar between echo and rambling (`model`)."""
    return tuple(line.replace(b" | ", odd, 1) for line in lines)
