"""The commands that the documentation shows: in blocks of code, in indented lines and between backticks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG", "REPRODUCTION")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
COMMAND = re.compile(r"(?:OMP_NUM_THREADS=1 )?(?:python|make|pip|bash|export)(?: |$)")
PROSE = re.compile(r"`((?:python|make|bash) [^`]+)`")  # a command may go over the end of a line


def commands() -> dict[str, str]:
    """Every distinct command, with the page that shows it first."""
    found: dict[str, str] = {}
    for page in PAGES:
        for command in shown(page.read_text(encoding="utf-8")):
            found.setdefault(command, page.relative_to(ROOT).as_posix())
    return found


def shown(text: str) -> Iterator[str]:
    """The commands of a page, without their remarks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += [line.strip() for line in text.splitlines() if line.startswith("    ")]
    for line in lines:
        if COMMAND.match(line):
            yield re.split(r"\s+#|\s{2,}", line)[0].strip()
    outside = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    for match in PROSE.finditer(outside):
        yield " ".join(match[1].split())
