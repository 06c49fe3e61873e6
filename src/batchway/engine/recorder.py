"""The recorder: a listener that has what happened written behind, where it is not on disk already."""

from collections.abc import Callable, Mapping

from batchway.core.commands import Reply
from batchway.core.events import Answered, Charged, Refused, Unclaimed
from batchway.ports import Behind


class Recorder:
    """A listener."""

    def __init__(self, behind: Behind) -> None:
        self._behind = behind

    @property
    def hears(self) -> Mapping[type, Callable[..., None]]:
        """What it writes down."""
        return {
            Answered: self._on_answered,
            Refused: self._on_refused,
            Unclaimed: self._on_unclaimed,
            Charged: self._on_charged,
        }

    def _on_answered(self, event: Answered) -> None:
        if not event.reply.on_disk:
            self._behind.answered(event.reply)

    def _on_refused(self, event: Refused) -> None:
        if event.taken and not event.on_disk:
            self._behind.refused(event.request, event.fault, event.reason)

    def _on_unclaimed(self, event: Unclaimed) -> None:
        ending = event.ending
        if isinstance(ending, Reply):
            self._behind.answered(ending)
        else:
            self._behind.refused(ending.request, ending.fault, ending.why)

    def _on_charged(self, event: Charged) -> None:
        if not event.book.on_disk:
            self._behind.charged(event.book.charge)
