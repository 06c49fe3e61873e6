"""The pages tell the truth: the map names every file, and what is generated is up to date."""

import subprocess
import sys

from tools.map import PAGE, ROOT, page_with_map

from batchway.assemble import PROVIDERS
from batchway.settings import render_template


def test_the_map_names_every_file_as_it_is() -> None:
    assert page_with_map(PAGE.read_text()) == PAGE.read_text(), "run python tools/map.py"


def test_every_source_file_says_its_one_job_first() -> None:
    for file in (ROOT / "src").rglob("*.py"):
        assert file.read_text().startswith('"""'), file


def test_the_example_of_settings_is_up_to_date() -> None:
    assert (ROOT / ".env.example").read_text() == render_template(PROVIDERS), (
        "run batchway config --template > .env.example"
    )


def test_no_machine_path_is_in_a_tracked_file() -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        content = (ROOT / name).read_bytes()
        for mark in (b"/wo" + b"rk/main", b"/root" + b"/.pyenv"):
            assert mark not in content, f"{mark!r} in {name}"


def test_public_names_are_what_init_lists() -> None:
    listed = subprocess.run(
        [sys.executable, "-c", "import batchway; print(sorted(batchway.__all__))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert listed.strip() == "['__version__']"
