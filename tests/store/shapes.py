"""The shapes that stores have had: one file for each version and database, so that migrations are tested from each.

`python -m tests.store.shapes` writes the newest down. A file of an earlier version is never changed.
"""

from pathlib import Path

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable

from batchway.store import tables
from batchway.store.migrations import STEPS

FOLDER = Path(__file__).parent / "shapes"
DIALECTS: dict[str, Dialect] = {"sqlite": sqlite.dialect(), "postgresql": postgresql.dialect()}  # type: ignore[no-untyped-call]
NEWEST = len(STEPS) + 1


def shape(kind: str) -> list[str]:
    """The statements that make the tables of today."""
    made = []
    for table in tables.metadata.sorted_tables:
        made.append(CreateTable(table).compile(dialect=DIALECTS[kind]))
        made += [
            CreateIndex(index).compile(dialect=DIALECTS[kind])
            for index in sorted(table.indexes, key=lambda index: str(index.name))
        ]
    return [str(statement).strip() for statement in made]


def written(kind: str, version: int) -> list[str]:
    """The statements that made the tables of a version."""
    text = (FOLDER / f"{version}.{kind}.sql").read_text()
    return [statement.strip() for statement in text.split(";\n") if statement.strip()]


def write() -> None:
    """Write today's down."""
    FOLDER.mkdir(exist_ok=True)
    for kind in DIALECTS:
        lines = "\n".join(f"{statement};" for statement in shape(kind))
        (FOLDER / f"{NEWEST}.{kind}.sql").write_text("\n".join(line.rstrip() for line in lines.splitlines()) + "\n")


if __name__ == "__main__":
    write()
