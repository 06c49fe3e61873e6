"""The policy refuses bounds that make no sense and holds the windows that the seeds promise."""

from math import inf, nan

import pytest

from batchway.core.errors import SettingsError
from batchway.core.policy import RULES, Policy, Tolerance, WindowRule


@pytest.mark.parametrize(
    ("name", "wait", "size", "tokens", "idle"),
    [
        ("pack", 0.05, 6, 8_000, None),
        ("job", 300, 100, None, 3600),
        ("client", 10, 1000, None, None),
        ("model", 0.2, 8, 8_000, None),
        ("query.high", 0.2, 6, None, None),
        ("query.normal", 1, 4, None, None),
        ("query.low", 4, 4, None, None),
    ],
)
def test_the_promised_windows(name: str, wait: float, size: int, tokens: int | None, idle: float | None) -> None:
    rule = RULES[name]
    assert (rule.max_wait, rule.max_size, rule.max_tokens, rule.max_idle) == (wait, size, tokens, idle)


def test_only_the_pack_windows_adapt() -> None:
    assert [name for name, rule in RULES.items() if rule.adaptive] == ["pack"]


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        RULES["pack"] = RULES["job"]  # type: ignore[index]


def test_the_default_policy_uses_the_tables_windows() -> None:
    assert (Policy().pack, Policy().job) == (RULES["pack"], RULES["job"])


@pytest.mark.parametrize(("level", "patience"), [("low", 0.25), ("medium", 1.0), ("high", 4.0)])
def test_patience(level: str, patience: float) -> None:
    assert Tolerance().patience(level) == patience  # type: ignore[arg-type]


@pytest.mark.parametrize("wait", [inf, -inf, nan, -1.0])
def test_a_wait_without_an_end_is_refused(wait: float) -> None:
    with pytest.raises(SettingsError, match=r"max_wait is .*; it must be a finite number of at least 0"):
        WindowRule(max_wait=wait, max_size=1)


@pytest.mark.parametrize("field", ["max_size", "max_tokens", "max_bytes"])
def test_a_window_for_nothing_is_refused(field: str) -> None:
    with pytest.raises(SettingsError, match=f"{field} is 0; it must be at least 1"):
        WindowRule(**{"max_wait": 1.0, "max_size": 1, field: 0})  # type: ignore[arg-type]


def test_an_endless_idleness_is_refused() -> None:
    with pytest.raises(SettingsError, match="max_idle is nan"):
        WindowRule(max_wait=1.0, max_size=1, max_idle=nan)


def test_an_endless_tolerance_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"tolerance\.high is inf"):
        Tolerance(high=inf)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_queue", 0),
        ("max_queue_bytes", 0),
        ("max_in_flight", 0),
        ("max_retries", -1),
        ("cache_entries", -1),
        ("cache_bytes", -1),
        ("backoff_base", -0.5),
        ("backoff_cap", inf),
        ("max_retry_after", nan),
        ("cache_ttl", -1.0),
        ("abandon_grace", inf),
        ("undelivered_ttl", -1.0),
    ],
)
def test_a_senseless_bound_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(SettingsError, match=f"^{field} is "):
        Policy(**{field: value})  # type: ignore[arg-type]
