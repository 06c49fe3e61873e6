"""The table of providers is consistent: names, variables and dialects."""

from urllib.parse import urlsplit

import pytest
from tests.core.asking import request
from tests.core.test_job import job

from batchway.providers.registry import BATCH_DIALECTS, DIALECTS, ROWS, Account, Row, row_of


def test_no_name_and_no_variable_is_given_twice() -> None:
    names = [name for row in ROWS for name in (row.name, *row.aliases)]
    variables = [name for row in ROWS for name in (*row.key_variables, *row.url_variables)]
    assert len(names) == len(set(names))
    assert len(variables) == len(set(variables))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.name))
def test_a_row_can_be_spoken_to(row: Row) -> None:
    assert row.key_variables
    assert row.url_variables
    if row.base_url is not None:
        address = urlsplit(row.base_url)
        assert (address.scheme, address.query, address.fragment) == ("https", "", "")
        assert not row.base_url.endswith("/")
    base = row.base_url or "http://upstream.test/v1"
    dialect = DIALECTS[row.dialect](Account(name=row.name, base_url=base, key="k-123"))
    outgoing = dialect.encode(request(body=b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'))
    assert outgoing.url.startswith(f"{base}/")
    assert any("k-123" in value for _, value in outgoing.headers)
    assert "k-123" not in outgoing.url


@pytest.mark.parametrize("row", [row for row in ROWS if row.batch_api], ids=lambda row: str(row.name))
def test_batches_are_spoken_of_where_there_are_any(row: Row) -> None:
    base = row.base_url or "http://upstream.test/v1"
    dialect = BATCH_DIALECTS[row.dialect](Account(name=row.name, base_url=base, key="k-123", version=row.version))
    for outgoing in (dialect.encode_list(None, None), dialect.encode_get("b-1"), dialect.encode_create(job())):
        assert outgoing.url.startswith(f"{base}/")
        assert any("k-123" in value for _, value in outgoing.headers)
        assert "k-123" not in outgoing.url


@pytest.mark.parametrize(
    "name, found", [("openai", "openai"), ("xai", "grok"), ("grok", "grok"), ("generic", "generic")]
)
def test_names_and_aliases(name: str, found: str) -> None:
    row = row_of(name)
    assert row is not None
    assert row.name == found


@pytest.mark.parametrize("name", ["", "OpenAI", "unheard-of"])
def test_what_is_no_name(name: str) -> None:
    assert row_of(name) is None


def test_only_what_has_no_address_of_its_own_may_go_without_a_key() -> None:
    assert (
        [row.name for row in ROWS if row.base_url is None]
        == [row.name for row in ROWS if not row.needs_key]
        == ["generic"]
    )
