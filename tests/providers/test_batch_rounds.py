"""Every batch dialect that begins with OpenAI's, against its side of the sandbox over real HTTP: there and back."""

import json
from typing import Any

import pytest
from msgspec.structs import replace
from tests.core.test_job import POLICY, TAG, running, step
from tests.providers.batch_round import Round, a_round, chat
from tests.sandbox.speaking import ledger, switch_on
from tests.sandbox.submitting import START

from batchway.core.errors import BadRequest
from batchway.core.job import Counts, Job, ProviderBatch, Tally, Wish, commands, facts
from batchway.core.types import Answer, Fault
from batchway.ports import Outgoing
from batchway.sandbox.batch_contract import Schedule

TAGGED = ["openai", "deepinfra", "groq", "doubleword", "mine", "grok", "mistral"]
ALL = [*TAGGED, "openrouter"]
QUESTIONS = [chat(f"Ask {number}: ünï\u2028cöde") for number in range(4)]


def words(body: bytes) -> Any:
    """What an answer says, whatever it is called and whenever it was made."""
    read = json.loads(body)
    return [choice["message"]["content"] for choice in read["choices"]], read["usage"]["total_tokens"], read["model"]


async def submitted(at: Round, *rules: dict[str, Any]) -> Any:
    if rules:
        await switch_on(at.world.http, *rules)
    return await at.submit(QUESTIONS)


@pytest.mark.parametrize("name", ALL)
async def test_a_life(name: str) -> None:
    async with a_round(name) as at:
        wanted, made = await at.submit(QUESTIONS)
        assert (made.status, made.over) == ("validating", False)
        listed = await at.listed(TAG)
        assert [batch.id for batch in listed] == [made.id]
        assert {made.tag, listed[0].tag} == {TAG if name in TAGGED else None}
        running = await at.poll(made, 40)
        assert (running.status, running.over) == ("running", False)
        ended = await at.poll(made, 200)
        assert (ended.status, ended.counts) == ("completed", Counts(total=4, completed=4))
        answers = await at.answers(ended, wanted)
        assert {position: words(body) for position, body in answers.items()} == {
            position: words(await at.asked(question)) for position, question in enumerate(QUESTIONS)
        }
        view = await ledger(at.world.http, lane="batch")
        assert (view["totals"]["calls"], view["totals"]["completed"]) == (4, 4)
        for file in (wanted.input_file_id, *ended.sources):
            deleting = at.batches.encode_delete(file) if file is not None else None
            assert deleting is None or at.batches.decode_delete(await at.send(deleting)) is None


@pytest.mark.parametrize("name", ALL)
async def test_marks_that_look_like_line_ends_are_text(name: str) -> None:
    async with a_round(name) as at:
        wanted, made = await submitted(at, {"kind": "odd_separators", "lines": None})
        answers = await at.answers(await at.poll(made, 200), wanted)
        assert len(answers) == 4
        assert all(" \u2028\u2029\u0085 " in words(body)[0][0] for body in answers.values())


@pytest.mark.parametrize("name", ALL)
async def test_broken_text_is_no_reason_to_lose_an_answer(name: str) -> None:
    async with a_round(name) as at:
        wanted, made = await submitted(at, {"kind": "invalid_utf8", "lines": None})
        answers = await at.answers(await at.poll(made, 200), wanted)
        assert len(answers) == 4
        assert all("\ufffd" in words(body)[0][0] for body in answers.values())


@pytest.mark.parametrize("name", ALL)
async def test_doubled_and_ghostly_lines_are_told_apart(name: str) -> None:
    async with a_round(name) as at:
        rules: list[dict[str, Any]] = [{"kind": "lines_doubled", "lines": 2}, {"kind": "ghost_lines", "after": 2}]
        wanted, made = await submitted(at, *rules)
        results = await at.results(await at.poll(made, 200), wanted)
        tally = Tally(wanted, last=True)
        meant = [tally.take(result)[0] for result in results]
        assert (len(results), meant.count("settles"), meant.count("ghost")) == (7, 6, 1)
        assert tally.ingested(done=4, failed=0).seen == 4


@pytest.mark.parametrize("name", ALL)
async def test_rows_fail_by_themselves_in_the_providers_words(name: str) -> None:
    failing = [400, 429, 503, None]
    rules = [
        {"kind": "lines_fail", "after": after, "status": status, "message": f"No {after}: ünï.", "code": "odd"}
        for after, status in enumerate(failing)
    ]
    async with a_round(name) as at:
        await switch_on(at.world.http, *rules)
        wanted, made = await at.submit([*QUESTIONS, chat("and one that goes well")])
        ended = await at.poll(made, 200)
        assert (ended.status, ended.counts) == ("completed", Counts(total=5, completed=1, failed=4))
        outcomes = [result.outcome for result in await at.results(ended, wanted)]
        faults = {outcome.message: outcome for outcome in outcomes if isinstance(outcome, Fault)}
        assert [fault.healthy for fault in faults.values()] == [True] * 4
        told = [(faults[f"No {after}: ünï."].status, faults[f"No {after}: ünï."].passing) for after in range(4)]
        assert told[:3] == [(400, False), (429, True), (503, True)]
        assert told[3][1], "nobody answered: it may go well another time"
        assert sum(isinstance(outcome, Answer) for outcome in outcomes) == 1


@pytest.mark.parametrize("name", TAGGED)
async def test_cancelling_keeps_what_was_done(name: str) -> None:
    async with a_round(name) as at:
        wanted, made = await at.submit(QUESTIONS)
        await at.poll(made, 40)
        shown = at.batches.decode_cancel(await at.send(at.batches.encode_cancel(made.id)))
        assert shown is not None
        assert not isinstance(shown, Fault), shown
        assert shown.status == "cancelling"
        ended = await at.poll(made, 20)
        assert ended.status == "cancelled"
        outcomes = [result.outcome for result in await at.results(ended, wanted)]
        assert sum(isinstance(outcome, Answer) for outcome in outcomes) == 1
        assert all(outcome is None or isinstance(outcome, Answer) for outcome in outcomes)
        view = await ledger(at.world.http, lane="batch")
        assert view["totals"]["completed"] == 1


@pytest.mark.parametrize("name", TAGGED)
async def test_a_cancel_that_came_too_late_loses_nothing(name: str) -> None:
    async with a_round(name) as at:
        wanted, made = await submitted(at, {"kind": "cancel_ignored"})
        await at.poll(made, 40)
        assert not isinstance(at.batches.decode_cancel(await at.send(at.batches.encode_cancel(made.id))), Fault)
        assert not (await at.poll(made, 20)).over
        ended = await at.poll(made, 100)
        assert ended.over
        assert len(await at.answers(ended, wanted)) == 4


@pytest.mark.parametrize("name", [name for name in ALL if name != "grok"])
async def test_a_state_that_nobody_knows_says_nothing(name: str) -> None:
    async with a_round(name) as at:
        _, made = await submitted(at, {"kind": "batch_status", "status": "Partially_Completed", "polls": 1})
        shown = await at.poll(made, 40)
        assert (shown.status, shown.said, shown.over) == ("unknown", "Partially_Completed", False)
        assert (await at.poll(made)).status == "running"


@pytest.mark.parametrize("name", ALL)
async def test_what_the_provider_ends_is_over_and_says_why(name: str) -> None:
    async with a_round(name) as at:
        rule = {"kind": "batch_ends", "state": "failed", "lines": 1, "code": "broken", "message": "It broke."}
        wanted, made = await submitted(at, rule)
        ended = await at.poll(made, 200)
        assert (ended.status, [problem.message for problem in ended.problems]) == ("failed", ["It broke."])
        outcomes = [result.outcome for result in await at.results(ended, wanted)]
        assert sum(isinstance(outcome, Answer) for outcome in outcomes) == 1


@pytest.mark.parametrize("name", TAGGED)
async def test_tags_that_are_forgotten_are_none(name: str) -> None:
    async with a_round(name) as at:
        _, made = await submitted(at, {"kind": "tags_forgotten"})
        assert made.tag is None


@pytest.mark.parametrize("name", ALL)
async def test_what_is_not_there_is_a_404(name: str) -> None:
    async with a_round(name) as at:
        for outgoing in (at.batches.encode_get("batch_x/../../files"), at.batches.encode_cancel("batch_x")):
            fault = at.batches.decode_batch(await at.send(outgoing))
            assert isinstance(fault, Fault)
            assert (fault.status, bool(fault.message)) == (404, True)


@pytest.mark.parametrize("name", ALL)
async def test_a_wrong_key_is_told(name: str) -> None:
    async with a_round(name, keys=["another"]) as at:
        fault = at.batches.decode_list(await at.send(at.batches.encode_list(TAG, None)))
        assert isinstance(fault, Fault)
        assert fault.status == 401


@pytest.mark.parametrize("name", ["doubleword", "grok"])
async def test_results_are_read_while_it_is_running(name: str) -> None:
    async with a_round(name) as at:
        wanted, made = await at.submit(QUESTIONS)
        assert not (await at.poll(made, 20)).readable, "nothing is done yet"
        early = await at.poll(made, 45)
        assert (early.status, early.readable, early.counts) == ("running", True, Counts(total=4, completed=2))
        assert len(await at.answers(early, wanted)) == 2
        assert len(await at.answers(await at.poll(made, 200), wanted)) == 4


@pytest.mark.parametrize("name", ["openai", "groq", "deepinfra", "mistral"])
async def test_elsewhere_they_are_not(name: str) -> None:
    async with a_round(name) as at:
        _, made = await at.submit(QUESTIONS)
        running = await at.poll(made, 65)
        assert (running.status, running.readable, running.sources) == ("running", False, ())


async def test_a_file_that_grows_is_read_as_far_as_it_is_and_not_followed() -> None:
    async with a_round("doubleword", batch_schedule=Schedule(validating=0, per_line=1)) as at:
        wanted, made = await at.submit([chat(f"Ask {number}") for number in range(150)])
        for seconds, done, calls in ((50, 50, 1), (50, 100, 2), (20, 120, 1), (30, 150, 1)):
            shown = await at.poll(made, seconds)
            before = (await ledger(at.world.http, endpoint="files.content"))["totals"]["calls"]
            assert len(await at.answers(shown, wanted)) == done
            after = (await ledger(at.world.http, endpoint="files.content"))["totals"]["calls"]
            assert after - before == calls


async def test_a_file_that_will_never_hold_anything_is_not_asked_for() -> None:
    """Doubleword names both files at creation; asking for an empty one is a 404."""
    async with a_round("doubleword") as at:
        _, made = await at.submit(QUESTIONS)
        await at.poll(made, 40)
        await at.send(at.batches.encode_cancel(made.id))
        ended = await at.poll(made, 20)
        assert len(ended.sources) == 1
        _, other = await submitted(at, {"kind": "lines_fail", "lines": None})
        assert len((await at.poll(other, 200)).sources) == 1


async def test_a_request_that_is_too_large_for_one_row_is_refused_at_once() -> None:
    async with a_round("doubleword") as at:
        with pytest.raises(BadRequest, match="takes 10000000 in a batch") as refused:
            at.batches.line(chat("x" * 10_000_000), "a-1")
        assert refused.value.fault.code == "request_too_large"


@pytest.mark.parametrize("name", ["doubleword", "groq"])
async def test_what_is_too_large_is_a_413(name: str) -> None:
    async with a_round(name) as at:
        await at.world.http.patch("/sandbox/offers", json={name: {"most_bytes": 500}})
        upload = at.batches.encode_upload((await at.submit([chat("short")]))[0], None)
        fault = at.batches.decode_upload(await at.send_rows(upload, [b"x" * 501]))
        assert isinstance(fault, Fault)
        assert fault.status == 413


async def test_what_cannot_be_cancelled_runs_to_its_end_and_shows_nothing_before() -> None:
    """OpenRouter has no such call; its listing shows no tag, but enough to know the batch by."""
    async with a_round("openrouter") as at:
        wanted, made = await at.submit(QUESTIONS)
        running = await at.poll(made, 65)
        assert (running.status, running.sources) == ("running", ())
        fault = at.batches.decode_cancel(await at.send(at.batches.encode_cancel(made.id)))
        assert isinstance(fault, Fault)
        assert fault.status == 404
        (listed,) = await at.listed(TAG)
        assert (listed.created_at, listed.counts) == (START, Counts(total=4, completed=2))
        ended = await at.poll(made, 200)
        assert len(await at.answers(ended, wanted)) == 4
        deleting = at.batches.encode_delete(made.id)
        assert deleting is not None
        assert at.batches.decode_delete(await at.send(deleting)) is None
        assert await at.listed() == []


async def test_results_come_by_the_page() -> None:
    """xAI gives a thousand at a time."""
    async with a_round("grok") as at:
        wanted, made = await at.submit([chat(f"Ask {number}") for number in range(1_050)])
        ended = await at.poll(made, 200)
        assert sorted(await at.answers(ended, wanted)) == list(range(1_050))


async def test_listings_by_page_numbers_are_read_to_their_end_and_miss_nothing() -> None:
    """Mistral's answers do not say which page they are."""
    async with a_round("mistral") as at:
        wanted, first = await at.submit([chat("Ask")])
        create = at.batches.encode_create(replace(wanted, submit_tag="another-tag"))
        assert isinstance(create, Outgoing)
        others = [at.batches.decode_batch(await at.send(create)) for _ in range(105)]
        made = [first.id, *[batch.id for batch in others if isinstance(batch, ProviderBatch)]]
        listed = await at.listed(None)
        assert list(dict.fromkeys(batch.id for batch in listed)) == made[::-1]
        assert [batch.id for batch in await at.listed(TAG)] == [first.id], "the server filters"
        assert len(await at.listed("another-tag")) >= 105


# What the life of a job makes of it


def watched(wanted: Job, batch: ProviderBatch, **fields: Any) -> tuple[Job, list[Any]]:
    """The row after a look at its batch, and the commands."""
    before = replace(running(), n=wanted.n, provider_batch_id=batch.id, **fields)
    return step(before, facts.Polled(batch))


async def test_a_model_that_is_not_batched_takes_another_lane() -> None:
    async with a_round("grok") as at:
        wanted, made = await at.submit([chat(f"Ask {number}", model="grok-4.6") for number in range(4)])
        _, told = watched(wanted, await at.poll(made, 10))
        (reroute,) = [command for command in told if isinstance(command, commands.Reroute)]
        assert "not supported for batch processing" in reroute.fault.message


async def test_a_file_that_is_refused_is_divided_until_the_row_is_found() -> None:
    async with a_round("grok") as at:
        wanted, _ = await at.submit(QUESTIONS)
        upload = at.batches.encode_upload(wanted, None)
        file = at.batches.decode_upload(await at.send_rows(upload, [b"{}", b"{}", b"{}", b"{}"]))
        assert isinstance(file, str)
        create = at.batches.encode_create(replace(wanted, input_file_id=file))
        assert isinstance(create, Outgoing)
        refused = at.batches.decode_batch(await at.send(create))
        assert isinstance(refused, ProviderBatch)
        _, told = watched(wanted, await at.poll(refused, 10))
        (again,) = [command for command in told if isinstance(command, commands.Requeue)]
        assert again.parts == 2


async def test_a_cancelled_job_is_over_when_its_batch_is_and_waits_for_no_file() -> None:
    """Doubleword names an error file that may never hold anything."""
    async with a_round("doubleword") as at:
        wanted, made = await at.submit(QUESTIONS)
        await at.poll(made, 40)
        await at.send(at.batches.encode_cancel(made.id))
        wish = Wish(by="owner", why="enough", at=1000.0)
        after, told = watched(wanted, await at.poll(made, 20), cancel=wish)
        (ingest,) = [command for command in told if isinstance(command, commands.Ingest)]
        results = [await at.send(at.batches.encode_results(source, None)) for source in ingest.sources]
        assert [answer.status for answer in results] == [200]
        ended, told = step(after, facts.Ingested(done=1, failed=0, seen=1))
        assert (ended.reason, [type(command) for command in told]) == (
            "cancelled",
            [commands.Fail, commands.DeleteFiles],
        )


@pytest.mark.parametrize("name", ALL)
async def test_results_that_lack_rows_are_read_again_and_the_rows_asked_again(name: str) -> None:
    async with a_round(name) as at:
        wanted, made = await submitted(at, {"kind": "lines_missing", "lines": 3})
        ended = await at.poll(made, 200)
        after, told = watched(wanted, ended)
        assert [type(command) for command in told] == [commands.Ingest]
        seen = len(await at.answers(ended, wanted))
        assert seen == 1
        for _ in range(POLICY.downloads - 1):
            after, told = step(after, facts.Ingested(done=seen, failed=0, seen=seen))
            assert told == []
        after, told = step(after, facts.Ingested(done=seen, failed=0, seen=seen))
        assert type(told[0]) is commands.Requeue
