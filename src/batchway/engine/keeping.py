"""Looking up, saving and keeping: commands that wait for the disk, and the facts that come of them."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import structlog

from batchway.core import facts
from batchway.core.commands import Keep, Look, Save
from batchway.core.errors import Internal, Refusal
from batchway.core.facts import Known
from batchway.core.types import Request
from batchway.engine.outage import Outage
from batchway.ports import Journal

AGAIN = 1.0
"""Seconds between two tries to write down how a request ended, while the store is down."""

_log = structlog.get_logger()


async def look(journal: Journal, outage: Outage, commands: Sequence[Look]) -> list[facts.Looked]:
    """What the store knows of each. A store that is down knows nothing: the request goes on without it."""
    asked = [command.request for command in commands]
    came = await journal.look(asked)
    return [_looked(outage, request, each) for request, each in zip(asked, came, strict=True)]


def _looked(outage: Outage, request: Request, came: Known | Exception | None) -> facts.Looked:
    if isinstance(came, Refusal):
        outage.failed(came.fault.message)
        return facts.Looked(request.ask)
    if isinstance(came, Exception):
        _log.warning("not looked up", request_id=request.id, reason=str(came))
        return facts.Looked(request.ask)
    return facts.Looked(request.ask, came)


async def save(
    journal: Journal, outage: Outage, commands: Sequence[Save]
) -> list[facts.Saved | facts.NotSaved | facts.Looked]:
    """Of each: saved; or its equal was saved by another at the same moment; or it is not accepted."""
    came = await journal.save(commands)
    if None in came:
        outage.worked()
    return [_saved(outage, command.request, each) for command, each in zip(commands, came, strict=True)]


def _saved(
    outage: Outage, request: Request, came: Known | Exception | None
) -> facts.Saved | facts.NotSaved | facts.Looked:
    if came is None:
        return facts.Saved(request.ask)
    if isinstance(came, Refusal):
        outage.refused(came.fault.message)
        return facts.NotSaved(request.ask, came.fault)
    if isinstance(came, Exception):
        _log.error("a request could not be saved by a defect", request_id=request.id, exc_info=came)
        return facts.NotSaved(request.ask, Internal("A defect of batchway; its log has the details.").fault)
    return facts.Looked(request.ask, came)


async def keep(journal: Journal, outage: Outage, command: Keep) -> bool:
    """Try to write down how it ended. False: it is not on disk (the store is down), and `keep_later` goes on trying."""
    try:
        return await _keep(journal, outage, command)
    except Exception:  # noqa: BLE001  # A defect: its callers get their answer all the same.
        _log.exception("an ending is not on disk by a defect", request_id=command.request.id)
        return False


async def keep_later(journal: Journal, outage: Outage, command: Keep) -> None:
    """Its callers have their answer: only a crash before the store is back can make it be asked again."""
    kept = False
    while not kept:
        await asyncio.sleep(AGAIN)
        # A defect was told of at the first try, and says the same at each.
        with suppress(Exception):
            kept = await _keep(journal, outage, command)


async def _keep(journal: Journal, outage: Outage, command: Keep) -> bool:
    try:
        await journal.keep(command)
    except Refusal as refusal:
        outage.waits(command.request.ask, refusal.fault.message)
        return False
    outage.written(command.request.ask)
    return True
