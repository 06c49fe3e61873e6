"""The command line as a person types it: real processes, real output."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from batchway import __version__
from batchway.settings import hash_key

BATCHWAY = [sys.executable, "-m", "batchway"]


def run(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*BATCHWAY, *arguments],
        cwd=folder,
        env=surroundings(folder) | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def surroundings(folder: Path) -> dict[str, str]:
    """The environment of a user whose data folder is this one."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {"XDG_DATA_HOME": str(folder)}


def test_version_and_help(tmp_path: Path) -> None:
    assert run("--version", folder=tmp_path).stdout == f"batchway {__version__}\n"
    help_text = run("--help", folder=tmp_path).stdout
    for command in ("start", "demo", "sandbox", "config", "keys"):
        assert command in help_text


def test_config_says_where_each_value_came_from_and_masks_keys(tmp_path: Path) -> None:
    (tmp_path / "batchway.toml").write_text("cache_ttl = 7\n")
    (tmp_path / ".env").write_text("MAX_BATCH_SIZE=5\n")
    shown = run("config", "--profile", "saver", folder=tmp_path, OPENAI_API_KEY="sk-planted-secret-1234").stdout
    rows = {line.split()[0]: line for line in shown.splitlines()}
    assert "7" in rows["cache_ttl"] and "batchway.toml" in rows["cache_ttl"]
    assert ".env MAX_BATCH_SIZE" in rows["max_batch_size"]
    assert "saver" in rows["profile"] and "flag --profile" in rows["profile"]
    assert "default" in rows["port"]
    assert "planted" not in shown
    assert "***1234" in rows["providers.openai.key"]


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"BATCHWAY_PORT": "eighty"}, ["port", "eighty"]),
        ({"BATCHWAY_CACHE_TLL": "5"}, ["BATCHWAY_CACHE_TLL", "BATCHWAY_CACHE_TTL"]),
        ({"BATCHWAY_PROFILE": "cheap"}, ["profile", "cheap", "saver"]),
        ({"DOWNSTREAM_PROVIDER": "generic"}, ["DOWNSTREAM_URL"]),
    ],
)
def test_a_wrong_setting_is_one_clear_message(tmp_path: Path, environment: dict[str, str], words: list[str]) -> None:
    ended = run("start", folder=tmp_path, **environment)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    for word in words:
        assert word in ended.stderr


def test_template_is_the_example_file(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / ".env.example"
    assert run("config", "--template", folder=tmp_path).stdout == example.read_text()


def test_a_new_key_is_printed_once_with_its_hashed_line(tmp_path: Path) -> None:
    made = run("keys", "create", "team-a", "--scope", "admin", "--print", folder=tmp_path)
    key = made.stdout.strip()
    assert re.fullmatch(r"bw-[\w-]{43}", key)
    assert f"BATCHWAY_KEYS=team-a:{hash_key(key)}:admin" in made.stderr
    assert key not in made.stderr
    assert run("keys", "create", "team a!", folder=tmp_path).returncode == 1


def test_a_key_whose_limits_would_be_lost_is_not_made(tmp_path: Path) -> None:
    made = run("keys", "create", "t", "--print", "--lanes", "batch", "--retention", "none", folder=tmp_path)
    assert (made.returncode, made.stdout) == (1, "")
    assert "lanes, retention cannot stand in BATCHWAY_KEYS" in made.stderr


def test_a_databases_password_is_masked(tmp_path: Path) -> None:
    shown = run("config", folder=tmp_path, BATCHWAY_DATABASE_URL="postgresql://u:secretpw@h/db")
    assert "postgresql://***@h/db" in shown.stdout and "secretpw" not in shown.stdout


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")) as other:
        other.execute("CREATE TABLE theirs (x)")
    said = run("ledger", "--database-url", "app.db", folder=tmp_path)
    assert said.returncode == 1 and "another program's database" in said.stderr
    with closing(sqlite3.connect(tmp_path / "app.db")) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


def test_beyond_this_machine_it_wants_keys(tmp_path: Path) -> None:
    ended = run("start", "--host", "0.0.0.0", "--port", "0", folder=tmp_path)
    assert ended.returncode == 1
    assert "batchway keys create" in ended.stderr and "--insecure" in ended.stderr


def test_demo_shows_each_way(tmp_path: Path) -> None:
    ended = run("demo", "--once", folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    for shown in ("4 direct", "1 direct, 11 coalesced", "8 cache", "1 direct, 2 cache", "4 batch", "saved"):
        assert shown in ended.stdout
    # How large the calls are depends on dice: the guard compares some answers, and lets the calls grow by that.
    assert re.search(r"\d+ direct, in \d+ packed calls; \d+ alone", ended.stdout)
    assert re.search(r"One packed call, and its [2-6] parts", ended.stdout)
    assert re.search(r"packed, cheaper: [2-6] together cost", ended.stdout)
    assert ended.stderr == ""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    process = subprocess.Popen(
        [*BATCHWAY, "start", "--sandbox", "--port", "0"],
        cwd=tmp_path,
        env=surroundings(tmp_path),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    address = next(word for line in process.stderr for word in line.split() if word.startswith("http://"))
    yield address, process
    process.kill()
    process.wait()
    process.stderr.close()


def test_start_answers_the_readme_curl_and_ends_on_sigterm(started: tuple[str, subprocess.Popen[str]]) -> None:
    address, process = started
    body = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "system", "content": "You are helpful."}, {"role": "user", "content": "Say hello"}],
    }
    request = urllib.request.Request(
        f"{address}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        answer = json.load(response)
    assert answer["object"] == "chat.completion"
    assert answer["status"] == "completed" and answer["routed_via"] == "direct" and answer["error"] is None
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert process.wait(timeout=20) == 0
    assert time.monotonic() - began < 10


def test_a_port_in_use_is_named(started: tuple[str, subprocess.Popen[str]], tmp_path: Path) -> None:
    port = started[0].rpartition(":")[2]
    ended = run("start", "--port", port, folder=tmp_path)
    assert ended.returncode == 1
    assert f"127.0.0.1:{port}" in ended.stderr and "Traceback" not in ended.stderr
