"""`.env.example`: complete, true, and the one that is committed."""

import re
from pathlib import Path

from batchway.providers.registry import ROWS
from batchway.settings import ProviderNames, Settings, load, render_template
from batchway.settings.model import ALIASES

COMMITTED = Path(__file__).parents[2] / ".env.example"

REGISTRY = [
    ProviderNames(name=row.name, key_variables=row.key_variables, url_variables=row.url_variables) for row in ROWS
]


def test_the_committed_file_is_the_rendered_one() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == render_template(REGISTRY), "write render_template's text into it"


def test_every_variable_is_in_it_once() -> None:
    written = re.findall(r"^#([A-Z_]+)=", render_template(REGISTRY), flags=re.MULTILINE)
    settings = [f"BATCHWAY_{name.upper()}" for name in Settings.model_fields if name != "providers"]
    vendors = [name for row in REGISTRY for name in (*row.key_variables[:1], *row.url_variables[:1])]
    assert sorted(written) == sorted(["BATCHWAY_CONFIG", *settings, *vendors])


def test_every_alias_is_in_it() -> None:
    text = render_template(REGISTRY).replace("\n# ", " ")
    assert [alias for alias in ALIASES.values() if f"Also {alias}." not in text] == []


def test_with_every_line_in_force_nothing_changes(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(re.sub(r"^#(?=[A-Z])", "", render_template(REGISTRY), flags=re.MULTILINE))
    loaded = load({}, providers=REGISTRY, environment={}, folder=str(tmp_path))
    assert loaded.settings == load({}, providers=REGISTRY, environment={}, folder="absent").settings
    assert loaded.origins["port"] == ".env BATCHWAY_PORT"
