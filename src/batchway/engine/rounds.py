"""Rounds: what is seen to again and again while the gateway runs; one that goes wrong harms none after it."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from batchway.core.errors import Refusal
from batchway.core.types import Fault

_log = structlog.get_logger()


async def rounds(
    see_to: Callable[[], Awaitable[object]],
    seconds: float,
    *,
    at_once: bool = True,
    refused: Callable[[Fault], None] | None = None,
) -> None:
    """See to it every so many seconds, the first time `at_once` or after them. Ends when it is cancelled. `refused` is
    told each time that the store is down, in place of the log, which is told once until it works again."""
    if not at_once:
        await asyncio.sleep(seconds)
    working = True
    while True:
        try:
            await see_to()
            working = True
        except Refusal as refusal:
            if refused is not None:
                refused(refusal.fault)
            elif working:
                _log.warning("not seen to until it works again", what=see_to.__name__, reason=refusal.fault.message)
            working = False
        except Exception:  # noqa: BLE001  # A defect: a lease that is not prolonged would be a greater one.
            _log.exception("a round met a defect", what=see_to.__name__)
        await asyncio.sleep(seconds)
