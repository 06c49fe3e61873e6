"""Where values come from: flags, the environment, `.env` and batchway.toml, each read into the same shape.

A source is a flat table from a setting's path (`("port",)`, `("providers", "openai", "key")`) to the value given there
and the place it came from. Flat tables lie over each other setting by setting and keep the place of what wins.
pydantic-settings is not used: its sources answer with nested values only, so that nobody can say which variable gave
one; they pass over unknown names in the environment and read no other environment than the process's.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from dotenv.parser import parse_stream
from msgspec import Struct

from batchway.core.errors import SettingsError
from batchway.settings.model import ALIASES, PREFIX, ProviderSettings, Settings, variable
from batchway.settings.wording import suggest

Where = tuple[str, ...]
"""The path of a setting: one name, or `providers`, a provider and one of its fields."""

CONFIG = "config"
"""Names the TOML file (flag `--config`, `BATCHWAY_CONFIG`); no setting, since it says where settings are."""
DEFAULT_FILE = "batchway.toml"

COMMANDS = frozenset({"BATCHWAY_API_KEY", "BATCHWAY_URL"})
"""The gateway key that commands send to a running gateway, and where it is. They read them themselves, from the
environment alone; no settings of a gateway."""

ENVIRONMENT = "environment"
"""What the variables of this process are called as an origin."""

_PROVIDER_FIELDS = tuple(ProviderSettings.model_fields)
_PLAIN = tuple(field for field in Settings.model_fields if field != "providers")

# Kubernetes tells pods of the Services beside them in variables of this shape. One named `batchway` must not stop us.
_SERVICE_LINK = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)$")
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


class ProviderNames(Struct, frozen=True, kw_only=True):
    """What the registry calls one provider, and the variables of its vendor that set it up, strongest first."""

    name: str
    key_variables: tuple[str, ...] = ()
    url_variables: tuple[str, ...] = ()


class Given(Struct, frozen=True):
    """A value as it was given, and where: `flag --port`, `environment OPENAI_API_KEY`, `.env PORT`, `batchway.toml`."""

    value: object
    origin: str


class Source(Struct, frozen=True):
    """What one source gives, and the names in it that nobody knows (as lines of an error)."""

    given: dict[Where, Given]
    problems: list[str]


def read_flags(flags: Mapping[str, object]) -> Source:
    """Flags by setting name; None is a flag that was not given."""
    set_flags = {name: value for name, value in flags.items() if value is not None and name != CONFIG}
    given: dict[Where, Given] = {
        (name,): Given(value, f"flag {_flag(name)}") for name, value in set_flags.items() if name in _PLAIN
    }
    problems = [_unknown(_flag(name), "flag", map(_flag, _PLAIN)) for name in set_flags if name not in _PLAIN]
    return Source(given, problems)


def read_variables(variables: Mapping[str, str], place: str, providers: Sequence[ProviderNames]) -> Source:
    """Settings among environment variables. An empty one is unset: `KEY=` in .env, or Compose passing nothing."""
    ours = {name: value for name, value in variables.items() if value and not _is_service_link(name, value)}
    named = _name_variables(providers)
    given = {where: Given(ours[name], f"{place} {name}") for name, where in named if name in ours}
    known = {name for name, _ in named} | {variable(CONFIG)}
    if place == ENVIRONMENT:
        known |= COMMANDS
    problems = []
    for name in sorted(ours):
        if not name.startswith(PREFIX) or name in known:
            continue
        if where := _read_nested(name, providers):
            given[where] = Given(ours[name], f"{place} {name}")
        else:
            problems.append(_unknown(name, place, known | _nested_like(name)))
    return Source(given, problems)


def read_toml(file: Path, origin: str) -> Source:
    """Settings of a TOML file: plain ones at the top, [providers.NAME] tables, [[keys]] and [models."NAME"]."""
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"config: {origin} cannot be read: {_reason(error)}") from error
    except tomllib.TOMLDecodeError as error:
        # Not chained: it holds the whole document, keys included.
        raise SettingsError(f"config: {origin} is not TOML: {error.args[0]}") from None
    providers = table.pop("providers", {})
    given: dict[Where, Given] = {(name,): Given(value, origin) for name, value in table.items() if name in _PLAIN}
    problems = [_unknown(name, origin, Settings.model_fields) for name in table if name not in _PLAIN]
    if not _is_table_of_tables(providers):
        return Source(given, [*problems, f"providers ({origin}): allowed are tables, [providers.NAME]"])
    for provider, fields in providers.items():
        for field, value in fields.items():
            if field in _PROVIDER_FIELDS:
                given["providers", provider, field] = Given(value, origin)
            else:
                problems.append(_unknown(f"providers.{provider}.{field}", origin, _fields_of(provider)))
    return Source(given, problems)


def read_dotenv(file: Path) -> dict[str, str]:
    """The variables of a .env file, exactly as written: `${NAME}` in a value stays, since keys may hold such marks."""
    if not file.exists() or file.is_dir():  # some name their virtual environment .env
        return {}
    try:
        with file.open(encoding="utf-8-sig") as lines:
            bindings = list(parse_stream(lines))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f".env cannot be read: {_reason(error)}") from error
    if broken := [binding.original.line for binding in bindings if binding.error]:
        raise SettingsError(f".env: line {broken[0]} is not NAME=value")
    return {binding.key: binding.value for binding in bindings if binding.key and binding.value}


def read_environment() -> Mapping[str, str]:
    """The variables of this process: the one place that looks at them."""
    return os.environ


def _name_variables(providers: Sequence[ProviderNames]) -> list[tuple[str, Where]]:
    """Every fixed variable with its setting. Of two that name the same setting the later wins."""
    vendors = [
        (name, ("providers", provider.name, field))
        for provider in providers
        for field, names in (("base_url", provider.url_variables), ("key", provider.key_variables))
        for name in reversed(names)
    ]
    return [
        *vendors,
        *((alias, (field,)) for field, alias in ALIASES.items()),
        *((variable(field), (field,)) for field in _PLAIN),
    ]


def _read_nested(name: str, providers: Iterable[ProviderNames]) -> Where | None:
    """The setting of `BATCHWAY_PROVIDERS__NAME__FIELD`. No variable holds a dash, so `MY_HOST` is also `my-host`."""
    parts = name.split("__")
    if len(parts) != 3 or parts[0] != variable("providers") or not parts[1] or parts[2].lower() not in _PROVIDER_FIELDS:
        return None
    dashed = {provider.name.replace("-", "_"): provider.name for provider in providers}
    provider = parts[1].lower()
    return "providers", dashed.get(provider, provider), parts[2].lower()


def _nested_like(name: str) -> set[str]:
    """The nested names that a misspelt one may have meant."""
    parts = name.split("__")
    return {variable("providers", parts[1], field) for field in _PROVIDER_FIELDS} if len(parts) > 1 else set()


def _fields_of(provider: str) -> list[str]:
    return [f"providers.{provider}.{field}" for field in _PROVIDER_FIELDS]


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _is_service_link(name: str, value: str) -> bool:
    return bool(_SERVICE_LINK.search(name) or (name.endswith("_PORT") and _SERVICE_ADDRESS.match(value)))


def _is_table_of_tables(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(row, dict) for row in value.values())


def _unknown(name: str, origin: str, known: Iterable[str]) -> str:
    return f"{name} ({origin}) is no setting{suggest(name, known)}"


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return str(error.strerror or error) if isinstance(error, OSError) else "it is not UTF-8"
