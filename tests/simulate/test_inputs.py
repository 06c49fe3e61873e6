"""The forms in which a trace may come, what its fields may be, and what is said of a file that is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from batchway.core.errors import InputError
from batchway.simulate import json_list
from batchway.simulate.files import BUNDLED
from batchway.simulate.inputs import Entry, entries
from batchway.simulate.notes import Notes

FULL = {
    "request_id": "r1",
    "created_at_ms": 5,
    "shortened_query": "Summarise",
    "analysis_json": {"latency_tolerance": "high"},
    "token_count": 12,
    "selected_model": "gpt-4o",
}


def read(folder: Path, content: str | bytes, name: str = "trace.json") -> list[Entry]:
    """The requests of a file of this name and content."""
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(entries(str(file), Notes()))


def objects(folder: Path, *given: object) -> list[Entry]:
    return read(folder, json.dumps(given))


# Forms


def test_a_list_of_strings(tmp_path: Path) -> None:
    assert read(tmp_path, '["prompt one",\n "prompt two"]') == [
        Entry(line=1, prompt="prompt one"),
        Entry(line=2, prompt="prompt two"),
    ]


def test_a_list_of_objects(tmp_path: Path) -> None:
    content = """[
      {"request_id":"r1","created_at_ms":0,"prompt":"Summarize this email..."},
      {"request_id":"r2","created_at_ms":35,"prompt":"Write Python code..."}
    ]"""
    assert read(tmp_path, content) == [
        Entry(line=2, request_id="r1", created_at_ms=0, prompt="Summarize this email..."),
        Entry(line=3, request_id="r2", created_at_ms=35, prompt="Write Python code..."),
    ]


def test_the_full_shape(tmp_path: Path) -> None:
    (entry,) = objects(tmp_path, FULL)
    assert entry == Entry(line=1, **FULL)  # type: ignore[arg-type]
    assert entry.text == "Summarise"
    (entry,) = objects(tmp_path, FULL | {"prompt": "Summarise all of this at length"})
    assert entry.text == "Summarise", "what the optimiser left is what the model reads"


@pytest.mark.parametrize("name", ["trace.jsonl", "trace.ndjson", "trace.json", "trace", "trace.txt"])
def test_json_lines(tmp_path: Path, name: str) -> None:
    content = '\n{"prompt": "one"}\r\n\n"two"\n{"prompt": "three", "created_at_ms": null}'
    assert [(entry.line, entry.text) for entry in read(tmp_path, content, name)] == [
        (2, "one"),
        (4, "two"),
        (5, "three"),
    ]


@pytest.mark.parametrize("name", ["trace.csv", "trace.CSV", "trace", "trace.txt"])
def test_csv(tmp_path: Path, name: str) -> None:
    content = (
        "request_id,created_at_ms,prompt,token_count,selected_model,cache_hit,analysis_json,latency_tolerance\n"
        '007,0,"two\nlines, ""quoted""",12,gpt-4o,yes,"{""task"": ""chat""}",low\n'
        "\n"
        "8,10.0,bye,,,,,\n"
    )
    assert read(tmp_path, content, name) == [
        Entry(
            line=2,
            request_id="007",
            created_at_ms=0,
            prompt='two\nlines, "quoted"',
            token_count=12,
            selected_model="gpt-4o",
            cache_hit=True,
            analysis_json={"task": "chat", "latency_tolerance": "low"},
        ),
        Entry(line=5, request_id="8", created_at_ms=10, prompt="bye"),
    ]


@pytest.mark.parametrize("sign", [";", "\t"])
def test_csv_of_other_countries_and_programs(tmp_path: Path, sign: str) -> None:
    content = f"\ufeffcreated_at_ms{sign}prompt\r\n7{sign}a, b\r\n"
    assert read(tmp_path, content, "trace.csv") == [Entry(line=2, created_at_ms=7, prompt="a, b")]


def test_a_mark_at_the_beginning_is_passed_over(tmp_path: Path) -> None:
    for content in ('\ufeff["a"]', '\ufeff{"prompt": "a"}'):
        assert [entry.text for entry in read(tmp_path, content)] == ["a"]


@pytest.mark.parametrize(("name", "number"), [(BUNDLED[0], 56), (BUNDLED[1], 100)])
def test_the_bundled_traces(name: str, number: int) -> None:
    notes = Notes()
    found = list(entries(name, notes))
    assert len(found) == number
    assert list(notes) == []
    times = [entry.created_at_ms or 0 for entry in found]
    assert times == sorted(times)
    assert len({entry.text for entry in found}) == number


# Fields


def test_null_and_missing_are_one(tmp_path: Path) -> None:
    nothing = dict.fromkeys(FULL)
    assert objects(tmp_path, nothing | {"prompt": "a"}) == objects(tmp_path, {"prompt": "a"})


def test_numbers_as_other_programs_write_them(tmp_path: Path) -> None:
    (entry,) = objects(tmp_path, {"prompt": "a", "request_id": 12, "created_at_ms": 5.0, "token_count": 3.0})
    assert (entry.request_id, entry.created_at_ms, entry.token_count) == ("12", 5, 3)


def test_a_text_is_needed_only_where_something_is_found_in_it(tmp_path: Path) -> None:
    (entry,) = objects(tmp_path, {"token_count": 5, "selected_model": "gpt-4o"})
    assert entry.text is None
    assert objects(tmp_path, {"prompt": ""})[0].text == ""


def test_fields_that_are_not_known_are_passed_over_and_noted(tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    given = {"prompt": "a", "team": "x", "analysis_json": {"mood": "good", "task": "chat"}}
    file.write_text(json.dumps([given, given | {"wait_ms": 3, "batch_id": "b1"}], indent=0))
    notes = Notes()
    assert [entry.analysis_json for entry in entries(str(file), notes)] == [{"task": "chat"}] * 2
    assert list(notes) == [
        "team: not a field of a request, passed over (line 2 and 1 more)",
        "analysis_json.mood: not a field of a request, passed over (line 2 and 1 more)",
    ]


def test_notes_are_bounded() -> None:
    notes = Notes()
    for number in range(1_000):
        notes.add(f"field {number}", number)
    assert len(list(notes)) == 100


# What is wrong


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (5, "line 2: it must be an object or a string (expected str | object, got int)"),
        (None, "line 2: it must be an object or a string"),
        ([1], "line 2: it must be an object or a string"),
        ({}, "line 2: prompt: missing; without it (and shortened_query) token_count must be given"),
        ({"token_count": 5}, "line 2: prompt: missing; without it (and shortened_query) selected_model must be given"),
        ({"prompt": 5}, "line 3: prompt: expected str | null, got int"),
        ({"prompt": "a", "created_at_ms": -1}, "line 2: created_at_ms: -1 is no time"),
        ({"prompt": "a", "created_at_ms": 1.5}, "line 2: created_at_ms: 1.5 is no time; it must be a whole number"),
        ({"prompt": "a", "created_at_ms": 10**15}, "line 2: created_at_ms: 1000000000000000 is no time"),
        ({"prompt": "a", "created_at_ms": "0"}, "line 4: created_at_ms: expected int | float | null, got str"),
        ({"prompt": "a", "token_count": -1}, "line 2: token_count: -1 is no count of tokens"),
        ({"prompt": "a", "token_count": 0.5}, "line 2: token_count: 0.5 is no count"),
        ({"prompt": "a", "token_count": 10**9}, "line 2: token_count: 1000000000 is no count"),
        ({"prompt": "a", "token_count": True}, "line 4: token_count: expected int | float | null, got bool"),
        ({"prompt": "a", "token_count": 0}, "line 2: token_count: 0, though there is a text"),
        ({"prompt": "a", "token_cuont": 1}, "line 2: token_cuont: there is no such field; token_count is meant?"),
        ({"prompt": "a", "createdAtMs": 1}, "line 2: createdAtMs: there is no such field; created_at_ms is meant?"),
        ({"prompt": "a", "request_id": ""}, "line 2: request_id: has 0 characters; allowed are 1 to 512"),
        ({"prompt": "a", "request_id": "x" * 513}, "line 2: request_id: has 513 characters"),
        ({"prompt": "a", "analysis_json": "low"}, "line 4: analysis_json: expected object | null, got str"),
        (
            {"prompt": "a", "analysis_json": {"latency_tolerence": "low"}},
            "line 2: analysis_json.latency_tolerence: there is no such field; analysis_json.latency_tolerance is",
        ),
        ({"prompt": "a", "cache_hit": "yes"}, "line 4: cache_hit: expected bool | null, got str"),
        ({"prompt": "\ud800"}, "line 2: not JSON"),
        ({"prompt": "a", "other": "\ud800"}, "line 2: not JSON"),
    ],
    ids=str,
)
def test_a_wrong_value_is_said_with_line_and_field(tmp_path: Path, given: object, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, json.dumps([given], indent=1))
    assert str(caught.value).startswith(f"{tmp_path}/trace.json: {said}"), caught.value


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("trace.json", "", "is empty; there is no request in it"),
        ("trace.json", " \n ", "is empty"),
        ("trace.json", "[ ]", "is empty"),
        ("trace.csv", "", "is empty"),
        ("trace.csv", "prompt\n", "is empty"),
        ("trace.json", "42", "line 1: it must be an object or a string"),
        ("trace.json", '["a", "b', "line 1: not JSON: Unterminated string"),
        ("trace.jsonl", '"a"\n{"prompt":\n', "line 2: not JSON (Input data was truncated); each line must be a whole"),
        ("trace.json", '{\n "prompt": "a"\n}', "line 1: not JSON"),
        ("trace.jsonl", '{"unknown": [1,\n', "line 1: not JSON"),
        ("trace.jsonl", '"a"\n\n"b" "c"\n', "line 3: not JSON (JSON is malformed: trailing characters"),
        ("trace.jsonl", '{"prompt": "a", "x": ' + '{"a":' * 100_000, "line 1: not JSON (maximum recursion depth"),
        ("trace.json", "[" + '["a",' * 100_000, "line 1: the item that begins here cannot be read"),
        ("trace.json", '["a",\n"caf\xe9"]'.encode("latin-1"), "line 2: not UTF-8; convert the file first"),
        ("trace.json", b'["a"\n, "caf\xc3', "line 2: not UTF-8"),
        ("trace.jsonl", '"a"\n"caf\xe9"\n'.encode("latin-1"), "line 2: not UTF-8"),
        ("trace.csv", "prompt\na\ncaf\xe9\n".encode("latin-1"), "line 3: not UTF-8"),
        ("trace.json", '["a"]'.encode("utf-16"), "line 1: not UTF-8"),
        ("trace.json", bytes(range(128)) * 4, "line 1: not JSON"),
        ("trace.csv", "prompt,token_count\na,1\nb\n", "line 3: it has 1 cells; the first line names 2 columns"),
        ("trace.csv", "prompt,token_count\na,1,\n", "line 2: it has 3 cells"),
        ("trace.csv", 'prompt\na\n"b\n\n', "line 3: not CSV: unexpected end of data"),
        ("trace.csv", '"prompt\n', "line 1: not CSV"),
        ("trace.csv", "prompt,prompt\na,b\n", "line 1: prompt: two columns are called so"),
        ("trace.csv", "question,answer\na,b\n", "line 2: prompt: missing"),
        ("trace.csv", "promt\na\n", "line 2: promt: there is no such field; prompt is meant?"),
        ("trace.csv", "prompt,created_at_ms\na,now\n", "line 2: created_at_ms: 'now' is not a number"),
        ("trace.csv", "prompt,created_at_ms\na,nan\n", "line 2: created_at_ms: nan is no time"),
        ("trace.csv", "prompt,token_count\na,inf\n", "line 2: token_count: inf is no count"),
        ("trace.csv", f"prompt,token_count\na,{'9' * 5_000}\n", "line 2: token_count: '9999"),
        ("trace.csv", "prompt,token_count\na,²\n", "line 2: token_count: '²' is not a number"),
        ("trace.csv", "prompt,analysis_json\na,{low}\n", "line 2: analysis_json: not a JSON object"),
        ("trace.csv", "prompt,cache_hit\na,maybe\n", "line 2: cache_hit: 'maybe' is not one of true, false"),
    ],
    ids=lambda each: str(each)[:40],
)
def test_a_wrong_file_is_said_with_its_line(tmp_path: Path, name: str, content: str | bytes, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, content, name)
    assert str(caught.value).startswith(f"{tmp_path}/{name}: {said}"), caught.value


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for name, why in ((tmp_path / "nope.json", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(InputError, match=f"cannot be read .{why}"):
            list(entries(str(name), Notes()))


@pytest.mark.parametrize("name", ["trace.jsonl", "trace.csv"])
def test_a_file_without_line_ends_is_not_read_whole(tmp_path: Path, name: str) -> None:
    begins = {"trace.jsonl": b'{"prompt": "', "trace.csv": b"prompt\n"}[name]
    with pytest.raises(InputError, match="longer than 16,777,216 bytes"):
        read(tmp_path, begins + b"x" * (json_list.LONGEST + 1), name)


def test_a_long_cell_is_no_error(tmp_path: Path) -> None:
    (entry,) = read(tmp_path, f"prompt\n{'x' * 300_000}\n", "trace.csv")
    assert len(entry.text or "") == 300_000


def test_all_shapes_of_one_trace_are_the_same(tmp_path: Path) -> None:
    given: list[dict[str, Any]] = [
        {"request_id": f"r{at}", "created_at_ms": at, "prompt": f"p {at}"} for at in range(50)
    ]
    rows = "\n".join(f"{each['request_id']},{each['created_at_ms']},{each['prompt']}" for each in given)
    forms = {
        "a.json": json.dumps(given, indent=2),
        "b.jsonl": "\n".join(map(json.dumps, given)),
        "c.csv": f"request_id,created_at_ms,prompt\n{rows}\n",
    }
    found = [
        [(e.request_id, e.created_at_ms, e.prompt) for e in read(tmp_path, text, name)] for name, text in forms.items()
    ]
    assert found[0] == found[1] == found[2]
