"""What is on disk: saved before it goes, kept before it is told, formed into jobs and forgotten, landed and rescued."""

import pytest
from msgspec import structs
from tests.core.desk import LOST, WRONG, Desk, call_of, only, reply_of

from batchway.core import facts
from batchway.core.commands import (
    Acknowledge,
    Book,
    Call,
    Cancel,
    Command,
    Fit,
    FormJob,
    Join,
    Keep,
    Look,
    Record,
    Refuse,
    Reply,
    Save,
)
from batchway.core.errors import Conflict
from batchway.core.policy import Policy, WindowRule
from batchway.core.router import Offers
from batchway.core.settlement import OVERHEAD
from batchway.core.types import Answer, Fault, Prompt

POLICY = Policy(job=WindowRule(max_wait=30, max_size=2), store=True, max_retries=0)
OPEN = Offers(batch=None)
DOWN = Fault(whose="ours", status=503, type="t", code="store_down", message="no disk", passing=True)


def desk_of(**policy: object) -> Desk:
    return Desk(structs.replace(POLICY, **policy), offers=OPEN)


def in_job(desk: Desk, *fingerprints: str, **given: object) -> FormJob:
    """These requests, looked up, saved and formed into a job."""
    formed = []
    for fingerprint in fingerprints:
        commands = desk.ask(fingerprint=fingerprint, priority="low", reuse="off", **given)
        (save,) = [command for command in commands if isinstance(command, Save)]
        assert save.lane == "batch"
        formed += desk.tell(facts.Saved(save.request.ask))
    formed += desk.tell(facts.TimePassed(), after=30)
    form = only(formed, FormJob)
    assert isinstance(form, FormJob)
    return form


def test_durable_work_is_saved_before_it_is_sent_and_kept_before_it_is_told() -> None:
    desk = desk_of()
    (look,) = desk.ask(durable=True, named=True, id="mine")
    assert isinstance(look, Look)
    (save,) = desk.tell(facts.Looked("ask-1"))
    assert isinstance(save, Save) and save.lane == "direct"
    call = call_of(desk.tell(facts.Saved("ask-1")))
    (kept,) = desk.finish(call)
    assert isinstance(kept, Keep) and [charge.request_id for charge in kept.charges] == ["mine"]
    assert kept.cost == 1_400_000_000
    book, reply = desk.tell(facts.Kept("ask-1"))
    assert isinstance(book, Book) and isinstance(reply, Reply)
    assert desk.planner.load().waiting == 0


def test_who_fails_while_others_wait_for_the_same_id_is_recorded_by_what_comes_of_that() -> None:
    desk = desk_of()
    desk.ask(durable=True, named=True, id="mine")
    desk.tell(facts.Looked("ask-1"))
    call = call_of(desk.tell(facts.Saved("ask-1")))
    desk.ask(durable=True, named=True, id="mine")
    refuse = only(desk.tell(facts.Failed(call.call_id, structs.replace(LOST, billed="no"))), Refuse)
    assert isinstance(refuse, Refuse) and (refuse.request.ask, refuse.on_disk) == ("ask-1", True)


def test_what_cannot_be_saved_is_not_accepted() -> None:
    desk = desk_of()
    desk.ask(durable=True, reuse="off")
    (refuse,) = desk.tell(facts.NotSaved("ask-1", DOWN))
    assert isinstance(refuse, Refuse) and refuse.fault is DOWN


def test_what_no_batch_takes_goes_another_way_unless_a_batch_was_asked_for() -> None:
    desk = desk_of()
    desk.ask(priority="low", reuse="off")
    call = call_of(desk.tell(facts.Unbatchable("ask-1", WRONG)))
    assert call.lane == "direct" and "not batch: its Batch API does not take this request" in call.why

    desk.ask(strategy="batch", reuse="off")
    (refuse,) = desk.tell(facts.Unbatchable("ask-2", WRONG))
    assert isinstance(refuse, Refuse) and refuse.fault is WRONG

    desk.ask(priority="low", reuse="off")
    desk.tell(facts.Left("ask-3"))
    assert not [each for each in desk.tell(facts.Unbatchable("ask-3", WRONG)) if isinstance(each, Call)], "for nobody"

    desk.ask(priority="low", reuse="off", durable=True)
    save = only(desk.tell(facts.Unbatchable("ask-4", WRONG)), Save)
    assert isinstance(save, Save) and save.lane == "direct", "it is still to be on disk first"


def test_a_fault_is_kept_too() -> None:
    desk = desk_of()
    desk.ask(durable=True, reuse="off")
    call = call_of(desk.tell(facts.Saved("ask-1")))
    (kept,) = desk.tell(facts.Failed(call.call_id, WRONG))
    assert isinstance(kept, Keep) and kept.result is WRONG and kept.charges == ()
    (refuse,) = desk.tell(facts.Kept("ask-1"))
    assert isinstance(refuse, Refuse)


def test_a_caller_who_leaves_a_durable_request_takes_nothing_away() -> None:
    desk = desk_of()
    desk.ask(durable=True, reuse="off")
    call = call_of(desk.tell(facts.Saved("ask-1")))
    assert desk.tell(facts.Left("ask-1")) == []
    (kept,) = desk.finish(call)
    assert isinstance(kept, Keep)
    assert not [command for command in desk.tell(facts.Kept("ask-1")) if isinstance(command, Reply)]


def test_a_job_is_formed_and_forgotten_unless_somebody_waits() -> None:
    desk = desk_of()
    desk.ask(fingerprint="a", priority="low", reuse="off")
    desk.tell(facts.Saved("ask-1"))
    desk.tell(facts.Left("ask-1"))
    desk.ask(fingerprint="b", priority="low", reuse="off")
    form = only(desk.tell(facts.Saved("ask-2")), FormJob)
    assert isinstance(form, FormJob) and [request.ask for request in form.requests] == ["ask-1", "ask-2"]
    assert form.why == "the window closed by size"
    assert desk.planner.load().waiting == 1 and desk.planner.load().flights == 0
    # The one who waits may leave later: then nothing is left here.
    desk.tell(facts.Left("ask-2"))
    assert desk.planner.load().waiting == 0
    assert desk.tell(facts.Landed("ask-2", form.job_id, desk.answer())) == []


def test_what_lands_is_told_at_half_price() -> None:
    desk = desk_of()
    form = in_job(desk, "a")
    book, reply = desk.tell(facts.Landed("ask-1", form.job_id, desk.answer()))
    assert isinstance(book, Book) and isinstance(reply, Reply)
    assert (book.charge.via, book.charge.call_id) == ("batch", form.job_id)
    assert (reply.via, reply.batch_id) == ("batch", form.job_id)


def charges(commands: list[Command]) -> list[tuple[str, str, int | None, bool]]:
    booked = [(each.charge, each.on_disk) for each in commands if isinstance(each, Book)]
    return [(charge.request_id, charge.via, charge.cost, on_disk) for charge, on_disk in booked]


def test_a_twin_is_charged_and_recorded_itself_though_the_first_has_left() -> None:
    desk = desk_of(cache_ttl=0)
    desk.ask(priority="low", detached=True, durable=True)
    desk.tell(facts.Looked("ask-1"))
    desk.tell(facts.Saved("ask-1"))
    desk.ask(priority="low")
    form = only(desk.tell(facts.TimePassed(), after=30), FormJob)
    assert isinstance(form, FormJob)

    commands = desk.tell(facts.Landed("ask-1", form.job_id, desk.answer()))

    assert charges(commands) == [("ask-1", "batch", 1_400_000_000, True), ("ask-2", "coalesced", 0, False)]
    reply = reply_of(commands)
    assert (reply.request.id, reply.via, reply.cost, reply.on_disk) == ("ask-2", "coalesced", 0, False)


def test_who_asks_again_by_the_same_id_is_neither_charged_nor_saves_anything() -> None:
    desk = desk_of()
    desk.ask(named=True, durable=True, id="mine")
    desk.tell(facts.Looked("ask-1"))
    call = call_of(desk.tell(facts.Saved("ask-1")))
    desk.ask(named=True, durable=True, id="mine")
    desk.finish(call)

    commands = desk.tell(facts.Kept("ask-1"))

    assert charges(commands) == [("mine", "direct", 1_400_000_000, True)]
    told = [(each.via, each.cost, each.saved) for each in commands if isinstance(each, Reply)]
    assert told == [("direct", 1_400_000_000, 0), ("coalesced", 0, 0)]


@pytest.mark.parametrize("durable", [False, True])
def test_what_an_answer_without_usage_cost_is_unknown_and_not_nothing(durable: bool) -> None:
    desk = desk_of()
    commands = desk.ask(reuse="off", durable=durable)
    call = call_of(desk.tell(facts.Saved("ask-1")) if durable else commands)
    ended = desk.finish(call, desk.answer(usage=None))
    if durable:
        kept = only(ended, Keep)
        assert isinstance(kept, Keep) and [charge.cost for charge in kept.charges] == [None]
        ended = desk.tell(facts.Kept("ask-1"))

    assert charges(ended) == [("ask-1", "direct", None, durable)]
    assert (reply_of(ended).cost, reply_of(ended).saved) == (None, None)


def test_what_another_process_landed_is_told_and_counted_there_alone() -> None:
    desk = desk_of()
    form = in_job(desk, "a")
    (reply,) = desk.tell(facts.Landed("ask-1", form.job_id, desk.answer(), heard=True))
    assert isinstance(reply, Reply) and (reply.via, reply.cost) == ("batch", 1_400_000_000)


def test_a_fault_that_lands_is_told() -> None:
    desk = desk_of()
    form = in_job(desk, "a")
    (refuse,) = desk.tell(facts.Landed("ask-1", form.job_id, WRONG))
    assert isinstance(refuse, Refuse) and refuse.fault is WRONG


def test_what_a_job_could_not_do_finds_another_way() -> None:
    desk = desk_of()
    form = in_job(desk, "a")
    hurried = structs.replace(form.requests[0], priority="high")
    call = call_of(desk.tell(facts.Resumed(hurried, "its job failed")))
    assert call.lane == "direct", "and it is not saved again"
    desk.finish(call)
    assert reply_of(desk.tell(facts.Kept("ask-1"))).via == "direct"


def test_what_the_batch_lane_did_not_take_is_not_sent_there_again() -> None:
    desk = desk_of()
    form = in_job(desk, "a")
    (request,) = form.requests
    assert request.priority == "low"

    call = call_of(desk.tell(facts.Resumed(request, "no batches of this model", "batch")))

    assert call.lane != "batch"


def test_after_a_restart_a_request_goes_on_without_its_caller() -> None:
    desk = desk_of()
    request = desk.request(durable=True)
    call = call_of(desk.tell(facts.Resumed(request, "the process that had it is gone")))
    (kept,) = desk.finish(call)
    assert isinstance(kept, Keep)
    (book,) = desk.tell(facts.Kept(request.ask))
    assert isinstance(book, Book)


def test_a_rescue_asks_directly_and_the_first_answer_wins() -> None:
    desk = desk_of()
    form = in_job(desk, "a")
    call = call_of(desk.tell(facts.Rescue(form.requests[0], form.job_id, "its deadline comes")))
    assert (call.lane, call.why) == ("direct", "its deadline comes")
    (kept,) = desk.finish(call)
    assert isinstance(kept, Keep) and kept.via == "direct"
    # The row that lands now is late: its own driver books it.
    assert desk.tell(facts.Landed("ask-1", form.job_id, desk.answer())) == []
    assert reply_of(desk.tell(facts.Kept("ask-1"))).via == "direct"


def test_a_job_that_answers_before_its_rescue_wins_and_the_call_is_overhead() -> None:
    desk = desk_of()
    form = in_job(desk, "a")
    call = call_of(desk.tell(facts.Rescue(form.requests[0], form.job_id, "its deadline comes")))
    reply = reply_of(desk.tell(facts.Landed("ask-1", form.job_id, desk.answer())))
    assert (reply.via, reply.why) == ("batch", "its batch answered before its rescue did")
    (book,) = desk.finish(call)
    assert isinstance(book, Book) and book.charge.request_id == OVERHEAD and book.charge.counterfactual == 0


def test_what_waits_at_the_gate_is_not_sent_twice_by_a_rescue() -> None:
    """As after the process stood still for longer than its lease, and took over what was its own."""
    desk = desk_of(max_in_flight=1)
    first = call_of(desk.ask(fingerprint="first", reuse="off", priority="high"))
    desk.ask(fingerprint="held", reuse="off", durable=True)
    assert not [each for each in desk.tell(facts.Saved("ask-2")) if isinstance(each, Call)], "no slot is free"
    held = desk.request(id="ask-2", ask="ask-2", fingerprint="held", reuse="off", durable=True)

    for _ in range(2):
        assert desk.tell(facts.Rescue(held, "", "the process that had it is gone")) == []

    call = call_of(desk.finish(first))
    assert call.requests[0].ask == "ask-2"
    assert [each for each in desk.finish(call) if isinstance(each, Call)] == []


def test_what_is_due_before_its_window_closes_leaves_it() -> None:
    desk = desk_of()
    desk.ask(fingerprint="a", priority="low", reuse="off")
    desk.tell(facts.Saved("ask-1"))
    waiting = desk.request(id="ask-1", ask="ask-1", fingerprint="a", priority="low", reuse="off")
    assert call_of(desk.tell(facts.Rescue(waiting, "", "its deadline comes"))).lane == "direct"
    assert desk.tell(facts.TimePassed(), after=30) == []


def test_what_nobody_waits_for_leaves_its_words_on_disk() -> None:
    """Ten thousands may wait for their window, each of kilobytes."""
    desk = desk_of()
    asked = {"durable": True, "detached": True, "reuse": "off", "priority": "low", "body": b'{"long": "text"}'}
    for fingerprint in "ab":
        desk.ask(fingerprint=fingerprint, **asked)
        acknowledged, *formed = desk.tell(facts.Saved(f"ask-{'_ab'.index(fingerprint)}"))
        assert isinstance(acknowledged, Acknowledge)
    (form,) = formed
    assert isinstance(form, FormJob)
    assert [(request.body, request.prompt.texts, request.size) for request in form.requests] == [(b"", ("",), 16)] * 2
    assert [request.likely_tokens for request in form.requests] == [4, 4]


def test_what_left_its_words_on_disk_is_rescued_with_them() -> None:
    desk = desk_of()
    desk.ask(fingerprint="a", durable=True, detached=True, named=True, id="mine", reuse="off", priority="low")
    desk.tell(facts.Looked("ask-1"))
    desk.tell(facts.Saved("ask-1"))
    (join,) = desk.ask(fingerprint="a", named=True, id="mine", reuse="off")
    assert isinstance(join, Join)
    waiting = desk.request(id="mine", ask="ask-1", fingerprint="a", priority="low", reuse="off", body=b"its words")
    call = call_of(desk.tell(facts.Rescue(waiting, "", "its deadline comes")))
    (sent,) = call.requests
    assert (sent.ask, sent.body, sent.size, sent.prompt) == ("ask-1", b"its words", 9, waiting.prompt)
    (kept,) = desk.finish(call)
    assert isinstance(kept, Keep)
    assert reply_of(desk.tell(facts.Kept("ask-1"))).request.ask == "ask-2"


def test_a_rescue_that_fails_leaves_the_request_to_its_job() -> None:
    desk = desk_of()
    form = in_job(desk, "a")
    call = call_of(desk.tell(facts.Rescue(form.requests[0], form.job_id, "its deadline comes")))
    assert desk.tell(facts.Failed(call.call_id, WRONG)) == []
    assert reply_of(desk.tell(facts.Landed("ask-1", form.job_id, desk.answer()))).via == "batch"


def test_a_rescue_needs_nobody_who_waits() -> None:
    desk = desk_of()
    form = in_job(desk, "a")
    desk.tell(facts.Left("ask-1"))
    call = call_of(desk.tell(facts.Rescue(form.requests[0], form.job_id, "its deadline comes")))
    assert isinstance(only(desk.finish(call), Keep), Keep)


def test_a_cancelled_request_is_refused_and_its_call_ended() -> None:
    desk = desk_of()
    desk.ask(durable=True, reuse="off")
    call = call_of(desk.tell(facts.Saved("ask-1")))
    refuse, cancel = desk.tell(facts.Withdrawn("ask-1"))
    assert isinstance(refuse, Refuse) and refuse.fault.code == "cancelled"
    assert isinstance(cancel, Cancel) and cancel.call_id == call.call_id


def test_a_cancelled_request_leaves_its_window() -> None:
    desk = desk_of()
    desk.ask(fingerprint="a", priority="low", reuse="off")
    desk.tell(facts.Saved("ask-1"))
    desk.tell(facts.Withdrawn("ask-1"))
    assert desk.planner.load().queued == 0


# What the store knows


def known(desk: Desk, result: Answer | Fault | None, **given: object) -> facts.Looked:
    first = desk.request(**({"named": True, "id": "mine"} | given))
    desk.ask(named=True, id="mine")
    asked = f"ask-{int(first.ask.removeprefix('ask-')) + 1}"
    return facts.Looked(asked, facts.Known(request=first, result=result, call_id="call-0"))


def test_the_same_id_gets_the_answer_that_is_on_disk() -> None:
    desk = desk_of()
    reply = reply_of(desk.tell(known(desk, desk.answer())))
    assert (reply.via, reply.cost, reply.saved) == ("cache", 0, 0)


def test_a_twin_that_joined_meanwhile_is_no_part_of_the_conflict() -> None:
    desk = desk_of()
    desk.ask(durable=True, named=True, id="mine", reuse="auto")
    assert isinstance(only(desk.ask(reuse="auto"), Join), Join)
    other = desk.request(durable=True, named=True, id="mine", fingerprint="another")
    commands = desk.tell(facts.Looked("ask-1", facts.Known(request=other, result=desk.answer(), call_id="x")))
    assert [command.request.ask for command in commands if isinstance(command, Refuse)] == ["ask-1"]
    (look,) = [command for command in commands if isinstance(command, Look)]
    assert look.request.ask == "ask-2", "it is asked by itself"


def test_another_body_under_the_same_id_is_a_conflict() -> None:
    desk = desk_of()
    (refuse,) = desk.tell(known(desk, None, fingerprint="other"))
    assert isinstance(refuse, Refuse) and refuse.fault.status == Conflict.status


def test_the_same_id_that_is_under_way_elsewhere_is_waited_for() -> None:
    desk = desk_of()
    looked = known(desk, None)
    (join,) = desk.tell(looked)
    assert isinstance(join, Join)
    assert looked.known is not None
    reply = reply_of(desk.tell(facts.Landed(looked.known.request.ask, "job", desk.answer())))
    assert reply.request.ask == looked.ask


def test_who_cannot_wait_for_a_batch_joins_nothing_that_is_under_way_elsewhere() -> None:
    desk = desk_of()
    desk.tell(known(desk, None, reuse="auto"))
    (look,) = desk.ask()
    assert isinstance(look, Look), "it goes by itself"
    assert isinstance(only(desk.ask(priority="low"), Join), Join)


@pytest.mark.parametrize(
    ("first", "given", "joins"),
    [
        ({"priority": "low"}, {}, False),
        ({"strategy": "batch"}, {}, False),
        ({"deadline": 90_000.0}, {}, False),
        ({"deadline": 90_000.0}, {"deadline": 200.0}, False),
        ({"deadline": 200.0}, {"deadline": 90_000.0}, True),
        ({}, {"deadline": 200.0}, True),
        ({}, {}, True),
        ({"priority": "high"}, {"priority": "low"}, True),
    ],
)
def test_who_is_more_urgent_does_not_join_what_may_yet_go_by_batch(
    first: dict[str, object], given: dict[str, object], joins: bool
) -> None:
    desk = desk_of()
    (look,) = desk.ask(**first)
    assert isinstance(look, Look), "its lane is not chosen yet"
    (command,) = desk.ask(**given)
    assert isinstance(command, Join if joins else Look)


def test_the_same_id_that_failed_has_its_fault() -> None:
    desk = desk_of()
    (refuse,) = desk.tell(known(desk, WRONG))
    assert isinstance(refuse, Refuse) and refuse.fault is WRONG


# Fitting


def long(**given: object) -> dict[str, object]:
    prompt = Prompt(model="m1", texts=("word " * 2000,), max_output=100)
    return {"prompt": prompt, "body": b"x" * 10_000, "tokens": 5000, "optimize": "fit", "reuse": "off"} | given


def test_a_prompt_past_its_window_is_fitted_before_it_is_sent() -> None:
    desk = Desk(Policy())
    (fit,) = desk.ask(**long())
    assert isinstance(fit, Fit) and 0 < fit.budget <= 1900
    short = structs.replace(fit.request, body=b"short", tokens=1500)
    call = call_of(desk.tell(facts.Fitted("ask-1", short, "5,000 to 1,500 tokens")))
    assert call.requests[0].body == b"short" and "5,000 to 1,500 tokens" in call.why
    assert reply_of(desk.finish(call)).fitted == "5,000 to 1,500 tokens"


@pytest.mark.parametrize("given", [{"optimize": "off"}, {"tokens": 1200}, {"body": b"x" * 1800}])
def test_what_fits_or_did_not_ask_goes_as_it_is(given: dict[str, object]) -> None:
    assert isinstance(only(Desk(Policy()).ask(**long(**given)), Call), Call)


def test_the_configured_budget_holds_within_the_window() -> None:
    desk = Desk(Policy(context_tokens=1000, meta_overhead_tokens=100))
    (fit,) = desk.ask(**long(tokens=1500))
    assert isinstance(fit, Fit) and fit.budget <= 900


def test_what_could_not_be_fitted_is_sent_once_as_it_came() -> None:
    desk = Desk(Policy())
    (fit,) = desk.ask(**long())
    assert isinstance(fit, Fit)
    call = call_of(desk.tell(facts.Fitted("ask-1", fit.request, "it could not be made to fit")))
    assert call.requests[0] is fit.request


def test_a_lost_durable_call_is_told_as_lost() -> None:
    desk = desk_of()
    desk.ask(durable=True, reuse="off")
    call = call_of(desk.tell(facts.Saved("ask-1")))
    (kept,) = desk.tell(facts.Failed(call.call_id, LOST))
    assert isinstance(kept, Keep) and isinstance(kept.result, Fault) and kept.result.billed == "unknown"


def test_who_does_not_wait_is_told_when_its_request_is_on_disk() -> None:
    desk = desk_of()
    (save,) = desk.ask(durable=True, detached=True, reuse="off")
    assert isinstance(save, Save) and desk.planner.load().waiting == 1, "not told before"
    acknowledge, call = desk.tell(facts.Saved("ask-1"))
    assert isinstance(acknowledge, Acknowledge) and acknowledge.request.ask == "ask-1"
    assert isinstance(call, Call) and call.riders == () and desk.planner.load().waiting == 0
    (kept,) = desk.finish(call)
    assert isinstance(kept, Keep)
    (book,) = desk.tell(facts.Kept("ask-1"))
    assert isinstance(book, Book), "its answer waits on the disk, and nobody is told"
    (second,) = desk.ask(reuse="off")
    assert isinstance(second, Call), "an answer that will be fetched is nobody else's to adopt"


def test_who_does_not_wait_is_refused_where_the_disk_is_down() -> None:
    desk = desk_of()
    desk.ask(durable=True, detached=True, reuse="off")
    (refuse,) = desk.tell(facts.NotSaved("ask-1", DOWN))
    assert isinstance(refuse, Refuse) and refuse.fault is DOWN


def test_who_does_not_wait_gets_an_answer_that_is_there() -> None:
    desk = desk_of()
    (look,) = desk.ask(durable=True, detached=True)
    assert isinstance(look, Look)
    known = facts.Known(request=desk.request(), result=desk.answer(), call_id="before")
    (save,) = desk.tell(facts.Looked("ask-1", known))
    assert isinstance(save, Save), "it will be asked for by its own id"
    (keep,) = desk.tell(facts.Saved("ask-1"))
    assert isinstance(keep, Keep) and (keep.via, keep.cost, keep.result) == ("cache", 0, desk.answer())
    _, reply = desk.tell(facts.Kept("ask-1"))
    assert isinstance(reply, Reply) and (reply.via, reply.cost, reply.on_disk) == ("cache", 0, True)
    (look,) = desk.ask(id="later")
    assert isinstance(look, Look), "it is no older for having been given again, and no younger"


def test_an_id_that_was_answered_is_not_written_down_again() -> None:
    named: dict[str, object] = {"named": True, "id": "mine", "durable": True}
    desk = desk_of()
    desk.ask(**named)
    known = facts.Known(request=desk.request(**named), result=desk.answer(), call_id="before")
    (reply,) = desk.tell(facts.Looked("ask-1", known))
    assert isinstance(reply, Reply) and reply.on_disk

    desk = desk_of()
    desk.ask(**named)
    desk.tell(facts.Looked("ask-1"))
    desk.finish(call_of(desk.tell(facts.Saved("ask-1"))))
    desk.tell(facts.Kept("ask-1"))
    (reply,) = desk.ask(**named)
    assert isinstance(reply, Reply) and (reply.via, reply.on_disk) == ("cache", True)


@pytest.mark.parametrize("formed", [False, True])
def test_who_does_not_wait_may_ask_twice(formed: bool) -> None:
    """The same id again is acknowledged at once, wherever the first is; whoever waits still waits."""
    desk = desk_of()
    given = {"named": True, "id": "mine", "durable": True, "priority": "low"}
    desk.ask(**given)
    desk.tell(facts.Looked("ask-1"))
    (joined,) = desk.ask(**given, detached=True)
    assert isinstance(joined, Join), "the first is not on disk yet"
    (acknowledge,) = desk.tell(facts.Saved("ask-1"))
    assert isinstance(acknowledge, Acknowledge) and acknowledge.request.ask == "ask-2"
    if formed:
        only(desk.tell(facts.TimePassed(), after=30), FormJob)
    joined, acknowledge = desk.ask(**given, detached=True)
    assert isinstance(joined, Join) and isinstance(acknowledge, Acknowledge)
    assert desk.planner.load().waiting == 1


def test_who_does_not_wait_leaves_nothing_behind_for_what_another_process_has() -> None:
    desk = desk_of()
    given = {"named": True, "id": "mine", "durable": True}
    desk.ask(**given, detached=True)
    first = desk.request(**given)
    commands = desk.tell(facts.Looked("ask-1", facts.Known(request=first, result=None)))
    assert [type(command) for command in commands] == [Join, Acknowledge]
    assert desk.planner.awaited(in_jobs=True) == [] and desk.planner.load().waiting == 0
    assert isinstance(desk.ask(**given)[0], Look), "the disk is asked again"


@pytest.mark.parametrize("formed", [False, True])
def test_a_request_that_is_cancelled_cancels_no_twin(formed: bool) -> None:
    desk = desk_of()
    desk.ask(durable=True, named=True, id="mine", priority="low")
    desk.tell(facts.Looked("ask-1"))
    desk.tell(facts.Saved("ask-1"))
    (joined,) = desk.ask(priority="low")
    assert isinstance(joined, Join)
    if formed:
        only(desk.tell(facts.TimePassed(), after=30), FormJob)
    commands = desk.tell(facts.Withdrawn("ask-1"))
    refuse, save = commands
    assert isinstance(refuse, Refuse) and (refuse.request.id, refuse.fault.code) == ("mine", "cancelled")
    assert isinstance(save, Save) and save.request.ask == "ask-2", "it goes a way of its own"
    desk.tell(facts.Saved("ask-2"))
    form = only(desk.tell(facts.TimePassed(), after=30), FormJob)
    assert isinstance(form, FormJob) and [request.ask for request in form.requests] == ["ask-2"]
    assert reply_of(desk.tell(facts.Landed("ask-2", form.job_id, desk.answer()))).request.ask == "ask-2"


def test_a_call_that_is_under_way_goes_on_for_the_twins_of_who_cancelled() -> None:
    desk = desk_of()
    desk.ask(durable=True, named=True, id="mine")
    desk.tell(facts.Looked("ask-1"))
    call = call_of(desk.tell(facts.Saved("ask-1")))
    only(desk.ask(), Join)
    (refuse,) = desk.tell(facts.Withdrawn("ask-1"))
    assert isinstance(refuse, Refuse) and refuse.request.id == "mine"
    book, reply = desk.finish(call)
    assert isinstance(book, Book) and isinstance(reply, Reply)
    assert (reply.request.ask, reply.via, reply.cost) == ("ask-2", "direct", book.charge.cost)


def test_what_nobody_waits_for_any_more_is_recorded() -> None:
    desk = desk_of(max_retries=0)
    call = call_of(desk.ask(reuse="off"))
    assert desk.planner.holds("t", "ask-1") and not desk.planner.holds("other", "ask-1")
    desk.tell(facts.Left("ask-1", keep=True))
    assert desk.planner.holds("t", "ask-1")
    book, record = desk.finish(call)
    assert isinstance(book, Book) and isinstance(record, Record) and isinstance(record.ending, Reply)
    assert record.ending.request.ask == "ask-1" and not desk.planner.holds("t", "ask-1")
    call = call_of(desk.ask(fingerprint="other", reuse="off"))
    desk.tell(facts.Left("ask-2", keep=True))
    (record,) = desk.tell(facts.Failed(call.call_id, WRONG))
    assert isinstance(record, Record) and isinstance(record.ending, Refuse)


def test_what_has_failed_by_its_deadline_while_it_was_fitted_ends_once() -> None:
    desk = desk_of()
    late = desk.request(**long(durable=True, on_deadline="fail", deadline=desk.now + 5))
    (fit,) = desk.tell(facts.Resumed(late, "after a restart"))
    assert isinstance(fit, Fit)
    (kept,) = desk.tell(facts.TimePassed(), after=5)
    assert isinstance(kept, Keep)
    assert desk.tell(facts.Fitted(late.ask, structs.replace(late, tokens=100), "the middle")) == []
