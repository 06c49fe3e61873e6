"""The planner case by case: facts in, commands out, time moved by hand."""

import pytest
from msgspec import structs
from tests.core.desk import LOST, OVERLOADED, WRONG, Desk, call_of, only, reply_of

from batchway.core import facts
from batchway.core.commands import Book, Cancel, Join, Record, Refuse, Reply
from batchway.core.planner.answering import SAMPLE
from batchway.core.policy import Policy
from batchway.core.tokens import TokenCounts
from batchway.core.types import Prompt, Usage


def test_a_request_is_called_answered_and_charged() -> None:
    desk = Desk()
    call = call_of(desk.ask())
    assert (call.lane, call.attempt, len(call.requests)) == ("direct", 1, 1)
    book, reply = desk.finish(call)
    assert isinstance(book, Book) and isinstance(reply, Reply)
    # 1,000 input and 100 output tokens at $1 and $4 a million.
    assert book.charge.cost == reply.cost == 1000 * 1_000_000 + 100 * 4_000_000
    assert book.charge.counterfactual == reply.cost and reply.saved == 0
    assert desk.planner.load().waiting == 0 and desk.planner.deadline() is None


def test_the_second_is_served_from_the_cache_until_its_time_is_over() -> None:
    desk = Desk(Policy(cache_ttl=60))
    desk.finish(call_of(desk.ask()))
    desk.now += 10
    reply = reply_of(desk.ask())
    assert (reply.via, reply.cost, reply.saved, reply.age) == ("cache", 0, 1_400_000_000, 10)
    desk.now += 60
    call_of(desk.ask())


@pytest.mark.parametrize(
    ("answer", "kept"),
    [({"complete": True}, True), ({"complete": False}, False), ({"body": b""}, False)],
)
def test_only_whole_answers_are_kept(answer: dict[str, object], kept: bool) -> None:
    desk = Desk()
    desk.finish(call_of(desk.ask()), desk.answer(**answer))
    assert isinstance(desk.ask()[-1], Reply) is kept


def test_twins_share_one_call_and_only_the_first_pays() -> None:
    desk = Desk()
    call = call_of(desk.ask())
    assert [type(command) for command in desk.ask() + desk.ask()] == [Join, Join]
    replies = [command for command in desk.finish(call) if isinstance(command, Reply)]
    assert [(reply.via, reply.cost) for reply in replies] == [
        ("direct", 1_400_000_000),
        ("coalesced", 0),
        ("coalesced", 0),
    ]


@pytest.mark.parametrize("difference", [{"tenant": "u"}, {"fingerprint": "other"}, {"reuse": "off"}])
def test_who_may_not_share_gets_a_call_of_its_own(difference: dict[str, object]) -> None:
    desk = Desk()
    desk.ask()
    given = {"fingerprint": "same of u", **difference} if "tenant" in difference else difference
    call_of(desk.ask(**given))


def test_a_stream_joins_only_a_stream() -> None:
    desk = Desk()
    desk.ask()
    streamed = Prompt(model="m1", texts=("hello",), temperature=0, stream=True)
    call = call_of(desk.ask(prompt=streamed))
    join = only(desk.ask(prompt=streamed), Join)
    assert isinstance(join, Join) and join.call_id == call.call_id


def test_a_passing_fault_is_tried_again_and_then_told() -> None:
    desk = Desk(Policy(max_retries=1))
    call = call_of(desk.ask())
    assert desk.tell(facts.Failed(call.call_id, OVERLOADED)) == []
    deadline = desk.planner.deadline()
    assert deadline is not None
    desk.now = deadline
    again = desk.tell(facts.TimePassed())
    while not again:
        desk.now = desk.planner.deadline() or desk.now
        again = desk.tell(facts.TimePassed())
    call = call_of(again)
    assert call.attempt == 2
    refuse = only(desk.tell(facts.Failed(call.call_id, OVERLOADED)), Refuse)
    assert isinstance(refuse, Refuse) and refuse.fault is OVERLOADED


@pytest.mark.parametrize(("retry_unknown", "tried_again"), [(False, False), (True, True)])
def test_what_may_be_billed_is_tried_again_only_if_asked_for(retry_unknown: bool, tried_again: bool) -> None:
    desk = Desk(Policy(retry_unknown=retry_unknown))
    call = call_of(desk.ask())
    refused = desk.tell(facts.Failed(call.call_id, LOST))
    assert (refused == []) is tried_again


def test_retry_after_is_kept() -> None:
    desk = Desk()
    call = call_of(desk.ask())
    desk.tell(facts.Failed(call.call_id, structs.replace(OVERLOADED, retry_after=7.0)))
    assert (desk.planner.deadline() or 0) >= desk.now + 7


def test_a_failed_leader_passes_the_lead_on() -> None:
    desk = Desk(Policy(max_retries=0))
    call = call_of(desk.ask())
    desk.ask()
    commands = desk.tell(facts.Failed(call.call_id, structs.replace(OVERLOADED, status=500)))
    refuse, promoted = only(commands, Refuse), call_of(commands)
    assert isinstance(refuse, Refuse) and refuse.request.ask == "ask-1"
    assert promoted.riders == ("ask-2",)
    assert reply_of(desk.finish(promoted)).request.ask == "ask-2"


def test_who_was_refused_and_recorded_so_is_not_recorded_again_when_the_others_have_left() -> None:
    desk = Desk(Policy(max_retries=0))
    call = call_of(desk.ask())
    desk.ask()
    promoted = call_of(desk.tell(facts.Failed(call.call_id, structs.replace(OVERLOADED, status=500))))
    desk.tell(facts.Left("ask-2"))
    ended = desk.finish(promoted)
    assert not [command for command in ended if isinstance(command, Record)]
    assert isinstance(only(ended, Book), Book), "what was paid is charged all the same"


def test_a_fault_of_the_request_itself_is_told_to_all_its_twins() -> None:
    desk = Desk()
    call = call_of(desk.ask())
    desk.ask()
    commands = desk.tell(facts.Failed(call.call_id, WRONG))
    assert [type(command) for command in commands] == [Refuse, Refuse]


def test_a_caller_who_leaves_cancels_nothing_for_the_others() -> None:
    desk = Desk()
    call = call_of(desk.ask())
    desk.ask()
    assert desk.tell(facts.Left("ask-1")) == []
    assert desk.planner.deadline() is None
    assert reply_of(desk.finish(call)).request.ask == "ask-2"


def test_a_call_nobody_waits_for_ends_after_its_grace() -> None:
    desk = Desk(Policy(abandon_grace=2))
    call = call_of(desk.ask())
    assert desk.tell(facts.Left("ask-1")) == []
    assert desk.planner.deadline() == desk.now + 2
    cancel = only(desk.tell(facts.TimePassed(), after=2), Cancel)
    assert isinstance(cancel, Cancel) and cancel.call_id == call.call_id
    assert desk.finish(call) == []


def test_a_retry_within_the_grace_adopts_whatever_reuse_says() -> None:
    desk = Desk()
    call = call_of(desk.ask(reuse="off"))
    desk.tell(facts.Left("ask-1"))
    only(desk.ask(reuse="off"), Join)
    assert desk.tell(facts.TimePassed(), after=60) == []
    assert reply_of(desk.finish(call)).via == "direct"


def test_the_grace_of_a_second_leaving_is_a_whole_one() -> None:
    desk = Desk(Policy(abandon_grace=2))
    desk.ask(reuse="off")
    desk.tell(facts.Left("ask-1"))
    only(desk.ask(reuse="off"), Join)
    desk.tell(facts.Left("ask-2"), after=1.5)
    assert desk.tell(facts.TimePassed(), after=0.5) == [], "the first leaving's time is over, not the second's"
    only(desk.tell(facts.TimePassed(), after=1.5), Cancel)


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_who_was_told_that_it_goes_on_holds_it_whoever_else_leaves(order: tuple[bool, bool]) -> None:
    desk = Desk(Policy(abandon_grace=2))
    call = call_of(desk.ask(reuse="off"))
    desk.tell(facts.Left("ask-1", keep=order[0]))
    only(desk.ask(reuse="off"), Join)
    assert desk.tell(facts.Left("ask-2", keep=order[1])) == []
    assert desk.tell(facts.TimePassed(), after=60) == []
    only(desk.finish(call), Book)
    assert reply_of(desk.ask(reuse="off")).cost == 0, "it is paid for, and given to who comes back"


def test_another_key_adopts_nothing() -> None:
    desk = Desk()
    desk.ask(reuse="off")
    desk.tell(facts.Left("ask-1"))
    call_of(desk.ask(reuse="off", key="k2"))


def test_a_paid_answer_nobody_waited_for_is_given_once_to_the_retry() -> None:
    desk = Desk()
    call = call_of(desk.ask(reuse="off"))
    desk.tell(facts.Left("ask-1", keep=True))
    only(desk.finish(call), Book)
    reply = reply_of(desk.ask(reuse="off"))
    assert (reply.cost, reply.answer.body) == (0, b"answer")
    call_of(desk.ask(reuse="off"))


def test_a_stream_that_is_left_ends_at_once() -> None:
    desk = Desk()
    streamed = Prompt(model="m1", texts=("hello",), stream=True)
    desk.ask(prompt=streamed)
    only(desk.tell(facts.Left("ask-1")), Cancel)


def test_a_stream_that_began_is_not_tried_again() -> None:
    desk = Desk()
    call = call_of(desk.ask(prompt=Prompt(model="m1", stream=True)))
    desk.tell(facts.Started(call.call_id))
    only(desk.tell(facts.Failed(call.call_id, OVERLOADED)), Refuse)


def test_the_same_request_id_attaches_and_another_body_is_a_conflict() -> None:
    desk = Desk()
    call = call_of(desk.ask(id="mine", named=True, reuse="off"))
    only(desk.ask(id="mine", named=True, reuse="off"), Join)
    refuse = only(desk.ask(id="mine", named=True, fingerprint="other"), Refuse)
    assert isinstance(refuse, Refuse) and refuse.fault.status == 409
    desk.finish(call)
    reply = reply_of(desk.ask(id="mine", named=True, reuse="off"))
    assert (reply.via, reply.cost, reply.saved) == ("cache", 0, 0)
    call_of(desk.ask(id="mine", named=True, reuse="off", tenant="u", fingerprint="of u"))


def test_past_its_bound_the_queue_refuses_with_a_time_to_come_back() -> None:
    desk = Desk(Policy(max_in_flight=1, max_queue=1))
    call = call_of(desk.ask(reuse="off"))
    assert desk.ask(reuse="off") == []
    refuse = only(desk.ask(reuse="off"), Refuse)
    assert isinstance(refuse, Refuse) and (refuse.fault.status, refuse.fault.retry_after) == (429, 1.0)
    assert call_of(desk.finish(call)).requests[0].ask == "ask-2"


def test_what_is_held_goes_by_priority_and_then_in_turn() -> None:
    desk = Desk(Policy(max_in_flight=1))
    call = call_of(desk.ask(reuse="off"))
    for priority in ("low", "normal", "high", "normal"):
        desk.ask(reuse="off", priority=priority)
    order = []
    for _ in range(4):
        call = call_of(desk.finish(call))
        order.append(call.requests[0].ask)
    assert order == ["ask-4", "ask-3", "ask-5", "ask-2"]


def test_on_deadline_fail_refuses_in_time() -> None:
    desk = Desk()
    desk.ask(deadline=desk.now + 3, on_deadline="fail")
    assert desk.planner.deadline() == desk.now + 3
    refuse = only(desk.tell(facts.TimePassed(), after=3), Refuse)
    assert isinstance(refuse, Refuse) and refuse.fault.code == "deadline_passed"


def test_stopping_refuses_the_new_and_ends_the_old() -> None:
    desk = Desk()
    call = call_of(desk.ask(reuse="off"))
    desk.tell(facts.Stopping())
    refuse = only(desk.ask(reuse="off"), Refuse)
    assert isinstance(refuse, Refuse) and refuse.fault.status == 503
    reply_of(desk.finish(call))


def test_an_unknown_price_is_unknown_not_zero() -> None:
    desk = Desk()
    reply = reply_of(desk.finish(call_of(desk.ask(prompt=Prompt(model="unheard-of", temperature=0)))))
    assert reply.cost is None and reply.saved is None


def test_corrections_are_learnt_from_a_sample_of_bills() -> None:
    counts = TokenCounts({"o200k_base": len})
    desk = Desk(counts=counts)
    prompt = Prompt(model="m1", texts=("x" * 1000,))
    for _ in range(SAMPLE):
        desk.finish(call_of(desk.ask(prompt=prompt, reuse="off")), desk.answer(usage=Usage(input=2014)))
    assert counts.expected("one", "m1", 1007) == 2014
