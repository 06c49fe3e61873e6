"""What reading a body of any endpoint gives: the prompt for the deciders, the hints, and what to change on the way."""

from msgspec import Struct

from batchway.core.types import Hints, Prompt


class Reading(Struct, frozen=True, kw_only=True, gc=False):
    """A body that has been read and found well formed."""

    prompt: Prompt
    hints: Hints
    ours: tuple[str, ...]
    """Fields that are hints: to be taken out before the body is sent on."""
    user: str | None = None
    """`safety_identifier` or `user`: who asked, where `caller_id` does not say."""
    continues: str | None = None
    """The stored response that it goes on from, by the provider's id."""
    include_usage: bool = False
    """The caller asked for a usage chunk at the end of its stream."""
