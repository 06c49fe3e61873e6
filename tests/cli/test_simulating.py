"""`batchway simulate` as a person types it: the bundled traces, its forms, what it takes and what it refuses."""

import csv
import io
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from batchway.cli import app
from batchway.core.errors import BatchwayError

PROOF = os.environ.get("BATCHWAY_PROOF") == "1"
BATCHWAY = [sys.executable, "-m", "batchway", "simulate"]
CLEAN = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
"""An environment without settings."""


def typed(*arguments: str, folder: Path, given: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own."""
    command = [*BATCHWAY, *arguments]
    return subprocess.run(command, cwd=folder, env=CLEAN | environment, input=given, capture_output=True, timeout=60)


def simulate(*arguments: str) -> str:
    """What the command prints, in this process, which is quicker. What it raises is raised."""
    ended = CliRunner().invoke(app, ["simulate", *arguments], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended.stdout


def as_json(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(simulate(*arguments, "--json"))
    return found


def written(file: Path, *requests: object) -> str:
    """A trace of these requests."""
    file.write_text(json.dumps(requests))
    return str(file)


def test_the_bundled_trace_for_people(tmp_path: Path) -> None:
    shown = typed(folder=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, b"")
    text = shown.stdout.decode()
    for part in ("prompts_batch.json", "Requests", "Batches", "Models", "What is the capital of Mongolia?", "Waits: "):
        assert part in text
    assert "\x1b" not in text, "no colours where no terminal is"
    # The same bytes again, whatever the environment hashes and shows by.
    again = typed(folder=tmp_path, PYTHONHASHSEED="9", COLUMNS="40", PYTHONIOENCODING="latin-1")
    assert again.stdout == shown.stdout


def test_the_bundled_trace_shows_every_reason_and_every_patience() -> None:
    found = as_json()
    assert set(found["summary"]["close_reasons"]) == {"size", "tokens", "wait"}
    assert {each["analysis_json"]["latency_tolerance"] for each in found["requests"]} == {"low", "medium", "high"}
    assert len({each["analysis_json"]["task"] for each in found["requests"]}) > 8
    assert len(found["summary"]["models"]) == 4
    held = Counter(name for batch in found["batches"] for name in batch["request_ids"])
    assert held == Counter(each["request_id"] for each in found["requests"])


def test_the_coding_trace_lies_beside_it() -> None:
    found = as_json("--input", "prompts_batch_coding_100.json")
    assert found["summary"]["requests"] == 100
    tasks = Counter(each["analysis_json"]["task"] for each in found["requests"])
    assert tasks.most_common(1)[0][0] == "code"


@pytest.mark.parametrize("form", [(), ("--json",), ("--csv",)])
def test_equal_traces_and_seeds_give_equal_output(tmp_path: Path, form: tuple[str, ...]) -> None:
    trace = written(tmp_path / "trace.json", *(f"prompt number {number}" for number in range(50)))
    one, other, another = (simulate("--input", trace, "--seed", seed, *form) for seed in "334")
    assert one == other != another


def test_what_it_prints_can_be_read_again(tmp_path: Path) -> None:
    found = as_json()
    again = as_json("--input", written(tmp_path / "again.json", *found["requests"]))
    assert again["batches"] == found["batches"]
    assert again["summary"]["notes"] == []


def test_standard_input_csv_and_notes(tmp_path: Path) -> None:
    trace = "created_at_ms,prompt,team\n5,hallo Jürgen,x\n3,bye,y\n"
    ended = typed("--input", "-", "--csv", folder=tmp_path, given=trace.encode())
    (row,) = csv.DictReader(io.StringIO(ended.stdout.decode()))
    assert (row["request_ids"], row["opened_at_ms"]) == ("r2 r1", "3")
    assert ended.stderr.decode() == (
        "note: -: team: not a field of a request, passed over (line 2 and 1 more)\n"
        "note: -: created_at_ms: earlier than a request before it; sorted (line 3)\n"
    )


def test_the_rule_can_be_said(tmp_path: Path) -> None:
    request = {"prompt": "a", "token_count": 10, "selected_model": "gpt-4o"}
    times = ((0, "medium"), (5, "medium"), (9, "medium"), (30, "low"))
    requests = [request | {"created_at_ms": at, "analysis_json": {"latency_tolerance": level}} for at, level in times]
    trace, policy = written(tmp_path / "trace.json", *requests), tmp_path / "policy.toml"
    policy.write_text("[tolerance]\nlow = 2.0\n")

    def batches(*arguments: str) -> list[tuple[str, str, float]]:
        found = as_json("--input", trace, *arguments)["batches"]
        return [(" ".join(each["request_ids"]), each["close_reason"], each["closed_at_ms"]) for each in found]

    assert batches() == [("r1 r2 r3 r4", "wait", 80)]
    assert batches("--max-wait-ms", "7") == [("r1 r2", "wait", 7), ("r3", "wait", 16), ("r4", "wait", 31.75)]
    assert batches("--max-batch-size", "2") == [("r1 r2", "size", 5), ("r3 r4", "size", 30)]
    assert batches("--max-batch-tokens", "29")[0] == ("r1 r2", "tokens", 9)
    assert batches("--max-batch-tokens", "0") == [("r1 r2 r3 r4", "wait", 80)]
    assert batches("--tolerance", "1,1,1") == [("r1 r2 r3 r4", "wait", 200)]
    assert batches("--tolerance", str(policy), "--max-wait-ms", "20") == [("r1 r2 r3", "wait", 20), ("r4", "wait", 70)]
    assert batches("--arrivals", "poisson", "--rate", "1000000") == [("r1 r2 r3 r4", "wait", 50)]


def test_models_are_chosen_from_the_providers_that_were_named(tmp_path: Path) -> None:
    trace, config = written(tmp_path / "trace.json", "Classify: great", "Prove that 2 is prime"), tmp_path / "own.toml"

    def models(*arguments: str) -> list[str]:
        found = as_json("--input", trace, *arguments)["requests"]
        return [f"{each['provider']}/{each['selected_model']}" for each in found]

    claude = ["anthropic/claude-haiku-5-5", "anthropic/claude-opus-5-5"]
    assert models() == ["openai/gpt-6-luna", "openai/gpt-6.1-sol"]
    assert models("--provider", "anthropic") == claude
    assert models("--provider", "anthropic", "--provider", "groq") == ["groq/openai/gpt-oss-20b", claude[1]]
    config.write_text('default_provider = "anthropic"\n[models."anthropic/house"]\ntier=1\ninput=0\noutput=0\n')
    assert models("--config", str(config)) == ["anthropic/house", claude[1]]
    config.write_text('default_provider = "openrouter"\n')
    assert models("--config", str(config))[0].startswith("deepinfra/"), "it ranks none: all others are considered"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--input", "nope.json"], "nope.json: cannot be read (No such file or directory)"),
        (["--json", "--csv"], "--json and --csv: give one of them"),
        (["--arrivals", "daily"], "--arrivals daily: allowed are poisson, bursty, diurnal"),
        (["--rate", "0"], "--rate 0: allowed are requests per second, from 0.000001 to 1,000,000"),
        (["--rate", "nan"], "--rate nan: allowed are"),
        (["--max-wait-ms", "inf"], "--max-wait-ms inf: allowed are milliseconds, 0 or more"),
        (["--provider", "nope"], "--provider nope: none of its models has a tier"),
        (["--tolerance", "1,2"], "--tolerance 1,2: allowed are three multiples"),
        (["--tolerance", "-1,1,1"], "--tolerance -1,1,1: allowed are three multiples"),
        (["--tolerance", "nope.toml"], "nope.toml: cannot be read"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_asked_is_named(arguments: list[str], said: str) -> None:
    with pytest.raises(BatchwayError) as caught:
        simulate(*arguments)
    assert str(caught.value).startswith(said)


def test_bad_input_is_one_clear_message_and_no_output(tmp_path: Path) -> None:
    (tmp_path / "wrong.jsonl").write_text('"fine"\n{"prompt": "a", "token_count": -1}\n')
    ended = typed("--input", "wrong.jsonl", "--json", folder=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, b"")
    said = "batchway: wrong.jsonl: line 2: token_count: -1 is no count of tokens; it must be a whole number, 0 to"
    assert ended.stderr.decode() == f"{said} 100,000,000.\n"


def test_a_file_of_ones_own_comes_before_the_bundled_one_of_its_name(tmp_path: Path) -> None:
    written(tmp_path / "prompts_batch.json", "mine", {"prompt": "a", "selected_model": "house-model"})
    ended = typed("--json", "--any-model", folder=tmp_path)
    found = json.loads(ended.stdout)
    assert [each["selected_model"] for each in found["requests"]] == ["gpt-6-luna", "house-model"]


def _peak(process: subprocess.Popen[bytes]) -> int:
    """The most memory that it has while it runs, in megabytes. (What the system tells at its end counts this very
    process too, of which it was a copy for a moment.)"""
    peak = 0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        peak = max(peak, int(found[1]) // 1024 if found else 0)
        time.sleep(0.02)
    return peak


@pytest.mark.proof
@pytest.mark.skipif(sys.platform != "linux", reason="reads how much memory a process has from /proc")
@pytest.mark.parametrize("ending", ["jsonl", "json", "csv"])
@pytest.mark.timeout(900)
def test_memory_is_flat_however_long_the_trace(tmp_path: Path, ending: str) -> None:
    few, many = (200, 1_000) if PROOF else (5, 20)  # megabytes: the file of the proof has a gigabyte
    peaks = []
    for megabytes in (few, many):
        file = tmp_path / f"{megabytes}.{ending}"
        _write(file, megabytes)
        with (
            (tmp_path / "out").open("wb") as out,
            subprocess.Popen([*BATCHWAY, "--input", str(file), "--json"], stdout=out, env=CLEAN) as process,
        ):
            peaks.append(_peak(process))
        assert process.returncode == 0
        file.unlink()
    # Sorting looks ahead by 64 MB of texts, output stays in memory up to twice 16 MB: and no further.
    assert peaks[1] < 350, peaks
    assert peaks[1] - peaks[0] < 60 or not PROOF, peaks


def _write(file: Path, megabytes: int) -> None:
    """A trace of this size, of requests with 2 kB each."""
    text = "What stood on the stone at the old harbour? " * 45
    analysis = {"task": "chat", "complexity": "low", "output_tokens": 80, "latency_tolerance": "medium"}
    request = {"created_at_ms": 0, "prompt": text, "token_count": 400, "selected_model": "gpt-4o"}
    line = {
        ".csv": ",".join(str(cell) for cell in [*request.values(), *analysis.values()])[1:],
        ".json": json.dumps(request | {"analysis_json": analysis})[len('{"created_at_ms": 0') :],
    }
    with file.open("w") as out:
        size = out.write({".jsonl": "", ".json": "[\n", ".csv": f"{','.join([*request, *analysis])}\n"}[file.suffix])
        at = 0
        while size < megabytes * 1_000_000:
            if file.suffix == ".csv":
                size += out.write(f"{at}{line['.csv']}\n")
            else:
                comma = "," if at and file.suffix == ".json" else ""
                size += out.write(f'{comma}{{"created_at_ms": {at}{line[".json"]}\n')
            at += 20
        out.write("]\n" if file.suffix == ".json" else "")
