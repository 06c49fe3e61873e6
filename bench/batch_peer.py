"""The peer in `bench.batch_lane`, run by its own Python: so many chats by its batch client, in one process.

Prints one JSON object: seconds, CPU seconds, the peak of its memory, and how many were answered.
"""

import asyncio
import json
import resource
import sys
import time


async def main() -> None:
    """`batch_peer.py URL REQUESTS BODY_BYTES BATCH_SIZE WINDOW POLL`."""
    # Only the peer's environment has it.
    from autobatcher import BatchOpenAI  # type: ignore[import-not-found]
    from loguru import logger  # type: ignore[import-not-found]

    logger.remove()
    url, number, size, batch, window, poll = sys.argv[1:]
    client = BatchOpenAI(
        api_key="sandbox-key",
        base_url=url,
        batch_size=int(batch),
        batch_window_seconds=float(window),
        poll_interval_seconds=float(poll),
        completion_window="24h",
    )
    filler = "What is the answer? " * (int(size) // 20)
    began, before = time.perf_counter(), time.process_time()
    answers = await asyncio.gather(
        *[
            client.chat.completions.create(
                model="some-model", messages=[{"role": "user", "content": f"{each:09} {filler}"[: int(size) - 110]}]
            )
            for each in range(int(number))
        ],
        return_exceptions=True,
    )
    found = {
        "requests": int(number),
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - before,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "answered": sum(not isinstance(answer, BaseException) for answer in answers),
    }
    print(json.dumps(found))


asyncio.run(main())
