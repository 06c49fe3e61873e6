"""The commands that read and change a store, over what a real gateway left in one."""

import json
import re
import signal
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_commands import BATCHWAY, run, surroundings


class Started:
    """A gateway with simulated providers, a quick batch lane, and a store that outlasts it."""

    def __init__(self, folder: Path, events: str = "events.jsonl", store: str | None = None) -> None:
        self.folder = folder
        self.store = ("--database-url", store or str(folder / "s.db"))
        self.process = subprocess.Popen(
            [*BATCHWAY, "start", "--sandbox", "--port", "0", *self.store, "--batch-size", "2",
             "--flush-interval", "0.2", "--poll-interval", "0.2", "--events", events,
             "--batch-metadata", "team=a"],
            cwd=folder, env=surroundings(folder) | {"BATCHWAY_SETTLE": "0.2"}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stderr is not None
        words = (word for line in self.process.stderr for word in line.split())
        self.address = next(word for word in words if word.startswith("http://"))

    def ask(self, headers: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]} | fields
        request = urllib.request.Request(
            f"{self.address}/v1/chat/completions",
            json.dumps(body).encode(),
            {"content-type": "application/json"} | (headers or {}),
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            answer: dict[str, Any] = json.load(response)
        return answer

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=20) == 0

    def say(self, *arguments: str) -> str:
        ended = run(*arguments, *self.store, folder=self.folder)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no file that is always full")
def test_events_that_cannot_be_written_cost_no_answer(tmp_path: Path) -> None:
    running = Started(tmp_path, events="/dev/full")
    try:
        assert running.ask(priority="low")["routed_via"] == "batch"
        running.stop()
    finally:
        running.process.kill()
        running.process.communicate()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    running = Started(tmp_path)
    yield running
    running.process.kill()
    running.process.wait()
    assert running.process.stderr is not None
    running.process.stderr.close()


def test_a_request_can_be_followed_to_its_charges(started: Started) -> None:
    answer = started.ask(priority="low", request_id="mine", tags={"project": "x"})
    direct = started.ask(temperature=0)
    _wait_for(lambda: "our files at the provider are deleted" in started.say("explain", "mine"))
    started.stop()

    story = started.say("explain", "mine")
    for word in ("accepted", "priority low goes by batch", "job.submitted", "answered", "charged", answer["batch_id"]):
        assert word in story, story
    (told,) = json.loads(started.say("explain", "mine", "--json"))
    assert (told["request"]["status"], told["request"]["tags"]) == ("completed", {"project": "x"})
    whats = [step["what"] for step in told["steps"]]
    assert whats.index("accepted") < whats.index("job.submitted") < whats.index("answered")
    (charge,) = told["charges"]
    assert charge["via"] == "batch" and charge["usage"]["input"] == answer["usage"]["prompt_tokens"]

    (recorded,) = json.loads(started.say("explain", direct["request_id"], "--json"))
    assert recorded["request"]["via"] == "direct"

    listed = json.loads(started.say("requests", "--json"))
    assert [each["request_id"] for each in listed] == [direct["request_id"], "mine"]
    assert [each["lane"] for each in json.loads(started.say("requests", "--lane", "batch", "--json"))] == ["batch"]
    assert len(json.loads(started.say("requests", "--status", "failed, completed", "--json"))) == 2
    assert "none" in started.say("requests", "--status", "failed,cancelled").split()
    assert "none" in started.say("requests", "--provider", "xai").split()
    unknown = run("requests", "--provider", "nobody", *started.store, folder=started.folder)
    assert unknown.returncode == 1 and "--provider: 'nobody' is not one of anthropic" in unknown.stderr
    assert len(json.loads(started.say("batches", "--status", "finished", "--json"))) == 1
    assert json.loads(started.say("batches", "--status", "active", "--json")) == []
    (batch,) = json.loads(started.say("batches", "--json"))
    assert (batch["batch_id"], batch["status"], batch["completed"]) == (answer["batch_id"], "completed", 1)
    assert answer["batch_id"] in (shown := started.say("batches")) and "last error" in shown

    *lanes, whole = json.loads(started.say("ledger", "--by", "lane", "--json"))
    assert {row["group"][0]: row["charges"] for row in lanes} == {"batch": 1, "direct": 1}
    by_batch = next(row for row in lanes if row["group"] == ["batch"])
    assert float(by_batch["counterfactual_usd"]) == pytest.approx(2 * float(by_batch["paid_usd"]))
    assert float(whole["paid_usd"]) == pytest.approx(sum(float(row["paid_usd"]) for row in lanes))
    assert "alone and directly" in started.say("ledger", "--by", "day,model,key")

    assert answer["batch_id"] in started.say("purge", "--local", "--older-than", "0", "--dry-run")
    assert answer["batch_id"] in started.say("purge", "--local", "--status", "completed")
    assert json.loads(started.say("batches", "--json")) == []
    assert json.loads(started.say("ledger", "--by", "lane", "--json"))[-1] == whole, "charges stay"


def test_the_lifecycle_of_a_batch_is_told_line_by_line(started: Started) -> None:
    started.ask(priority="low")
    started.stop()
    events = [json.loads(line) for line in (started.folder / "events.jsonl").read_text().splitlines()]
    names = [event["event"] for event in events]
    assert names[0] == "batch_submitted" and names[-1] == "client_closing"
    assert names.index("batch_progress") < names.index("batch_completed") < names.index("batch_terminal")
    assert all(event["source"] == "batchway" and event["ts"] > 0 for event in events)
    assert all(event["metadata"] == {"team": "a"} for event in events)
    submitted = events[0]
    assert submitted["batch_id"].startswith("batch_") and submitted["input_file_id"].startswith("file-")
    assert (submitted["request_count"], submitted["models"]) == (1, ["gpt-4o-mini"])
    assert (submitted["endpoint"], submitted["completion_window"]) == ("/v1/chat/completions", "24h")
    last = [event for event in events if event["event"] == "batch_progress"][-1]
    assert last["counts"] == {"completed": 1, "failed": 0, "total": 1}
    assert next(event for event in events if event["event"] == "batch_terminal")["status"] == "completed"


def test_a_key_opens_and_shuts_a_running_gateway(started: Started) -> None:
    assert started.ask()["status"] == "completed"
    key = started.say("keys", "create", "team-a", "--lanes", "direct", "--deadline", "60").strip()
    assert re.fullmatch(r"bw-[\w-]{43}", key)
    (listed,) = json.loads(started.say("keys", "list", "--json"))
    assert (listed["name"], listed["lanes"], listed["deadline"], len(listed["hash"])) == ("team-a", ["direct"], 60, 8)

    def refused(headers: dict[str, str]) -> bool:
        try:
            return bool(started.ask(headers)["routed_via"] != "direct")
        except urllib.error.HTTPError as error:
            with error:
                return error.code == 401

    bearer = {"authorization": f"Bearer {key}"}
    _wait_for(lambda: refused({}))
    assert not refused(bearer)
    started.say("keys", "revoke", "team-a")
    started.say("keys", "create", "team-b")
    _wait_for(lambda: refused(bearer))
    assert run("keys", "revoke", "team-a", *started.store, folder=started.folder).returncode == 1
    assert run("keys", "create", "team-b", *started.store, folder=started.folder).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("explain", "nobody"), ("there is no store", "start the gateway")),
        (("ledger", "--by", "hour"), ("--by", "hour", "day, lane, model, key")),
        (("keys", "create", "a", "--lanes", "slow"), ("lanes", "direct, flex, batch")),
        (("keys", "create", "a", "--retention", "soon"), ("retention", "seconds above 0 and below 1e10, or none")),
        (("status",), ("No gateway answers", "--url")),
        (("purge", "--batch-id", "x", "--dry-run"), ("--dry-run",)),
        (("start", "--port", "0", "--events", "no/x.jsonl"), ("events: no/x.jsonl", "cannot be written")),
        (("start", "--batch-metadata", "novalue"), ("batch_metadata", "KEY=VALUE")),
        (("sandbox", "--host", ""), ("--host", "address")),
        (("requests", "--database-url", "none"), ("database_url",)),
    ],
)
def test_what_cannot_be_done_is_one_clear_message(
    tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    where = ("--url", "http://127.0.0.1:9") if arguments[0] == "status" else ()
    ended = run(*arguments, *where, folder=tmp_path)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert all(word in ended.stderr for word in words), ended.stderr


def test_a_row_that_cannot_be_read_is_said(started: Started) -> None:
    started.ask(priority="low")
    started.stop()
    with closing(sqlite3.connect(started.folder / "s.db")) as store:
        store.execute("UPDATE jobs SET data = x'ff'")
        store.commit()
    ended = run("batches", *started.store, folder=started.folder)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    assert "a row of the store" in ended.stderr and "s.db" in ended.stderr
    wrong = run("requests", "--tenant", "\udcff", *started.store, folder=started.folder)
    assert wrong.returncode == 1 and "is not UTF-8" in wrong.stderr and "Traceback" not in wrong.stderr


def test_an_older_store_is_read_as_it_is(started: Started) -> None:
    """The gateway that serves it would not know the tables of a newer one."""
    started.ask(request_id="mine")
    started.stop()
    file = started.folder / "s.db"
    with closing(sqlite3.connect(file)) as store:
        # What version 1 did not have.
        store.execute("ALTER TABLE charges DROP COLUMN cache_written_hour")
        store.execute("UPDATE schema_version SET version = 1")
        store.commit()

    read = run("requests", "--json", *started.store, folder=started.folder)
    assert [each["request_id"] for each in json.loads(read.stdout)] == ["mine"]
    for word in ("version 1, of an older batchway", "batchway start"):
        assert word in read.stderr
    unread = run("explain", "mine", *started.store, folder=started.folder)
    assert unread.returncode == 1 and "Traceback" not in unread.stderr
    assert "has not all that this command needs" in unread.stderr
    with closing(sqlite3.connect(file)) as store:
        assert store.execute("SELECT version FROM schema_version").fetchall() == [(1,)]


def test_one_batch_is_purged_in_the_store_by_either_id_once_it_is_over(tmp_path: Path) -> None:
    running = Started(tmp_path)
    try:
        answer = running.ask(priority="low")
        running.stop()
        (batch,) = json.loads(running.say("batches", "--json"))
        hidden = running.say("purge", "--local", "--batch-id", batch["provider_batch_id"], "--json")
        assert json.loads(hidden)["batch_ids"] == [answer["batch_id"]]
        again = run("purge", "--local", "--batch-id", answer["batch_id"], *running.store, folder=tmp_path)
        assert again.returncode == 1 and "there is no batch" in again.stderr
    finally:
        running.process.kill()
        running.process.communicate()


def test_the_doctor_says_what_is_missing(tmp_path: Path) -> None:
    ended = run("doctor", folder=tmp_path, OPENAI_API_KEY="sk-planted", OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    assert ended.returncode == 1
    row = next(line for line in ended.stdout.splitlines() if "openai " in line)
    assert "No connection" in row and "sk-planted" not in ended.stdout
    assert "batchway.db" in ended.stdout and "works: yes" in ended.stdout
    assert "there is none yet" in ended.stdout and not list(tmp_path.rglob("batchway.db")), "it only looks"
    found = json.loads(run("doctor", "--json", "--database-url", "none", folder=tmp_path).stdout)
    assert found["store"]["works"] == "off"
    lanes = {each["provider"]: each for each in found["providers"]}
    assert lanes["openai"]["answers"] == "not asked" and "no store" in lanes["openai"]["batch"] + "no store"


def _wait_for(condition: Any) -> None:
    until = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)
