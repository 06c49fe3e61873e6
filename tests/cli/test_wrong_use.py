"""What is typed wrong is told so, with what is allowed: before anything is opened, asked or made."""

from contextlib import chdir
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from batchway.cli import app
from batchway.core.errors import BatchwayError


def typed(folder: Path, *arguments: str) -> Result:
    """In this process, which is quicker than one of its own; `main` prints what is raised as one line."""
    with chdir(folder):
        return CliRunner(env={"XDG_DATA_HOME": str(folder)}).invoke(app, arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        # Filters: an empty table would say that there is nothing.
        ("requests --status failed,nonsense", "--status: 'nonsense' is not one of pending, completed, failed"),
        ("requests --lane nonsense", "--lane: 'nonsense' is not one of direct, flex, batch"),
        ("batches --status nonsense", "--status: 'nonsense' is not one of active, finished, all, formed"),
        ("batches --status active,failed", "--status: 'active' is not one of"),
        ("purge --local --status nonsense", "--status: 'nonsense' is not one of finished, all, completed, failed"),
        ("purge --local --status running", "--status: 'running' is not one of finished, all, completed"),
        # Options that would be passed over.
        ("purge --batch-id x --older-than 5", "--older-than: says nothing beside --batch-id"),
        ("purge --batch-id x --status failed", "--status: says nothing beside --batch-id"),
        ("purge --local --url http://127.0.0.1:9", "--url: says nothing beside --local"),
        ("purge --database-url s.db", "--database-url: says nothing without --local"),
        ("simulate --csv --profile saver", "--csv: says nothing beside --profile"),
        ("simulate --max-wait-ms 9 --report r.html", "--max-wait-ms: says nothing beside --report"),
        ("simulate --days 5", "--days: says nothing without --from-store"),
        ("simulate --system-tokens 5", "--system-tokens: says nothing without --profile or --policy"),
        ("simulate --from-store --input x.json", "--input: says nothing beside --from-store"),
        ("tune --p95 5 --profile saver --policy x", "--profile: says nothing beside --policy"),
        ("tune --p95 5 --from-store --arrivals poisson", "--arrivals: says nothing beside --from-store"),
        # Values that cannot be.
        ("tune --p95 inf", "--p95 inf: allowed are seconds"),
        ("keys create a --retention inf", "retention is wrong; allowed is seconds above 0 and below 1e10"),
        ("keys create a --deadline inf", "deadline is wrong; allowed is seconds above 0 and below 1e10"),
        ("doctor --sandbox nonsense", "--sandbox 'nonsense': give an address such as http://127.0.0.1:9090"),
        # Files that cannot be written.
        ("simulate --report no/where.html", "--report no/where.html: cannot be written"),
        ("tune --p95 60 --trials 2 --report no/x.html", "--report no/x.html: cannot be written"),
        ("tune --p95 60 --trials 2 --output no/x.toml", "--output no/x.toml: cannot be written"),
    ],
)  # fmt: skip
def test_it_is_refused_by_name(tmp_path: Path, arguments: str, words: str) -> None:
    ended = typed(tmp_path, *arguments.split())
    assert isinstance(ended.exception, BatchwayError), ended.output
    assert words in str(ended.exception)
    assert list(tmp_path.iterdir()) == [], "nothing was made"


@pytest.mark.parametrize(
    "arguments",
    [
        "sandbox --port 99999",
        "sandbox --port -1",
        "ledger --days 99999999999999999999",
        "ledger --days 0",
        "batches --limit 99999999999999999999",
        "requests --limit 0",
        "purge --older-than inf",
        "purge --older-than nan",
        "simulate --profile saver --system-tokens 99999999999999999999",
    ],
)
def test_a_number_out_of_bounds_is_told_with_its_option(tmp_path: Path, arguments: str) -> None:
    ended = typed(tmp_path, *arguments.split())
    assert ended.exit_code == 2
    assert f"Invalid value for '{arguments.split()[-2]}'" in ended.output
