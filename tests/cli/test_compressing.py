"""`batchway compress` as a person types it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

STORY = "".join(f"Visitor {number} looked at the map of the harbour and left again. " for number in range(60))


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "batchway", "compress", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def test_a_text_is_shown_as_a_diff_with_what_was_taken_and_why(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text(f"A title   \n\n\n\n{STORY}\n\nThe globe was stolen by Ida.\n")
    shown = run("notes.txt", "--budget", "60", "--question", "Who stole the globe?", folder=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("--- notes.txt\n+++ notes.txt (fitted)\n@@ ")
    assert "-A title   \n" in shown.stdout and "+A title\n" in shown.stdout
    assert " The globe was stolen by Ida.\n" in shown.stdout
    assert "tokens before, " in shown.stdout
    assert "clean-up" in shown.stdout and "extraction" in shown.stdout
    assert (tmp_path / "notes.txt").read_text().startswith("A title   \n"), "the file is not touched"


def test_a_chat_is_fitted_as_a_chat(tmp_path: Path) -> None:
    body = {
        "messages": [
            {"role": "system", "content": STORY[:300]},
            {"role": "user", "content": STORY},
            {"role": "user", "content": "Who looked at the map?"},
        ]
    }
    (tmp_path / "chat.json").write_text(json.dumps(body))
    shown = run("chat.json", "--budget", "200", folder=tmp_path).stdout
    assert "--- chat.json: text 1, user\n" in shown and shown.count("--- ") == 1
    ended = run("chat.json", "--budget", "20", folder=tmp_path)
    shown = ended.stdout
    assert "Does not fit: What is never altered takes" in shown and "goes as it is" not in shown and "---" not in shown
    assert ended.returncode == 1
    asked = run("chat.json", "--budget", "200", "--question", "Who?", folder=tmp_path)
    assert asked.returncode == 1 and "--question: chat.json is a chat" in asked.stderr


def test_what_fits_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "short.md").write_text("{Short} and   sweet.\n\n\n\n")
    shown = run("short.md", "--budget", "50", folder=tmp_path).stdout
    assert shown.endswith("It fits as it is: nothing would be changed.\n") and "---" not in shown


@pytest.mark.parametrize(
    ("file", "budget", "words"),
    [
        ("absent.txt", "10", ["absent.txt", "No such file", "name a text file"]),
        (".", "10", ["cannot be read", "name a text file"]),
        ("binary", "10", ["binary", "is a binary file"]),
        ("latin.txt", "10", ["latin.txt", "is not UTF-8 (byte 3)"]),
        ("good.txt", "0", ["--budget 0", "1 or more"]),
        ("good.txt", "-5", ["--budget -5"]),
        ("bad.json", "10", ["expected"]),
    ],
)
def test_bad_input_is_one_clear_message(tmp_path: Path, file: str, budget: str, words: list[str]) -> None:
    (tmp_path / "good.txt").write_text("good")
    (tmp_path / "binary").write_bytes(b"\x89PNG\0\0")
    (tmp_path / "latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    (tmp_path / "bad.json").write_text('{"messages": [{"role": 5, "content": "x"}]}')
    ended = run(file, "--budget", budget, folder=tmp_path)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr and ended.stdout == ""
    for word in words:
        assert word in ended.stderr
