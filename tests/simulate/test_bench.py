"""The benchmark of the lab measures what it says: its traces are the same in all forms, its parts run."""

import json
import subprocess
import sys
from pathlib import Path

from bench.simulate import _batching, _write

from batchway.simulate.inputs import entries
from batchway.simulate.notes import Notes

ROOT = Path(__file__).parents[2]


def test_the_forms_hold_one_trace(tmp_path: Path) -> None:
    files = {kind: tmp_path / f"trace.{kind}" for kind in ("jsonl", "json", "csv")}
    _write(files, 100)
    found = []
    for file in files.values():
        notes = Notes()
        given = [(e.request_id, e.created_at_ms, e.token_count, e.analysis_json) for e in entries(str(file), notes)]
        found.append(given)
        assert list(notes) == []
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == len(json.loads(files["json"].read_text())) == 100


def test_it_measures() -> None:
    assert _batching(500) > 0
    command = [sys.executable, "-m", "bench.simulate", "--requests", "100", "--batching"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert float(ended.stdout) > 0, ended.stderr
