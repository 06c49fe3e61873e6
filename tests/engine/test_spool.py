"""Result lines come back in the order of their rows, each as it was, and none is lost over an id that is not ours."""

from tempfile import TemporaryFile

from batchway.engine.spool import IN_MEMORY, Spool


def spooled(*lines: bytes) -> list[bytes]:
    with TemporaryFile() as file:
        spool = Spool(file, "tag-0001")
        for line in lines:
            spool.put(line)
        return list(spool.lines())


def row(number: int, said: str = "") -> bytes:
    return f'{{"custom_id": "tag-0001-{number}", "said": "{said}"}}'.encode()


def test_lines_come_back_by_their_rows() -> None:
    assert spooled(row(10), row(2), row(0, "some more words"), row(1)) == [
        row(0, "some more words"),
        row(1),
        row(2),
        row(10),
    ]


def test_of_one_row_the_first_line_stays_the_first() -> None:
    assert spooled(row(1, "z"), row(0), row(1, "a"), row(1, "m")) == [row(0), row(1, "z"), row(1, "a"), row(1, "m")]


def test_a_line_whose_row_is_not_seen_is_kept() -> None:
    strange = [b'{"custom_id": "another-7"}', b"\xff not json", b'{"custom_id": "tag-0001-"}']
    assert spooled(row(3), *strange) == [*strange, row(3)]


def test_there_may_be_none() -> None:
    assert spooled() == []


def test_what_memory_does_not_hold_comes_back_from_the_file() -> None:
    many = [row(number, "x" * (IN_MEMORY // 10)) for number in range(25, 0, -1)]
    assert spooled(*many) == many[::-1]
