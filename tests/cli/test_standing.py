"""`batchway status`: what there is to say is said, whatever is down."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from sqlalchemy import make_url
from tests.cli.test_commands import run
from tests.cli.test_store_commands import Started
from tests.postgres import Server, postgres, postgres_url  # noqa: F401  # Fixtures.

NOWHERE = ("--url", "http://127.0.0.1:9")


@contextmanager
def running(folder: Path, store: str | None = None) -> Iterator[Started]:
    started = Started(folder, store=store)
    try:
        yield started
    finally:
        started.process.kill()
        started.process.communicate()


def test_it_is_for_people_and_for_programs(tmp_path: Path) -> None:
    with running(tmp_path) as started:
        started.ask(priority="low")
        shown = run("status", "--url", started.address, folder=tmp_path)
        assert (shown.returncode, shown.stderr) == (0, "")
        told = run("status", "--url", started.address, "--json", folder=tmp_path)
    fields = dict(line.split(None, 1) for line in shown.stdout.splitlines() if len(line.split(None, 1)) == 2)
    assert (fields["status"], fields["store"], fields["store_at"]) == ("healthy", "up", str(tmp_path / "s.db"))
    assert fields["providers_healthy.openai"] == "yes" and fields["queues"] == "none"
    assert not any(sign in shown.stdout for sign in "[]{}'"), "nothing as Python writes it"
    found = json.loads(told.stdout)
    assert (found["health"]["status"], found["stats"]["store_down"]) == ("healthy", None)
    assert (found["queues"]["queues"], found["batches"]["total"]) == ([], 1)
    assert (found["store"], found["problems"]) == (None, [])


def test_a_store_that_is_down_hides_nothing_else(
    tmp_path: Path,
    postgres: Server,  # noqa: F811
    postgres_url: str,  # noqa: F811
) -> None:
    with running(tmp_path, postgres_url) as started:
        started.ask()
        with postgres.shut(postgres_url):
            shown = _once_down(started)
        assert shown.returncode == 1
        for word in ("status", "healthy", "requests.by_routed_via.direct"):
            assert word in shown.stdout
        name = make_url(postgres_url).database
        (line,) = [line for line in shown.stderr.splitlines() if "gateway's store" in line]
        assert (
            f"/{name} is down since 20" in line
            and "batchway_test" not in line
            and "not currently accepting connections" in line
        )

        nobody = run("status", *NOWHERE, *started.store, folder=tmp_path)
        assert nobody.returncode == 1 and "No gateway answers" in nobody.stderr
        (process,) = json.loads(run("status", *NOWHERE, *started.store, "--json", folder=tmp_path).stdout)["store"][
            "processes"
        ]
        assert process["host"] in nobody.stdout and process["started_at"] in nobody.stdout


def _once_down(started: Started) -> CompletedProcess[str]:
    """What is shown once the gateway has noticed."""
    until = time.monotonic() + 30
    while True:
        shown = run("status", "--url", started.address, folder=started.folder)
        if " is down since " in shown.stderr:
            return shown
        assert time.monotonic() < until, shown.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ("there is no store at", "start the gateway")),
        (b"nothing that a database would say " * 300, ("cannot be opened", "file is not a database")),
    ],
)
def test_where_nothing_answers_it_says_what_is_wrong_with_the_store(
    tmp_path: Path, content: bytes | None, words: tuple[str, ...]
) -> None:
    if content is not None:
        (tmp_path / "s.db").write_bytes(content)
    shown = run("status", *NOWHERE, "--database-url", "s.db", folder=tmp_path)
    assert shown.returncode == 1 and "Traceback" not in shown.stderr
    for word in ("No gateway answers at http://127.0.0.1:9", "s.db", *words):
        assert word in shown.stderr
    found = json.loads(run("status", *NOWHERE, "--database-url", "s.db", "--json", folder=tmp_path).stdout)
    assert (found["health"], found["store"], len(found["problems"])) == (None, None, 2)


def test_what_is_for_admins_is_not_all_that_there_is(tmp_path: Path) -> None:
    with running(tmp_path) as started:
        key = started.say("keys", "create", "a", "--scope", "infer").strip()
        until = time.monotonic() + 30
        while (shown := run("status", "--url", started.address, "--key", key, folder=tmp_path)).returncode == 0:
            assert time.monotonic() < until
    assert "healthy" in shown.stdout
    (line,) = shown.stderr.splitlines()
    assert "GET /stats" in line and "admin" in line
