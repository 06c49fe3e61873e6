"""What every fault switch has: which calls it is for, how often it is applied, and what it does to a plan."""

from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from batchway.sandbox.contract import Dialect, Plan

Positive = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[int, Meta(ge=0)]


class Match(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which calls a rule is for; None matches any."""

    provider: str | None = None
    endpoint: str | None = None
    """`chat`, `embeddings`, `responses`, `models`, `files.create`, `batches.retrieve`, … as the ledger names them."""
    model: str | None = None
    text: str | None = None
    """Contained in the request body as sent (the raw bytes, so JSON escapes count). Not looked for in uploads."""
    larger: NotNegative | None = None
    """The request body has more bytes than this: learnt limits of gateways in between, with a 413."""


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What every kind has. Subclasses override `bend`."""

    for_streams: ClassVar[bool | None] = None
    """True: matches streaming calls only; False: whole answers only; None: both."""
    for_endpoint: ClassVar[str | None] = None
    """The only endpoint whose calls it matches."""

    match: Match = Match()
    count: Positive | None = 1
    skip: NotNegative = 0

    @property
    def kind(self) -> str:
        """The name of the fault, as in JSON."""
        return str(self.__struct_config__.tag)

    @property
    def refuses(self) -> bool:
        """The dialect never sees the call: nothing is done and nothing billed."""
        return False

    def bend(self, plan: Plan, dialect: Dialect, /) -> Plan:
        """The plan with this fault in it. (Of a refused call the outcome stays `refused`: `app` sees to that.)"""
        raise NotImplementedError
