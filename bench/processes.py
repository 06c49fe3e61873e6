"""The processes of a run: started on one core, asked for their CPU time and memory, and ended."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import clock_gettime

from msgspec import Struct

from bench.load import Address

MB = 1024 * 1024
SECONDS_TO_END = 10.0


class Running(Struct, frozen=True, kw_only=True):
    """A process that was started for this run, with all its children."""

    name: str
    pid: int
    address: Address
    log: Path
    """What it wrote to standard output and error."""

    def ended(self) -> bool:
        """Whether it ended by itself."""
        state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "Z"

    def cpu_seconds(self) -> float:
        """CPU time of the whole tree so far, all threads, user and system."""
        return sum(_cpu_seconds(pid) for pid in _tree(self.pid))

    def rss(self) -> float:
        """Resident memory of the whole tree, in MB (2^20 bytes)."""
        return sum(_rss(pid) for pid in _tree(self.pid)) / MB


def _cpu_seconds(pid: int) -> float:
    # The kernel's CPU clock of that process (clock_getcpuclockid(3)). It counts the same utime and stime as
    # /proc/PID/stat, in nanoseconds in place of hundredths of a second, so that short runs are exact as well.
    return clock_gettime((~pid << 3) | 2)


def _rss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _tree(int(child))


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Run on one core; a process that is started meanwhile stays there, with all its threads and children."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def process(
    name: str,
    command: Sequence[str | Path],
    *,
    address: Address,
    core: int,
    folder: Path,
    environment: Mapping[str, str],
) -> Iterator[Running]:
    """Run a command on a core for as long as the block lasts; its environment is the given one and PATH."""
    log = folder / f"{name}.log"
    with log.open("wb") as output, on_core(core):
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={"PATH": os.environ["PATH"], **environment},
            start_new_session=True,
        )
    try:
        yield Running(name=name, pid=child.pid, address=address, log=log)
    finally:
        _end(child)


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End the process and its children: it leads a session of its own."""
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
