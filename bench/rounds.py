"""The measuring: one case counted, one case timed, the rounds in which all cases take turns, and memory over time."""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice

import orjson
from msgspec import Struct, structs

from bench.bodies import TWINS, mixed
from bench.cases import CASES, CHAT, Case
from bench.load import Connection, Run, closed_loop, connect, connections, expect, open_loop
from bench.processes import Running

RATE = 20.0
"""Requests per second while latency is measured."""


class Sizes(Struct, frozen=True, kw_only=True):
    """How much is measured. `timing`: seconds of latency for each case and round."""

    rounds: int
    requests: int
    concurrency: int
    timing: float
    memory_requests: int
    """0: memory is not measured."""


class Counted(Struct, frozen=True, kw_only=True):
    """One closed loop of one case. `cpu`: seconds per 1,000 requests; `busy`: share of its core that it used."""

    cpu: float
    per_second: float
    busy: float
    calls: float
    """Upstream calls per request."""
    answered: dict[str, float]
    """Share of the answers by `routed_via`; empty for those who name none."""


class Memory(Struct, frozen=True, kw_only=True):
    """Resident memory of a gateway of its own, MB: at its start, after two thirds of the requests, after all."""

    requests: int
    start: float
    later: float
    end: float


class Measured(Struct, kw_only=True):
    """What the rounds gave, by case; one item per round."""

    counted: dict[str, list[Counted]]
    seconds: dict[str, list[list[float]]]
    """Latencies."""
    rss: dict[str, float]
    """MB, after the last round."""


class Bench:
    """The subjects that run, by name (`upstream` among them), and the numbers that make every body a new one."""

    def __init__(self, running: Mapping[str, Running], numbers: Iterator[int], sizes: Sizes) -> None:
        self._running = running
        self._numbers = numbers
        self._sizes = sizes
        self._cases = [case for case in CASES if case.subject in running]

    async def measure(self, tell: Callable[[str], None]) -> Measured:
        """All rounds."""
        measured = Measured(counted={}, seconds={}, rss={})
        for number in range(1, self._sizes.rounds + 1):
            tell(f"round {number} of {self._sizes.rounds}: CPU time")
            for case in self._cases:
                if case.counted:
                    measured.counted.setdefault(case.name, []).append(await self.count(case))
            tell(f"round {number} of {self._sizes.rounds}: latency")
            for case in self._cases:
                if case.timed:
                    measured.seconds.setdefault(case.name, []).append(await self.time(case))
        measured.rss = {case.name: self._running[case.subject].rss() for case in self._cases}
        return measured

    async def count(self, case: Case) -> Counted:
        """CPU time, requests/s and upstream calls of a closed loop."""
        subject, upstream = self._running[case.subject], self._running["upstream"]
        address = structs.replace(subject.address, header=case.header)
        requests = max(int(self._sizes.requests * case.share), 2 * TWINS)
        bodies, check = case.bodies(self._numbers), expect(case.marker)
        asking = await connect(upstream.address.port)
        async with connections(address.port, self._sizes.concurrency) as opened:
            # Connections to the upstream are made, and the first of a repeated body is answered, before it counts.
            await closed_loop(opened, address, islice(bodies, 2 * self._sizes.concurrency), check)
            calls, cpu = await _calls(asking), subject.cpu_seconds()
            run = await closed_loop(opened, address, islice(bodies, requests), check)
            cpu, calls = subject.cpu_seconds() - cpu, await _calls(asking) - calls
        asking.close()
        return _counted(run, cpu, calls)

    async def time(self, case: Case) -> list[float]:
        """Seconds of each request of an open loop at the fixed rate."""
        subject = self._running[case.subject]
        bodies, check = case.bodies(self._numbers), expect(case.marker)
        await open_loop(subject.address, bodies, check, rate=RATE, count=3)
        return await open_loop(subject.address, bodies, check, rate=RATE, count=max(int(self._sizes.timing * RATE), 1))

    async def remember(self, gateway: Running, tell: Callable[[str], None]) -> Memory:
        """Memory of a gateway that has just started, over many different requests, some of them for its cache."""
        requests = self._sizes.memory_requests
        tell(f"memory: {requests} requests")
        bodies, check = mixed(self._numbers), expect(CHAT)
        start = gateway.rss()
        async with connections(gateway.address.port, self._sizes.concurrency) as opened:
            await closed_loop(opened, gateway.address, islice(bodies, requests * 2 // 3), check)
            later = gateway.rss()
            await closed_loop(opened, gateway.address, islice(bodies, requests - requests * 2 // 3), check)
        return Memory(requests=requests, start=start, later=later, end=gateway.rss())


def _counted(run: Run, cpu: float, calls: int) -> Counted:
    return Counted(
        cpu=cpu / run.requests * 1000,
        per_second=run.requests / run.seconds,
        busy=cpu / run.seconds,
        calls=calls / run.requests,
        answered={via: number / run.requests for via, number in sorted(run.answered.items()) if via},
    )


async def _calls(asking: Connection) -> int:
    """How many calls the upstream has had."""
    response = await asking.ask(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
    calls: int = orjson.loads(response.body)["calls"]
    return calls
