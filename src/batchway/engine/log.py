"""The log: a line for every request and call when asked for detail, and always for what went wrong."""

from collections.abc import Callable, Mapping

import structlog

from batchway.core.errors import KeyRefused, wordless
from batchway.core.events import Answered, CallEnded, CallSent, Cancelled, JobNoted, Joined, Refused
from batchway.core.facts import Failed
from batchway.core.types import Fault

TOLD_AS_ONE = frozenset({"store_down"})
"""Codes of faults whose cause is told of once for all who get them (`engine.outage`)."""

EVERY = 60.0
"""Seconds between two lines that say the same of a provider."""


class Seldom:
    """Of lines that say the same the first is told, and then one now and then, with how many it stands for."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], float] = {}
        self._untold: dict[tuple[str, str], int] = {}

    def times(self, provider: str, what: str, at: float) -> int:
        """How many lines this one stands for, itself included; 0: it is not told."""
        key = (provider, what)
        times = self._untold.get(key, 0) + 1
        told = self._told.get(key)
        if told is not None and told <= at < told + EVERY:
            self._untold[key] = times
            return 0
        self._told[key], self._untold[key] = at, 0
        return times


class Log:
    """A listener. Bodies and keys are never logged."""

    def __init__(self, *, detailed: bool, quotes: bool = True) -> None:
        """`quotes`: what providers say of a failure is logged; they may quote what they were asked."""
        self._log = structlog.get_logger()
        self._detailed = detailed
        self._quotes = quotes
        self._seldom = Seldom()

    @property
    def hears(self) -> Mapping[type, Callable[..., None]]:
        always: dict[type, Callable[..., None]] = {
            CallEnded: self._ended,
            Refused: self._refused,
            JobNoted: self._noted,
        }
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
            if fault.code == KeyRefused.code:
                self._key_refused(request.provider, fault, event.at)
            tell = self._log.debug if fault.code == KeyRefused.code else self._log.warning
            tell(
                "call failed",
                call_id=call.call_id,
                provider=request.provider,
                model=request.prompt.model,
                status=fault.status,
                code=fault.code,
                billed=fault.billed,
                message=fault.message,
            )

    def _key_refused(self, provider: str, fault: Fault, at: float) -> None:
        """Every call to this provider ends so until its owner acts: one line is enough to make him."""
        if times := self._seldom.times(provider, "key", at):
            what = "a provider refuses the key of this gateway"
            self._log.warning(what, provider=provider, status=fault.status, message=fault.message, calls=times)

    def _noted(self, event: JobNoted) -> None:
        """What only an owner can mend is told; all else stands in the events of the job."""
        job = event.job
        if event.kind == "held" and (times := self._seldom.times(job.provider, "held", event.at)):
            self._log.warning(
                "a batch waits for its owner", provider=job.provider, job_id=job.id, reason=event.reason, times=times
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
