"""The log: a line for every request and call when asked for detail, and always for what went wrong upstream."""

import structlog

from batchway.core.events import Answered, CallEnded, Cancelled, Event, Joined, Refused


class Log:
    """A listener. Bodies and keys are never logged."""

    def __init__(self, *, detailed: bool) -> None:
        self._log = structlog.get_logger()
        self._detailed = detailed

    def __call__(self, event: Event) -> None:
        """Listen."""
        match event:
            case CallEnded(fault=fault) if fault is not None:
                self._log.warning(
                    "call failed",
                    call_id=event.call_id,
                    provider=event.provider,
                    model=event.model,
                    status=fault.status,
                    code=fault.code,
                    billed=fault.billed,
                    message=fault.message,
                )
            case Refused(fault=fault) if fault.whose == "ours":
                self._log.warning("refused", request_id=event.request.id, code=fault.code, reason=event.reason)
            case Answered() | Refused() | Joined() | Cancelled() if self._detailed:
                self._log.debug(type(event).__name__.lower(), reason=event.reason, **_ids(event))
            case _:
                pass


def _ids(event: Answered | Refused | Joined | Cancelled) -> dict[str, object]:
    if isinstance(event, Answered | Refused):
        return {"request_id": event.request.id, "seconds": round(event.seconds, 4)}
    if isinstance(event, Joined):
        return {"request_id": event.request_id, "call_id": event.call_id}
    return {"call_id": event.call_id}
