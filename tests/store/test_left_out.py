"""What a row means that leaves fields out.

`Request`, `Prompt` and `Traits` are written without the fields that stand at their defaults: a request is on disk in a
third of the bytes. So a default is part of the stored format. Whoever changes one here gives another meaning to every
row that was written before, by a process that is gone or by a replica that is older: a request whose owner may pay for
it twice, or not at all. Such a change needs a migration that writes the old value into those rows (`store.migrations`),
or a new field beside the old one, and only then another line in this file. A new field gets a line with the default
that says what all earlier rows meant.
"""

from typing import Any

import msgspec
import pytest
from msgspec import Struct
from sqlalchemy import Connection, select
from tests.store.things import entry

from batchway.core.types import Prompt, Request
from batchway.store import requests
from batchway.store.requests import restored
from batchway.store.tables import bodies
from batchway.wire.outlines import Traits

BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hi"}]}'

REST = (
    b"\xde\x00\x0b\xa2id\xa3r-1\xa3ask\xa3a-1\xa6tenant\xa1t\xa3key\xa1k\xa6caller\xa1c\xa8provider\xa6openai"
    b"\xa8endpoint\xa4chat\xa4body\xc4\x00\xa6prompt\x81\xa5model\xa0\xabfingerprint\xa1f"
    b"\xa8asked_at\xcb?\xf8\x00\x00\x00\x00\x00\x00"
)
"""`bodies.rest` as version 2 of the store writes it for a request that leaves out all that may be left out."""

REQUEST: dict[str, Any] = {
    "stored_size": None,
    "pack_key": None,
    "apart": None,
    "deadline": None,
    "priority": "normal",
    "strategy": "auto",
    "reuse": "auto",
    "packing": "never",
    "optimize": "off",
    "on_deadline": "escalate",
    "lanes": None,
    "named": False,
    "durable": False,
    "detached": False,
    "tokens": None,
    "tags": None,
    "retention": None,
    "authorization": None,
}

PROMPT: dict[str, Any] = {
    "texts": (),
    "system": "",
    "stream": False,
    "temperature": None,
    "top_p": None,
    "seed": None,
    "n": 1,
    "max_output": None,
    "last_user": None,
    "features": (),
    "outline": None,
}

TRAITS: dict[str, Any] = {
    "kin": "",
    "item": 0,
    "text": 0,
    "turns": 0,
    "stream": False,
    "temperature": None,
    "seed": None,
    "n": 1,
    "max_output": None,
    "features": (),
    "reuse": "auto",
    "packing": "never",
    "optimize": "off",
}


def shown(value: Struct, names: dict[str, Any]) -> dict[str, Any]:
    """These fields of it."""
    return {name: getattr(value, name) for name in names}


def test_a_stored_request_means_what_it_meant() -> None:
    request = restored(BODY, REST)

    assert (request.id, request.ask, request.provider, request.fingerprint) == ("r-1", "a-1", "openai", "f")
    assert (request.body, request.prompt.model, request.prompt.texts) == (BODY, "gpt-4o-mini", ("Hi",))
    assert shown(request, REQUEST) == REQUEST


def test_what_is_left_out_is_what_is_written_down_here(connection: Connection) -> None:
    """The other way round: today's rows leave out just these."""
    asked = Request(
        id="r-1",
        ask="a-1",
        tenant="t",
        key="k",
        caller="c",
        provider="openai",
        endpoint="chat",
        body=BODY,
        prompt=Prompt(model="gpt-4o-mini", texts=("Hi",), last_user="Hi"),
        fingerprint="f",
        asked_at=1.5,
    )
    requests.save(connection, [msgspec.structs.replace(entry(), request=asked)])

    assert connection.scalar(select(bodies.c.rest)) == REST


@pytest.mark.parametrize(
    ("struct", "least", "left_out"),
    [
        (Request, {"id", "ask", "tenant", "key", "caller", "provider", "endpoint", "body", "prompt", "fingerprint",
                   "asked_at"}, REQUEST),
        (Prompt, {"model"}, PROMPT),
        (Traits, set(), TRAITS),
    ],
)  # fmt: skip
def test_every_field_that_may_be_left_out_is_written_down_here(
    struct: type[Struct], least: set[str], left_out: dict[str, Any]
) -> None:
    fields = {field.name: field.default for field in msgspec.structs.fields(struct)}
    assert {name: default for name, default in fields.items() if name not in least} == left_out
    assert all(fields[name] is msgspec.NODEFAULT for name in least), "what is always written has no default"


def test_stored_traits_and_prompts_mean_what_they_meant() -> None:
    assert shown(msgspec.json.decode(b"{}", type=Traits), TRAITS) == TRAITS
    assert shown(msgspec.msgpack.decode(b"\x81\xa5model\xa0", type=Prompt), PROMPT) == PROMPT
