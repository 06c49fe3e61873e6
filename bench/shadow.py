"""What the shadow planner costs a request: `python -m bench.shadow`. CPU of its two handlers, nothing else.

`all` is the worst: every request is one that the other policy would treat otherwise. Of `mixed` one in three is; the
others are streams and long answers. The events are made before they are timed, as the engine would have them.
"""

import argparse
import json
import time
from datetime import date

from batchway.assemble import load_settings
from batchway.core.commands import Reply
from batchway.core.events import Answered
from batchway.core.types import Answer, Request, Usage
from batchway.simulate.shadow import make_shadow
from batchway.wire import chat

LIMIT = 20.0
"""Microseconds."""

PER_SECOND = 100.0
SYSTEM = "You sort letters to a shop into complaints, orders and questions. " * 30
COST = 100_000_000


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.shadow", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    options = parser.parse_args()
    settings = load_settings({}, environment={}).settings
    for kind in ("all", "mixed"):
        events = [_event(number, kind == "mixed") for number in range(options.requests)]
        for profile in ("saver", "batcher"):
            shadow = make_shadow(settings, profile, date(2026, 11, 27))
            answered = shadow.hears[Answered]
            began = time.process_time()
            for event in events:
                answered(event)
            each = (time.process_time() - began) / options.requests * 1e6
            found = shadow.report()
            verdict = "reached" if each <= LIMIT else "NOT REACHED"
            print(
                f"{kind:<6} {profile:<8} {each:>6.1f} µs a request of {LIMIT:.0f}: {verdict}; treated otherwise "
                f"{found.touched:,}, rehearsed {found.rehearsed:,} of {found.requests:,}",
                flush=True,
            )


def _event(number: int, mixed: bool) -> Answered:
    at = 1_795_780_800.0 + number / PER_SECOND
    fields = {"stream": True} if mixed and number % 3 == 0 else {}
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"Where is my parcel {number}?"}]
    body = json.dumps({"model": "gpt-4o-mini", "messages": messages, "max_tokens": 400} | fields).encode()
    usage = Usage(input=600, output=300 if mixed and number % 3 == 1 else 8)
    request = Request(
        id=f"r{number}",
        ask=f"r{number}",
        tenant="default",
        key="default",
        caller="default",
        provider="openai",
        endpoint="chat",
        body=body,
        prompt=chat.read(body).prompt,
        fingerprint=f"f{number}",
        asked_at=at,
    )
    answer = Answer(body=b"{}", usage=usage, finished_at=at + 1)
    reply = Reply(request=request, answer=answer, via="direct", why="direct", cost=COST, saved=0)
    return Answered(reply, at + 1)


if __name__ == "__main__":
    main()
