"""Writes the map of every source file into ARCHITECTURE.md, from each file's own first sentence.

python tools/map.py          # rewrite the map
python tools/map.py --check  # exit 1 if it is stale
"""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "ARCHITECTURE.md"
BEGIN, END = "<!-- map: made by tools/map.py -->\n", "<!-- end of map -->"


def first_sentence(file: Path) -> str:
    """What the file says that it is for."""
    docstring = ast.get_docstring(ast.parse(file.read_text())) or ""
    paragraph = " ".join(docstring.partition("\n\n")[0].split())
    sentence, stop, _ = paragraph.partition(". ")
    return sentence.rstrip(".:") if stop else paragraph.rstrip(".:")


def make_map() -> str:
    """One list a room, one line a file."""
    lines: list[str] = []
    source = ROOT / "src" / "batchway"
    rooms = [source, *sorted(path for path in source.rglob("*") if path.is_dir() and path.name != "__pycache__")]
    for room in rooms:
        files = sorted(room.glob("*.py"))
        if not files:
            continue
        lines.append(f"\n**`{room.relative_to(source.parent)}/`**\n\n")
        lines += [f"- `{file.name}`: {first_sentence(file)}\n" for file in files]
    return "".join(lines) + "\n"


def page_with_map(page: str) -> str:
    """The page with the map renewed."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + make_map() + END + rest.partition(END)[2]


if __name__ == "__main__":
    old = PAGE.read_text()
    new = page_with_map(old)
    if "--check" in sys.argv and old != new:
        sys.exit("ARCHITECTURE.md: the map is stale; run python tools/map.py")
    PAGE.write_text(new)
