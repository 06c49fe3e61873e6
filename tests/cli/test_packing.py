"""`batchway pack` as a person types it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from batchway.sandbox import packed

SORTING = "You sort letters to a newspaper. " * 60


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "batchway", "pack", *arguments]
    environment = {"PATH": "", "HOME": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def letter(number: int, **fields: Any) -> dict[str, Any]:
    turns = [{"role": "system", "content": SORTING}, {"role": "user", "content": f"Letter {number}: yes or no?"}]
    return {"model": "gpt-4o-mini", "messages": turns, "max_tokens": 20} | fields


def write(folder: Path, *values: Any) -> None:
    (folder / "asked.jsonl").write_text("".join(json.dumps(value) + "\n" for value in values))


def test_it_shows_the_packed_prompt_and_its_arithmetic(tmp_path: Path) -> None:
    write(tmp_path, *(letter(number) for number in range(4)), letter(9, tools=[{"type": "function"}]))
    shown = run("asked.jsonl", folder=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("5 requests: 4 would share 1 call, 1 would go singly.\n")
    assert "Call 1: requests 1, 2, 3, 4 by openai, gpt-4o-mini\n" in shown.stdout
    assert "packing=auto: cheaper: 4 together cost 0.000" in shown.stdout
    assert "Request 5 goes singly: " in shown.stdout and "it has tools" in shown.stdout
    lines = [line[4:] for line in shown.stdout.splitlines() if line.startswith("  | ")]
    understood = packed.understand("\n".join(lines))
    assert understood is not None
    assert [item.text for item in understood.items] == [f"Letter {number}: yes or no?" for number in range(4)]


def test_none_is_left_out_of_a_file_of_more_calls_than_may_go_at_once(tmp_path: Path) -> None:
    (tmp_path / "batchway.toml").write_text("max_in_flight = 2\n[providers.openai]\nmax_in_flight = 1\n")
    write(tmp_path, *(letter(number) for number in range(20)), *(letter(number, n=2) for number in range(5)))
    shown = run("asked.jsonl", folder=tmp_path)
    assert shown.stdout.startswith("25 requests: 20 would share 4 calls, 5 would go singly.\n"), shown.stderr
    assert shown.stdout.count(" goes singly: ") == 5
    who = [line.partition("requests ")[2].partition(" by")[0] for line in shown.stdout.splitlines() if "Call " in line]
    assert sorted(int(place) for each in who for place in each.split(", ")) == list(range(1, 21))


def test_its_sums_are_those_of_the_calls(tmp_path: Path) -> None:
    write(tmp_path, *(letter(number) for number in range(3)))
    rows = {
        line.split()[0]: line.split()
        for line in run("asked.jsonl", folder=tmp_path).stdout.splitlines()
        if line.startswith(("  singly", "  together"))
    }
    for name, calls in (("singly", "3"), ("together", "1")):
        row = rows[name]
        assert row[1] == calls
        # gpt-4o-mini: 0.15 USD a million tokens in, 0.60 out.
        inputs, outputs = (int(cell.replace(",", "")) for cell in row[2:4])
        assert float(row[4]) == pytest.approx((inputs * 0.15 + outputs * 0.60) / 1e6, rel=0.01)


def test_prompts_need_a_model_and_may_have_a_system_message(tmp_path: Path) -> None:
    (tmp_path / "prompts.json").write_text(json.dumps(["Say one.", "Say two.", 'Say {"id": "x"}.']))
    given = ("prompts.json", "--model", "generic/mine", "--system", "Be brief.", "--pack-format", "json")
    shown = run(*given, folder=tmp_path).stdout
    assert "Call 1: requests 1, 2 by generic, mine" in shown
    assert "Its price is not known" in shown
    assert "after 1 message that they have in common" in shown
    assert "Request 3 goes singly: " in shown and "looks like the json format" in shown
    shown = run("prompts.json", "--model", "gpt-4o-mini", "--max-batch-size", "2", folder=tmp_path).stdout
    assert "3 requests: 2 would share 1 call, 1 would go singly." in shown
    assert "not cheaper by enough" in shown


def test_lines_of_a_batch_file_are_taken_by_their_body(tmp_path: Path) -> None:
    write(tmp_path, *({"custom_id": str(at), "url": "/v1/chat/completions", "body": letter(at)} for at in range(2)))
    assert "2 requests: 2 would share 1 call" in run("asked.jsonl", folder=tmp_path).stdout


@pytest.mark.parametrize(
    ("content", "arguments", "words"),
    [
        (None, (), ["asked.json", "No such file"]),
        ("[]", (), ["there is no request in it"]),
        ('"a"\n{oops', (), ["line 2", "is no JSON", "one JSON value a line"]),
        ('[{"a": 1}]', (), ["request 1", "neither a text nor the body of a chat"]),
        ('["a"]', (), ["request 1", "model: missing"]),
        ('[{"model": "m", "messages": [{"role": 5}]}]', (), ["request 1", "messages[0].role"]),
        ('["a"]', ("--model", "m", "--max-batch-size", "0"), ["max_batch_size", "at least 1"]),
        ('["a"]', ("--model", "m", "--pack-format", "yaml"), ["--pack-format", "xml, json"]),
    ],
)
def test_bad_input_is_one_clear_message(
    tmp_path: Path, content: str | None, arguments: tuple[str, ...], words: list[str]
) -> None:
    if content is not None:
        (tmp_path / "asked.json").write_text(content)
    ended = run("asked.json", *arguments, folder=tmp_path)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr and ended.stdout == ""
    for word in words:
        assert word in ended.stderr
