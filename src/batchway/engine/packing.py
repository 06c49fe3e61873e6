"""One call for several requests: the packed request that is sent, and the answers that each request gets of it."""

from collections.abc import Callable, Sequence

from msgspec import structs

from batchway.core.commands import Call, Packed
from batchway.core.errors import Untold
from batchway.core.facts import Finished
from batchway.core.limits import Report
from batchway.core.packing import FORMATS, Missing
from batchway.core.packing_worth import shares
from batchway.core.types import Answer, Fault, Request, Usage
from batchway.wire import packed


def pack(call: Call, how: Packed) -> Request:
    """The request that asks them all: the first one's, with another last message."""
    items = [request.prompt.last_user or "" for request in call.requests]
    text = FORMATS[how.format].compose(items, how.nonces)
    content = packed.pack([request.body for request in call.requests], text, how.max_output)
    return structs.replace(call.requests[0], body=content)


def unpack(call: Call, how: Packed, answer: Answer, report: Report | None) -> Finished:
    """What each of them gets: its own text and its share of the usage, or a fault with the share that is lost."""
    found = packed.unpack(answer.body)
    texts = FORMATS[how.format].split(found.text, how.nonces, cut=found.cut)
    shares = _shares(found.usage, call.requests, texts)
    part = packed.parts(answer.body) if found.text else None
    results = [
        _result(answer, part, text, share, place) for place, (text, share) in enumerate(zip(texts, shares, strict=True))
    ]
    return Finished(call.call_id, tuple(results), report, found.usage, len(found.text))


def _shares(whole: Usage | None, requests: Sequence[Request], texts: Sequence[str | Missing]) -> Sequence[Usage | None]:
    """By the length of what was asked, and of what was answered."""
    if whole is None:
        return [None] * len(requests)
    asked = [len(request.prompt.last_user or "") + 1 for request in requests]
    answered = [len(text) + 1 if isinstance(text, str) else 1 for text in texts]
    return shares(whole, asked, answered)


def _result(
    answer: Answer,
    part: Callable[[str, Usage | None, int], bytes] | None,
    text: str | Missing,
    share: Usage | None,
    place: int,
) -> Answer | Fault:
    if isinstance(text, Missing) or part is None:
        reason = text.reason if isinstance(text, Missing) else "nothing was said"
        fault = Untold(f"in its packed call {reason}").fault
        return structs.replace(fault, usage=share or Usage())
    return Answer(
        body=part(text, share, place),
        usage=share,
        complete=True,
        finished_at=answer.finished_at,
        said=text,
    )
