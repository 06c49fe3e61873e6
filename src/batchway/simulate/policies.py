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

from batchway.assemble.policies import defaults_of, planner_policy
from batchway.core.errors import SettingsError
from batchway.core.policy import Policy
from batchway.core.types import Hints, Request
from batchway.settings import Settings

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

Base = Callable[[str], Setup]
"""What the settings make of a profile."""

Named = Callable[[Base], Setup]
"""Makes a policy."""


def on(settings: Settings) -> Base:
    """Policies on top of these settings: what they say holds, where a policy does not say otherwise."""

    def under(profile: str) -> Setup:
        changed = settings.model_copy(update={"profile": profile})
        policy = planner_policy(changed, store=False)
        return Setup(name=profile, profile=profile, policy=policy, requests=defaults_of(changed))

    return under


def transparent(base: Base) -> Setup:
    """Nothing is altered; lanes go by hints."""
    return base("transparent")


def saver(base: Base) -> Setup:
    """Prompts share calls where that is cheaper, and are made to fit."""
    return base("saver")


def batcher(base: Base) -> Setup:
    """What has no hint takes the batch lane."""
    return base("batcher")


POLICIES: Mapping[str, Named] = MappingProxyType({"transparent": transparent, "saver": saver, "batcher": batcher})
"""The policies that `--profile` knows, and that a file may begin with."""


def named(name: str, base: Base | None = None, *, policies: Mapping[str, Named] = POLICIES) -> Setup:
    """The policy of this name. `base`: of the settings; None: nothing is set. Raises SettingsError that says which
    there are."""
    if name not in policies:
        raise SettingsError(f"profile: '{name}' is not one of {', '.join(policies)}.")
    return policies[name](base or on(Settings()))


# In files


def load(path: str, base: Base | None = None, *, policies: Mapping[str, Named] = POLICIES) -> Setup:
    """The policy of a file; it is called as the file is. `base`: of the settings, which hold where the file says
    nothing. Raises SettingsError that names the file and the field."""
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read ({error}); name a TOML file of a policy.") from error
    return read(text, where=path, name=Path(path).stem, base=base, policies=policies)


def read(
    text: str, *, where: str, name: str, base: Base | None = None, policies: Mapping[str, Named] = POLICIES
) -> Setup:
    """The policy that a text describes. Raises SettingsError that names the field."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{where}: is not TOML: {error}.") from error
    profile = table.pop("profile", "transparent")
    if profile not in policies:
        raise SettingsError(f"{where}: profile: {profile!r} is not one of {', '.join(policies)}.")
    begun = named(profile, base, policies=policies)
    requests = _laid_over(begun.requests, table.pop("requests", {}), where, "requests", REQUESTS)
    policy = _laid_over(begun.policy, table, where, "", Policy.__struct_fields__)
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


def changed(setup: Setup, name: str, value: object, *, where: str) -> Setup:
    """The policy with one field changed, named as in a file: `pack.max_wait`, `requests.packing`, `cache_ttl`. Raises
    SettingsError that names the field."""
    table, _, field = name.rpartition(".")
    if table == "requests":
        given = {field: value}
        return structs.replace(setup, requests=_laid_over(setup.requests, given, where, table, REQUESTS))
    laid = {table: {field: value}} if table else {field: value}
    return structs.replace(setup, policy=_laid_over(setup.policy, laid, where, "", Policy.__struct_fields__))


def write(
    setup: Setup, base: Base | None = None, *, heading: str = "", policies: Mapping[str, Named] = POLICIES
) -> str:
    """The text of its file: what differs from the policy that it began with. `heading`: lines of a comment above."""
    begun = named(setup.profile, base, policies=policies)
    lines = [f"# {line}".rstrip() for line in heading.splitlines()]
    lines.append(f'profile = "{setup.profile}"')
    lines += _differences(begun.policy, setup.policy)
    for name in Policy.__struct_fields__:
        own = getattr(setup.policy, name)
        if isinstance(own, Struct):
            lines += _table(name, _differences(getattr(begun.policy, name), own))
    lines += _table("requests", _differences(begun.requests, setup.requests))
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


class Defaults:
    """Gives requests a policy's defaults where they did not say anything themselves.

    A request keeps no note of what was said: what equals the default under which it was recorded (`before`) is taken
    as not said.
    """

    def __init__(self, after: Hints, before: Hints = Hints()) -> None:  # noqa: B008  # It is frozen.
        pairs = {name: (_default(before, name), _default(after, name)) for name in REQUESTS if name != "deadline"}
        self._changed = [(name, then, now) for name, (then, now) in pairs.items() if then != now]
        self._deadline = None if after.deadline is None else float(after.deadline)

    @property
    def fields(self) -> frozenset[str]:
        """What it may change."""
        changed = frozenset([name for name, _, _ in self._changed])
        return changed if self._deadline is None else changed | {"deadline"}

    def touch(self, request: Request) -> bool:
        """Whether it changes this request."""
        if self._deadline is not None and request.deadline is None:
            return True
        return any(getattr(request, name) == then for name, then, _ in self._changed)

    def __call__(self, request: Request) -> Request:
        changes: dict[str, Any] = {name: now for name, then, now in self._changed if getattr(request, name) == then}
        if self._deadline is not None and request.deadline is None:
            changes["deadline"] = request.asked_at + self._deadline
        outline = request.prompt.outline
        if request.pack_key is None and outline is not None and changes.get("packing", request.packing) != "never":
            changes["pack_key"] = outline.kin
        return structs.replace(request, **changes) if changes else request


def _default(hints: Hints, name: str) -> object:
    return getattr(hints, name) or getattr(_BUILT_IN, name)
