"""What a day of traffic through the whole gateway takes offline: `python -m bench.simulate_gateway`.

A day of requests (diurnal, seeded) of several applications: repeated questions, short answers that may share calls,
long ones, batches, deadlines that need rescue, providers that fail. Each policy answers all of it, one after the other
in processes of their own. `memory` is the resident set after each tenth of the day: it follows what is under way (most
at noon, and what waits in batches), not what has been.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from msgspec import structs

from batchway.assemble import load_settings
from batchway.core.types import Outline, Prompt
from batchway.simulate.arrivals import DAY, diurnal
from batchway.simulate.blanks import Blanks
from batchway.simulate.lab import make_lab
from batchway.simulate.outcome import Outcome
from batchway.simulate.policies import POLICIES, Defaults, named
from batchway.simulate.world import Recorded

START = 1_795_780_800.0
LIMIT = 180.0
"""Seconds that a day of a million requests may take."""


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulate_gateway", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--profiles", nargs="+", default=list(POLICIES), choices=list(POLICIES))
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_measure(options.profiles[0], options.requests)))
        return
    print(f"{options.requests:,} requests of one day; {LIMIT:.0f} s are allowed for 1,000,000 of them")
    for profile in options.profiles:
        command = [sys.executable, "-m", "bench.simulate_gateway", "--one", "--profiles", profile]
        ran = subprocess.run(
            [*command, "--requests", str(options.requests)], capture_output=True, text=True, check=True
        )
        _show(profile, options.requests, json.loads(ran.stdout))


def _show(profile: str, requests: int, found: dict[str, Any]) -> None:
    seconds, cpu = found["seconds"], found["cpu"]
    print(
        f"{profile:<12} {seconds:>6.1f} s ({cpu:.1f} s CPU) {requests / seconds:>8,.0f} requests/s, "
        f"{cpu / requests * 1e6:.0f} µs CPU each; paid ${found['paid']:,.2f} of ${found['worth']:,.2f}; "
        f"{found['ways']}"
    )
    print(f"{'':<12} memory MB: {' '.join(f'{rss:.0f}' for rss in found['memory'])}", flush=True)


def _measure(profile: str, number: int) -> dict[str, Any]:
    settings = load_settings({}, environment={}).settings
    lab, outcome, setup = make_lab(settings, seed=1), Outcome(), named(profile)
    simulation = lab.simulation(setup, outcome, watch=outcome.watch)
    memory, fill = [], Defaults(setup.requests)
    began, began_cpu = time.perf_counter(), time.process_time()
    for order, request in enumerate(_day(number)):
        if order % (number // 10 or 1) == 0:
            memory.append(_rss())
        simulation.ask(fill(request))
    simulation.finish()
    seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    assert outcome.requests == number, "each request ends once"
    return {
        "seconds": seconds,
        "cpu": cpu,
        "paid": outcome.paid / 1e12,
        "worth": outcome.worth / 1e12,
        "ways": {via: way.requests for via, way in outcome.ways.items()} | {"refused": sum(outcome.refused.values())},
        "memory": [*memory, _rss()],
    }


def _rss() -> float:
    """Megabytes of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


def _day(number: int) -> Iterator[Recorded]:
    """So many requests in the course of a day."""
    dice = random.Random(7)
    arrivals = diurnal(number / DAY, dice)
    applications = [
        ("sorting", "gpt-4o-mini", 900, 60, 8, 0.0),
        ("search", "gpt-6-luna", 2_500, 40, 300, 0.0),
        ("chat", "gpt-6.1-terra", 1_200, 200, 400, None),
        ("support", "gpt-4o-mini", 1_500, 90, 40, None),
    ]
    blank = Blanks()
    for order in range(number):
        at = START + next(arrivals)
        name, model, shared, item, answer, temperature = applications[int(dice.random() * 4)]
        drawn = dice.random()
        tokens = shared + int(item * (0.5 + drawn))
        question = int(dice.random() ** 3 * number / 10) if temperature == 0.0 else order
        request = Recorded(
            id=f"r{order}",
            ask=f"r{order}",
            tenant="default",
            key="default",
            caller=name,
            provider="openai",
            endpoint="chat",
            body=blank(4 * tokens),
            prompt=Prompt(
                model=model,
                temperature=temperature,
                max_output=600,
                outline=Outline(kin=name, item=tokens - shared, answer=answer),
            ),
            fingerprint=f"{name}-{question}",
            asked_at=at,
            tokens=tokens,
        )
        if drawn < 0.1:
            yield structs.replace(request, strategy="batch", patient=True)
        elif drawn < 0.12:
            yield structs.replace(request, deadline=at + 4 * 3600.0, patient=True)
        else:
            yield request


if __name__ == "__main__":
    main()
