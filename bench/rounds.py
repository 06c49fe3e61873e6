"""The measuring: one case counted, one case timed, the rounds in which all cases take turns, and memory over time."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from itertools import islice

from msgspec import Struct, structs

from bench.bodies import TWINS, mixed
from bench.cases import CASES, CHAT, Case
from bench.load import Address, Connection, closed_loop, connections, expect, open_loop
from bench.processes import Running
from bench.upstream import Upstream

RATE = 20.0
"""Requests per second while latency is measured."""


class Sizes(Struct, frozen=True, kw_only=True):
    """How much is measured. `requests` of a case and round, which are asked in so many `turns`; `timing`: seconds of
    latency for each case and round."""

    rounds: int
    requests: int
    turns: int
    concurrency: int
    timing: float
    memory_requests: int
    """0: memory is not measured."""


class Counted(Struct, frozen=True, kw_only=True):
    """One turn of one case, a closed loop. `cpu`: seconds per 1,000 requests; `busy`: share of its core it used."""

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
    """What the rounds gave, by case."""

    counted: dict[str, list[Counted]]
    """One item per turn."""
    seconds: dict[str, list[list[float]]]
    """Latencies, one list per round."""
    rss: dict[str, float]
    """MB, after the last round, of those whose CPU time is counted."""


class Bench:
    """The subjects that run, by name (`upstream` among them), and the numbers that make every body a new one."""

    def __init__(
        self, running: Mapping[str, Running], upstream: Upstream, numbers: Iterator[int], sizes: Sizes
    ) -> None:
        self._running = running
        self._upstream = upstream
        self._numbers = numbers
        self._sizes = sizes
        self._cases = [case for case in CASES if case.subject in running]

    async def measure(self, tell: Callable[[str], None]) -> Measured:
        """All rounds."""
        measured = Measured(counted={}, seconds={}, rss={})
        for number in range(1, self._sizes.rounds + 1):
            tell(f"round {number} of {self._sizes.rounds}: CPU time")
            await self._count(measured.counted)
            tell(f"round {number} of {self._sizes.rounds}: latency")
            for case in self._cases:
                if case.timed:
                    measured.seconds.setdefault(case.name, []).append(await self.time(case))
        measured.rss = {case.name: self._running[case.subject].rss() for case in self._cases if case.counted}
        return measured

    async def _count(self, counted: dict[str, list[Counted]]) -> None:
        """CPU time, requests/s and upstream calls of every case. They take turns, there and back: what else the machine
        does in a second meets all alike."""
        async with AsyncExitStack() as stack:
            asking = [await self._begin(stack, case) for case in self._cases if case.counted]
            for number in range(self._sizes.turns):
                for each in asking if number % 2 == 0 else reversed(asking):
                    counted.setdefault(each.case.name, []).append(await each.turn())

    async def _begin(self, stack: AsyncExitStack, case: Case) -> "_Asking":
        """Connections are open, those to the upstream are made, and the first of a repeated body is answered."""
        subject = self._running[case.subject]
        address = structs.replace(subject.address, header=case.header)
        opened = await stack.enter_async_context(connections(address.port, self._sizes.concurrency))
        asking = _Asking(case, subject, address, opened, self._upstream, case.bodies(self._numbers))
        asking.requests = 2 * self._sizes.concurrency
        await asking.turn()
        whole_groups = int(self._sizes.requests * case.share / self._sizes.turns) // TWINS * TWINS
        asking.requests = max(whole_groups, 2 * TWINS)
        return asking

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


class _Asking:
    """One case in one round."""

    def __init__(
        self,
        case: Case,
        subject: Running,
        address: Address,
        opened: list[Connection],
        upstream: Upstream,
        bodies: Iterator[bytes],
    ) -> None:
        self.case = case
        self.requests = 0
        """Of a turn."""
        self._subject = subject
        self._address = address
        self._opened = opened
        self._upstream = upstream
        self._bodies = bodies
        self._check = expect(case.marker)

    async def turn(self) -> Counted:
        """Ask so many requests, and see what they took."""
        calls, cpu = self._upstream.calls, self._subject.cpu_seconds()
        run = await closed_loop(self._opened, self._address, islice(self._bodies, self.requests), self._check)
        busy = self._subject.cpu_seconds() - cpu
        if self.case.behind:
            await asyncio.sleep(self.case.behind)
        cpu, calls = self._subject.cpu_seconds() - cpu, self._upstream.calls - calls
        return Counted(
            cpu=cpu / run.requests * 1000,
            per_second=run.requests / run.seconds,
            busy=busy / run.seconds,
            calls=calls / run.requests,
            answered={via: number / run.requests for via, number in sorted(run.answered.items()) if via},
        )
