"""Looking up, saving and keeping: commands that wait for the disk, and the facts that come of them."""

import asyncio

import structlog

from batchway.core import facts
from batchway.core.commands import Keep, Look, Save
from batchway.core.errors import Refusal
from batchway.ports import Journal

AGAIN = 1.0
"""Seconds between two tries to write down how a request ended, while the store is down."""

_log = structlog.get_logger()


async def look(journal: Journal, command: Look) -> facts.Looked:
    """What the store knows of it. A store that is down knows nothing: the request goes on without it."""
    try:
        return facts.Looked(command.request.ask, await journal.look(command.request))
    except Refusal as refusal:
        _log.warning("not looked up", request_id=command.request.id, reason=refusal.fault.message)
        return facts.Looked(command.request.ask)


async def save(journal: Journal, command: Save) -> facts.Saved | facts.NotSaved | facts.Looked:
    """Saved; or its equal was saved by another at the same moment; or it is not accepted."""
    ask = command.request.ask
    try:
        known = await journal.save(command)
    except Refusal as refusal:
        return facts.NotSaved(ask, refusal.fault)
    return facts.Saved(ask) if known is None else facts.Looked(ask, known)


async def keep(journal: Journal, command: Keep) -> bool:
    """Try to write down how it ended. False: the store is down, and `keep_later` goes on trying."""
    try:
        await journal.keep(command)
    except Refusal as refusal:
        _log.error("an ending is not on disk yet", request_id=command.request.id, reason=refusal.fault.message)
        return False
    return True


async def keep_later(journal: Journal, command: Keep) -> None:
    """Its callers have their answer: only a crash before the store is back can make it be asked again."""
    while not await keep(journal, command):
        await asyncio.sleep(AGAIN)
