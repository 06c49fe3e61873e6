"""What is measured: a row for each case. A new case is a row, and a subject where it needs another process."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager

from msgspec import Struct

from batchway.store.writer import LINGER
from bench import bodies, peers, subjects
from bench.processes import Running
from bench.subjects import Place

Starter = Callable[[Place], AbstractContextManager[Running]]

SUBJECTS: Mapping[str, Starter] = {
    "yardstick": subjects.yardstick,
    "bare": subjects.bare,
    "unchosen": subjects.unchosen,
    "gateway": subjects.gateway,
    "recording": subjects.recording,
}
PEERS: Mapping[str, tuple[Starter, Callable[[], str]]] = {
    "nginx": (peers.nginx, peers.nginx_version),
    "LiteLLM": (peers.litellm, peers.litellm_version),
}
"""How to start each, and how to ask its version."""

CHAT = b'"chat.completion"'
STREAM = b"data: [DONE]"

STRAIGHT = "upstream, straight"
YARDSTICK = "yardstick (aiohttp)"
BARE = "bare (batchway's sender)"
UNCHOSEN = "bare (pyreqwest, not chosen)"
DIRECT = "batchway direct"
RECORDED = "batchway direct, recorded"
CACHE_HIT = "batchway cache hit"
COALESCED = "batchway coalesced"
SHORT = "batchway direct, short questions"
PACKED = "batchway packed, six at a time"
AUTO = "batchway packing=auto"
"""Packed as far as the guard lets it, some answers compared with single ones."""
TINY = "batchway direct, tiny prompts"
WEIGHED = "batchway packing=auto, tiny prompts"
"""Not worth a packed call: weighed now and then, and sent singly."""
STREAM_YARDSTICK = "yardstick, stream"
STREAMING = "batchway streaming"
NGINX = "nginx"
LITELLM = "LiteLLM proxy"


class Case(Struct, frozen=True, kw_only=True):
    """One row of the table."""

    name: str
    subject: str
    bodies: Callable[[Iterator[int]], Iterator[bytes]] = bodies.varied
    header: str | None = None
    """A line that every request has."""
    marker: bytes = CHAT
    """What every answer must hold."""
    beside: str = YARDSTICK
    """The case that its CPU time is divided by, turn by turn."""
    share: float = 1.0
    """Of the requests of a round: the slow ones make do with fewer."""
    counted: bool = True
    """CPU time and requests/s are measured."""
    timed: bool = True
    """Latency is measured."""
    behind: float = 0.0
    """Seconds after its last answer that CPU time is counted: what is written behind belongs to the requests."""


CASES = (
    Case(name=STRAIGHT, subject="upstream", counted=False),
    Case(name=YARDSTICK, subject="yardstick"),
    Case(name=BARE, subject="bare"),
    Case(name=UNCHOSEN, subject="unchosen"),
    Case(name=DIRECT, subject="gateway"),
    Case(name=RECORDED, subject="recording", behind=2 * LINGER),
    Case(name=CACHE_HIT, subject="gateway", bodies=bodies.repeated),
    Case(name=COALESCED, subject="gateway", bodies=bodies.twins, share=0.25, timed=False),
    Case(name=SHORT, subject="gateway", bodies=bodies.short, header="x-batchway-packing: never", timed=False),
    Case(name=PACKED, subject="gateway", bodies=bodies.short, header="x-batchway-packing: always", timed=False),
    Case(name=AUTO, subject="gateway", bodies=bodies.short, header="x-batchway-packing: auto", timed=False),
    Case(name=TINY, subject="gateway", bodies=bodies.tiny, header="x-batchway-packing: never", timed=False),
    Case(name=WEIGHED, subject="gateway", bodies=bodies.tiny, header="x-batchway-packing: auto", timed=False),
    Case(
        name=STREAM_YARDSTICK,
        subject="yardstick",
        bodies=bodies.streams,
        marker=STREAM,
        beside=STREAM_YARDSTICK,
        share=0.1,
        timed=False,
    ),
    Case(
        name=STREAMING,
        subject="gateway",
        bodies=bodies.streams,
        marker=STREAM,
        beside=STREAM_YARDSTICK,
        share=0.1,
        timed=False,
    ),
    Case(name=NGINX, subject="nginx"),
    Case(name=LITELLM, subject="LiteLLM", share=0.05),
)
