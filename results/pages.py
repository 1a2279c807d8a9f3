"""Pages with parts that are made from runs: what stands between `<!-- name -->` and `<!-- /name -->` is written anew.

`python -m results.publish paper=NAME` fills docs/NAME.md, so that no table and no verdict in it is older than its runs.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from results.archive import archive_of
from results.records import Reading
from results.tables.build import build
from results.tables.contests import Contest, every_pair
from results.tables.layout import Layout, load, tables_of
from results.tables.render import render
from results.tables.state import Options

PART = re.compile(r"<!-- (?P<name>[^/>][^>]*?) -->\n.*?<!-- /(?P=name) -->", re.DOTALL)


def page_of(paper: str) -> Path:
    """Where a paper's page is: docs/ beside the folder of results that holds its runs."""
    return archive_of(paper).parents[2] / "docs" / f"{paper}.md"


def filled(text: str, parts: Mapping[str, str]) -> str:
    """A page with its parts written anew.

    Raises:
        KeyError: The page asks for a part that there is not.
    """

    def part(match: re.Match[str]) -> str:
        name = match["name"]
        return f"<!-- {name} -->\n{parts[name].strip()}\n<!-- /{name} -->"

    return PART.sub(part, text)


def parts_of(paper: str, reading: Reading) -> dict[str, str]:
    """Per table: `NAME table`, `NAME caption`, `NAME seeds` (every seed's score) and `NAME verdicts` (sentences)."""
    made: dict[str, str] = {}
    for name in tables_of(paper):
        layout = load(paper, name)
        table, _, caption = render(build(layout, reading), "markdown").partition("\n\n")
        made |= {f"{name} table": table, f"{name} caption": caption}
        made[f"{name} seeds"] = render(build(layout, reading, Options(cells="all")), "markdown").partition("\n\n")[0]
        made[f"{name} verdicts"] = verdicts(layout, reading)
    return made


def verdicts(layout: Layout, reading: Reading) -> str:
    """What is told apart in a table, and how much is not, in sentences."""
    contests, untested = every_pair(layout, reading)
    above: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for found in contests:
        if found.significant:
            over, under = _in_words(layout, found)
            above[over].append((abs(found.value), under))
    said = [
        f"- **{over}** is above {', '.join(f'{under} (+{gap:.1f})' for gap, under in sorted(pairs))}."
        for over, pairs in sorted(above.items(), key=lambda item: -len(item[1]))
    ]
    told = sum(len(pairs) for pairs in above.values())
    head = f"Of {len(contests)} pairs {told or 'none'} {'is' if told == 1 else 'are'} told apart at 5% after Holm:"
    rest = f"- The other {len(contests) - told} are not told apart."
    if not told:
        return f"Of {len(contests)} pairs none is told apart at 5% after Holm."
    left = [f"- Not tested: {', '.join(untested)}."] if untested else []
    return "\n".join([head, "", *said, rest, *left])


def _in_words(layout: Layout, found: Contest) -> tuple[str, str]:
    """The higher and the lower of a pair; where a row's cells are held against its first, the row is named once."""
    names = (found.one, found.other)
    if layout.narrows:
        first = next(column.label for column in layout.columns if column.kind == "score")
        names = (f"{found.one}: {found.other}", first)
    return names if found.value > 0 else names[::-1]
