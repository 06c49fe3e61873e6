"""How the planner packs: the window, the call, its parts, and who is asked again."""

import pytest
from msgspec import structs
from tests.core.desk import LOST, OVERLOADED, WRONG, Desk, call_of, only

from batchway.core import facts
from batchway.core.commands import Book, Call, Command, Look, Refuse, Reply
from batchway.core.policy import Policy, WindowRule
from batchway.core.router import Offers
from batchway.core.settlement import OVERHEAD
from batchway.core.types import Answer, Fault, Prompt, Usage

POLICY = Policy(pack=WindowRule(max_wait=0.05, max_size=4), max_retries=1)
UNTOLD = Fault(whose="theirs", status=502, type="t", code="unpacked", message="no answer came with its id")


def ask(desk: Desk, text: str, **given: object) -> list[Command]:
    system = "s" * 1000
    prompt = Prompt(model="m1", texts=(system, text), system=system, temperature=0, last_user=text, max_output=20)
    whole: dict[str, object] = {"packing": "always", "pack_key": "like", "tokens": 1000, "fingerprint": text}
    return desk.ask(**({"prompt": prompt} | whole | given))


def close(desk: Desk, *texts: str, **given: object) -> list[Command]:
    """They wait together until the window closes."""
    early = [command for text in texts for command in ask(desk, text, **given)]
    return early + desk.tell(facts.TimePassed(), after=0.05)


def packed(*results: str | Fault, call: Call) -> facts.Finished:
    """What came back: texts, or faults with the share that is lost."""
    part = Usage(input=250, output=10)
    answers = [
        structs.replace(result, usage=part)
        if isinstance(result, Fault)
        else Answer(body=result.encode(), usage=part, said=result)
        for result in results
    ]
    whole = Usage(input=250 * len(results), output=10 * len(results))
    return facts.Finished(call.call_id, tuple(answers), usage=whole, said=40)


def replies(commands: list[Command]) -> list[Reply]:
    return [command for command in commands if isinstance(command, Reply)]


def calls(commands: list[Command]) -> list[Call]:
    return [command for command in commands if isinstance(command, Call)]


def test_requests_of_one_window_share_a_call() -> None:
    desk = Desk(POLICY)
    call = call_of(close(desk, "a", "b", "c"))
    assert [request.prompt.last_user for request in call.requests] == ["a", "b", "c"]
    assert call.packed is not None and len(set(call.packed.nonces)) == 3
    # Three bounds of 20, three pairs of tags, and the margin.
    assert call.packed.max_output == 3 * 20 + 3 * 16 + 32
    told = replies(desk.tell(packed("A", "B", "C", call=call)))
    assert [(reply.answer.said, reply.packed) for reply in told] == [("A", 3), ("B", 3), ("C", 3)]
    assert all("packing=always" in reply.why for reply in told)


def test_the_full_window_closes_at_once() -> None:
    desk = Desk(POLICY)
    early = [command for text in "abcd" for command in ask(desk, text)]
    assert len(call_of(early).requests) == 4


def test_parts_that_nobody_wants_any_more_are_each_charged() -> None:
    desk = Desk(structs.replace(POLICY, store=True))
    asked = [command for text in "abc" for command in ask(desk, text, durable=True)]
    saves = [command for command in asked if isinstance(command, Look)]
    for look in saves:
        desk.tell(facts.Looked(look.request.ask))
        desk.tell(facts.Saved(look.request.ask))
    call = call_of(desk.tell(facts.TimePassed(), after=0.05))
    for request in call.requests[:2]:
        desk.tell(facts.Withdrawn(request.ask))

    books = [each.charge for each in desk.tell(packed("A", "B", "C", call=call)) if isinstance(each, Book)]

    assert [(book.request_id, book.counterfactual) for book in books] == [(OVERHEAD, 0)] * 2
    assert len({book.call_id for book in books}) == 2, "one would be taken for the other"


def test_the_parts_are_charged_and_compared_with_calls_of_their_own() -> None:
    desk = Desk(POLICY)
    call = call_of(close(desk, "a", "b"))
    commands = desk.tell(packed("A", "B", call=call))
    books = [command.charge for command in commands if isinstance(command, Book)]
    assert [book.cost for book in books] == [250 * 1_000_000 + 10 * 4_000_000] * 2
    # Alone: its 1,000 tokens, and at least one of output.
    assert [book.counterfactual for book in books] == [1000 * 1_000_000 + 1 * 4_000_000] * 2
    assert [reply.saved for reply in replies(commands)] == [1_004_000_000 - 290_000_000] * 2


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"packing": "never"}, "the only lane open here"),
        ({"pack_key": None}, "not packed: its last message is not a user's text"),
        ({"prompt": Prompt(model="m1", texts=("a",), last_user="a", stream=True)}, "not packed: it is a stream"),
        ({"prompt": Prompt(model="m1", texts=("a",), last_user="<item id=1>")}, "looks like the xml format"),
    ],
)
def test_who_goes_singly_at_once(given: dict[str, object], why: str) -> None:
    call = call_of(ask(Desk(POLICY), "a", **given))
    assert why in call.why and call.packed is None


def test_a_provider_may_be_closed_to_packing() -> None:
    call = call_of(ask(Desk(POLICY, offers=Offers(packing="its owner forbids it")), "a"))
    assert "not packed: its owner forbids it" in call.why


@pytest.mark.parametrize(
    "other", [{"tenant": "t2"}, {"caller": "c2"}, {"pack_key": "unlike"}, {"provider": "two"}, {"packing": "auto"}]
)
def test_only_like_goes_with_like(other: dict[str, object]) -> None:
    desk = Desk(POLICY)
    commands = ask(desk, "a") + ask(desk, "b", **other) + desk.tell(facts.TimePassed(), after=0.05)
    assert [len(call.requests) for call in calls(commands)] == [1, 1]


def test_twins_that_share_nothing_are_not_in_one_call() -> None:
    desk = Desk(POLICY)
    commands = close(desk, "a", "a", "b", reuse="off")
    assert sorted(len(call.requests) for call in calls(commands)) == [1, 2]


def test_long_beginnings_do_not_fill_the_window() -> None:
    """What the requests have in common stands in their call once."""
    desk = Desk(Policy(pack=WindowRule(max_wait=0.05, max_size=4, max_tokens=300)))
    assert len(call_of(close(desk, "a" * 90, "b" * 90, "c" * 90)).requests) == 3
    commands = close(desk, "a" * 300, "b" * 300, "c" * 300, reuse="off")
    assert [len(call.requests) for call in calls(commands)] == [2, 1]


def test_a_call_is_no_longer_than_its_models_window() -> None:
    """Of 2,000 tokens; the beginning takes 1,600, and each item some of what is left."""
    commands = close(Desk(POLICY), *["x" * 140 + str(at) for at in range(3)], tokens=1740)
    assert sorted(len(call.requests) for call in calls(commands)) == [1, 1, 1]
    commands = close(Desk(POLICY), *["x" * 40 + str(at) for at in range(3)], tokens=1600)
    assert [len(call.requests) for call in calls(commands)] == [3]


def test_an_answer_longer_than_its_requests_bound_is_not_its_answer() -> None:
    desk = Desk(POLICY)
    call = call_of(close(desk, "a", "b"))
    commands = desk.tell(packed("A" * 20, "B" * 21, call=call))
    assert [reply.answer.said for reply in replies(commands)] == ["A" * 20]
    again = call_of(commands)
    assert "its answer has more than its 20 tokens" in again.why
    assert [c.charge.cost for c in commands if isinstance(c, Book)] == [290_000_000] * 2


def test_a_model_that_was_billed_for_reasoning_is_not_packed_by_auto() -> None:
    desk = Desk(POLICY)
    single = call_of(ask(desk, "a", packing="never"))
    desk.finish(single, desk.answer(usage=Usage(input=10, output=10, reasoning=5)))
    assert "its model reasons before it answers" in call_of(ask(desk, "b", packing="auto")).why
    assert not calls(ask(desk, "b"))


def test_what_other_ways_saved_may_be_risked() -> None:
    desk = Desk(Policy(pack=WindowRule(max_wait=0.05, max_size=6)))
    alone = close(desk, *map(str, range(6)), packing="auto", tokens=1500)
    assert {len(call.requests) for call in calls(alone)} == {1}
    assert "nothing pays for the risk yet" in calls(alone)[0].why
    for call in calls(alone):
        desk.finish(call)
    for _ in range(4):  # cached: a call's price saved each time
        again = close(desk, *map(str, range(6)), packing="auto", tokens=1500)
        assert {reply.via for reply in replies(again)} == {"cache"}
    others = [f"other {at}" for at in range(6)]
    early = close(desk, *others[:2], packing="auto", tokens=1500)
    assert all("not packed: nothing pays for the risk yet" in call.why for call in calls(early)), "a moment's pause"
    desk.now += 1
    assert max(len(call.requests) for call in calls(close(desk, *others[2:5], packing="auto", tokens=1500))) == 3


def test_whose_like_were_not_packed_wait_for_nobody() -> None:
    desk = Desk(Policy(pack=WindowRule(max_wait=0.05, max_size=6)))
    assert {len(call.requests) for call in calls(close(desk, "a", "b", packing="auto"))} == {1}
    at_once = ask(desk, "c", packing="auto")
    assert "not packed: " in call_of(at_once).why
    assert not calls(ask(desk, "d", packing="auto", pack_key="unlike")), "another kin waits"
    assert not calls(ask(desk, "c", packing="auto", tenant="t2")), "and another tenant"
    desk.now += 1
    assert not calls(ask(desk, "e", packing="auto")), "and so does this one, in a moment"


def test_two_who_met_by_chance_do_not_stop_the_crowd_that_follows() -> None:
    """The first was expected to be alone, so its window closed at once: that two are too few says nothing of ten."""
    desk = Desk(Policy(pack=WindowRule(max_wait=0.05, max_size=6)))
    for name in "ab":
        assert not calls(ask(desk, name, packing="auto"))
    assert {len(call.requests) for call in calls(desk.tell(facts.TimePassed()))} == {1}
    assert not calls(ask(desk, "c", packing="auto"))


def test_one_without_company_goes_alone() -> None:
    call = call_of(close(Desk(POLICY), "a"))
    assert call.packed is None and "nobody to share a call with" in call.why


def test_what_is_missing_is_asked_singly_and_pays_its_share_of_both() -> None:
    desk = Desk(POLICY)
    call = call_of(close(desk, "a", "b"))
    commands = desk.tell(packed("A", UNTOLD, call=call))
    assert [reply.answer.said for reply in replies(commands)] == ["A"]
    again = call_of(commands)
    assert again.packed is None and again.requests[0].prompt.last_user == "b"
    assert "no answer came with its id" in again.why
    reply = replies(desk.finish(again))[0]
    single = 1000 * 1_000_000 + 100 * 4_000_000
    assert (reply.cost, reply.saved) == (single + 290_000_000, -290_000_000)


def test_a_single_call_after_a_packed_one_is_the_last() -> None:
    desk = Desk(Policy(pack=POLICY.pack, max_retries=0))
    again = call_of(desk.tell(packed("A", UNTOLD, call=call_of(close(desk, "a", "b")))))
    assert isinstance(only(desk.tell(facts.Failed(again.call_id, WRONG)), Refuse), Refuse)


def test_a_refused_call_is_halved_until_the_item_at_fault_is_found() -> None:
    desk = Desk(POLICY)
    call = call_of(close(desk, "a", "b", "bad", "d"))
    pending, singles, told = [call], 0, 0
    while pending:
        call = pending.pop()
        bad = any(request.prompt.last_user == "bad" for request in call.requests)
        if bad:
            commands = desk.tell(facts.Failed(call.call_id, WRONG))
        elif call.packed:
            commands = desk.tell(packed(*["x"] * len(call.requests), call=call))
        else:
            commands = desk.finish(call)
        singles += len(call.requests) == 1
        told += len(replies(commands))
        pending += calls(commands)
    assert (told, singles) == (3, 2)


def test_a_passing_refusal_is_tried_again_as_it_was() -> None:
    desk = Desk(POLICY)
    call = call_of(close(desk, "a", "b"))
    assert desk.tell(facts.Failed(call.call_id, OVERLOADED)) == []
    again = call_of(desk.tell(facts.TimePassed(), after=60))
    assert again.packed is not None and len(again.requests) == 2 and again.attempt == 2
    # After the last try each is told: no single calls into an overload.
    assert len([c for c in desk.tell(facts.Failed(again.call_id, OVERLOADED)) if isinstance(c, Refuse)]) == 2


def test_after_a_lost_call_each_is_asked_singly() -> None:
    desk = Desk(POLICY)
    commands = desk.tell(facts.Failed(call_of(close(desk, "a", "b")).call_id, LOST))
    assert [len(call.requests) for call in calls(commands)] == [1, 1]


def test_who_left_is_not_in_the_call() -> None:
    desk = Desk(Policy(pack=POLICY.pack, max_in_flight=1))
    first = call_of(ask(desk, "x", packing="never"))
    early = [command for text in "abc" for command in ask(desk, text)]
    assert not calls(early + desk.tell(facts.TimePassed(), after=0.05))
    desk.tell(facts.Left("ask-3"))
    call = call_of(desk.finish(first))
    assert [request.prompt.last_user for request in call.requests] == ["a", "c"]
    assert call.packed is not None and len(call.packed.nonces) == 2


def test_the_guard_asks_singly_as_well_and_nobody_pays_for_it() -> None:
    """`auto`: its savings pay for samples; the cost of a sample is overhead, and a difference closes the model."""
    desk = Desk(Policy(pack=WindowRule(max_wait=0.05, max_size=6), pack_stake=10**13, cache_ttl=0))
    sampled, different, closed = 0, 0, ""
    for round_number in range(40):
        commands = close(desk, *[f"{round_number} {item}" for item in range(6)], packing="auto", tokens=1500)
        pending = calls(commands)
        closed = pending[-1].why
        while pending:
            call = pending.pop()
            if call.compared:
                sampled += 1
                commands = desk.finish(call, desk.answer(said="something else"))
                different += 1
                assert [c.charge.request_id for c in commands if isinstance(c, Book)] == [OVERHEAD]
                assert not replies(commands)
            elif call.packed:
                commands = desk.tell(packed(*["x"] * len(call.requests), call=call))
            else:
                commands = desk.finish(call)
            pending += calls(commands)
        if sampled:
            break
    assert sampled and different
    after = close(desk, *[f"after {item}" for item in range(6)], packing="auto", tokens=1500)
    assert all(len(call.requests) == 1 for call in calls(after)), closed
    assert "packing is off for this model" in calls(after)[0].why
