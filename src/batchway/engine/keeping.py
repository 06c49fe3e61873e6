"""Looking up, saving and keeping: commands that wait for the disk, and the facts that come of them."""

import asyncio
from collections.abc import Sequence

import structlog

from batchway.core import facts
from batchway.core.commands import Keep, Look, Save
from batchway.core.errors import Internal, Refusal
from batchway.core.facts import Known
from batchway.core.types import Request
from batchway.ports import Journal

AGAIN = 1.0
"""Seconds between two tries to write down how a request ended, while the store is down."""

_log = structlog.get_logger()


async def look(journal: Journal, commands: Sequence[Look]) -> list[facts.Looked]:
    """What the store knows of each. A store that is down knows nothing: the request goes on without it."""
    asked = [command.request for command in commands]
    came = await journal.look(asked)
    return [_looked(request, each) for request, each in zip(asked, came, strict=True)]


def _looked(request: Request, came: Known | Exception | None) -> facts.Looked:
    if isinstance(came, Exception):
        _log.warning("not looked up", request_id=request.id, reason=str(came))
        return facts.Looked(request.ask)
    return facts.Looked(request.ask, came)


async def save(journal: Journal, commands: Sequence[Save]) -> list[facts.Saved | facts.NotSaved | facts.Looked]:
    """Of each: saved; or its equal was saved by another at the same moment; or it is not accepted."""
    came = await journal.save(commands)
    return [_saved(command.request, each) for command, each in zip(commands, came, strict=True)]


def _saved(request: Request, came: Known | Exception | None) -> facts.Saved | facts.NotSaved | facts.Looked:
    if came is None:
        return facts.Saved(request.ask)
    if isinstance(came, Refusal):
        return facts.NotSaved(request.ask, came.fault)
    if isinstance(came, Exception):
        _log.error("a request could not be saved by a defect", request_id=request.id, exc_info=came)
        return facts.NotSaved(request.ask, Internal("A defect of batchway; its log has the details.").fault)
    return facts.Looked(request.ask, came)


async def keep(journal: Journal, command: Keep) -> bool:
    """Try to write down how it ended. False: it is not on disk (the store is down), and `keep_later` goes on trying."""
    try:
        await journal.keep(command)
    except Refusal as refusal:
        _log.error("an ending is not on disk yet", request_id=command.request.id, reason=refusal.fault.message)
        return False
    except Exception:  # noqa: BLE001  # A defect: its callers get their answer all the same.
        _log.exception("an ending is not on disk by a defect", request_id=command.request.id)
        return False
    return True


async def keep_later(journal: Journal, command: Keep) -> None:
    """Its callers have their answer: only a crash before the store is back can make it be asked again."""
    while not await keep(journal, command):
        await asyncio.sleep(AGAIN)
