"""Every command leaves an event with its time and its reason."""

from typing import Any, get_args

import pytest
from tests.core.asking import request

from batchway.core import commands, events, facts
from batchway.core.types import Answer, Charge, Fault, Usage

AT = 1002.5
ASKED = request(id="r-1", model="gpt", asked_at=1000.0)
TWIN = request(id="r-2", asked_at=1001.0)
FAULT = Fault(whose="theirs", status=500, type="t", code=None, message="m")
CHARGE = Charge(
    call_id="c-1",
    request_id="r-1",
    tenant="t",
    key="k",
    provider="openai",
    model="gpt",
    via="direct",
    usage=Usage(),
    cost=5,
    counterfactual=9,
    at=1.0,
)

REPLY = commands.Reply(request=ASKED, answer=Answer(body=b"{}"), via="cache", why="w", cost=0, saved=9)
BOOK = commands.Book(charge=CHARGE, why="w")
TOLD: list[tuple[commands.Command, events.Event]] = [
    (
        commands.Look(request=ASKED, why="w"),
        events.Waits(at=AT, request_id="r-1", reason="w"),
    ),
    (
        commands.Fit(request=ASKED, budget=10, why="w"),
        events.Waits(at=AT, request_id="r-1", reason="w"),
    ),
    (
        commands.Keep(
            request=ASKED,
            result=Answer(body=b""),
            via="direct",
            call_id="c-1",
            packed=1,
            charges=(),
            cost=None,
            saved=None,
            why="w",
        ),
        events.Waits(at=AT, request_id="r-1", reason="w"),
    ),
    (
        commands.Save(request=ASKED, lane="batch", why="w"),
        events.Waits(at=AT, request_id="r-1", reason="w"),
    ),
    (
        commands.Call(call_id="c-1", lane="flex", requests=(ASKED, TWIN), riders=("a-1",), attempt=1, why="w"),
        events.CallSent(
            at=AT,
            call_id="c-1",
            provider="openai",
            model="gpt",
            lane="flex",
            ids=("r-1", "r-2"),
            attempt=1,
            reason="w",
        ),
    ),
    (
        commands.FormJob(job_id="j-1", requests=(ASKED, TWIN), why="w"),
        events.JobFormed(at=AT, job_id="j-1", ids=("r-1", "r-2"), reason="w"),
    ),
    (
        commands.Join(request=TWIN, call_id="c-1", why="w"),
        events.Joined(at=AT, request_id="r-2", call_id="c-1", reason="w"),
    ),
    (
        commands.Join(request=TWIN, call_id=None, why="w"),
        events.Joined(at=AT, request_id="r-2", call_id=None, reason="w"),
    ),
    (
        REPLY,
        events.Answered(REPLY, AT),
    ),
    (
        commands.Refuse(request=TWIN, fault=FAULT, why="w"),
        events.Refused(at=AT, request=TWIN, fault=FAULT, seconds=1.5, on_disk=False, taken=True, reason="w"),
    ),
    (
        commands.Refuse(request=TWIN, fault=FAULT, why="w", taken=False),
        events.Refused(at=AT, request=TWIN, fault=FAULT, seconds=1.5, on_disk=False, taken=False, reason="w"),
    ),
    (
        commands.Acknowledge(request=ASKED, why="w"),
        events.Acknowledged(at=AT, request=ASKED, reason="w"),
    ),
    (
        commands.Record(ending=REPLY, why="w"),
        events.Unclaimed(at=AT, ending=REPLY, reason="w"),
    ),
    (
        commands.Cancel(call_id="c-1", why="w"),
        events.Cancelled(at=AT, call_id="c-1", reason="w"),
    ),
    (
        BOOK,
        events.Charged(BOOK, AT),
    ),
]


@pytest.mark.parametrize(("command", "event"), TOLD)
def test_what_is_commanded_is_told(command: commands.Command, event: events.Event) -> None:
    assert events.tell(command, AT) == event


def test_no_command_is_forgotten() -> None:
    assert {type(command) for command, _ in TOLD} == set(get_args(commands.Command))


@pytest.mark.parametrize("kind", get_args(events.Event))
def test_every_event_has_a_time_and_a_reason(kind: Any) -> None:
    assert "at" in kind.__struct_fields__
    assert hasattr(kind, "reason")


def test_what_comes_with_every_request_shows_what_it_holds() -> None:
    answered, charged = events.tell(REPLY, AT), events.tell(BOOK, AT)
    assert isinstance(answered, events.Answered)
    assert isinstance(charged, events.Charged)
    assert (answered.request, answered.via, answered.seconds, answered.reason) == (ASKED, "cache", 2.5, "w")
    assert (charged.charge, charged.reason) == (CHARGE, "w")


@pytest.mark.parametrize(
    ("fact", "usage", "fault", "reason"),
    [
        (facts.Finished("c-1", (Answer(body=b"", usage=Usage(input=3)),)), Usage(input=3), None, "answered"),
        (facts.Finished("c-1", (FAULT,)), None, None, "answered"),
        (facts.Finished("c-1", (FAULT, FAULT), usage=Usage(input=5)), Usage(input=5), None, "answered"),
        (facts.Failed("c-1", FAULT), None, FAULT, "m"),
    ],
)
def test_a_call_ends_as_it_was_reported(
    fact: facts.Finished | facts.Failed, usage: Usage | None, fault: Fault | None, reason: str
) -> None:
    call = commands.Call(call_id="c-1", lane="direct", requests=(ASKED,), riders=(), attempt=1, why="w")
    ended = events.CallEnded(call, fact, 1001.0, AT)
    assert (ended.seconds, ended.usage, ended.fault, ended.reason) == (1.5, usage, fault, reason)
