"""Methods against each other: differences with intervals, p-values by Holm over all that are looked at together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from results.records import Reading
from results.statistics import holm
from results.tables.build import Filled, Options, State, fill
from results.tables.compare import LEVEL, difference
from results.tables.layout import Layout, RowSpec
from results.tables.model import Table

RESAMPLES = 2000
UNTRAINED = ("none", "majority")  # one run is all there is of them


@dataclass(frozen=True)
class Contest:
    """One cell less another one, in points; `p` is Holm's over the contests that were held together."""

    one: str
    other: str
    value: float
    low: float
    high: float
    p: float

    @property
    def significant(self) -> bool:
        """Whether the difference is told from nothing at 5%, over all contests together."""
        return self.p <= LEVEL


def against(layout: Layout, reading: Reading, row: RowSpec) -> tuple[Table, list[Contest], list[str]]:
    """The layout's table with a row added, the contests of that row in the first column of scores, and the rows that
    could not be tested (missing runs, no predictions, other examples).

    Args:
        layout: the table to stand in.
        reading: runs of the method and of the others.
        row: the method.
    """
    layout = replace(layout, rows=(*layout.rows, row))
    state, table = fill(layout, reading, Options())
    column = next(column.key for column in layout.columns if column.kind == "score")
    ours = state.filled[len(layout.rows) - 1, column]
    rivals = [(spec.label, state.filled[index, column]) for index, spec in enumerate(layout.rows[:-1])]
    contests, untested = hold(state, [(row.label, ours, label, rival) for label, rival in rivals])
    return table, contests, [other for _, other in untested]


def every_pair(layout: Layout, reading: Reading) -> tuple[list[Contest], list[str], bool]:
    """All pairs of rows in the first column of scores; where rows narrow their cells, each cell less its row's first.

    Returns:
        The contests, the labels that stand in no contest, and whether a cell of one single trained run is among them:
        what another seed would have given is then unknown, and its intervals are too narrow.
    """
    state, _ = fill(layout, reading, Options(significance=False))
    columns = [column for column in state.layout.columns if column.kind == "score"]
    rows = [(index, row) for index, row in enumerate(state.layout.rows) if row.value == "score" and row.where]
    pairs: list[tuple[str, Filled, str, Filled]] = []
    if any(row.cells for _, row in rows):
        first = columns[0]
        for index, row in rows:
            base = state.filled[index, first.key]
            pairs += [(row.label, state.filled[index, column.key], column.label, base) for column in columns[1:]]
    else:
        key = columns[0].key
        for (i, one), (j, other) in combinations(rows, 2):
            pairs.append((one.label, state.filled[i, key], other.label, state.filled[j, key]))
    contests, _ = hold(state, pairs)
    tested = {label for contest in contests for label in (contest.one, contest.other)}
    held = {(contest.one, contest.other) for contest in contests}
    cells = [cell for one, a, other, b in pairs if (one, other) in held for cell in (a, b)]
    alone = any(len(cell.runs) == 1 and cell.row.method not in UNTRAINED for cell in cells)
    return contests, [row.label for _, row in rows if row.label not in tested], alone


def hold(state: State, pairs: Iterable[tuple[str, Filled, str, Filled]]) -> tuple[list[Contest], list[tuple[str, str]]]:
    """The contests of labelled pairs of cells, and the pairs that could not be tested."""
    found, untested = [], []
    for one, a, other, b in pairs:
        seen = difference(state, a, b, RESAMPLES) if a.runs and b.runs else None
        if seen is None:
            untested.append((one, other))
        else:
            found.append((one, other, seen))
    adjusted = holm([seen.p for *_, seen in found])
    contests = [
        Contest(one, other, 100 * seen.value, 100 * seen.low, 100 * seen.high, p)
        for (one, other, seen), p in zip(found, adjusted, strict=True)
    ]
    return contests, untested


def matrix(contests: Sequence[Contest]) -> str:
    """Contests as Markdown: the row less the column, in points, with its 95% interval; bold where significant."""
    rows = list(dict.fromkeys(contest.one for contest in contests))
    columns = list(dict.fromkeys(contest.other for contest in contests))
    cells = {(contest.one, contest.other): _cell(contest) for contest in contests}
    lines = [["", *columns], *([row, *(cells.get((row, column), "") for column in columns)] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    padded = [
        [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        for line in lines
    ]
    text = [f"| {' | '.join(line)} |" for line in padded]
    rule = f"|{'|'.join(['-' * (widths[0] + 2), *('-' * (width + 1) + ':' for width in widths[1:])])}|"
    return "\n".join([text[0], rule, *text[1:]]) + "\n"


def pairs_text(layout: Layout, reading: Reading) -> str:
    """Every pair of a layout's rows, as Markdown with a caption."""
    contests, untested, alone = every_pair(layout, reading)
    if not contests:
        return f"{layout.title}: no two rows have runs with predictions of the same examples.\n"
    left_out = f" Not tested (no runs, or no predictions of the same rows): {', '.join(untested)}." if untested else ""
    if alone:
        left_out += " Cells of one run carry no noise of seeds: their intervals are too narrow."
    return (
        f"{matrix(contests)}\n{layout.title}. The row less the column, in points, with the 95% interval of a "
        "hierarchical bootstrap over seeds and examples; bold: different at 5%, Holm over the "
        f"{len(contests)} pairs.{left_out}\n"
    )


def _cell(contest: Contest) -> str:
    value = f"{contest.value:+.1f}"
    return f"{f'**{value}**' if contest.significant else value} [{contest.low:+.1f}, {contest.high:+.1f}]"
