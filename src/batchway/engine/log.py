"""The log: a line for every request and call when asked for detail, and always for what went wrong."""

from collections.abc import Callable, Mapping

import structlog

from batchway.core.errors import wordless
from batchway.core.events import Answered, CallEnded, CallSent, Cancelled, Joined, Refused
from batchway.core.facts import Failed

TOLD_AS_ONE = frozenset({"store_down"})
"""Codes of faults whose cause is told of once for all who get them (`engine.outage`)."""


class Log:
    """A listener. Bodies and keys are never logged."""

    def __init__(self, *, detailed: bool, quotes: bool = True) -> None:
        """`quotes`: what providers say of a failure is logged; they may quote what they were asked."""
        self._log = structlog.get_logger()
        self._detailed = detailed
        self._quotes = quotes

    @property
    def hears(self) -> Mapping[type, Callable[..., None]]:
        always: dict[type, Callable[..., None]] = {CallEnded: self._ended, Refused: self._refused}
        if not self._detailed:
            return always
        return {
            **always,
            CallSent: self._sent,
            Answered: self._answered,
            Joined: self._joined,
            Cancelled: self._cancelled,
        }

    def _ended(self, event: CallEnded) -> None:
        if isinstance(event.fact, Failed):
            fault, call = event.fact.fault, event.call
            fault = fault if self._quotes else wordless(fault)
            request = call.requests[0]
            self._log.warning(
                "call failed",
                call_id=call.call_id,
                provider=request.provider,
                model=request.prompt.model,
                status=fault.status,
                code=fault.code,
                billed=fault.billed,
                message=fault.message,
            )

    def _refused(self, event: Refused) -> None:
        fault = event.fault
        tell = self._log.warning if fault.whose == "ours" and fault.code not in TOLD_AS_ONE else self._log.debug
        tell("refused", request_id=event.request.id, code=event.fault.code, reason=event.reason)

    def _sent(self, event: CallSent) -> None:
        self._log.debug("call sent", call_id=event.call_id, requests=event.ids, lane=event.lane, reason=event.reason)

    def _answered(self, event: Answered) -> None:
        seconds = round(event.seconds, 4)
        self._log.debug("answered", request_id=event.request.id, via=event.via, seconds=seconds, reason=event.reason)

    def _joined(self, event: Joined) -> None:
        self._log.debug("joined", request_id=event.request_id, call_id=event.call_id, reason=event.reason)

    def _cancelled(self, event: Cancelled) -> None:
        self._log.debug("call cancelled", call_id=event.call_id, reason=event.reason)
