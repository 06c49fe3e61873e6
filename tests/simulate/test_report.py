"""The comparison as figures, as a table and as one HTML file that a strict browser shows as it is."""

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest
from msgspec import structs
from rich.console import Console
from tests.simulate.traffic import lab, mixed, request

from batchway.core.policy import WindowRule
from batchway.simulate.comparing import Column, duration, figures, money, saved, table
from batchway.simulate.outcome import Outcome
from batchway.simulate.policies import named
from batchway.simulate.report import page
from batchway.simulate.world import Conditions


@pytest.fixture(scope="module")
def columns() -> list[Column]:
    """Three policies, one of which packs."""
    packing = named("saver")
    window = WindowRule(max_wait=2.0, max_size=4, adaptive=True)
    packing = structs.replace(packing, policy=structs.replace(packing.policy, pack_stake=10**15, pack=window))
    setups = [named("transparent"), packing, named("batcher")]
    outcomes = lab(Conditions()).rehearse(setups, mixed(400))
    return [
        Column(name=setup.name, kind="simulated", outcome=outcome)
        for setup, outcome in zip(setups, outcomes, strict=True)
    ]


class Reading(HTMLParser):
    """Takes a page apart, and holds it to be well formed."""

    VOID = ("meta", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)


def test_a_report_is_one_file_that_needs_nothing_else(columns: list[Column]) -> None:
    text = page("a day", columns, structs.asdict(Conditions()))
    read = Reading(text)
    policy = next(attributes["content"] or "" for tag, attributes in read.tags if "http-equiv" in attributes)
    style = "".join(read.texts["style"])
    assert policy.startswith("default-src 'none'; ")
    assert f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'" in policy
    tags = {tag for tag, _ in read.tags}
    assert not tags & {"script", "img", "link", "iframe", "object", "foreignobject"}
    names = {name for _, attributes in read.tags for name in attributes}
    assert not names & {"style", "href", "src", "xlink:href"} and not any(name.startswith("on") for name in names)
    assert "url(" not in style and "http" not in re.sub(r"http-equiv", "", text)
    assert "prefers-color-scheme: dark" in style


def test_a_report_shows_every_policy_and_all_that_was_asked_for(columns: list[Column]) -> None:
    read = Reading(page("a day", columns, {"first_token": 0.5}, ["3 requests are left out"]))
    labels = [attributes["aria-label"] for tag, attributes in read.tags if tag == "svg" and "aria-label" in attributes]
    for label in ("What each policy costs, by way", "Cost and waiting of each policy"):
        assert labels.count(label) == 1
    assert labels.count("Answers in time, by way") == 3
    assert "Windows of packed calls in time, by size" in labels and "Windows of batches in time, by size" in labels
    assert "Windows by why they closed" in labels and "Windows by size" in labels
    assert "3 requests are left out" in read.texts["p"]
    assert [heading for heading in read.texts["h2"] if "simulated" in heading] == [
        f"{column.name} (simulated)" for column in columns
    ]
    assert "first_token" in read.texts["td"]


def test_a_name_that_looks_like_markup_is_shown_as_it_is(columns: list[Column]) -> None:
    sly = [structs.replace(columns[0], name="<script>alert(1)</script>")]
    text = page("<b>title</b>", sly, {}, ["<i>note</i>"])
    assert "<script" not in text and "<b>" not in text and "<i>" not in text
    assert "<b>title</b>" in Reading(text).texts["h1"]


def test_nothing_at_all_can_be_reported_too() -> None:
    Reading(page("nothing", [Column(name="empty", kind="simulated", outcome=Outcome())], {}))
    (one,) = lab().rehearse([named("transparent")], [request("a")])
    Reading(page("one", [Column(name="one", kind="booked", outcome=one)], {}))


def test_figures_add_up(columns: list[Column]) -> None:
    for column in columns:
        found = figures(column)
        assert found["requests"] == 400
        answered = sum(way["requests"] for way in found["ways"].values())
        assert answered + sum(found["refused"].values()) == 400
        assert (
            column.outcome.paid == sum(way.paid for way in column.outcome.ways.values()) + column.outcome.overhead.paid
        )
    windows = figures(columns[1])["windows"]["pack"]
    assert sum(windows["sizes"].values()) == sum(windows["close_reasons"].values()) == windows["count"] > 0


def test_a_table_has_a_column_for_each(columns: list[Column]) -> None:
    console = Console(width=132, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(table(columns))
    head, kind, requests, *_ = captured.get().splitlines()
    assert head.split() == ["transparent", "saver", "batcher"]
    assert kind.split() == ["simulated"] * 3
    assert requests.split() == ["requests", "400", "400", "400"]


@pytest.mark.parametrize(
    ("picodollars", "words"),
    [(0, "$0.00"), (1_234_567_890, "$0.001235"), (50_000_000_000, "$0.0500"), (10**15 * 1234 // 1000, "$1,234.00"),
     (-(10**12), "-$1.0000")],
)  # fmt: skip
def test_money_in_words(picodollars: int, words: str) -> None:
    assert money(picodollars) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 ms"),
        (0.35, "350 ms"),
        (1.234, "1.23 s"),
        (100, "100 s"),
        (125, "2.08 min"),
        (9000, "2.5 h"),
        (200_000, "2.31 d"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_savings_in_words() -> None:
    outcome = Outcome()
    assert saved(outcome) == "-"
    outcome.ways["batch"].charge(50, 100)
    assert saved(outcome).endswith("(50.0 %)")
