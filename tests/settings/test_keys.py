"""Gateway keys: made, hashed, found, and read from both places."""

import re

import pytest
from tests.settings.conftest import LoadFrom

from batchway.core.errors import SettingsError
from batchway.settings import KeyEntry, find_key, format_key, hash_key, index_keys, make_key

KEY = make_key(bytes(range(32)))
HASH = hash_key(KEY)
OTHER = hash_key(make_key(bytes(32)))


def test_a_key_is_43_url_safe_characters_of_its_bytes() -> None:
    assert KEY == "bw-AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    assert re.fullmatch(r"bw-[A-Za-z0-9_-]{43}", make_key(b"\xff" * 32))


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_other_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=f"32 random bytes, not {length}"):
        make_key(bytes(length))


def test_the_hash_is_sha256_of_the_whole_key() -> None:
    # The published test vector of FIPS 180-2.
    assert hash_key("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_key_is_found_and_its_hash_is_not_a_key() -> None:
    entry = KeyEntry(name="ci", hash=HASH)
    index = index_keys([entry, KeyEntry(name="other", hash=OTHER)])
    assert find_key(index, KEY) is entry
    for wrong in (HASH, OTHER, KEY.upper(), KEY + " ", "", "ci", "\udcff"):
        assert find_key(index, wrong) is None


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        (f"ci:{HASH}", KeyEntry(name="ci", hash=HASH, tenant="ci", scope="infer")),
        (f"ci:{HASH}:admin", KeyEntry(name="ci", hash=HASH, tenant="ci", scope="admin")),
        (f"ci:{HASH}:infer:team-a", KeyEntry(name="ci", hash=HASH, tenant="team-a", scope="infer")),
    ],
)
def test_the_line_of_a_variable_there_and_back(load_from: LoadFrom, line: str, entry: KeyEntry) -> None:
    assert load_from(environment={"BATCHWAY_KEYS": f" {line} ,"}).settings.keys == (entry,)
    assert format_key(entry) == line


def test_toml_tables_say_everything(load_from: LoadFrom) -> None:
    toml = f"""
        [[keys]]
        name = "night"
        hash = "{HASH}"
        tenant = "team-a"
        scope = "admin"
        profile = "batcher"
        lanes = ["batch", "direct"]
        deadline = 3600
        reuse = "all"
        packing = "auto"
        retention = "none"
        [[keys]]
        name = "day"
        hash = "{OTHER}"
        retention = 86400
    """
    assert load_from(toml=toml).settings.keys == (
        KeyEntry(
            name="night",
            hash=HASH,
            tenant="team-a",
            scope="admin",
            profile="batcher",
            lanes=("batch", "direct"),
            deadline=3600.0,
            reuse="all",
            packing="auto",
            retention="none",
        ),
        KeyEntry(name="day", hash=OTHER, tenant="day", retention=86400.0),
    )


WRONG_LINES = [
    (KEY, r"key 1 has 1 part\(s\); allowed is name:hash"),
    (f"a:{HASH}:infer:t:x", r"key 1 has 5 part\(s\); allowed is name:hash"),
    (f"a:{KEY}", "key 1: its hash is wrong; allowed is 64 hexadecimal digits"),
    (f"a:{HASH.upper()}", "key 1: its hash is wrong"),
    (f"{KEY}:{HASH}", "key 1: its name is wrong; allowed is 1 to 40 letters"),
    (f"a:{HASH},b:{OTHER}:{KEY}", "key 2: its scope is wrong; allowed is infer, admin"),
    (f"a:{HASH}:infer:", "key 1: its tenant is wrong"),
    (f"a:{HASH},b:{OTHER},a:{'c' * 64}", "keys 1 and 3 have the same name"),
    (f"a:{HASH},b:{HASH}", "keys 1 and 2 have the same hash"),
]


@pytest.mark.parametrize(("line", "reason"), WRONG_LINES, ids=[reason for _, reason in WRONG_LINES])
def test_a_wrong_line_is_told_and_not_quoted(load_from: LoadFrom, line: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason) as caught:
        load_from(environment={"BATCHWAY_KEYS": line})
    assert str(caught.value).startswith("keys (environment BATCHWAY_KEYS) = ***: ")
    assert KEY not in repr(caught.value)


@pytest.mark.parametrize(
    ("toml", "reason"),
    [
        ("keys = true", "allowed is a comma-separated list"),
        ("keys = 1", "allowed are name:hash"),
        ("keys = [1]", "key 1 is not a table"),
        ('[[keys]]\nname = "a"', "key 1: it has no hash; allowed is 64 hexadecimal digits"),
        (f'[[keys]]\nname = "a"\nhash = "{HASH}"\nlane = ["batch"]', "key 1 has no field 'lane'; did you mean lanes"),
        (
            f'[[keys]]\nname = "a"\nhash = "{HASH}"\nlanes = ["bach"]',
            "its lanes is wrong; allowed is a list of direct, f",
        ),
        (f'[[keys]]\nname = "a"\nhash = "{HASH}"\nlanes = []', "its lanes is wrong"),
        (f'[[keys]]\nname = "a"\nhash = "{HASH}"\ndeadline = 0', "its deadline is wrong; allowed is seconds above 0"),
        (f'[[keys]]\nname = "a"\nhash = "{HASH}"\nretention = "all"', "its retention is wrong"),
    ],
)
def test_a_wrong_table(load_from: LoadFrom, toml: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        load_from(toml=toml)
