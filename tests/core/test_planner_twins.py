"""Twins on disk: one is sent, the others wait for its answer; whatever becomes of it, each of them ends."""

from msgspec import structs
from tests.core.desk import LOST, WRONG, Desk, call_of, only, reply_of
from tests.core.test_planner_durable import desk_of

from batchway.core import facts
from batchway.core.commands import Acknowledge, Call, Command, FormJob, Keep
from batchway.core.planner.routing import FOLLOWING

LOW: dict[str, object] = {"durable": True, "detached": True, "priority": "low"}


def saved(desk: Desk, ask: str, **given: object) -> list[Command]:
    """This one is asked, looked up and on disk: what comes of it then."""
    desk.ask(**given)
    desk.tell(facts.Looked(ask))
    return desk.tell(facts.Saved(ask))


def three_in_one_job(desk: Desk) -> FormJob:
    """The first in a job, two behind it, and none of them waited for."""
    formed = [saved(desk, f"ask-{number}", **LOW) for number in (1, 2, 3)]
    assert [[type(command) for command in commands] for commands in formed] == [[Acknowledge]] * 3
    form = only(desk.tell(facts.TimePassed(), after=30), FormJob)
    assert isinstance(form, FormJob) and [request.ask for request in form.requests] == ["ask-1"]
    assert desk.planner.load().following == 2
    return form


def test_the_first_is_sent_and_the_others_share_its_answer_for_nothing() -> None:
    desk = desk_of()
    form = three_in_one_job(desk)
    _, *kept = desk.tell(facts.Landed("ask-1", form.job_id, desk.answer()))
    keeps = [command for command in kept if isinstance(command, Keep)]
    assert [(keep.request.ask, keep.via, keep.cost) for keep in keeps] == [
        ("ask-2", "coalesced", 0),
        ("ask-3", "coalesced", 0),
    ]
    assert keeps[0].saved == 1_400_000_000, "of what it would have cost alone and directly"
    assert [charge.counterfactual for charge in keeps[0].charges] == [1_400_000_000]
    for keep in keeps:
        desk.tell(facts.Kept(keep.request.ask))
    assert desk.planner.load().following == 0 and not desk.planner.seated("ask-2")


def test_who_waits_for_its_answer_gets_it_once_it_is_on_disk() -> None:
    desk = desk_of()
    call = call_of(saved(desk, "ask-1", durable=True, named=True, id="one"))
    assert saved(desk, "ask-2", durable=True, named=True, id="two") == []
    given = desk.finish(call)
    assert [command.request.ask for command in given if isinstance(command, Keep)] == ["ask-1"]
    only(desk.tell(facts.Kept("ask-1")), Keep)
    reply = reply_of(desk.tell(facts.Kept("ask-2")))
    assert (reply.request.ask, reply.via, reply.cost, reply.on_disk) == ("ask-2", "coalesced", 0, True)
    assert desk.planner.load().waiting == 0


def test_what_fails_for_one_is_asked_once_for_each() -> None:
    """None waits for another again, else they would fail one after the other, each after a day."""
    desk = desk_of()
    form = three_in_one_job(desk)
    again = only(desk.tell(facts.Landed("ask-1", form.job_id, WRONG)), FormJob)
    assert desk.planner.load().following == 0
    assert isinstance(again, FormJob) and [request.ask for request in again.requests] == ["ask-2", "ask-3"]


def test_a_call_goes_on_for_who_waits_on_disk_though_its_caller_has_left() -> None:
    desk = desk_of()
    desk.ask()
    call = call_of(desk.tell(facts.Looked("ask-1")))
    saved(desk, "ask-2", durable=True, named=True, id="two")
    assert desk.tell(facts.Left("ask-1")) == []
    assert desk.tell(facts.TimePassed(), after=1000) == []
    keep = only(desk.finish(call), Keep)
    assert isinstance(keep, Keep) and keep.request.ask == "ask-2"


def test_a_failed_call_sends_who_waited_for_it() -> None:
    desk = desk_of()
    call = call_of(saved(desk, "ask-1", durable=True, named=True, id="one"))
    saved(desk, "ask-2", durable=True, named=True, id="two")
    desk.tell(facts.Failed(call.call_id, structs.replace(LOST, billed="no")))
    assert call_of(desk.tell(facts.Kept("ask-1"))).requests[0].ask == "ask-2"


def test_who_is_rescued_waits_for_no_twin_and_is_not_given_its_answer() -> None:
    desk = desk_of()
    form = three_in_one_job(desk)
    urgent = desk.request(id="ask-2", ask="ask-2", **LOW)
    call = call_of(desk.tell(facts.Rescue(urgent, "", "its deadline comes")))
    given = desk.tell(facts.Landed("ask-1", form.job_id, desk.answer()))
    assert [command.request.ask for command in given if isinstance(command, Keep)] == ["ask-3"]
    assert isinstance(only(desk.finish(call), Keep), Keep)


def test_who_stops_lets_them_go_on_from_the_disk() -> None:
    desk = desk_of()
    three_in_one_job(desk)
    assert [type(command) for command in desk.tell(facts.Stopping())] == []
    assert desk.planner.load().following == 0


def test_a_stream_waits_for_nobody() -> None:
    desk = desk_of()
    prompt = structs.replace(desk.request().prompt, stream=True)
    named = {"durable": True, "named": True, "prompt": prompt}
    found = [saved(desk, f"ask-{number}", id=f"{number}", **named) for number in (2, 3)]
    assert [type(command) for commands in found for command in commands] == [Call, Call]


def test_no_more_follow_than_take_little_memory() -> None:
    desk = desk_of()
    for number in range(1, FOLLOWING + 2):
        saved(desk, f"ask-{number}", **LOW)
    assert desk.planner.load().following == FOLLOWING
    form = only(saved(desk, f"ask-{FOLLOWING + 2}", **LOW), FormJob)
    assert isinstance(form, FormJob)
    assert [request.ask for request in form.requests] == ["ask-1", f"ask-{FOLLOWING + 2}"]
