"""Policies: by name, in files there and back, with errors that name the field; and how one is added."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from msgspec import structs
from tests.simulate.traffic import lab, request

from batchway.assemble import load_settings
from batchway.assemble.policies import defaults_of, planner_policy
from batchway.core.errors import SettingsError
from batchway.core.policy import Tolerance, WindowRule
from batchway.core.types import Hints
from batchway.simulate.policies import POLICIES, Base, Defaults, Named, Setup, load, named, on, read, write

FILE = """
profile = "saver"
cache_ttl = 600
max_retries = 1

[pack]
max_wait = 0.2
max_size = 4

[job]
max_size = 500

[tolerance]
high = 8.0

[requests]
reuse = "all"
deadline = 3600
"""


def test_a_file_says_what_differs_from_the_policy_that_it_begins_with() -> None:
    setup = read(FILE, where="mine.toml", name="mine")
    saver = named("saver")
    assert (setup.name, setup.profile) == ("mine", "saver")
    assert setup.policy.pack == structs.replace(saver.policy.pack, max_wait=0.2, max_size=4)
    assert setup.policy.job == structs.replace(saver.policy.job, max_size=500)
    assert setup.policy.tolerance == Tolerance(high=8.0)
    assert (setup.policy.cache_ttl, setup.policy.max_retries) == (600.0, 1)
    assert setup.policy.pack_risk == saver.policy.pack_risk > 0
    assert setup.requests == Hints(packing="auto", optimize="fit", reuse="all", deadline=3600)


def test_what_the_settings_give_holds_where_a_file_says_nothing() -> None:
    base = on(load_settings({"cache_ttl": 7, "batch_window_ms": 500, "reuse": "all"}, environment={}).settings)
    setup = read("[pack]\nmax_size = 9\n", where="f", name="f", base=base)
    assert setup.policy.cache_ttl == 7.0
    assert (setup.policy.pack.max_wait, setup.policy.pack.max_size) == (0.5, 9)
    assert (setup.requests.reuse, setup.requests.packing) == ("all", "always")


@pytest.mark.parametrize("profile", ["transparent", "saver", "batcher"])
def test_a_profile_is_here_what_it_is_to_a_gateway(profile: str) -> None:
    settings = load_settings({"profile": profile}, environment={}).settings
    setup = named(profile, on(load_settings({}, environment={}).settings))
    assert setup.policy == planner_policy(settings, store=False)
    assert setup.requests == defaults_of(settings)


@pytest.mark.parametrize("profile", list(POLICIES))
def test_what_is_written_is_read_again(profile: str) -> None:
    begun = named(profile)
    changed = Setup(
        name="again",
        profile=profile,
        policy=structs.replace(
            begun.policy,
            pack=WindowRule(max_wait=0.125, max_size=5, max_tokens=4000, adaptive=True),
            tolerance=Tolerance(low=0.5),
            cache_ttl=60.0,
            pack_stake=10**9,
        ),
        requests=structs.replace(begun.requests, reuse="off", packing="always"),
    )
    text = write(changed, heading="made by a test\nof two lines")
    assert text.startswith("# made by a test\n# of two lines\n")
    assert read(text, where="again.toml", name="again") == changed
    assert write(begun) == f'profile = "{profile}"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pack = 3", "mine.toml: pack: 3 is not a table"),
        ("[pack]\nmax_sise = 3", "mine.toml: pack.max_sise: there is no such field; 'max_size' is meant?"),
        ("[pack]\nmax_size = 0", "mine.toml: pack.max_size is 0; it must be at least 1"),
        ('[pack]\nmax_wait = "soon"', "mine.toml: pack.max_wait: Expected `float`, got `str`"),
        ("cache_tll = 3", "mine.toml: cache_tll: there is no such field; 'cache_ttl' is meant?"),
        ("cache_ttl = -1", "mine.toml: cache_ttl is -1.0; it must be a finite number of at least 0"),
        ('[requests]\npacking = "sometimes"', "mine.toml: requests.packing: Invalid enum value 'sometimes'"),
        ('[requests]\ntags = "x"', "mine.toml: requests.tags: there is no such field"),
        ('profile = "cheap"', "mine.toml: profile: 'cheap' is not one of transparent, saver, batcher"),
        ("profile = 3", "mine.toml: profile: 3 is not one of"),
        ("pack = [", "mine.toml: is not TOML"),
        ("requests = 1", "mine.toml: requests: 1 is not a table"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(text: str, message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read(text, where="mine.toml", name="mine")
    assert str(raised.value).startswith(message)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.toml: cannot be read"):
        load(str(tmp_path / "absent.toml"))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"binary\.toml: cannot be read"):
        load(str(binary))
    (tmp_path / "night.toml").write_text("cache_ttl = 1.0\n")
    assert load(str(tmp_path / "night.toml")).name == "night"


def test_a_name_that_is_none_is_answered_with_those_there_are() -> None:
    with pytest.raises(SettingsError, match="'thrifty' is not one of transparent, saver, batcher"):
        named("thrifty")


# Adding one: a function and a row (ARCHITECTURE, "How to add").


def patient(base: Base) -> Setup:
    """Prompts wait a whole second for company."""
    begun = base("transparent")
    waiting = structs.replace(begun.policy, pack=structs.replace(begun.policy.pack, max_wait=1.0))
    return Setup(name="patient", profile="patient", policy=waiting, requests=Hints(packing="always"))


MORE: Mapping[str, Named] = MappingProxyType({**POLICIES, "patient": patient})


def test_a_policy_is_added_by_a_function_and_a_row() -> None:
    requests = [request(name, 0.4 * at, fingerprint=name) for at, name in enumerate("abc")]
    setups = [named(name, policies=MORE) for name in ("transparent", "patient")]
    plain, waited = lab().rehearse(setups, requests)
    assert (plain.calls, waited.calls) == (3, 1)
    assert waited.paid < plain.paid
    # A file may begin with it, and be written from it.
    file = read('profile = "patient"\ncache_ttl = 5.0\n', where="f", name="f", policies=MORE)
    assert file.policy.pack.max_wait == 1.0
    assert write(file, policies=MORE) == 'profile = "patient"\ncache_ttl = 5.0\n'


# Requests


def test_a_policys_defaults_are_for_requests_that_said_nothing() -> None:
    defaults = Hints(packing="auto", priority="low", deadline=60.0)
    silent, hurried = request("a"), request("b", priority="high", packing="always", deadline=1e9)
    given = Defaults(defaults, Hints())(silent)
    assert (given.packing, given.priority, given.pack_key) == ("auto", "low", "kin")
    assert given.deadline == silent.asked_at + 60.0
    said = Defaults(defaults, Hints())(hurried)
    assert (said.packing, said.priority, said.deadline) == ("always", "high", 1e9)


def test_what_equals_the_default_of_then_was_not_said() -> None:
    recorded = request("a", packing="auto", optimize="fit")
    before = Hints(packing="auto", optimize="fit")
    again = Defaults(named("transparent").requests, before)(recorded)
    assert (again.packing, again.optimize) == ("never", "off")
    same = Defaults(named("saver").requests, before)(recorded)
    assert (same.packing, same.optimize) == ("auto", "fit")
    other = request("b", packing="always")
    assert Defaults(named("transparent").requests, before)(other).packing == "always"
