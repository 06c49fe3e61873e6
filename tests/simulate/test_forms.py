"""How a batching run is shown: JSON and CSV with all of it, tables for people, and what is counted of it."""

import csv
import io
import json
from typing import Any

from tests.simulate.batching import ready

from batchway.simulate.filling import Ready
from batchway.simulate.forms import ByArrival, Form, Settled
from batchway.simulate.modelwise import ModelWise, Rule
from batchway.simulate.printing import SHOWN, WIDTH, PeopleForm
from batchway.simulate.rows import CsvForm, JsonForm
from batchway.simulate.tally import Summary, Tally

REQUESTS = [
    ready(0, "a", 0, "luna", 3_000, "high"),
    ready(1, "b", 10, "sol", 50),
    ready(2, "c", 20, "luna", 10, "low", cache_hit=True),
    ready(3, "d", 30, "luna", 5_500),
    ready(4, "e", 40, "luna", 20),
]


def summary(requests: list[Ready], form: Form, notes: tuple[str, ...] = ()) -> Summary:
    """What is counted of a run that a form has been told of."""
    rule = Rule(max_batch_size=2)
    tally, batching = Tally(rule), ModelWise(rule)
    for request in requests:
        tally.request(request)
        form.request(request)
        for batch in batching.arrive(request):
            tally.batch(batch)
            form.batch(batch)
    for batch in batching.finish():
        tally.batch(batch)
        form.batch(batch)
    return tally.summary(notes)


def shown(form: Form, requests: list[Ready] = REQUESTS, notes: tuple[str, ...] = ()) -> str:
    out = io.StringIO()
    form.write(out, summary(requests, form, notes))
    return out.getvalue()


def as_json(requests: list[Ready] = REQUESTS, notes: tuple[str, ...] = ()) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shown(JsonForm(), requests, notes))
    return found


def test_json_has_requests_batches_and_summary() -> None:
    found = as_json(notes=("something was passed over",))
    assert list(found) == ["requests", "batches", "summary"]
    assert [(each["request_id"], each["batch_id"], each["wait_ms"]) for each in found["requests"]] == [
        ("a", "b1", 30),
        ("b", "b3", 200),
        ("c", None, None),
        ("d", "b2", 10),
        ("e", "b2", 0),
    ]
    assert found["batches"] == [
        {
            "batch_id": "b1",
            "model": "luna",
            "size": 1,
            "tokens": 3000,
            "close_reason": "tokens",
            "request_ids": ["a"],
            "opened_at_ms": 0,
            "closed_at_ms": 30,
            "max_wait_ms": 800,
            "mean_wait_ms": 30,
            "longest_wait_ms": 30,
        },
        {
            "batch_id": "b2",
            "model": "luna",
            "size": 2,
            "tokens": 5520,
            "close_reason": "size",
            "request_ids": ["d", "e"],
            "opened_at_ms": 30,
            "closed_at_ms": 40,
            "max_wait_ms": 200,
            "mean_wait_ms": 5,
            "longest_wait_ms": 10,
        },
        {
            "batch_id": "b3",
            "model": "sol",
            "size": 1,
            "tokens": 50,
            "close_reason": "wait",
            "request_ids": ["b"],
            "opened_at_ms": 10,
            "closed_at_ms": 210,
            "max_wait_ms": 200,
            "mean_wait_ms": 200,
            "longest_wait_ms": 200,
        },
    ]
    assert found["summary"] == {
        "requests": 5,
        "cache_hits": 1,
        "batches": 3,
        "tokens": 8570,
        "mean_size": 1.333,
        "close_reasons": {"size": 1, "tokens": 1, "wait": 1},
        "wait_ms": {"mean": 60, "p50": 10, "p95": 200, "max": 200},
        "models": {
            "luna": {"requests": 3, "batches": 2, "tokens": 8520},
            "sol": {"requests": 1, "batches": 1, "tokens": 50},
        },
        "policy": {
            "max_wait_ms": 200,
            "max_batch_size": 2,
            "max_batch_tokens": 8000,
            "tolerance": {"low": 0.25, "medium": 1.0, "high": 4.0},
        },
        "notes": ["something was passed over"],
    }


def test_a_request_in_json_is_one_of_a_trace() -> None:
    assert as_json()["requests"][0] == {
        "request_id": "a",
        "created_at_ms": 0,
        "prompt": "a",
        "analysis_json": {
            "task": "chat",
            "complexity": "medium",
            "input_tokens": 0,
            "output_tokens": 200,
            "latency_tolerance": "high",
            "reasons": dict.fromkeys(("task", "complexity", "output_tokens", "latency_tolerance"), "as given"),
        },
        "token_count": 3000,
        "selected_model": "luna",
        "provider": None,
        "why": "as given",
        "batch_id": "b1",
        "wait_ms": 30,
    }


def test_json_of_nothing_is_json_too() -> None:
    found = as_json([])
    assert (found["requests"], found["batches"], found["summary"]["mean_size"]) == ([], [], 0)


def test_csv_has_a_row_for_each_batch() -> None:
    rows = list(csv.DictReader(io.StringIO(shown(CsvForm()))))
    batches = as_json()["batches"]
    assert list(rows[0]) == list(batches[0])
    assert [row["request_ids"].split() for row in rows] == [batch["request_ids"] for batch in batches]
    assert rows[2]["model"] == "sol" and rows[2]["closed_at_ms"] == "210" and rows[2]["close_reason"] == "wait"


def test_tables_are_aligned_and_say_it_all() -> None:
    text = shown(PeopleForm("trace.json", Rule(max_batch_size=2)))
    lines = text.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert lines[0] == "trace.json: one open batch for each model; none of them is called."
    assert lines[1] == (
        "A batch closes after 200 ms (low × 0.25, medium × 1, high × 4), at 2 requests or 8,000 tokens."
    )
    heads = [line for line in lines if line.startswith(("request ", "batch ", "model "))]
    assert [" ".join(head.split()) for head in heads] == [
        "request at ms model tokens task patience batch prompt",
        "batch model size tokens closed by opened closed longest wait mean wait requests",
        "model requests batches mean size tokens",
    ]
    assert ["c", "20", "luna", "10", "chat", "low", "cached", "c"] in [line.split() for line in lines]
    assert ["b2", "luna", "2", "5,520", "size", "30", "40", "10", "5", "d", "e"] in [line.split() for line in lines]
    assert "5 requests, 1 of them answered by a cache; 3 batches, 1.33 requests in the mean" in text
    assert "closed 1 by size, 1 by tokens, 1 by wait." in text
    assert "Waits: 60 ms in the mean, half of them at most 10, 95 % at most 200, the longest 200." in text


def test_no_prompt_moves_the_cursor_or_breaks_a_line() -> None:
    evil = "one\ntwo\x1b[31m [bold]three[/bold] \u202e " + "long " * 100
    text = shown(PeopleForm("t", Rule()), [ready(0, evil, 0)])
    assert "\x1b" not in text and "\u202e" not in text
    assert "one two [31m [bold]three[/bold] long" in text
    assert max(map(len, text.splitlines())) <= WIDTH


def test_long_runs_are_cut_for_people_alone() -> None:
    many = [ready(order, f"r{order}", order * 1_000) for order in range(SHOWN + 7)]
    text = shown(PeopleForm("t", Rule()), many)
    assert text.count("… and 7 more; --json shows all.") == 2
    assert f"r{SHOWN - 1} " in text and f"r{SHOWN} " not in text
    assert len(as_json(many)["batches"]) == SHOWN + 7


def test_times_since_1970_are_shown_from_the_first_on() -> None:
    start = 1_790_000_000_000
    text = shown(PeopleForm("t", Rule()), [ready(0, "a", start), ready(1, "b", start + 1_500)])
    assert f"milliseconds after the first request, which came at {start}." in text
    assert ["b", "1,500", "m", "10", "chat", "medium", "b2", "b"] in [line.split() for line in text.splitlines()]


def test_requests_are_given_back_in_the_order_in_which_they_came() -> None:
    order, batching = ByArrival(), ModelWise(Rule(max_batch_size=2))
    given: list[Settled] = []
    for request in REQUESTS:
        given += order.request(request)
        for batch in batching.arrive(request):
            given += order.batch(batch)
    assert [each.request.request_id for each in given] == ["a"], "b waits, and all behind it with it"
    for batch in batching.finish():
        given += order.batch(batch)
    assert [(each.request.request_id, each.batch_id) for each in given] == [
        ("a", "b1"), ("b", "b3"), ("c", None), ("d", "b2"), ("e", "b2"),
    ]  # fmt: skip


def test_quantiles_of_waits() -> None:
    tally, batching = Tally(Rule()), ModelWise(Rule(max_wait_ms=100, max_batch_size=1_000))
    for order in range(100):
        tally.request(ready(order, f"r{order}", order))
        for batch in batching.arrive(ready(order, f"r{order}", order)):
            tally.batch(batch)
    for batch in batching.finish():
        tally.batch(batch)
    waits = tally.summary().wait_ms  # 100 for the first, 99 for the second … 1
    assert (waits.mean, waits.p50, waits.p95, waits.max) == (50.5, 50, 95, 100)


def test_long_waits_are_counted_in_few_kinds() -> None:
    tally, batching = Tally(Rule()), ModelWise(Rule(max_wait_ms=10**9, max_batch_size=5_000))
    for order in range(5_000):
        for batch in batching.arrive(ready(order, f"r{order}", order * 1_000, tokens=1)):
            tally.batch(batch)
    assert len(tally._waits) < 1_500
    waits = tally.summary().wait_ms
    assert (waits.max, waits.p50) == (4_999_000, 2_500_000)
