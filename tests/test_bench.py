"""The benchmark: it reads responses and CPU time rightly, and a tiny run fills every row of its table."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import msgspec
import pytest
from bench.bodies import repeated, twins, varied
from bench.cases import AUTO, CACHE_HIT, CASES, COALESCED, DIRECT, PACKED, PEERS, STREAMING, YARDSTICK
from bench.load import Address
from bench.processes import process
from bench.report import Report, quantile, ratios
from bench.response import Reader, Response
from bench.rounds import Counted, Measured

ROOT = Path(__file__).parent.parent

WITH_LENGTH = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nContent-Length: 4\r\nx-via: cache\r\n\r\n{ } "
CHUNKED = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nB\r\n0\r\n\r\n345678\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "status", "body"), [(WITH_LENGTH, 200, b"{ } "), (CHUNKED, 201, b"abc0\r\n\r\n345678")]
)
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_responses_are_read_in_any_pieces(sent: bytes, status: int, body: bytes, step: int) -> None:
    reader = Reader()
    for _ in range(2):  # the second over the same connection
        pieces = [reader.feed(sent[at : at + step]) for at in range(0, len(sent), step)]
        assert pieces[:-1] == [None] * (len(pieces) - 1)
        assert isinstance(pieces[-1], Response)
        assert (pieces[-1].status, pieces[-1].body) == (status, body)


def test_headers_are_found_by_name() -> None:
    response = Reader().feed(WITH_LENGTH)
    assert response is not None
    assert response.header(b"x-via") == "cache"
    assert response.header(b"x-absent") is None


def test_a_response_of_unknown_length_is_an_error() -> None:
    with pytest.raises(ValueError, match="neither a length nor chunks"):
        Reader().feed(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")


def test_bodies_differ_unless_their_case_repeats_them() -> None:
    numbers = count()
    assert len(set(islice(varied(numbers), 100))) == 100
    assert len(set(islice(repeated(numbers), 100))) == 1
    assert len(set(islice(twins(numbers), 80))) == 10
    assert 800 < len(next(varied(numbers))) < 1200


def test_the_cpu_time_of_a_process_is_the_kernels(tmp_path: Path) -> None:
    burn = "sum(range(10**7)); print('done', flush=True); import time; time.sleep(60)"
    starting = process(
        "burn",
        [sys.executable, "-c", burn],
        address=Address(port=0, bearer=""),
        core=min(os.sched_getaffinity(0)),
        folder=tmp_path,
        environment={},
    )
    with starting as running:
        while "done" not in running.log.read_text():
            time.sleep(0.01)
        ticks = Path(f"/proc/{running.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        assert running.cpu_seconds() == pytest.approx(sum(map(int, ticks)) / 100, abs=0.03)
        assert running.cpu_seconds() > 0.03
        assert running.rss() > 1
    assert not Path(f"/proc/{running.pid}").exists()


def test_quantiles_are_values_that_were_measured() -> None:
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile(map(float, range(1, 101)), 0.99) == 99.0
    assert quantile([5.0], 0.99) == 5.0


def test_ratios_are_taken_turn_by_turn() -> None:
    def runs(*seconds: float) -> list[Counted]:
        return [Counted(cpu=cpu, per_second=1, busy=1, calls=1, answered={}) for cpu in seconds]

    measured = Measured(counted={DIRECT: runs(3, 30), YARDSTICK: runs(2, 15)}, seconds={}, rss={})
    assert ratios(measured, DIRECT, YARDSTICK) == [1.5, 2.0]
    assert ratios(measured, "not measured", YARDSTICK) == []


SMALL = (
    *("--rounds", "2", "--requests", "80", "--turns", "2", "--concurrency", "8", "--timing", "0.1"),
    *("--memory-requests", "90"),
)


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Report]]:
    """What a run prints, and what it writes."""
    written = tmp_path_factory.mktemp("bench") / "figures.json"
    ran = subprocess.run(
        [sys.executable, "-m", "bench", *SMALL, "--json", str(written)], capture_output=True, text=True, cwd=ROOT
    )
    assert ran.returncode == 0, ran.stderr
    yield ran.stdout, msgspec.json.decode(written.read_bytes(), type=Report)


def test_a_run_has_a_row_for_every_case(tiny_run: tuple[str, Report]) -> None:
    printed, found = tiny_run
    cases = [case for case in CASES if case.subject not in PEERS]
    for case in cases:
        row = next(line for line in printed.splitlines() if line.startswith(f"| {case.name} |"))
        assert row.count("|") == printed.splitlines()[0].count("|")
        assert len(found.measured.counted.get(case.name, [])) == (4 if case.counted else 0)
        assert [len(times) for times in found.measured.seconds.get(case.name, [])] == ([2, 2] if case.timed else [])
        assert all(run.cpu > 0 for run in found.measured.counted.get(case.name, []))
        assert (found.measured.rss.get(case.name, 0) > 1) == case.counted


def test_every_case_is_answered_the_way_it_is_named_for(tiny_run: tuple[str, Report]) -> None:
    counted = tiny_run[1].measured.counted
    calls = {name: [run.calls for run in runs] for name, runs in counted.items()}
    assert calls[CACHE_HIT] == [0] * 4
    assert calls[COALESCED] == [1 / 8] * 4
    assert all(share < 0.5 for share in calls[PACKED])
    assert all(share <= 2 for share in calls[AUTO]), "some answers are compared with single ones"
    assert all(calls[name] == [1] * 4 for name in calls.keys() - {CACHE_HIT, COALESCED, PACKED, AUTO})
    assert [run.answered for run in counted[CACHE_HIT]] == [{"cache": 1}] * 4
    assert [run.answered for run in counted[DIRECT] + counted[STREAMING]] == [{"direct": 1}] * 8
    assert all(run.answered["coalesced"] > 0 for run in counted[COALESCED])


def test_a_run_says_which_targets_were_reached(tiny_run: tuple[str, Report]) -> None:
    printed, found = tiny_run
    assert [target.reached is None for target in found.targets] == [False, False, True, *[False] * 7]
    for target in found.targets:
        words = {True: "reached", False: "NOT REACHED", None: "not measured"}[target.reached]
        assert f"| {target.name} | {target.limit} | {target.figure} | {words} |" in printed
    assert found.memory is not None
    assert 1 < found.memory.start <= found.memory.end
    assert found.memory.requests == 90
    assert "Python 3." in found.machine
