"""Lays the sources over each other, checks the result, and says of every value where it came from."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from msgspec import Struct
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from batchway.core.errors import SettingsError
from batchway.settings.model import GENERIC, ProviderSettings, Settings, variable
from batchway.settings.sources import (
    CONFIG,
    DEFAULT_FILE,
    ENVIRONMENT,
    Given,
    ProviderNames,
    Source,
    Where,
    read_dotenv,
    read_environment,
    read_flags,
    read_toml,
    read_variables,
)
from batchway.settings.wording import describe_allowed, mask_secret, mask_url, suggest

DEFAULT = "default"

_PROVIDER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


class Loaded(Struct, frozen=True, kw_only=True):
    """The settings in force, and where each came from."""

    settings: Settings
    origins: Mapping[str, str]
    """By setting name (`port`, `providers.openai.key`): `flag --port`, `environment PORT`, `.env PORT`, the TOML file's
    name, or `default`. Of `providers` only what was given is listed."""


def load(
    flags: Mapping[str, object],
    *,
    providers: Sequence[ProviderNames],
    environment: Mapping[str, str] | None = None,
    folder: str | None = None,
) -> Loaded:
    """Read all sources; per setting the first of flag, environment, `.env`, TOML and default that gives one wins.

    `flags` by setting name (None: not given), and `config`, the TOML file. `environment` None is this process's.
    `folder` (None: the working directory) is where `.env`, batchway.toml and a relative `config` are looked for.
    `settings.providers` holds every name of `providers` and those that were given besides. SettingsError lists all
    that is wrong, one per line.
    """
    home = Path(folder or ".")
    variables = read_environment() if environment is None else environment
    dotenv = read_dotenv(home / ".env")
    toml = _read_config(home, flags.get(CONFIG) or variables.get(variable(CONFIG)) or dotenv.get(variable(CONFIG)))
    # With the TOML file's own providers, so that a variable finds `my-host` under MY_HOST.
    names = [*providers, *(ProviderNames(name=where[1]) for where in toml.given if where[0] == "providers")]
    sources = [
        toml,
        read_variables(dotenv, ".env", names),
        read_variables(variables, ENVIRONMENT, names),
        read_flags(flags),
    ]
    given = {where: value for source in sources for where, value in source.given.items()}
    problems = [problem for source in sources for problem in source.problems]
    settings = _validate(given, providers, problems)
    return Loaded(settings=settings, origins=MappingProxyType(_list_origins(given)))


def _read_config(home: Path, config: object) -> Source:
    """The TOML file: a named one must be there, the default one may be missing."""
    name = str(config or DEFAULT_FILE)
    file = home / Path(name).expanduser()
    if not config and not file.exists():
        return Source({}, [])
    return read_toml(file, name)


def _validate(given: Mapping[Where, Given], providers: Sequence[ProviderNames], problems: list[str]) -> Settings:
    try:
        settings = Settings.model_validate(_nest(given, providers))
    except ValidationError as error:
        wrong = {_find(tuple(map(str, detail["loc"])), given): detail for detail in error.errors()}
        problems = problems + [_explain(where, detail, given) for where, detail in wrong.items()]
        # Not chained: it holds the values, and some are secret.
        raise SettingsError("\n".join(problems)) from None
    if problems := problems + _check_providers(settings, given, {provider.name for provider in providers}):
        raise SettingsError("\n".join(problems))
    return settings


def _nest(given: Mapping[Where, Given], providers: Sequence[ProviderNames]) -> dict[str, Any]:
    rows: dict[str, dict[str, object]] = {provider.name: {} for provider in providers}
    for where, value in given.items():
        if len(where) == 3:
            rows.setdefault(where[1], {})[where[2]] = value.value
    return {where[0]: value.value for where, value in given.items() if len(where) == 1} | {"providers": rows}


def _find(location: Where, given: Mapping[Where, Given]) -> Where:
    """The setting that an error deep inside it belongs to."""
    return next(location[:length] for length in (3, 1) if location[:length] in given)


def _explain(where: Where, detail: Mapping[str, Any], given: Mapping[Where, Given]) -> str:
    """One line: the setting, its place, its value, and what is allowed."""
    value, origin = given[where].value, given[where].origin
    own_words = detail["type"] == "value_error"
    reason = str(detail["ctx"]["error"]) if own_words else f"allowed is {describe_allowed(_field(where))}"
    return f"{'.'.join(where)} ({origin}) = {_show_given(where, value)}: {reason}"


def _field(where: Where) -> FieldInfo:
    return (ProviderSettings if len(where) == 3 else Settings).model_fields[where[-1]]


def _show_given(where: Where, value: object) -> str:
    """A value that was refused, as given, unless it is or may be a secret."""
    if where[0] == "keys" or where[-1] == "key":
        return mask_secret(value) if isinstance(value, str) and where[-1] == "key" else "***"
    if where[-1] == "base_url" and isinstance(value, str):
        return repr(mask_url(value))
    return repr(value)


def _check_providers(settings: Settings, given: Mapping[Where, Given], known: set[str]) -> list[str]:
    """What no single field can see: own providers need a base URL, and the default one must be usable."""
    own = [name for name in settings.providers if name not in known]
    problems = [problem for name in own if (problem := _check_own(name, settings.providers[name], given, known))]
    origin = _list_origins(given)["default_provider"]
    default = settings.default_provider
    usable = sorted(name for name, provider in settings.providers.items() if provider.enabled)
    if default == GENERIC and (GENERIC not in usable or settings.providers[GENERIC].base_url is None):
        needed = f"set DOWNSTREAM_URL (or {variable('providers', GENERIC, 'base_url')}) to its base URL"
        problems.append(f"default_provider ({origin}) = {default!r}: it has no base URL; {needed}")
    elif default not in usable:
        problems.append(f"default_provider ({origin}) = {default!r}: allowed is one of {', '.join(usable)}")
    return problems


def _check_own(name: str, provider: ProviderSettings, given: Mapping[Where, Given], known: set[str]) -> str | None:
    origin = next(value.origin for where, value in given.items() if where[:2] == ("providers", name))
    if not _PROVIDER_NAME.fullmatch(name):
        return f"providers.{name} ({origin}): a name is lower-case letters, digits, dots, dashes and underscores"
    if provider.base_url is None:
        place = f"base_url in [providers.{name}] or {variable('providers', name, 'base_url')}"
        return f"providers.{name} ({origin}) is unknown{suggest(name, known)}; one of your own needs {place}"
    return None


def _list_origins(given: Mapping[Where, Given]) -> dict[str, str]:
    """The place of every setting, in the order of the model; of providers, the fields that were given."""
    plain = {name: given[name,].origin if (name,) in given else DEFAULT for name in Settings.model_fields}
    nested = {".".join(where): value.origin for where, value in given.items() if len(where) == 3}
    del plain["providers"]
    return plain | dict(sorted(nested.items()))
