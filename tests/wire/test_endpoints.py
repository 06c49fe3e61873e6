"""The table of endpoints is whole."""

from typing import get_args

from batchway.core.types import Endpoint, Prompt
from batchway.wire.endpoints import FRONTS


def test_every_endpoint_has_its_row() -> None:
    assert set(FRONTS) == set(get_args(Endpoint))
    assert all(front.endpoint == name and front.path.startswith("/") for name, front in FRONTS.items())


def test_what_streams_can_be_replayed_and_followed() -> None:
    assert [name for name, front in FRONTS.items() if front.follow] == ["chat", "responses"]
    assert all((front.follow is None) == (front.unfold is None) for front in FRONTS.values())


def test_a_reader_knows_how_many_choices_to_wait_for() -> None:
    follow = FRONTS["chat"].follow
    assert follow is not None
    for n, whole in ((1, True), (2, False)):
        reader = follow(Prompt(model="m", n=n), False)
        reader.read(b"", b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}')
        assert reader.whole is whole
