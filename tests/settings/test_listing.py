"""What `batchway config` shows, and what nothing ever shows."""

from collections.abc import Mapping

import pytest
from tests.settings.conftest import LoadFrom

from batchway.core.errors import SettingsError
from batchway.settings import Loaded, describe, hash_key
from batchway.settings.listing import show_value

SECRET = "sk-planted-secret-0123456789-tail"
HASH = hash_key("bw-whatever")


def values(loaded: Loaded) -> Mapping[str, str]:
    return {name: value for name, value, _ in describe(loaded)}


def test_a_row_per_setting_and_per_provider_field_given(load_from: LoadFrom) -> None:
    loaded = load_from(
        environment={"BATCHWAY_PORT": "81", "XAI_API_KEY": SECRET, "BATCHWAY_LOG_FORMAT": "json"},
        toml='[providers."my.host"]\nbase_url = "http://lab/v1"\nlanes = ["direct", "flex"]\n',
    )
    rows = describe(loaded)
    assert [name for name, _, _ in rows] == list(loaded.origins)
    assert ("port", "81", "environment BATCHWAY_PORT") in rows
    assert ("host", "127.0.0.1", "default") in rows
    assert rows[-3:] == [
        ("providers.grok.key", "***tail", "environment XAI_API_KEY"),
        ("providers.my.host.base_url", "http://lab/v1", "batchway.toml"),
        ("providers.my.host.lanes", "direct,flex", "batchway.toml"),
    ]


def test_values_read_as_one_would_write_them(load_from: LoadFrom) -> None:
    toml = f"""
        models."gpt-4o" = {{ input = 2.5 }}
        [[keys]]
        name = "ci"
        hash = "{HASH}"
        lanes = ["batch", "direct"]
        deadline = 60
    """
    shown = values(load_from(toml=toml, environment={"BATCHWAY_MAX_BODY_BYTES": "1025", "BATCHWAY_INSECURE": "1"}))
    assert shown["models"] == '{"gpt-4o":{"input":2.5}}'
    assert shown["keys"] == f"ci:***{HASH[-4:]}:infer:ci lanes=batch,direct deadline=60"
    assert (shown["max_body_bytes"], shown["max_queue_bytes"], shown["insecure"]) == ("1025", "256MiB", "true")
    assert (shown["cache_ttl"], shown["default_model"], shown["abandon_grace"]) == ("300", "", "2")


@pytest.mark.parametrize(
    ("secret", "shown"), [("a" * 12 + "tail", "***tail"), ("a" * 11 + "tail", "***"), ("k", "***")]
)
def test_a_short_secret_shows_nothing(load_from: LoadFrom, secret: str, shown: str) -> None:
    key = load_from(environment={"OPENAI_API_KEY": secret}).settings.providers["openai"].key
    assert show_value(key) == shown


def test_no_secret_in_anything_that_loads(load_from: LoadFrom) -> None:
    loaded = load_from(environment={"OPENAI_API_KEY": SECRET, "BATCHWAY_PROVIDERS__GROK__KEY": SECRET})
    key = loaded.settings.providers["openai"].key
    assert key is not None
    assert key.get_secret_value() == SECRET
    for text in (repr(loaded), str(loaded.settings), repr(loaded.settings), str(describe(loaded))):
        assert "planted" not in text


PLANTED_WRONG: list[tuple[dict[str, str], str]] = [
    ({"OPENAI_API_KEY": f"{SECRET} {SECRET}"}, ""),
    ({"OPENAI_BASE_URL": SECRET}, ""),
    ({"OPENAI_BASE_URL": f"https://me:{SECRET}@host/v1"}, ""),
    ({"OPENAI_BASE_URL": f"https://{SECRET}@host/v1"}, ""),
    ({"OPENAI_BASE_URL": f"https://me:/{SECRET}?#@host/v1"}, ""),
    ({"OPENAI_BASE_URL": f"https://host/v1?key={SECRET}"}, ""),
    ({"OPENAI_BASE_URL": f"https://host/v1#{SECRET}"}, ""),
    ({"BATCHWAY_KEYS": SECRET}, ""),
    ({"BATCHWAY_KEYS": f"ci:{SECRET}"}, ""),
    ({"BATCHWAY_PROT": SECRET}, ""),
    ({"BATCHWAY_PORT": "x", "OPENAI_API_KEY": SECRET}, ""),
    ({}, f'[providers.openai]\nkey = ["{SECRET}"]'),
    ({}, f'[providers.openai]\napi_key = "{SECRET}"'),
    ({}, f'providers.openai = "{SECRET}"'),
    ({}, f'openai_api_key = "{SECRET}"'),
    ({}, f'keys = ["{SECRET}"]'),
    ({}, f'[[keys]]\nname = "a"\nkey = "{SECRET}"'),
    ({}, f'[[keys]]\nname = "a"\nhash = "{HASH}"\nscope = "{SECRET}"'),
    ({}, f'[providers.openai]\nkey = "{SECRET}'),
]


@pytest.mark.parametrize(("environment", "toml"), PLANTED_WRONG)
def test_no_secret_in_an_error(load_from: LoadFrom, environment: dict[str, str], toml: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_from(environment=environment, toml=toml)
    assert "planted" not in str(caught.value)
    assert "planted" not in str(caught.value.__cause__)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
