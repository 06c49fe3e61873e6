"""`batchway simulate` with policies, from the outside."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_commands import run
from tests.cli.test_store_commands import Started, started

from batchway.cli import rehearsing
from batchway.cli.simulating import Asked
from batchway.core.errors import SettingsError

__all__ = ["started"]


def simulate(folder: Path, *arguments: str) -> str:
    ended = run("simulate", *arguments, folder=folder)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_policies_are_compared_on_the_bundled_trace(tmp_path: Path) -> None:
    shown = simulate(tmp_path, "--profile", "transparent", "--profile", "batcher", "--report", "r.html")
    assert "the whole gateway, offline" in shown
    lines = {line[:18].strip(): line[18:].split() for line in shown.splitlines()}
    assert lines["requests"][0] == lines["requests"][1]
    assert lines["paid"][0] != lines["paid"][1]
    assert "(50.0 %)" in next(line for line in shown.splitlines() if line.startswith("saved"))
    report = (tmp_path / "r.html").read_text("utf-8")
    assert report.startswith("<!doctype html>") and "batcher (simulated)" in report


def test_the_same_trace_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('profile = "batcher"\n[job]\nmax_wait = 5.0\n')
    asked = ("--policy", "mine.toml", "--profile", "saver", "--seed", "4", "--json", "--report")
    one, other = simulate(tmp_path, *asked, "1.html"), simulate(tmp_path, *asked, "2.html")
    assert one == other
    assert (tmp_path / "1.html").read_bytes() == (tmp_path / "2.html").read_bytes()
    found = json.loads(one)
    assert [policy["name"] for policy in found["policies"]] == ["saver", "mine"]
    assert found["policies"][1]["windows"]["job"]["waited_seconds"]["p99"] < 5.1
    assert found["seed"] == 4 and found["conditions"]["first_token"] == 0.5
    assert simulate(tmp_path, *asked[:4], "--seed", "5", "--json") != one


def test_the_world_can_be_another_and_prompts_may_come_with_a_system(tmp_path: Path) -> None:
    (tmp_path / "world.toml").write_text("failing = 0.5\n")
    plain = json.loads(simulate(tmp_path, "--profile", "transparent", "--json"))
    other = json.loads(simulate(tmp_path, "--world", "world.toml", "--system-tokens", "1000", "--json"))
    (policy,) = other["policies"]
    assert policy["calls"]["failed"] > 10 and policy["refused"].keys() == {"overloaded"}
    alone = [float(each["policies"][0]["alone_usd"]) / each["policies"][0]["requests"] for each in (plain, other)]
    assert alone[1] > alone[0]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"profiles": ["cheap"]}, "profile: 'cheap' is not one of transparent, saver, batcher"),
        ({"policies": ["absent.toml"]}, "absent.toml: cannot be read"),
        ({"world": "absent.toml"}, "--world absent.toml"),
        ({"system_tokens": -1}, "--system-tokens -1"),
        ({"from_store": True, "days": 0.0}, "--days 0"),
        ({"from_store": True}, "there is no store at"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, wanted: dict[str, Any], words: str) -> None:
    flags: dict[str, object] = {"database_url": str(tmp_path / "nothing.db")}
    with pytest.raises(SettingsError, match=words):
        rehearsing.rehearse(Asked(), rehearsing.Wanted(**wanted), flags)


def test_what_is_wrong_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    ended = run("simulate", "--profile", "saver", "--input", "absent.json", folder=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.startswith("batchway: absent.json: cannot be read") and "Traceback" not in ended.stderr


def test_a_wrong_field_of_a_world_is_named_with_those_there_are(tmp_path: Path) -> None:
    world = tmp_path / "world.toml"
    world.write_text("failing = 2.0\n")
    with pytest.raises(SettingsError, match=r"failing is 2\.0; it must be from 0 to 1; allowed are first_token"):
        rehearsing.conditions_of(str(world))
    world.write_text("falling = 0.1\n")
    with pytest.raises(SettingsError, match=r"falling.*allowed are first_token"):
        rehearsing.conditions_of(str(world))


def test_recorded_traffic_is_replayed_beside_what_was(started: Started) -> None:
    for number in range(6):
        started.ask(temperature=0, messages=[{"role": "user", "content": f"question {number % 3}"}])
    started.stop()
    shown = started.say("simulate", "--from-store", "--profile", "batcher", "--json")
    was, same, batched = json.loads(shown)["policies"]
    assert [policy["kind"] for policy in (was, same, batched)] == ["booked", "simulated", "simulated"]
    assert was["requests"] == same["requests"] == batched["requests"] == 6
    assert was["ways"]["cache"]["requests"] == same["ways"]["cache"]["requests"] == 3
    assert was["paid_usd"] == same["paid_usd"]
    assert float(batched["paid_usd"]) < float(was["paid_usd"])
    tuned = ("tune", "--from-store", "--p95", "100", "--trials", "3", "--output", "t.toml", "--json")
    tried = json.loads(started.say(*tuned))["tried"]
    assert {each["paid_usd"] for each in tried} == {was["paid_usd"]}
    whole = json.loads(started.say("ledger", "--json"))[-1]
    assert (was["requests"], was["paid_usd"]) == (whole["charges"], whole["paid_usd"])


def test_the_cheapest_policy_that_is_quick_enough_is_found_and_written(tmp_path: Path) -> None:
    asked = (
        "--profile",
        "batcher",
        "--over",
        "job.max_wait=1,600",
        "--over",
        "job.max_size=4,100",
        "--output",
        "t.toml",
    )
    ended = run("tune", "--p95", "864000", *asked, "--report", "t.html", "--json", folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    chosen = next(each for each in found["tried"] if each["name"] == found["chosen"])
    assert all(float(chosen["paid_usd"]) <= float(each["paid_usd"]) for each in found["tried"])
    assert len(found["tried"]) == 5 and found["goal"] == {"p95_seconds": 864000}
    written = (tmp_path / "t.toml").read_text()
    assert written.startswith("# Made by batchway") and 'profile = "batcher"' in written
    again = json.loads(simulate(tmp_path, "--policy", "t.toml", "--json"))["policies"][0]
    assert again["paid_usd"] == chosen["paid_usd"]
    assert again["waited_seconds"]["p95"] == chosen["p95_seconds"]
    assert "Cost and waiting" in (tmp_path / "t.html").read_text("utf-8")


def test_tuning_shows_the_curve_and_is_the_same_each_time(tmp_path: Path) -> None:
    one, other = (run("tune", "--p95", "3600", "--trials", "6", folder=tmp_path).stdout for _ in range(2))
    assert one == other
    assert "6 policies tried" in one and "→" in one


def test_a_goal_that_no_policy_reaches_is_an_error_that_says_what_is_possible(tmp_path: Path) -> None:
    ended = run("tune", "--p95", "0.001", "--trials", "3", folder=tmp_path)
    assert ended.returncode == 1
    assert "none of 3 policies is so quick; the quickest has a p95 of" in ended.stderr
    assert not (tmp_path / "tuned.toml").exists()
    assert "--p95 0: allowed are seconds" in run("tune", "--p95", "0", folder=tmp_path).stderr
