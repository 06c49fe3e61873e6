"""Listening: whoever wants to be told what happened."""

from collections.abc import Callable, Mapping
from typing import Protocol


class Listener(Protocol):
    """Someone who is told what happened."""

    @property
    def hears(self) -> Mapping[type, Callable[..., None]]:
        """What to do at which event. It must not raise and must not wait."""
        ...
