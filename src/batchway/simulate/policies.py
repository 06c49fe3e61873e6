"""Policies by name and in files: the windows and bounds of the planner, and what holds for requests that say nothing.

A policy file is TOML. `profile` names the policy that it begins with; the rest says what is different:

    profile = "saver"
    cache_ttl = 600.0         # any field of `core.policy.Policy`; durations in seconds, sizes in bytes

    [pack]                    # `WindowRule`: the windows of packed calls; [job]: those of provider batches
    max_wait = 0.2
    max_size = 6

    [tolerance]               # multiples of a pack window's wait, by latency tolerance
    low = 0.25

    [requests]                # for requests which, like their keys, say nothing about it themselves
    packing = "auto"
    reuse = "all"

To add a policy by name: a function that makes its `Setup`, and its row in `POLICIES`.
"""

import tomllib
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, structs

from batchway.assemble import PROFILES
from batchway.core.errors import SettingsError
from batchway.core.policy import Policy
from batchway.core.types import Hints, Request

REQUESTS = ("priority", "strategy", "deadline", "reuse", "packing", "optimize", "on_deadline")
"""What a policy may say for requests that say nothing."""

_BUILT_IN = Hints(
    priority="normal", strategy="auto", reuse="auto", packing="never", optimize="off", on_deadline="escalate"
)
"""What holds where nobody says anything (`engine.intake`)."""


class Setup(Struct, frozen=True, kw_only=True):
    """A policy, whole."""

    name: str
    profile: str
    """The policy by name that it began with."""
    policy: Policy = Policy()
    requests: Hints = Hints()
    """What holds for requests that say nothing themselves. A deadline is in seconds."""


# By name


def transparent() -> Setup:
    """Nothing is altered; lanes go by hints."""
    return Setup(name="transparent", profile="transparent", requests=PROFILES["transparent"])


def saver() -> Setup:
    """Prompts share calls where that is cheaper, and are made to fit."""
    return Setup(name="saver", profile="saver", requests=PROFILES["saver"])


def batcher() -> Setup:
    """What has no hint takes the batch lane."""
    return Setup(name="batcher", profile="batcher", requests=PROFILES["batcher"])


POLICIES: Mapping[str, Callable[[], Setup]] = MappingProxyType(
    {"transparent": transparent, "saver": saver, "batcher": batcher}
)
"""The policies that `--profile` knows, and that a file may begin with."""


def named(name: str, policies: Mapping[str, Callable[[], Setup]] = POLICIES) -> Setup:
    """The policy of this name. Raises SettingsError that says which there are."""
    if name not in policies:
        raise SettingsError(f"profile: '{name}' is not one of {', '.join(policies)}.")
    return policies[name]()


# In files


def load(path: str, policies: Mapping[str, Callable[[], Setup]] = POLICIES) -> Setup:
    """The policy of a file; it is called as the file is. Raises SettingsError that names the file and the field."""
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read ({error}); name a TOML file of a policy.") from error
    return read(text, where=path, name=Path(path).stem, policies=policies)


def read(text: str, *, where: str, name: str, policies: Mapping[str, Callable[[], Setup]] = POLICIES) -> Setup:
    """The policy that a text describes. Raises SettingsError that names the field."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{where}: is not TOML: {error}.") from error
    profile = table.pop("profile", "transparent")
    if profile not in policies:
        raise SettingsError(f"{where}: profile: {profile!r} is not one of {', '.join(policies)}.")
    base = policies[profile]()
    requests = _laid_over(base.requests, table.pop("requests", {}), where, "requests", REQUESTS)
    policy = _laid_over(base.policy, table, where, "", Policy.__struct_fields__)
    return Setup(name=name, profile=profile, policy=policy, requests=requests)


T = TypeVar("T", bound=Struct)


def _laid_over(base: T, given: object, where: str, path: str, allowed: tuple[str, ...]) -> T:
    """The struct with the given fields in place of its own, those of inner structs too."""
    if not isinstance(given, dict):
        raise SettingsError(f"{where}: {path}: {given!r} is not a table.")
    changes = dict(given)
    for field, value in given.items():
        here = f"{path}.{field}" if path else field
        if field not in allowed:
            close = get_close_matches(field, allowed, n=1)
            raise SettingsError(f"{where}: {here}: there is no such field; {_meant(close, allowed)}.")
        own = getattr(base, field)
        if isinstance(own, Struct):
            changes[field] = _laid_over(own, value, where, here, own.__struct_fields__)
    try:
        return msgspec.convert(structs.asdict(base) | changes, type(base))
    except msgspec.ValidationError as error:
        what, _, inner = str(error).partition(" - at `$.")
        raise SettingsError(f"{where}: {f'{path}.' if path else ''}{inner.rstrip('`')}: {what}.") from error
    except SettingsError as error:
        raise SettingsError(f"{where}: {f'{path}.' if path else ''}{error}.") from error


def _meant(close: list[str], allowed: tuple[str, ...]) -> str:
    return f"'{close[0]}' is meant?" if close else f"there are {', '.join(allowed)}"


def write(setup: Setup, *, heading: str = "", policies: Mapping[str, Callable[[], Setup]] = POLICIES) -> str:
    """The text of its file: what differs from the policy that it began with. `heading`: lines of a comment above."""
    base = named(setup.profile, policies)
    lines = [f"# {line}".rstrip() for line in heading.splitlines()]
    lines.append(f'profile = "{setup.profile}"')
    lines += _differences(base.policy, setup.policy)
    for name in Policy.__struct_fields__:
        own = getattr(setup.policy, name)
        if isinstance(own, Struct):
            lines += _table(name, _differences(getattr(base.policy, name), own))
    lines += _table("requests", _differences(base.requests, setup.requests))
    return "\n".join(lines) + "\n"


def _table(name: str, lines: list[str]) -> list[str]:
    return ["", f"[{name}]", *lines] if lines else []


def _differences(base: Struct, other: Struct) -> list[str]:
    """Lines of TOML. What is unset here and set in the base cannot be said in TOML, and is not."""
    return [
        f"{name} = {msgspec.json.encode(value).decode()}"
        for name in base.__struct_fields__
        if (value := getattr(other, name)) != getattr(base, name)
        and value is not None
        and not isinstance(value, Struct)
    ]


# For requests


def given_defaults(request: Request, defaults: Hints, before: Hints) -> Request:
    """The request with these defaults where it did not say anything itself.

    A request keeps no note of what was said: what equals the default under which it was recorded (`before`) is taken
    as not said.
    """
    changes: dict[str, Any] = {
        name: default
        for name in REQUESTS
        if name != "deadline"
        and (default := getattr(defaults, name)) is not None
        and (own := getattr(request, name)) != default
        and own == (getattr(before, name) or getattr(_BUILT_IN, name))
    }
    if defaults.deadline is not None and request.deadline is None:
        changes["deadline"] = request.asked_at + float(defaults.deadline)
    outline = request.prompt.outline
    if changes.get("packing", request.packing) != "never" and request.pack_key is None and outline is not None:
        changes["pack_key"] = outline.kin
    return structs.replace(request, **changes) if changes else request
