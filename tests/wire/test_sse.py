"""Frames: whatever the network does to a stream, the same frames come out of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchway.wire import sse

STREAMS: dict[str, tuple[bytes, list[bytes | None], bytes]] = {
    "nothing": (b"", [], b""),
    "one": (b"data: 1\n\n", [b"1"], b""),
    "several": (b"data: 1\n\ndata: 2\n\ndata: [DONE]\n\n", [b"1", b"2", b"[DONE]"], b""),
    "no space": (b"data:1\n\n", [b"1"], b""),
    "only one space is the separator": (b"data:  1\ndata:  2\n\n", [b"1\n 2"], b""),
    "named": (b"event: x\ndata: 1\nid: 3\nretry: 5\n\n", [b"1"], b""),
    "named after its data": (b"data: 1\nevent: x\n\n", [b"1"], b""),
    "comments": (b": keep-alive\n\ndata: 1\n\n:\n\n", [None, b"1", None], b""),
    "a comment within": (b": OPENROUTER PROCESSING\ndata: 1\n\n", [b"1"], b""),
    "several lines": (b'data: {"a":\ndata: 1}\n\n', [b'{"a":\n1}'], b""),
    "data without content": (b"data:\n\ndata: \n\ndata: 1\n\n", [None, None, b"1"], b""),
    "a field without a value": (b"data\n\n", [None], b""),
    "blank lines between": (b"\n\n\ndata: 1\n\n\n\n\ndata: 2\n\n", [b"1", b"2"], b""),
    "unended": (b"data: 1\n\ndata: 2\n", [b"1"], b"data: 2"),
    "a line separator is no line end": (
        "data: a\u2028b\u2029c\x85\n\n".encode(),
        ["a\u2028b\u2029c\x85".encode()],
        b"",
    ),
    "a lone CR ends a line too": (b"data: 1\rdata: 2\r\rdata: 3\n\n", [b"1\n2", b"3"], b""),
    "characters of several bytes": ("data: Grüße 🚢\n\n".encode(), ["Grüße 🚢".encode()], b""),
    "not UTF-8": (b"data: \xff\xfe\n\n", [b"\xff\xfe"], b""),
    "escaped line ends": (b'data: "\\n\\n"\n\n', [b'"\\n\\n"'], b""),
}


def crlf(stream: bytes) -> bytes:
    return stream.replace(b"\n", b"\r\n")


def mixed(stream: bytes) -> bytes:
    """Every second line ends in CRLF."""
    lines = stream.split(b"\n")
    return b"".join(line + (b"\r\n" if at % 2 else b"\n") for at, line in enumerate(lines[:-1])) + lines[-1]


def cut(stream: bytes, size: int) -> tuple[list[bytes], bytes]:
    cutter = sse.FrameCutter(1000)
    frames = [frame for at in range(0, len(stream), size) for frame in cutter.feed(stream[at : at + size])]
    return frames, cutter.rest()


@pytest.mark.parametrize("ends", [bytes, crlf, mixed])
@pytest.mark.parametrize("size", [10_000, 7, 3, 2, 1])
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_cut_into_its_frames(name: str, size: int, ends: type) -> None:
    stream, payloads, rest = STREAMS[name]
    frames, left = cut(ends(stream), size)
    assert [sse.payload(frame) for frame in frames] == payloads
    assert left == rest
    assert all(frame.endswith(b"\n\n") and b"\r" not in frame for frame in frames)


@given(
    st.lists(
        st.sampled_from([b"data: 1", b"\n", b"\r\n", b"\n\n", b"\r\n\r\n", b": c", "é".encode(), b" "]), max_size=20
    ),
    st.lists(st.integers(1, 5), min_size=1, max_size=40),
)
def test_where_the_reads_end_makes_no_difference(pieces: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(pieces)
    cutter = sse.FrameCutter(1000)
    frames, at = [], 0
    for size in sizes:
        frames += cutter.feed(stream[at : at + size])
        at += size
    frames += cutter.feed(stream[at:])
    assert (frames, cutter.rest()) == cut(stream, max(1, len(stream)))


def test_what_a_stream_can_make_us_hold_is_bounded() -> None:
    cutter = sse.FrameCutter(100)
    cutter.feed(b"data: " + b"x" * 94)
    with pytest.raises(ValueError, match="larger than 100 bytes"):
        cutter.feed(b"x")


def test_the_bound_is_on_a_frame_and_not_on_the_stream() -> None:
    cutter = sse.FrameCutter(20)
    assert sum(len(cutter.feed(b"data: 123\n\n")) for _ in range(100)) == 100


def test_a_large_frame_in_small_reads_is_whole() -> None:
    stream = b"data: " + b"y" * 200_000 + b"\n\n"
    cutter = sse.FrameCutter(1_000_000)
    frames = [frame for at in range(0, len(stream), 100) for frame in cutter.feed(stream[at : at + 100])]
    assert frames == [stream]


@pytest.mark.parametrize(("event", "head"), [(None, b""), ("response.created", b"event: response.created\n")])
def test_frames_are_written_as_they_are_read(event: str | None, head: bytes) -> None:
    frame = sse.frame(b'{"a":"\\n"}', event)
    assert frame == head + b'data: {"a":"\\n"}\n\n'
    assert cut(frame, 1) == ([frame], b"")
    assert sse.payload(frame) == b'{"a":"\\n"}'


def test_comments_hold_no_data() -> None:
    assert sse.comment("cost 1") == b": cost 1\n\n"
    assert sse.payload(sse.comment("data: 1")) is None
    assert sse.payload(sse.DONE) == b"[DONE]"
