"""A day of traffic through the whole gateway, offline: every request ends, and memory follows what is under way."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
FULL = os.environ.get("BATCHWAY_PROOF") == "1"


def bench(module: str, *arguments: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", f"bench.{module}", *arguments], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return ran.stdout


@pytest.mark.proof
@pytest.mark.timeout(1800)
def test_memory_does_not_grow_with_what_has_been() -> None:
    number = 1_000_000 if FULL else 20_000
    found: dict[str, Any] = json.loads(
        bench("simulate_gateway", "--one", "--profiles", "transparent", "--requests", str(number))
    )
    assert sum(found["ways"].values()) == number
    assert all(found["ways"][via] > 0 for via in ("direct", "batch", "cache", "coalesced"))
    # The second half of the day has as many requests as the first; what the cache may keep is bounded by 64 MiB.
    first_half, whole = found["memory"][5], found["memory"][-1]
    assert whole - first_half < (50 if FULL else 15)


def test_the_benchmarks_say_what_they_measured() -> None:
    day = bench("simulate_gateway", "--requests", "2000", "--profiles", "saver", "batcher")
    assert day.count("requests/s") == 2 and "180 s are allowed" in day and day.count("memory MB") == 2
    shadow = bench("shadow", "--requests", "2000")
    assert shadow.count("µs a request of 20") == 4
