"""Faults that are told otherwise than the provider told them."""

import pytest

from batchway.core.errors import KeyRefused
from batchway.core.types import Fault

SETTING = "OPENAI_API_KEY"


def fault(status: int, code: str | None = None, **fields: object) -> Fault:
    """What a provider said, which it holds to be passing."""
    said = {"whose": "theirs", "type": "t", "message": "No.", "passing": True, "body": b'{"error": {}}'} | fields
    return Fault(status=status, code=code, **said)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        (fault(401), "provider_key_refused", "refused the key of this gateway (OPENAI_API_KEY), not yours"),
        (fault(401, "invalid_api_key"), "provider_key_refused", "refused the key"),
        (fault(400, "api_key_invalid"), "provider_key_refused", "refused the key"),
    ],
)
def test_the_key_is_said_to_be_the_gateways(said: Fault, code: str, words: str) -> None:
    told = KeyRefused.or_as_it_is(said, "openai", SETTING)
    assert (told.status, told.code, told.whose) == (said.status, code, "theirs")
    assert words in told.message and told.message.endswith("It said: No.")
    assert told.body is None, "its words alone would be shown in place of ours"
    assert not told.passing, "no other try would end otherwise, whatever the provider says"


@pytest.mark.parametrize(
    ("said", "setting"),
    [
        (fault(401), None),
        (fault(429), SETTING),
        (fault(400, "invalid_value"), SETTING),
        (fault(403), SETTING),
        (fault(403, "no_access"), SETTING),
        (fault(401, "invalid_api_key", whose="yours"), SETTING),
    ],
)
def test_what_is_not_about_it_stays_as_it_is(said: Fault, setting: str | None) -> None:
    assert KeyRefused.or_as_it_is(said, "openai", setting) is said
