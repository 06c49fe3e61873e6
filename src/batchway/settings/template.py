"""The text of .env.example, made from the settings themselves."""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from pydantic.fields import FieldInfo

from batchway.settings.listing import show_value
from batchway.settings.model import ALIASES, GENERIC, ProviderSettings, Settings, variable
from batchway.settings.sources import CONFIG, DEFAULT_FILE, ProviderNames
from batchway.settings.wording import describe_allowed

_INTRODUCTION = f"""\
# Settings of batchway. Copy this file to .env and take the `#` off what you change; what stands here are the defaults.
# Per setting the first that gives one wins: flag, environment, .env, {DEFAULT_FILE}, default. An empty value is unset.
# `batchway config` prints what is in force and where it came from. Made from the code; do not edit by hand.
"""

_SECTIONS = {
    "host": "Where it listens",
    "keys": "Who may use it",
    "profile": "What a request gets that does not say",
    "packing": "Packing and fitting",
    "reuse": "Answers used again",
    "database_url": "The store: what is kept",
    "batch_size": "The batch lane",
    "max_body_bytes": "Bounds",
    "connect_timeout": "Time and retries",
    "models": "Models",
}
"""The first setting of each section, with its heading."""

_WIDTH = 118


def render_template(providers: Sequence[ProviderNames]) -> str:
    """The text of .env.example: every variable with its meaning, what it accepts and its default, all commented out."""
    defaults = Settings()
    lines = [_INTRODUCTION, *_render_providers(providers), *_render_config()]
    for name, field in Settings.model_fields.items():
        if name in _SECTIONS:
            lines += _render_heading(_SECTIONS[name])
        if name != "providers":
            lines += _render_setting(name, field, show_value(getattr(defaults, name)))
    return "\n".join(lines)


def _render_providers(providers: Sequence[ProviderNames]) -> Iterator[str]:
    yield from _render_heading("Providers: keys, and base URLs where not the vendor's own")
    for provider in providers:
        yield from _render_provider(provider)
    yield from _comment("Any provider, these or your own, by its name in place of NAME (an own one needs BASE_URL):")
    for name, field in ProviderSettings.model_fields.items():
        yield from _comment(f"{variable('providers', 'NAME', name)}: {_say(field)}")
    yield ""


def _render_provider(provider: ProviderNames) -> Iterator[str]:
    about = (
        f": any upstream of the OpenAI shape, with DOWNSTREAM_PROVIDER={GENERIC}" if provider.name == GENERIC else ""
    )
    others = [*provider.key_variables[1:], *provider.url_variables[1:]]
    yield from _comment(provider.name + about + (f" (also {', '.join(others)})" if others else ""))
    yield from (f"#{name}=" for name in (*provider.key_variables[:1], *provider.url_variables[:1]))
    yield ""


def _render_config() -> Iterator[str]:
    yield from _comment(f"The TOML file; unset: {DEFAULT_FILE} in the working directory, if it is there.")
    yield from (f"#{variable(CONFIG)}=", "")


def _render_setting(name: str, field: FieldInfo, default: str) -> Iterator[str]:
    alias = f" Also {ALIASES[name]}." if name in ALIASES else ""
    yield from _comment(_say(field) + alias)
    yield from (f"#{variable(name)}={default}", "")


def _say(field: FieldInfo) -> str:
    allowed = describe_allowed(field)
    return f"{field.description}" + ("" if allowed == "text" else f" Allowed: {allowed}.")


def _render_heading(text: str) -> tuple[str, str]:
    return f"# --- {text} ---", ""


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in wrap(text, _WIDTH, break_on_hyphens=False)]
