"""What each kind of setting accepts and refuses."""

import pytest
from tests.settings.conftest import LoadFrom

from batchway.core.errors import SettingsError
from batchway.settings import Settings

WRONG = [
    ("host", " ", "allowed is an address or a name, without spaces"),
    ("port", "http", "a whole number, at least 0, at most 65535"),
    ("port", "-1", "a whole number, at least 0, at most 65535"),
    ("port", "80.5", "a whole number, at least 0, at most 65535"),
    ("insecure", "maybe", "true or false"),
    ("log_level", "loud", "one of debug, info, warning, error"),
    ("allowed_hosts", "http://a", "a host name such as llm.example.org, without scheme, path or *"),
    ("allowed_hosts", "*", "a host name such as llm.example.org, without scheme, path or *"),
    ("cors_origins", "*", "origins such as https://app.example.org, without a path; * is not one"),
    ("cors_origins", "https://a/b", "origins such as https://app.example.org, without a path; * is not one"),
    ("default_temperature", "2.1", "a number, at least 0, at most 2"),
    ("default_top_p", "nan", "a number, at least 0, at most 1"),
    ("request_timeout", "0", "a number, above 0"),
    ("request_timeout", "inf", "a number, above 0"),
    ("cache_ttl", "-1", "a number, at least 0"),
    ("max_body_bytes", "32 parsecs", "a number of bytes, or a size such as 32MiB, at least 1KiB"),
    ("max_body_bytes", "1023", "a number of bytes, or a size such as 32MiB, at least 1KiB"),
    ("max_json_depth", "501", "a whole number, at least 4, at most 500"),
    ("models", "[]", 'a table per model: [models."NAME"] in TOML, a JSON object in a variable'),
    ("models", "{", 'a table per model: [models."NAME"] in TOML, a JSON object in a variable'),
    ("models", '{"a": 1}', 'a table per model: [models."NAME"] in TOML, a JSON object in a variable'),
]


@pytest.mark.parametrize(("name", "value", "allowed"), WRONG, ids=[f"{name}={value}" for name, value, _ in WRONG])
def test_a_wrong_value_names_setting_place_value_and_what_is_allowed(
    load_from: LoadFrom, name: str, value: str, allowed: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_from(environment={f"BATCHWAY_{name.upper()}": value})
    message = str(caught.value)
    assert message.startswith(f"{name} (environment BATCHWAY_{name.upper()}) = {value!r}: allowed ")
    assert message.endswith(allowed)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://host/v1", "a URL such as https://host/v1"),
        ("host/v1", "a URL such as https://host/v1"),
        ("https://", "a URL such as https://host/v1"),
        ("https://host:99999/v1", "a URL such as https://host/v1"),
        ("https://ho st/v1", "a URL such as https://host/v1"),
        ("https://host/v1\r\nx: y", "a URL such as https://host/v1"),
        ("https://me:password@host/v1", "no user or password"),
        ("https://host/v1?key=password", "no query and no fragment"),
        ("https://host/v1#password", "no query and no fragment"),
    ],
)
def test_a_wrong_base_url(load_from: LoadFrom, url: str, reason: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_from(environment={"OPENAI_BASE_URL": url})
    assert str(caught.value).startswith("providers.openai.base_url (environment OPENAI_BASE_URL) = ")
    assert reason in str(caught.value)
    assert "password@" not in str(caught.value)
    assert "=password" not in str(caught.value)
    assert "#password" not in str(caught.value)


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "ключ", "   "])
def test_a_key_that_would_break_a_header(load_from: LoadFrom, key: str) -> None:
    with pytest.raises(SettingsError, match="a key is printable ASCII without spaces") as caught:
        load_from(environment={"OPENAI_API_KEY": key})
    assert key not in str(caught.value)


def test_the_line_break_that_was_pasted_with_a_key_is_cut_off(load_from: LoadFrom) -> None:
    key = load_from(environment={"OPENAI_API_KEY": " sk-abc\r\n"}).settings.providers["openai"].key
    assert key is not None
    assert key.get_secret_value() == "sk-abc"


@pytest.mark.parametrize(("text", "size"), [("1024", 1024), ("32MiB", 32 << 20), ("1.5 GiB", 3 << 29), ("2kb", 2000)])
def test_sizes(load_from: LoadFrom, text: str, size: int) -> None:
    assert load_from(environment={"BATCHWAY_MAX_BODY_BYTES": text}).settings.max_body_bytes == size


def test_every_setting_says_what_it_is() -> None:
    undescribed = [name for name, field in Settings.model_fields.items() if not field.description]
    assert not undescribed
