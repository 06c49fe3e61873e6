"""The life of a job over random histories: its invariants, that all transitions are reached, that it is repeatable."""

import os
from typing import get_args

import pytest
from tests.core.job_histories import play

from batchway.core.job import commands
from batchway.core.job.life import TABLE

FULL = os.environ.get("BATCHWAY_PROOF") == "1"


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_the_invariants_hold_in_every_history() -> None:
    """And the histories reach every transition and every command, so that no part of the life goes unproved."""
    reached: set[tuple[str, type]] = set()
    commanded: set[type] = set()
    notes: set[str] = set()
    for seed in range(20_000 if FULL else 3_000):
        for state, fact, wanted in play(seed).told:
            # What is left of a lost job is closed as that of any other, by the same transitions.
            reached.add(("closing" if state == "lost" else state, type(fact)))
            commanded.update(type(command) for command in wanted)
            notes.update(command.kind for command in wanted if isinstance(command, commands.Note))
    assert reached == {(state, fact) for state, row in TABLE.items() for fact in row if state != "lost"}
    assert commanded == set(get_args(commands.JobCommand))
    assert notes == set(get_args(commands.Noted))


@pytest.mark.parametrize("seed", range(50))
def test_the_same_facts_give_the_same_commands(seed: int) -> None:
    assert play(seed).told == play(seed).told
