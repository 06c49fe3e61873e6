"""The planner's invariants over random histories, and that the same facts give the same commands, byte for byte."""

import hashlib
import os
import subprocess
import sys
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.core.histories import play

FULL = os.environ.get("BATCHWAY_PROOF") == "1"


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False), st.integers(1, 60))
def test_invariants_hold_at_every_step(dice: Random, steps: int) -> None:
    play(dice, steps)


def digest(first: int, last: int) -> str:
    """All facts and commands of these histories, as one hash."""
    whole = hashlib.sha256()
    for seed in range(first, last):
        world = play(Random(seed), 40)
        for line in (*world.told, *world.commanded):
            whole.update(line)
    return whole.hexdigest()


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_the_same_facts_give_the_same_commands() -> None:
    """Twice in processes of different hash seeds, so that an order taken from a set or an id would show."""
    count = 10_000 if FULL else 1_000
    runs = [
        subprocess.run(
            [sys.executable, "-c", f"from tests.core.test_planner_property import digest; print(digest(0, {count}))"],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert len(runs[0].strip()) == 64
