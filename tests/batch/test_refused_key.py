"""The gateway's own key refused by its provider: batches wait for whoever mends it, and go on then, paid once."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from structlog.testing import capture_logs
from tests.batch.lane import Lane, own_answer, questions
from tests.gate import until

THREE = questions(3)


def refuse_key(lane: Lane) -> None:
    """Its owner took it back at the provider."""
    lane.gate.sandbox.keys = frozenset()


def mend_key(lane: Lane) -> None:
    """And gave it again."""
    lane.gate.sandbox.keys = None


async def look_again(lane: Lane) -> None:
    """What a start does: jobs are looked at before their time."""
    gateway = lane.gate.gateway
    assert gateway.storage is not None and gateway.jobs is not None
    await gateway.storage.jobs.hurry()
    gateway.jobs.wake()


def refusals(lane: Lane) -> int:
    """How often the provider has refused it."""
    return lane.gate.outcomes.count("refused")


def held(lines: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [line for line in lines if line["event"] == "a batch waits for its owner"]


async def test_a_batch_that_is_not_taken_waits_for_the_key(lane: Lane) -> None:
    refuse_key(lane)
    with capture_logs() as lines:
        asking = asyncio.create_task(lane.ask_all(THREE))
        while refusals(lane) < 3:
            await look_again(lane)
            await asyncio.sleep(0.05)
        assert not asking.done(), "a key that is refused is not the fault of whoever waits"
        (line,) = held(lines)
        assert line["log_level"] == "warning" and "openai" in line["provider"]
        mend_key(lane)
        await look_again(lane)
        answers = await asking

    assert [own_answer(text, answer) for text, answer in zip(THREE, answers, strict=True)] == [True] * 3
    assert (len(lane.batches), lane.billed) == (1, 3)


async def test_a_batch_that_runs_is_read_when_the_key_is_mended(lane: Lane) -> None:
    asking = asyncio.create_task(lane.ask_all(THREE))
    await until(lambda: lane.batches)
    before = refusals(lane)
    refuse_key(lane)
    await until(lambda: refusals(lane) >= before + 3)
    assert not asking.done()
    mend_key(lane)

    answers = await asking

    assert [own_answer(text, answer) for text, answer in zip(THREE, answers, strict=True)] == [True] * 3
    assert (len(lane.batches), lane.billed) == (1, 3)
