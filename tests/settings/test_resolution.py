"""Which source wins, what each understands, and where a value is said to come from."""

from collections.abc import Sequence
from pathlib import Path

import pydantic
import pytest
from pydantic import SecretStr
from tests.settings.conftest import LoadFrom

from batchway.core.errors import SettingsError
from batchway.settings import Loaded, ProviderNames, Settings, load

URL = "https://{}.example.org/v1"

# One setting of every kind: its name, its variable, what is given and read per source, and the default.
# Sources: flag, environment, .env, TOML.
MATRIX = [
    ("port", "BATCHWAY_PORT", [(1, 1), ("2", 2), ("3", 3), ("4", 4)], 8080),
    ("insecure", "BATCHWAY_INSECURE", [(True, True), ("false", False), ("on", True), ("false", False)], False),
    (
        "log_level",
        "BATCHWAY_LOG_LEVEL",
        [("debug",) * 2, ("ERROR", "error"), ("info",) * 2, ("'debug'", "debug")],
        "info",
    ),
    ("request_timeout", "REQUEST_TIMEOUT_SEC", [(1.5, 1.5), ("2.5", 2.5), ("3", 3.0), ("4.5", 4.5)], 600.0),
    ("default_top_p", "DEFAULT_TOP_P", [("0.1", 0.1), ("0.2", 0.2), ("0.3", 0.3), ("0.4", 0.4)], None),
    ("default_model", "DEFAULT_MODEL", [("a",) * 2, ("b",) * 2, ("c",) * 2, ("'d'", "d")], None),
    (
        "max_body_bytes",
        "BATCHWAY_MAX_BODY_BYTES",
        [("1MiB", 1 << 20), ("2 KiB", 2048), ("3000", 3000), ("'4KB'", 4000)],
        32 << 20,
    ),
    (
        "allowed_hosts",
        "BATCHWAY_ALLOWED_HOSTS",
        [("a,B", ("a", "b")), ("c", ("c",)), ("d,", ("d",)), ("['e']", ("e",))],
        (),
    ),
    (
        "models",
        "BATCHWAY_MODELS",
        [({"a": {}},) * 2, ('{"b":{}}', {"b": {}}), ('{"c":{}}', {"c": {}}), ("{d = {}}", {"d": {}})],
        {},
    ),
]


@pytest.mark.parametrize(("name", "variable", "sources", "default"), MATRIX, ids=[row[0] for row in MATRIX])
@pytest.mark.parametrize("strongest", range(5))
def test_per_setting_the_strongest_source_wins(
    load_from: LoadFrom,
    name: str,
    variable: str,
    sources: list[tuple[object, object]],
    default: object,
    strongest: int,
) -> None:
    (flag, _), (environment, _), (dotenv, _), (toml, _) = sources
    loaded = load_from(
        flags={name: flag if strongest <= 0 else None},
        environment={variable: str(environment)} if strongest <= 1 else {},
        dotenv=f"{variable}='{dotenv}'" if strongest <= 2 else "",
        toml=f"{name} = {toml}" if strongest <= 3 else "",
    )
    origins = [
        f"flag --{name.replace('_', '-')}",
        f"environment {variable}",
        f".env {variable}",
        "batchway.toml",
        "default",
    ]
    assert loaded.origins[name] == origins[strongest]
    assert getattr(loaded.settings, name) == [*(read for _, read in sources), default][strongest]


def test_keys_are_one_setting(load_from: LoadFrom) -> None:
    toml = f'[[keys]]\nname = "toml"\nhash = "{"a" * 64}"\n'
    assert [key.name for key in load_from(toml=toml).settings.keys] == ["toml"]
    loaded = load_from(toml=toml, environment={"BATCHWAY_KEYS": f"variable:{'b' * 64}"})
    assert [key.name for key in loaded.settings.keys] == ["variable"]
    assert loaded.origins["keys"] == "environment BATCHWAY_KEYS"


def test_a_providers_fields_are_settings_of_their_own(load_from: LoadFrom) -> None:
    loaded = load_from(
        environment={"OPENAI_API_KEY": "from-environment", "BATCHWAY_PROVIDERS__OPENAI__LANES": "direct, batch"},
        dotenv=f"OPENAI_BASE_URL={URL.format('dotenv')}\nOPENAI_API_KEY=from-dotenv\n",
        toml='[providers.openai]\nkey = "from-toml"\nlanes = ["flex"]\nmax_in_flight = 7\nenabled = true\n',
    )
    openai = loaded.settings.providers["openai"]
    assert openai.key == SecretStr("from-environment")
    assert openai.base_url == URL.format("dotenv")
    assert (openai.lanes, openai.max_in_flight, openai.enabled, openai.dialect) == (("direct", "batch"), 7, True, None)
    assert {name: origin for name, origin in loaded.origins.items() if name.startswith("providers")} == {
        "providers.openai.base_url": ".env OPENAI_BASE_URL",
        "providers.openai.enabled": "batchway.toml",
        "providers.openai.key": "environment OPENAI_API_KEY",
        "providers.openai.lanes": "environment BATCHWAY_PROVIDERS__OPENAI__LANES",
        "providers.openai.max_in_flight": "batchway.toml",
    }


def test_every_known_provider_is_there(load_from: LoadFrom, providers: Sequence[ProviderNames]) -> None:
    assert set(load_from().settings.providers) == {provider.name for provider in providers}


@pytest.mark.parametrize(
    ("variables", "origin"),
    [
        (("OPENAI_KEY",), "OPENAI_KEY"),
        (("OPENAI_KEY", "OPENAI_API_KEY"), "OPENAI_API_KEY"),
        (
            ("OPENAI_KEY", "BATCHWAY_PROVIDERS__OPENAI__KEY", "OPENAI_API_KEY"),
            "BATCHWAY_PROVIDERS__OPENAI__KEY",
        ),
    ],
)
def test_of_a_vendors_variables_the_first_wins_and_ours_before_them(
    load_from: LoadFrom, variables: tuple[str, ...], origin: str
) -> None:
    loaded = load_from(environment={name: f"value-of-{name}" for name in variables})
    assert loaded.settings.providers["openai"].key == SecretStr(f"value-of-{origin}")
    assert loaded.origins["providers.openai.key"] == f"environment {origin}"


ALIASES = {
    "DOWNSTREAM_PROVIDER": ("default_provider", "grok", "grok"),
    "BATCH_WINDOW_MS": ("batch_window_ms", "50", 50.0),
    "MAX_BATCH_SIZE": ("max_batch_size", "8", 8),
    "CACHE_TTL_SEC": ("cache_ttl", "600", 600.0),
    "CACHE_MAX_ENTRIES": ("cache_entries", "5", 5),
    "DEFAULT_MODEL": ("default_model", "gpt-4o-mini", "gpt-4o-mini"),
    "DEFAULT_MAX_OUTPUT_TOKENS": ("default_max_output_tokens", "512", 512),
    "DEFAULT_TEMPERATURE": ("default_temperature", "0.2", 0.2),
    "DEFAULT_TOP_P": ("default_top_p", "1.0", 1.0),
    "DEFAULT_CONTEXT_TOKENS": ("context_tokens", "8192", 8192),
    "META_OVERHEAD_TOKENS": ("meta_overhead_tokens", "200", 200),
    "REQUEST_TIMEOUT_SEC": ("request_timeout", "60", 60.0),
}


@pytest.mark.parametrize("alias", ALIASES)
def test_the_older_variables_are_understood(load_from: LoadFrom, alias: str) -> None:
    name, text, value = ALIASES[alias]
    for loaded in (load_from(environment={alias: text}), load_from(dotenv=f"{alias}={text}\n")):
        assert getattr(loaded.settings, name) == value
        assert loaded.origins[name].endswith(f" {alias}")


@pytest.mark.parametrize("order", [1, -1])
def test_our_own_variable_wins_over_its_alias(load_from: LoadFrom, order: int) -> None:
    both = [("CACHE_TTL_SEC", "1"), ("BATCHWAY_CACHE_TTL", "2")][::order]
    loaded = load_from(environment=dict(both))
    assert (loaded.settings.cache_ttl, loaded.origins["cache_ttl"]) == (2, "environment BATCHWAY_CACHE_TTL")


def test_unset_means_that_nothing_is_injected(load_from: LoadFrom) -> None:
    settings = load_from().settings
    injected = ("default_model", "default_max_output_tokens", "default_temperature", "default_top_p")
    budgets = ("context_tokens", "meta_overhead_tokens", "batch_window_ms", "max_batch_size")
    assert [getattr(settings, name) for name in (*injected, *budgets)] == [None] * 8


def test_an_empty_variable_is_unset(load_from: LoadFrom) -> None:
    loaded = load_from(
        environment={"BATCHWAY_PORT": "", "OPENAI_API_KEY": ""}, dotenv="BATCHWAY_PORT=90\nXAI_API_KEY=\n"
    )
    assert (loaded.settings.port, loaded.origins["port"]) == (90, ".env BATCHWAY_PORT")
    assert loaded.settings.providers["openai"].key is None


def test_the_process_environment_is_read_where_none_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, providers: Sequence[ProviderNames]
) -> None:
    monkeypatch.setenv("BATCHWAY_MAX_QUEUE", "17")
    assert load({}, providers=providers, folder=str(tmp_path)).settings.max_queue == 17
    assert load({}, providers=providers, folder=str(tmp_path), environment={}).settings.max_queue == 1000


def test_the_working_directory_is_looked_in_where_no_folder_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, providers: Sequence[ProviderNames]
) -> None:
    (tmp_path / "batchway.toml").write_text("port = 99")
    monkeypatch.chdir(tmp_path)
    assert load({}, providers=providers, environment={}).settings.port == 99


class TestConfig:
    """The TOML file's own name."""

    @pytest.mark.parametrize(
        ("flag", "environment", "dotenv", "expected"),
        [
            ("1.toml", "2.toml", "3.toml", 1),
            (None, "2.toml", "3.toml", 2),
            (None, "", "3.toml", 3),
            (None, "", "", 8080),
        ],
    )
    def test_flag_before_environment_before_dotenv(
        self, load_from: LoadFrom, tmp_path: Path, flag: str | None, environment: str, dotenv: str, expected: int
    ) -> None:
        for port in (1, 2, 3):
            (tmp_path / f"{port}.toml").write_text(f"port = {port}")
        loaded = load_from(
            flags={"config": flag},
            environment={"BATCHWAY_CONFIG": environment},
            dotenv=f"BATCHWAY_CONFIG={dotenv}\n",
        )
        assert loaded.settings.port == expected
        assert loaded.origins["port"] == (f"{expected}.toml" if expected < 4 else "default")

    def test_a_named_file_must_be_there(self, load_from: LoadFrom) -> None:
        with pytest.raises(SettingsError, match=r"config: absent\.toml cannot be read: No such file"):
            load_from(environment={"BATCHWAY_CONFIG": "absent.toml"})

    def test_a_broken_file_is_told_with_its_line_and_without_its_text(self, load_from: LoadFrom) -> None:
        with pytest.raises(SettingsError, match=r"batchway\.toml is not TOML: .*line 2") as caught:
            load_from(toml='[providers.openai]\nkey = "sk-planted-secret-0001\n')
        assert "planted" not in repr(caught.value)

    def test_a_file_of_another_encoding_is_told(self, load_from: LoadFrom, tmp_path: Path) -> None:
        (tmp_path / "batchway.toml").write_bytes(b'host = "\xff"')
        with pytest.raises(SettingsError, match=r"batchway\.toml cannot be read: it is not UTF-8"):
            load_from()


class TestDotenv:
    def test_quotes_comments_and_export(self, load_from: LoadFrom) -> None:
        dotenv = "\ufeff# a comment\nexport BATCHWAY_PORT=81 # why\nBATCHWAY_LOG_FORMAT='json'\nOTHER=1\n"
        settings = load_from(dotenv=dotenv).settings
        assert (settings.port, settings.log_format) == (81, "json")

    def test_values_are_taken_as_written(self, load_from: LoadFrom) -> None:
        loaded = load_from(dotenv="OPENAI_API_KEY=sk-${HOME}-$x\n", environment={"HOME": "h"})
        assert loaded.settings.providers["openai"].key == SecretStr("sk-${HOME}-$x")

    def test_a_broken_line_is_told_and_not_quoted(self, load_from: LoadFrom) -> None:
        with pytest.raises(SettingsError, match=r"\.env: line 2 is not NAME=value") as caught:
            load_from(dotenv='BATCHWAY_PORT=81\nOPENAI_API_KEY="sk-planted-secret-0002\n')
        assert "planted" not in repr(caught.value)

    def test_a_virtual_environment_of_that_name_is_none(self, load_from: LoadFrom, tmp_path: Path) -> None:
        (tmp_path / ".env").mkdir()
        assert load_from().settings.port == 8080


class TestUnknownNames:
    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("BATCHWAY_PROT", "BATCHWAY_PORT"),
            ("BATCHWAY_CACHE_TTL_SEC", "BATCHWAY_CACHE_TTL"),
            ("BATCHWAY_PROVIDERS__OPENAI__BASEURL", "BATCHWAY_PROVIDERS__OPENAI__BASE_URL"),
            ("BATCHWAY_CONFG", "BATCHWAY_CONFIG"),
        ],
    )
    def test_of_a_variable(self, load_from: LoadFrom, name: str, meant: str) -> None:
        with pytest.raises(SettingsError) as caught:
            load_from(environment={name: "1"})
        assert str(caught.value) == f"{name} (environment) is no setting; did you mean {meant}?"
        with pytest.raises(SettingsError, match=rf"{name} \(\.env\) is no setting"):
            load_from(dotenv=f"{name}=1\n")

    @pytest.mark.parametrize("name", ["BATCHWAY_API_KEY", "BATCHWAY_URL"])
    def test_what_commands_read_themselves_is_none_and_disturbs_nobody(self, load_from: LoadFrom, name: str) -> None:
        assert load_from(environment={name: "bw-1"}).settings == load_from().settings
        with pytest.raises(SettingsError, match=rf"{name} \(\.env\) is no setting"):
            load_from(dotenv=f"{name}=bw-1\n")

    @pytest.mark.parametrize(
        ("toml", "name", "meant"),
        [
            ("prot = 1", "prot", "port"),
            ("[provider.openai]", "provider", "providers"),
            ("[providers.openai]\nbase-url = 'x'", "providers.openai.base-url", "providers.openai.base_url"),
        ],
    )
    def test_of_the_toml_file(self, load_from: LoadFrom, toml: str, name: str, meant: str) -> None:
        with pytest.raises(SettingsError) as caught:
            load_from(toml=toml)
        assert str(caught.value) == f"{name} (batchway.toml) is no setting; did you mean {meant}?"

    def test_of_a_flag(self, load_from: LoadFrom) -> None:
        with pytest.raises(SettingsError, match=r"--max-que \(flag\) is no setting; did you mean --max-queue\?"):
            load_from(flags={"max_que": 3})

    def test_where_nothing_is_near_nothing_is_suggested(self, load_from: LoadFrom) -> None:
        with pytest.raises(SettingsError) as caught:
            load_from(environment={"BATCHWAY_ZZZZZZZZZZZZZZ": "1"})
        assert str(caught.value) == "BATCHWAY_ZZZZZZZZZZZZZZ (environment) is no setting"

    def test_other_peoples_variables_are_theirs(self, load_from: LoadFrom) -> None:
        assert (
            load_from(environment={"PROT": "1", "BATCHWAYS": "2"}, dotenv="OTHER=1\n").settings == load_from().settings
        )

    def test_what_kubernetes_says_of_a_service_named_batchway_is_no_setting(self, load_from: LoadFrom) -> None:
        links = {
            "BATCHWAY_SERVICE_HOST": "10.0.0.1",
            "BATCHWAY_SERVICE_PORT": "8080",
            "BATCHWAY_SERVICE_PORT_HTTP": "8080",
            "BATCHWAY_PORT": "tcp://10.0.0.1:8080",
            "BATCHWAY_PORT_8080_TCP": "tcp://10.0.0.1:8080",
            "BATCHWAY_PORT_8080_TCP_ADDR": "10.0.0.1",
            "BATCHWAY_REDIS_PORT": "tcp://10.0.0.2:6379",
        }
        assert load_from(environment=links).origins["port"] == "default"


class TestProviders:
    def test_one_of_your_own(self, load_from: LoadFrom) -> None:
        loaded = load_from(
            toml='[providers.my-host]\nbase_url = "http://10.0.0.7:8000/v1/"\ndialect = "openai"\n',
            environment={"BATCHWAY_PROVIDERS__MY_HOST__KEY": "secret", "BATCHWAY_PROVIDERS__FAR_AWAY__ENABLED": "no"},
        )
        own = loaded.settings.providers["my-host"]
        assert (own.base_url, own.dialect, own.key) == ("http://10.0.0.7:8000/v1", "openai", SecretStr("secret"))
        assert not loaded.settings.providers["far-away"].enabled

    def test_one_of_your_own_by_variables_alone(self, load_from: LoadFrom) -> None:
        variables = {"BATCHWAY_PROVIDERS__LAB__BASE_URL": "http://lab/v1", "DOWNSTREAM_PROVIDER": "lab"}
        settings = load_from(environment=variables).settings
        assert (settings.default_provider, settings.providers["lab"].base_url) == ("lab", "http://lab/v1")

    def test_one_of_your_own_needs_a_base_url(self, load_from: LoadFrom) -> None:
        with pytest.raises(SettingsError) as caught:
            load_from(environment={"BATCHWAY_PROVIDERS__OPENAPI__KEY": "secret-of-mine-0003"})
        assert str(caught.value) == (
            "providers.openapi (environment BATCHWAY_PROVIDERS__OPENAPI__KEY) is unknown; did you mean openai?; "
            "one of your own needs base_url in [providers.openapi] or BATCHWAY_PROVIDERS__OPENAPI__BASE_URL"
        )

    def test_its_name_can_stand_before_a_model(self, load_from: LoadFrom) -> None:
        with pytest.raises(SettingsError, match=r"providers\.My/Host \(batchway\.toml\): a name is lower-case"):
            load_from(toml='[providers."My/Host"]\nbase_url = "http://lab/v1"\n')

    @pytest.mark.parametrize("toml", ['providers = "planted"', 'providers.openai = "planted"'])
    def test_they_are_tables(self, load_from: LoadFrom, toml: str) -> None:
        with pytest.raises(SettingsError) as caught:
            load_from(toml=toml)
        assert str(caught.value) == "providers (batchway.toml): allowed are tables, [providers.NAME]"

    def test_the_default_one_must_be_known(self, load_from: LoadFrom) -> None:
        with pytest.raises(SettingsError) as caught:
            load_from(environment={"DOWNSTREAM_PROVIDER": "opena"})
        assert str(caught.value) == (
            "default_provider (environment DOWNSTREAM_PROVIDER) = 'opena': "
            "allowed is one of far-away, generic, grok, openai"
        )

    def test_the_default_one_must_be_enabled(self, load_from: LoadFrom) -> None:
        with pytest.raises(
            SettingsError, match=r"default_provider \(default\) = 'openai': allowed is one of far-away, g"
        ):
            load_from(toml="[providers.openai]\nenabled = false\n")

    @pytest.mark.parametrize(
        "url", ["http://lab:8000/v1", "http://lab:8000/v1/", "http://lab:8000/v1/chat/completions"]
    )
    def test_generic(self, load_from: LoadFrom, url: str) -> None:
        loaded = load_from(environment={"DOWNSTREAM_PROVIDER": "generic", "DOWNSTREAM_URL": url})
        assert loaded.settings.default_provider == "generic"
        assert loaded.settings.providers["generic"].base_url == "http://lab:8000/v1"

    def test_generic_needs_its_url(self, load_from: LoadFrom) -> None:
        with pytest.raises(SettingsError) as caught:
            load_from(environment={"DOWNSTREAM_PROVIDER": "generic"})
        assert str(caught.value) == (
            "default_provider (environment DOWNSTREAM_PROVIDER) = 'generic': it has no base URL; "
            "set DOWNSTREAM_URL (or BATCHWAY_PROVIDERS__GENERIC__BASE_URL) to its base URL"
        )


def test_a_line_for_everything_that_is_wrong(load_from: LoadFrom) -> None:
    with pytest.raises(SettingsError) as caught:
        load_from(
            flags={"port": 70000},
            environment={"BATCHWAY_PROFILE": "sver", "BATCHWAY_PROT": "1", "BATCHWAY_BODY_TIMEOUT": "-1"},
            toml="max_retries = true\n",
        )
    assert set(str(caught.value).splitlines()) == {
        "BATCHWAY_PROT (environment) is no setting; did you mean BATCHWAY_PORT?",
        "port (flag --port) = 70000: allowed is a whole number, at least 0, at most 65535",
        "profile (environment BATCHWAY_PROFILE) = 'sver': allowed is one of transparent, saver, batcher",
        "max_retries (batchway.toml) = True: allowed is a whole number, at least 0, at most 10",
        "body_timeout (environment BATCHWAY_BODY_TIMEOUT) = '-1': allowed is a number, above 0",
    }


def test_a_wrong_field_of_a_provider_is_told_once(load_from: LoadFrom) -> None:
    with pytest.raises(SettingsError) as caught:
        load_from(environment={"BATCHWAY_PROVIDERS__GROK__LANES": "direct,x,y"})
    assert str(caught.value) == (
        "providers.grok.lanes (environment BATCHWAY_PROVIDERS__GROK__LANES) = 'direct,x,y': "
        "allowed is a comma-separated list of direct, flex, batch"
    )


def test_the_result_is_frozen(load_from: LoadFrom) -> None:
    loaded: Loaded = load_from()
    with pytest.raises(pydantic.ValidationError):
        loaded.settings.port = 1
    with pytest.raises(pydantic.ValidationError):
        loaded.settings.providers["openai"].enabled = False
    with pytest.raises(TypeError):
        loaded.settings.providers["new"] = loaded.settings.providers["openai"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        loaded.settings = Settings()  # type: ignore[misc]
