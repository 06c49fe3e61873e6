"""What the policy lab costs: `python -m bench.simulate`, in CPU of one process.

`analysis` is analysis and model choice of the bundled prompts, and of one of a million characters. `batching` is one
open batch per model and the counting of what comes of it, of requests in memory that bring tokens, model and analysis.
The other rows are the whole command for the same requests, from a file to its output, its start taken off; at their end
stands its peak of memory.
"""

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from batchway.core.analysis import LEVELS, Analysis, analyse
from batchway.core.catalog import Catalog
from batchway.core.model_choice import choose_model
from batchway.core.types import Prompt
from batchway.data.prices import AS_OF, finder, tiered
from batchway.simulate.arrivals import times_ms
from batchway.simulate.files import BUNDLED
from batchway.simulate.filling import Ready
from batchway.simulate.inputs import Entry, entries
from batchway.simulate.modelwise import ModelWise, Rule
from batchway.simulate.notes import Notes
from batchway.simulate.tally import Tally

MODELS = ("gpt-6-luna", "gpt-6.1-terra", "gpt-6.1-sol", "claude-sonnet-5-5", "gemini-3.8-flash")
PER_SECOND = 50.0
PROMPT = "What is written on the stone at the old harbour, and who has read it since the flood? " * 3


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulate", description=__doc__)
    parser.add_argument("--requests", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batching", action="store_true", help="only that, and print its CPU seconds")
    options = parser.parse_args()
    if options.batching:
        print(_batching(options.requests))
        return
    _analyses()
    with tempfile.TemporaryDirectory(prefix="bench-simulate-") as folder:
        files = {kind: Path(folder, f"trace.{kind}") for kind in ("jsonl", "json", "csv")}
        few = Path(folder, "few.jsonl")
        _write(files, options.requests)
        with files["jsonl"].open() as lines:
            few.write_text(next(lines))
        for _ in range(options.rounds):
            _show("batching", options.requests, _batching_alone(options.requests), None)
            start, _ = _command(few, "--json")
            for kind, file in files.items():
                for form in ("--json", "--csv") if kind == "jsonl" else ("--json",):
                    cpu, memory = _command(file, form)
                    _show(f"{kind} to {form[2:]}", options.requests, cpu - start, memory)


def _show(name: str, requests: int, cpu: float, memory: int | None) -> None:
    peak = "" if memory is None else f"{memory / 1e6:>8.0f} MB"
    print(f"{name:<16} {requests / cpu:>10,.0f} requests/s of CPU{peak}", flush=True)


def _analyses() -> None:
    prompts = [entry.text or "" for name in BUNDLED for entry in entries(name, Notes())]
    catalog, names = Catalog(finder(AS_OF)), tiered()
    for what, texts in (("of the bundled prompts", prompts), ("of a million characters", [PROMPT * 4_000])):
        rounds, began = 10_000 // len(texts), time.process_time()
        for _ in range(rounds):
            for text in texts:
                prompt = Prompt(model="auto", texts=(text,))
                choose_model(prompt, analyse(prompt), names, catalog)
        spent = (time.process_time() - began) / rounds / len(texts)
        print(f"{'analysis':<16} {spent * 1e6:>10,.0f} µs {what}", flush=True)


def _batching(number: int) -> float:
    """CPU seconds."""
    requests = list(_ready(number))
    began = time.process_time()
    tally, batching = Tally(Rule()), ModelWise(Rule())
    for request in requests:
        tally.request(request)
        for batch in batching.arrive(request):
            tally.batch(batch)
    for batch in batching.finish():
        tally.batch(batch)
    assert tally.summary().requests == number
    return time.process_time() - began


def _batching_alone(number: int) -> float:
    """The same in a process of its own, for a child's peak of memory begins with the size of its parent."""
    command = [sys.executable, "-m", "bench.simulate", "--batching", "--requests", str(number)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _command(file: Path, form: str) -> tuple[float, int]:
    """CPU seconds of the whole command, and its peak memory in bytes."""
    command = [sys.executable, "-m", "batchway", "simulate", "--input", str(file), form]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=file.parent) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _write(files: dict[str, Path], number: int) -> None:
    """The same trace in each of the forms that are read."""
    with files["jsonl"].open("w") as lines, files["json"].open("w") as items, files["csv"].open("w") as cells:
        rows = csv.writer(cells)
        for at, (request, analysis) in enumerate(islice(_trace(), number)):
            line = json.dumps(request | {"analysis_json": analysis})
            lines.write(line + "\n")
            items.write((",\n" if at else "[\n") + line)
            if not at:
                rows.writerow([*request, *analysis])
            rows.writerow([*request.values(), *analysis.values()])
        items.write("\n]\n")


def _trace() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Requests and their analyses, without end."""
    dice = random.Random(7)
    for number, at_ms in enumerate(times_ms("poisson", PER_SECOND, dice)):
        request = {
            "request_id": f"request-{number}",
            "created_at_ms": at_ms,
            "prompt": PROMPT[: 40 + dice.randrange(160)],
            "token_count": 10 + dice.randrange(1_500),
            "selected_model": dice.choice(MODELS),
        }
        analysis = {"task": "chat", "complexity": "low", "output_tokens": 80, "latency_tolerance": dice.choice(LEVELS)}
        yield request, analysis


def _ready(number: int) -> Iterator[Ready]:
    for order, (request, analysis) in enumerate(islice(_trace(), number)):
        yield Ready(
            entry=Entry(line=order + 1, prompt=request["prompt"]),
            order=order,
            request_id=request["request_id"],
            at_ms=request["created_at_ms"],
            analysis=Analysis(**analysis),
            tokens=request["token_count"],
            model=request["selected_model"],
            provider=None,
            why="as given",
        )


if __name__ == "__main__":
    main()
