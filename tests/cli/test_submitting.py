"""`batchway submit` and `batchway results` as a person types them, before a gateway whose provider keeps a bill."""

import asyncio
import json
import os
import pty
import signal
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.batch.lane import Lane, open_lane
from tests.cli.test_commands import BATCHWAY, surroundings
from tests.gate import chat, open_gate
from tests.server.test_bulk import tell

from batchway.cli import UNANSWERED
from batchway.settings import hash_key

NOWHERE = "http://127.0.0.1:9"
WAITING = {"flush_interval": 600, "idle_timeout": 600}
"""Settings under which requests wait for a batch until they are told to go."""


class Ended(NamedTuple):
    code: int
    out: str
    err: str


async def start(
    folder: Path, *arguments: str, stdin: int = DEVNULL, stderr: int = PIPE, **environment: str
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *BATCHWAY,
        *arguments,
        cwd=folder,
        env=surroundings(folder) | environment,
        stdin=stdin,
        stdout=PIPE,
        stderr=stderr,
        # Shells have what runs in the background ignore a Ctrl-C, and so would whatever the tests start from there.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


async def end(process: asyncio.subprocess.Process, given: bytes | None = None) -> Ended:
    async with asyncio.timeout(60):
        out, err = await process.communicate(given)
    return Ended(process.returncode or 0, out.decode(), (err or b"").decode())


async def run(folder: Path, *arguments: str, given: bytes | None = None) -> Ended:
    return await end(await start(folder, *arguments, stdin=DEVNULL if given is None else PIPE), given)


async def submit(lane: Lane, folder: Path, *arguments: str, given: bytes | None = None) -> Ended:
    return await run(folder, "submit", *arguments, "--url", lane.gate.address, given=given)


async def results(lane: Lane, folder: Path, *arguments: str) -> Ended:
    return await run(folder, "results", *arguments, "--url", lane.gate.address)


async def hand_in(lane: Lane, prefix: str, *texts: str) -> None:
    content = "\n".join(json.dumps(chat(text)) for text in texts).encode()
    answer = await lane.gate.post(content, f"/submit?prefix={prefix}", {"content-type": "application/x-ndjson"})
    assert answer.headers["x-batchway-taken"] == str(len(texts)), answer.text


def write(folder: Path, *values: Any, name: str = "asked.jsonl") -> bytes:
    content = "".join((value if isinstance(value, str) else json.dumps(value)) + "\n" for value in values).encode()
    (folder / name).write_bytes(content)
    return content


def asked(*texts: str) -> list[dict[str, Any]]:
    return [chat(text) for text in texts]


def found(lines: str) -> dict[str, str]:
    """What was answered, by id."""
    told = [json.loads(line) for line in lines.splitlines()]
    assert all(each["status"] == "completed" for each in told), lines
    return {each["request_id"]: each["response"]["choices"][0]["message"]["content"] for each in told}


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if "answers" in path.name]


@pytest.fixture
async def lane(tmp_path: Path) -> AsyncIterator[Lane]:
    async with open_lane(tmp_path / "store") as opened:
        yield opened


@pytest.fixture(autouse=True)
def _store(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()


async def test_bodies_of_chats_are_handed_in_and_their_answers_printed(lane: Lane, tmp_path: Path) -> None:
    write(tmp_path, chat("one"), "", chat("two", request_id="mine"), chat("three"))
    ended = await submit(lane, tmp_path, "asked.jsonl", "--wait")
    assert ended.code == 0, ended.err
    fields = dict(line.split(maxsplit=1) for line in ended.err.splitlines())
    assert (fields["taken"], fields["refused"], fields["completed"]) == ("3", "0", "3"), "beside what was asked for"
    prefix = fields["prefix"].strip()
    answers = found(ended.out)
    assert list(answers) == [f"{prefix}1", f"{prefix}4", f"{prefix}mine"]
    for name, text in (("1", "one"), ("mine", "two"), ("4", "three")):
        assert f": {text} " in answers[prefix + name]
    assert lane.billed == 3
    assert {line.lane for line in lane.gate.lines if line.output} == {"batch"}, "the cheapest way"


async def test_lines_of_a_batch_are_handed_in_and_their_answers_put_into_a_file(lane: Lane, tmp_path: Path) -> None:
    def line(name: str, body: dict[str, Any], url: str = "/v1/chat/completions") -> dict[str, Any]:
        return {"custom_id": name, "method": "POST", "url": url, "body": body}

    embedding = {"model": "text-embedding-3-small", "input": "a fjord"}
    write(tmp_path, line("b", chat("one")), line("a", chat("two")), line("c", embedding, "/v1/embeddings"))
    ended = await submit(lane, tmp_path, "asked.jsonl", "--prefix", "night/", "--out", "answers.jsonl", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out) == {
        "prefix": "night/", "taken": 3, "refused": 0, "pending": 0, "completed": 3, "failed": 0, "cancelled": 0,
        "results": "answers.jsonl",
    }  # fmt: skip
    told = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert [each["request_id"] for each in told] == ["night/a", "night/b", "night/c"]
    assert told[2]["response"]["object"] == "list"
    assert leftovers(tmp_path) == ["answers.jsonl"]


async def test_the_same_file_again_is_asked_once(lane: Lane, tmp_path: Path) -> None:
    content = write(tmp_path, *asked(*(f"question {number}" for number in range(30))))
    first = await submit(lane, tmp_path, "asked.jsonl", "--json")
    told = json.loads(first.out)
    assert (told["taken"], told["refused"]) == (30, 0)
    assert told["results"] == f"batchway results {told['prefix']} --url {lane.gate.address}"
    while_under_way = await submit(lane, tmp_path, "asked.jsonl", "--json")
    assert json.loads(while_under_way.out) == told
    answers = found((await submit(lane, tmp_path, "asked.jsonl", "--wait")).out)
    assert len(answers) == lane.billed == 30

    # After its answers came, and from standard input, whose bytes are the same.
    again = await submit(lane, tmp_path, "-", "--wait", given=content)
    assert found(again.out) == answers
    assert lane.billed == 30

    write(tmp_path, *asked("another question"))
    changed = json.loads((await submit(lane, tmp_path, "asked.jsonl", "--json")).out)
    assert changed["prefix"] != told["prefix"]


async def test_a_file_of_many_pieces_comes_whole(lane: Lane, tmp_path: Path) -> None:
    texts = [f"question-{number:04} {'please ' * 60}" for number in range(1200)]
    write(tmp_path, *(chat(text, priority="high") for text in texts))
    ended = await submit(lane, tmp_path, "asked.jsonl", "--prefix", "many-", "--out", "answers.jsonl", "--json")
    assert ended.code == 0, ended.err
    answers = found((tmp_path / "answers.jsonl").read_text())
    assert len(answers) == lane.billed == len(texts)
    assert all(f": {text.split()[0]} " in answers[f"many-{number}"] for number, text in enumerate(texts, 1))


async def test_refused_lines_are_named_and_can_be_mended(lane: Lane, tmp_path: Path) -> None:
    wrong = [{"messages": f"no {number}"} for number in range(24)]
    write(tmp_path, chat("one"), "{nonsense", *wrong, chat("two"))
    ended = await submit(lane, tmp_path, "asked.jsonl", "--out", "answers.jsonl", "--json")
    assert ended.code == UNANSWERED
    told = json.loads(ended.out)
    assert (told["taken"], told["refused"], told["completed"]) == (2, 25, 2)
    *shown, more, advice = ended.err.splitlines()
    assert [line.partition(":")[0] for line in shown] == [f"line {number}" for number in range(2, 22)]
    assert "not valid JSON" in shown[0] and "messages" in shown[1]
    assert more == "… and 5 more lines."
    assert advice.startswith("batchway: 2 completed, 25 refused. Mend what was refused in its place and submit again")
    assert f"--prefix {told['prefix']}:" in advice and "--status" not in advice
    assert len(found((tmp_path / "answers.jsonl").read_text())) == lane.billed == 2

    write(tmp_path, *asked("one", *(f"mended {number}" for number in range(25)), "two"))
    mended = await submit(lane, tmp_path, "asked.jsonl", "--prefix", told["prefix"], "--wait")
    assert mended.code == 0, mended.err
    assert len(found(mended.out)) == lane.billed == 27, "only what was mended is asked"


async def test_where_no_line_is_taken_nothing_is_waited_for(lane: Lane, tmp_path: Path) -> None:
    write(tmp_path, chat("one", temperature="warm"))
    ended = await submit(lane, tmp_path, "asked.jsonl", "--out", "answers.jsonl", "--json")
    assert ended.code == UNANSWERED
    assert {"taken": 0, "refused": 1}.items() <= json.loads(ended.out).items()
    line, advice = ended.err.splitlines()
    assert line.startswith("line 1: ") and "temperature" in line
    assert advice == "batchway: 1 refused. Mend the lines and submit them again."
    assert leftovers(tmp_path) == []


async def test_what_is_refused_for_a_while_is_submitted_again_as_it_is(lane: Lane, tmp_path: Path) -> None:
    write(tmp_path, *asked("one", "two"))
    tell(lane.gate, "query_only = ON")
    ended = await submit(lane, tmp_path, "asked.jsonl")
    tell(lane.gate, "query_only = OFF")
    assert ended.code == UNANSWERED
    assert "batchway: 2 refused. Submit the same again in a while: what was taken is not asked twice." in ended.err
    async with asyncio.timeout(20):
        while (again := await submit(lane, tmp_path, "asked.jsonl", "--wait")).code:
            await asyncio.sleep(0.1)
    assert len(found(again.out)) == lane.billed == 2


async def test_results_are_counted_chosen_and_fetched(lane: Lane, tmp_path: Path) -> None:
    lane.fault("lines_fail", status=400, count=1)
    await hand_in(lane, "run-", "one", "two", "three")
    counted = await results(lane, tmp_path, "run-", "--wait", "--counts", "--json")
    assert counted.code == UNANSWERED
    assert json.loads(counted.out) == {"pending": 0, "completed": 2, "failed": 1, "cancelled": 0}
    completed = list(found((await results(lane, tmp_path, "run-", "--status", "completed")).out))
    (failed,) = (await results(lane, tmp_path, "run-", "--status", "failed,pending")).out.splitlines()
    assert sorted([*completed, json.loads(failed)["request_id"]]) == ["run-1", "run-2", "run-3"]
    assert json.loads(failed)["error"]["message"]
    ended = await results(lane, tmp_path, "run-", "--out", "answers.jsonl", "--json")
    assert json.loads(ended.out) == json.loads(counted.out) | {"results": "answers.jsonl"}
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 3
    assert "completed  2\n" in (await results(lane, tmp_path, "run-", "--counts")).out


async def test_what_failed_is_told_and_asked_anew_alone(lane: Lane, tmp_path: Path) -> None:
    lane.fault("lines_fail", status=400, lines=2)
    write(
        tmp_path, *asked(*(f"question {number}" for number in range(9))), chat("ten", request_id="ten's", tags={"n": 1})
    )
    submitted = await submit(lane, tmp_path, "asked.jsonl", "--prefix", "night's-", "--out", "answers.jsonl")
    waited = await results(lane, tmp_path, "night's-", "--wait", "--out", "answers.jsonl")
    again = await submit(lane, tmp_path, "asked.jsonl", "--prefix", "night's-")
    for ended in (submitted, waited, again):
        assert ended.code == UNANSWERED
        (line,) = ended.err.splitlines()
        command = f"batchway results 'night'\"'\"'s-' --status failed --url {lane.gate.address}"
        assert line.startswith(f"batchway: 8 completed, 2 failed. `{command}`")
        assert "--requests" in line
    assert lane.billed == 8

    chosen = await results(lane, tmp_path, "night's-", "--status", "failed")
    assert (chosen.code, chosen.err) == (0, ""), "it was asked for"
    some = await results(lane, tmp_path, "night's-", "--status", "completed")
    assert some.code == UNANSWERED and len(found(some.out)) == 8
    failed = await results(lane, tmp_path, "night's-", "--status", "failed", "--requests")
    assert (failed.code, failed.err) == (0, "")
    names = [json.loads(line)["request_id"].removeprefix("night's-") for line in chosen.out.splitlines()]
    assert [json.loads(line)["custom_id"] for line in failed.out.splitlines()] == names
    for _ in range(2):
        anew = await submit(lane, tmp_path, "-", "--wait", given=failed.out.encode())
        assert (anew.code, len(found(anew.out))) == (0, 2)
        assert [name.partition("-")[2] for name in found(anew.out)] == names
        assert lane.billed == 10 and set(lane.paid.values()) == {1}


async def test_what_was_cancelled_is_told(tmp_path: Path) -> None:
    async with open_lane(tmp_path / "store", **WAITING) as lane:
        await hand_in(lane, "run-", "one", "two")
        await lane.gate.http.delete("/requests/run-1")
        ended = await results(lane, tmp_path, "run-")
        assert ended.code == UNANSWERED
        assert "1 cancelled, 1 pending. " in ended.err and "--status cancelled" in ended.err
        assert (await results(lane, tmp_path, "run-", "--status", "cancelled, failed")).code == 0


async def test_the_gateway_is_named_by_a_variable_too(lane: Lane, tmp_path: Path) -> None:
    write(tmp_path, chat("one"))

    async def ask(*arguments: str, at: str) -> Ended:
        return await end(await start(tmp_path, *arguments, BATCHWAY_URL=at))

    for command in (
        ["submit", "asked.jsonl"],
        ["results", ""],
        ["status"],
        ["flush", "openai"],
        ["purge", "--dry-run"],
    ):
        assert (await ask(*command, at=lane.gate.address)).code == 0, command
    assert (await ask("status", "--url", lane.gate.address, at=NOWHERE)).code == 0, "the flag wins"
    for wrong in (NOWHERE, "nowhere"):
        check_refused(await ask("flush", "openai", at=wrong), [wrong, "--url", "BATCHWAY_URL"])
    assert "BATCHWAY_URL" in (await ask("status", "--help", at="")).out


async def test_what_goes_directly_all_the_same_is_told_with_its_reason(tmp_path: Path) -> None:
    environment = {"BATCHWAY_PROVIDERS__OPENAI__LANES": "direct"}
    async with open_lane(tmp_path / "store", environment=environment) as lane:
        write(tmp_path, *asked("one", "two", "three"))
        ended = await submit(lane, tmp_path, "asked.jsonl", "--out", "answers.jsonl", "--json")
        assert (ended.code, len(found((tmp_path / "answers.jsonl").read_text()))) == (0, 3)
        (line,) = ended.err.splitlines()
        assert "directly and at the full price: gpt-4o-mini: " in line
        assert "the settings do not allow the batch lane to openai" in line


@pytest.mark.parametrize("file", ["asked.jsonl", "-"])
async def test_whoever_stops_handing_in_is_told_what_was_taken(lane: Lane, tmp_path: Path, file: str) -> None:
    content = write(tmp_path, *asked(*(f"question {number} {'please ' * 100}" for number in range(1500))))
    taken: list[int] = []

    async def stop() -> None:
        while not taken or not taken[-1]:
            taken.append(sum((await lane.gate.http.get("/results/counts")).json().values()))
        process.send_signal(signal.SIGINT)
        await process.wait()

    async with cut(lane, up=900_000, when=stop) as address:
        process = await start(tmp_path, "submit", file, "--url", address, stdin=DEVNULL if file != "-" else PIPE)
        ended = await end(process, content if file == "-" else None)
    assert (ended.code, ended.out) == (130, "")
    (line,) = ended.err.splitlines()
    assert f"Stopped; {taken[-1]:,} requests are with the gateway" in line
    command = line.split("`")[1].removesuffix(f" --url {address}").split()
    assert command[:4] == ["batchway", "submit", file, "--prefix"]
    again = await submit(lane, tmp_path, *command[2:], "--wait", given=content if file == "-" else None)
    assert len(found(again.out)) == lane.billed == 1500


async def test_streams_that_are_closed_are_one_clear_message(lane: Lane, tmp_path: Path) -> None:
    await hand_in(lane, "run-", "one")

    async def without(stream: str, *arguments: str) -> Ended:
        arguments = (*BATCHWAY, *arguments, "--url", lane.gate.address)
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", f'"$@" {stream}', "sh", *arguments),
            cwd=tmp_path, env=surroundings(tmp_path), stdin=DEVNULL, stdout=PIPE, stderr=PIPE,
        )  # fmt: skip
        return await end(process)

    check_refused(await without("<&-", "submit", "-"), ["standard input is closed"])
    check_refused(await without(">&-", "results", "run-"), ["Standard output is closed", "--out"])


async def test_what_a_terminal_cannot_show_stops_nothing(lane: Lane, tmp_path: Path) -> None:
    write(tmp_path, json.dumps(chat("“žluťoučký”", model="模型", strategy="direct"), ensure_ascii=False))
    await submit(lane, tmp_path, "asked.jsonl", "--prefix", "run-", "--wait")

    async def shown(*arguments: str) -> bytes:
        process = await start(tmp_path, *arguments, PYTHONIOENCODING="latin-1")
        out, err = await process.communicate()
        assert b"Traceback" not in err, err.decode()
        return out

    store = ("--database-url", "store/batchway.db")
    assert b"?? " in await shown("requests", *store)
    assert "模型" in (await shown("requests", "--json", *store)).decode()
    assert "žluťoučký" in (await shown("results", "run-", "--requests", "--url", lane.gate.address)).decode()


async def test_results_that_cannot_be_had_are_one_clear_message(lane: Lane, tmp_path: Path) -> None:
    await hand_in(lane, "run-", "one")
    for arguments, words in (
        (["none-"], ["no request whose id begins with 'none-'"]),
        (["run-", "--status", "done"], ["status", "'done'", "completed"]),
        (["run-", "--counts", "--out", "answers.jsonl"], ["--counts", "--out"]),
        (["run-", "--counts", "--requests"], ["--counts", "--requests"]),
        (["run-", "--out", "."], ["--out .", "regular file"]),
        (["run-", "--out", "missing/answers.jsonl"], ["--out missing/answers.jsonl", "folder"]),
    ):
        check_refused(await results(lane, tmp_path, *arguments), words)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("asked.jsonl", None, ["asked.jsonl", "cannot be read"]),
        ("asked.jsonl", b"", ["asked.jsonl", "no request"]),
        ("-", b"\n \n", ["-", "no request"]),
        ("asked.jsonl", json.dumps(asked("one", "two"), indent=1).encode(), ["asked.jsonl: line 1", "JSON Lines"]),
        ("-", b'\n{\n"model": "m"}', ["-: line 2", "JSON Lines"]),
        ("asked.jsonl", b"\x1f\x8b\x08\0\0", ["asked.jsonl: line 1", "JSON Lines"]),
    ],
)
async def test_a_file_that_cannot_be_used_is_one_clear_message(
    tmp_path: Path, file: str, content: bytes | None, words: list[str]
) -> None:
    if content is not None and file != "-":
        (tmp_path / file).write_bytes(content)
    given = content if file == "-" else None
    check_refused(await run(tmp_path, "submit", file, "--url", NOWHERE, given=given), words)


@pytest.mark.parametrize("url", [NOWHERE, "nowhere"])
async def test_where_no_gateway_is_it_says_so(tmp_path: Path, url: str) -> None:
    write(tmp_path, chat("one"))
    for command in (
        ["submit", "asked.jsonl", "--out", "answers.jsonl"],
        ["results", "run-"],
        ["results", "run-", "--wait"],
    ):
        check_refused(await run(tmp_path, *command, "--url", url), [url, "--url", "BATCHWAY_URL"])
    assert leftovers(tmp_path) == []


async def test_the_requests_are_not_replaced_by_their_answers(tmp_path: Path) -> None:
    before = write(tmp_path, chat("one"))
    check_refused(await run(tmp_path, "submit", "asked.jsonl", "--out", "./asked.jsonl"), ["--out", "name another"])
    assert (tmp_path / "asked.jsonl").read_bytes() == before


async def test_it_needs_a_store_and_its_own_key(tmp_path: Path) -> None:
    write(tmp_path, chat("one"))
    keys = f"team-a:{hash_key('bw-a')},team-b:{hash_key('bw-b')}"
    environment = {"BATCHWAY_KEYS": keys}
    async with open_lane(tmp_path / "store", environment=environment) as lane:
        for key in ([], ["--key", "bw-c"]):
            check_refused(await submit(lane, tmp_path, "asked.jsonl", *key), ["key"])
        ended = await submit(lane, tmp_path, "asked.jsonl", "--prefix", "run-", "--key", "bw-a", "--wait")
        assert (ended.code, list(found(ended.out))) == (0, ["run-1"])
        check_refused(await results(lane, tmp_path, "run-", "--key", "bw-b"), ["no request"])
        fetching = await start(tmp_path, "results", "run-", "--url", lane.gate.address, BATCHWAY_API_KEY="bw-a")
        assert list(found((await end(fetching)).out)) == ["run-1"]
        assert lane.billed == 1
    async with open_gate() as gate:
        check_refused(await run(tmp_path, "submit", "asked.jsonl", "--url", gate.address), ["store"])


@pytest.mark.parametrize("earlier", [None, "the results of yesterday"])
async def test_results_that_break_off_are_no_results(lane: Lane, tmp_path: Path, earlier: str | None) -> None:
    await hand_in(lane, "run-", *(f"question {number}" for number in range(20)))
    whole = await results(lane, tmp_path, "run-", "--wait")
    answers = tmp_path / "answers.jsonl"
    if earlier is not None:
        answers.write_text(earlier)
    async with cut(lane, down=5000) as address:
        check_refused(await run(tmp_path, "results", "run-", "--out", answers.name, "--url", address), ["broke off"])
        assert leftovers(tmp_path) == ([] if earlier is None else ["answers.jsonl"])
        assert earlier is None or answers.read_text() == earlier
        printed = await run(tmp_path, "results", "run-", "--url", address)
        assert printed.code == 1 and "broke off" in printed.err and whole.out.startswith(printed.out)
    assert (await results(lane, tmp_path, "run-", "--out", answers.name)).code == 0
    assert answers.read_text() == whole.out


async def test_a_file_whose_sending_breaks_off_is_sent_again(lane: Lane, tmp_path: Path) -> None:
    write(tmp_path, *asked(*(f"question {number} {'please ' * 100}" for number in range(1500))))

    async def some_taken() -> None:
        while not sum((await lane.gate.http.get("/results/counts")).json().values()):
            await asyncio.sleep(0.01)

    async with cut(lane, up=900_000, when=some_taken) as address:
        ended = await run(tmp_path, "submit", "asked.jsonl", "--url", address)
        check_refused(ended, ["broke", "not asked twice"])
    counts = (await lane.gate.http.get("/results/counts")).json()
    assert 0 < sum(counts.values()) < 1500
    again = await submit(lane, tmp_path, "asked.jsonl", "--wait")
    assert len(found(again.out)) == lane.billed == 1500


async def test_a_gateway_that_is_started_anew_is_waited_for(lane: Lane, tmp_path: Path) -> None:
    write(tmp_path, *asked("one", "two"))
    environment = {"OPENAI_BASE_URL": f"{lane.gate.upstream}/v1", "OPENAI_API_KEY": "sandbox-key"}
    folder = tmp_path / "another"
    folder.mkdir()
    async with open_lane(folder, environment=environment, **WAITING) as before:
        assert (await submit(before, tmp_path, "asked.jsonl", "--prefix", "run-")).code == 0
        url, port = before.gate.address, int(before.gate.host.rpartition(":")[2])
        ours, theirs = pty.openpty()
        process = await start(tmp_path, "results", "run-", "--wait", "--url", url, stderr=theirs)
        os.close(theirs)
        await until_shown(ours, "answered")
    await until_shown(ours, "does not answer")

    async def starting(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        looked.set()
        writer.close()

    looked = asyncio.Event()
    async with await asyncio.start_server(starting, "127.0.0.1", port):
        await looked.wait()
    async with open_lane(folder, environment=environment, port=port):
        said = await until_shown(ours, "answers again")
        ended = await end(process)
    assert "does not answer" not in said, "it was said once"
    assert ended.code == 0, ended
    assert list(found(ended.out)) == ["run-1", "run-2"]
    assert lane.billed == 2


async def test_whoever_stops_waiting_loses_nothing(tmp_path: Path) -> None:
    write(tmp_path, *asked("one", "two"))
    async with open_lane(tmp_path / "store", **WAITING) as lane:
        command = ["submit", "asked.jsonl", "--out", "answers.jsonl", "--url", lane.gate.address]
        ours, theirs = pty.openpty()
        process = await start(tmp_path, *command, stderr=theirs)
        os.close(theirs)
        shown = await until_shown(ours, "answered")
        process.send_signal(signal.SIGINT)
        assert (await end(process)).code == 130
        os.close(ours)
        assert "Traceback" not in shown and leftovers(tmp_path) == []

        waiting = await start(tmp_path, *command)
        async with asyncio.timeout(20):
            while (await lane.gate.http.post("/queue/flush/openai")).json()["flushed"] < 2:
                await asyncio.sleep(0.05)
        ended = await end(waiting)
        assert (ended.code, ended.err) == (0, ""), "no progress where no terminal is"
        assert len(found((tmp_path / "answers.jsonl").read_text())) == lane.billed == 2


def check_refused(ended: Ended, words: Sequence[str]) -> None:
    """One line that has these words."""
    assert ended.code == 1 and ended.out == "", ended
    (message,) = ended.err.splitlines()
    assert message.startswith("batchway: ")
    assert all(word in message for word in words), message


async def until_shown(terminal: int, word: str) -> str:
    """What a terminal shows until this word is there."""
    loop, shown = asyncio.get_running_loop(), ""
    async with asyncio.timeout(20):
        while word not in shown:
            shown += (await loop.run_in_executor(None, os.read, terminal, 4096)).decode(errors="replace")
    return shown


@asynccontextmanager
async def cut(
    lane: Lane, *, up: float = inf, down: float = inf, when: Callable[[], Awaitable[None]] | None = None
) -> AsyncIterator[str]:
    """An address by which the gateway is reached. A connection that carried so many bytes up or down is cut `when`."""

    async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter, room: float) -> None:
        while room > 0 and (piece := await source.read(int(min(4096, room)))):
            target.write(piece)
            await target.drain()
            room -= len(piece)
        if when is not None and room <= 0:
            await when()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = lane.gate.host.split(":")
        gate_reader, gate_writer = await asyncio.open_connection(host, int(port))
        both = carry(reader, gate_writer, up), carry(gate_reader, writer, down)
        ways = [asyncio.create_task(way) for way in both]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        writer.close()
        gate_writer.close()

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}"
