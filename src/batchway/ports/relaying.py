"""Relaying: calls about objects that a provider keeps, passed on as they are, and whose these objects are."""

from collections.abc import Collection, Sequence
from typing import Protocol

from msgspec import Struct

from batchway.core.types import Fault
from batchway.ports.calling import Incoming, Outgoing
from batchway.wire.objects import Kind


class RelayDialect(Protocol):
    """A provider that has the objects of OpenAI's API, and takes the calls about them as they are."""

    def encode_relay(self, relayed: "Relayed", authorization: str | None) -> Outgoing:
        """The call to the provider; `authorization` is used where we have no key."""
        ...

    def fault(self, incoming: Incoming) -> Fault:
        """The fault that an error status is."""
        ...


class Relayed(Struct, frozen=True, kw_only=True, gc=False):
    """A call as its caller made it."""

    method: str
    path: str
    """Below `/v1` of ours, and below the provider's base URL; percent-encoded."""
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    """Those that may go to the provider."""
    body: bytes = b""


class Belonging(Struct, frozen=True, kw_only=True, gc=False):
    """An object at a provider, and whose it is."""

    provider: str
    kind: Kind
    id: str
    """The provider's."""
    tenant: str
    created_at: float


class Span(Struct, frozen=True, kw_only=True, gc=False):
    """Between which moments the objects of a kind that somebody has were made."""

    oldest: float
    newest: float


class Belongings(Protocol):
    """Which objects at providers are whose. All but `note` raise a Refusal while the store is down."""

    async def add(self, found: Sequence[Belonging]) -> None:
        """These are on disk when it returns."""
        ...

    def note(self, belonging: Belonging) -> None:
        """Known here at once, and written behind; one that is somebody's stays that one's."""
        ...

    async def owned(self, tenant: str, provider: str, kind: Kind, ids: Collection[str]) -> frozenset[str]:
        """Which of these are the tenant's."""
        ...

    async def span(self, tenant: str, provider: str, kind: Kind) -> Span | None:
        """None: it has none of the kind."""
        ...

    async def forget(self, provider: str, kind: Kind, name: str) -> None:
        """It is there no more."""
        ...
