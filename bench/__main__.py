"""`python -m bench`: the options, and the order of things."""

import argparse
import os
import signal
import sys
import tempfile
from asyncio import Runner
from collections.abc import Sequence
from contextlib import AbstractContextManager, AsyncExitStack
from itertools import count
from pathlib import Path

import msgspec
import uvloop

from bench import subjects
from bench.cases import PEERS, SUBJECTS
from bench.peers import Skipped
from bench.processes import Running
from bench.report import Report, render, report
from bench.rounds import Bench, Memory, Sizes
from bench.subjects import Place, StartFailed, wait_until_ready
from bench.upstream import Upstream

MEMORY_REQUESTS = 150_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the report."""
    options = _options().parse_args(arguments)
    if not hasattr(os, "sched_getaffinity"):
        sys.exit("The benchmark needs Linux: it pins processes to cores and reads their CPU time from the kernel.")
    # So that the processes are ended also when this one is told to stop.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, Runner(loop_factory=uvloop.new_event_loop) as runner:
        place = Place(folder=Path(folder), subject_core=cores[0])
        found = runner.run(_run(place, _sizes(options), peers=options.peers))
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
    print(render(found))


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="What batchway costs, beside others.")
    parser.add_argument("--quick", action="store_true", help="about half a minute, without memory; rougher figures")
    parser.add_argument("--rounds", type=int, help="times that every case has its turn (12; quick: 4)")
    parser.add_argument("--requests", type=int, help="of a case in a round (2000; quick: 1000)")
    parser.add_argument("--turns", type=int, default=4, help="in which they are asked, all cases in turn (4)")
    parser.add_argument("--concurrency", type=int, default=32, help="connections of the load (32)")
    parser.add_argument("--timing", type=float, help="seconds of latency for a case and round (1.25; quick: 0.5)")
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, help="measure memory (unless quick)")
    parser.add_argument("--memory-requests", type=int, default=MEMORY_REQUESTS, help=f"({MEMORY_REQUESTS})")
    parser.add_argument("--peers", action="store_true", help="nginx and LiteLLM's proxy as well")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser


def _sizes(options: argparse.Namespace) -> Sizes:
    rounds, requests, timing = (4, 1000, 0.5) if options.quick else (12, 2000, 1.25)
    memory = not options.quick if options.memory is None else options.memory
    return Sizes(
        rounds=options.rounds or rounds,
        requests=options.requests or requests,
        turns=options.turns,
        concurrency=options.concurrency,
        timing=options.timing or timing,
        memory_requests=options.memory_requests if memory else 0,
    )


async def _run(place: Place, sizes: Sizes, *, peers: bool) -> Report:
    notes: list[str] = []
    async with AsyncExitStack() as stack:
        upstream = Upstream()
        running = {"upstream": await stack.enter_async_context(subjects.upstream(upstream))}
        place = msgspec.structs.replace(place, url=f"http://127.0.0.1:{running['upstream'].address.port}/v1")
        for name, starter in SUBJECTS.items():
            running[name] = await _start(stack, starter(place))
        if peers:
            running |= await _start_peers(stack, place, notes)
        bench = Bench(running, upstream, count(), sizes)
        measured = await bench.measure(_tell)
        memory = await _remember(bench, place) if sizes.memory_requests else None
    return report(sizes, measured, memory, notes)


async def _start(stack: AsyncExitStack, starting: AbstractContextManager[Running]) -> Running:
    running = stack.enter_context(starting)
    await wait_until_ready(running)
    return running


async def _start_peers(stack: AsyncExitStack, place: Place, notes: list[str]) -> dict[str, Running]:
    """The peers that can be had here; `notes` gets their versions, or why one was skipped."""
    running = {}
    for name, (starter, version) in PEERS.items():
        _tell(f"starting {name}")
        try:
            running[name] = await _start(stack, starter(place))
            notes.append(f"{name}: {version()}")
        except (Skipped, StartFailed) as reason:
            notes.append(f"{name}: skipped: {reason}")
    return running


async def _remember(bench: Bench, place: Place) -> Memory:
    """Memory needs a gateway whose start was seen."""
    async with AsyncExitStack() as stack:
        return await bench.remember(await _start(stack, subjects.recording(place)), _tell)


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
