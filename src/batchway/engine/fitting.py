"""Fitting a prompt, on a thread: a long one takes longer than other callers should wait."""

import asyncio
from collections.abc import Callable
from itertools import groupby

from msgspec import structs

from batchway.core import facts
from batchway.core.commands import Fit
from batchway.core.compress import Fitted, Removal
from batchway.core.compress import fit as shorten
from batchway.core.types import Request
from batchway.wire import chat, fitting

Count = Callable[[str, str], int]
"""Tokens of a text as a model counts them: (model, text)."""


async def fit(command: Fit, count: Count) -> facts.Fitted:
    """The request with what was left out, and a report of that in words."""
    return await asyncio.to_thread(fit_now, command, count)


def fit_now(command: Fit, count: Count) -> facts.Fitted:
    """The same, on this thread."""
    request = command.request
    fitted = shorten(fitting.texts(request.body), command.budget, lambda text: count(request.prompt.model, text))
    if not fitted.fits:
        return facts.Fitted(request.ask, request, f"it could not be made to fit: {fitted.reason}")
    return facts.Fitted(request.ask, _rewritten(request, fitted), report(fitted))


def _rewritten(request: Request, fitted: Fitted) -> Request:
    content = fitting.replace(request.body, fitted.texts)
    return structs.replace(request, body=content, prompt=chat.read(content).prompt, tokens=None)


def report(fitted: Fitted) -> str:
    """What was taken out by which step, such as `9,812 to 3,990 tokens (repetition 402, extraction 5,420)`."""
    steps = [f"{step} {tokens:,}" for step, tokens in _by_step(fitted.removed)]
    return f"{fitted.tokens_before:,} to {fitted.tokens_after:,} tokens ({', '.join(steps)})"


def _by_step(removed: tuple[Removal, ...]) -> list[tuple[str, int]]:
    in_order = sorted(removed, key=lambda removal: removal.step)
    return [
        (step, sum(removal.tokens for removal in group))
        for step, group in groupby(in_order, key=lambda removal: removal.step)
    ]
