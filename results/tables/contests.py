"""Methods against each other: differences with intervals, p-values by Holm over all that are looked at together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from results.records import Reading
from results.statistics import holm
from results.tables import contrasts
from results.tables.build import fill
from results.tables.compare import LEVEL, Pair, column_tests, difference
from results.tables.evidence import evidence
from results.tables.layout import ColumnSpec, Layout, RowSpec
from results.tables.model import Table
from results.tables.state import Filled, Options, State
from results.tables.tested import COLLAPSE, METHOD


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


def contest(one: str, other: str, pair: Pair, turned: bool = False) -> Contest:
    """A pair of cells with labels, in points; `turned`: the pair is the other less the one."""
    seen, sign = pair.difference, -1.0 if turned else 1.0
    low, high = sorted((sign * seen.low, sign * seen.high))
    return Contest(one, other, 100 * sign * seen.value, 100 * low, 100 * high, pair.p)


def against(layout: Layout, reading: Reading, row: RowSpec) -> tuple[Table, list[Contest], dict[str, str]]:
    """The layout's table with a row added, the contests of that row in the first column of scores, and the rows that
    could not be tested, with the reason.

    The contests are read off all pairs of the column, as the table's bold is: both say the same.

    Args:
        layout: the table to stand in.
        reading: runs of the method and of the others.
        row: the method.
    """
    layout = replace(layout, rows=(*layout.rows, row))
    state, table = fill(layout, reading, Options())
    column = next(column for column in state.layout.columns if column.kind == "score")
    tests = state.tests.get(column.key) or column_tests(state, table, column)
    ours = len(state.layout.rows) - 1
    labels = [spec.label for spec in state.layout.rows]
    contests, untested = [], {}
    for index, label in enumerate(labels[:-1]):
        pair = tests.pairs.get((index, ours))
        if pair is not None:
            contests.append(contest(row.label, label, pair, turned=True))
        else:
            untested[label] = tests.reasons.get(index) or tests.reasons.get(ours) or "no runs"
    return table, contests, untested


def every_pair(layout: Layout, reading: Reading) -> tuple[list[Contest], dict[str, str]]:
    """All pairs of rows in the first column of scores; where rows narrow their cells, each cell less its row's first.

    Returns:
        The contests, and the labels that stand in no contest with the reason.
    """
    return next(iter(by_column(layout, reading).values()), ([], {}))


def by_column(
    layout: Layout, reading: Reading, options: Options | None = None
) -> dict[str, tuple[list[Contest], dict[str, str]]]:
    """As `every_pair`, for every column of scores by its label; one entry where rows narrow their cells.

    Each column is a family of its own: Holm over its pairs, as the table's bold is.
    """
    state, table = fill(layout, reading, options or Options())
    columns = [column for column in state.layout.columns if column.kind == "score"]
    rows = [(index, row) for index, row in enumerate(state.layout.rows) if not row.one_number and row.where]
    if layout.narrows and columns:
        return {columns[0].label: _within_rows(state, rows, columns)}
    labels = dict((index, row.label) for index, row in rows)
    found: dict[str, tuple[list[Contest], dict[str, str]]] = {}
    for column in columns:
        tests = column_tests(state, table, column)
        contests = [
            contest(labels[one], labels[other], pair)
            for (one, other), pair in tests.pairs.items()
            if one in labels and other in labels
        ]
        tested = {label for made in contests for label in (made.one, made.other)}
        lacking = {label: tests.reasons.get(i, "no runs") for i, label in labels.items() if label not in tested}
        name = column.label if column.label not in found else column.key
        found[name] = contests, lacking
    return found


def _within_rows(
    state: State, rows: Sequence[tuple[int, RowSpec]], columns: Sequence[ColumnSpec]
) -> tuple[list[Contest], dict[str, str]]:
    """Each further cell of a row less its first one."""
    pairs = [
        (row.label, state.filled[index, column.key], column.label, state.filled[index, columns[0].key])
        for index, row in rows
        for column in columns[1:]
    ]
    contests = hold(state, pairs)
    tested = {contest.one for contest in contests}
    reasons = {
        row.label: evidence(state, state.filled[index, columns[0].key]).reason or "no second cell to hold against"
        for index, row in rows
    }
    return contests, {label: reason for label, reason in reasons.items() if label not in tested}


def hold(state: State, pairs: Iterable[tuple[str, Filled, str, Filled]]) -> list[Contest]:
    """The contests of labelled pairs of cells that can be tested, Holm over these."""
    found = []
    for one, a, other, b in pairs:
        seen = difference(state, a, b) if a.runs and b.runs else None
        if seen is not None:
            found.append((one, other, seen))
    adjusted = holm([seen.p for *_, seen in found])
    return [contest(one, other, Pair(seen, p)) for (one, other, seen), p in zip(found, adjusted, strict=True)]


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


def pairs_text(layout: Layout, reading: Reading, options: Options | None = None) -> str:
    """Every pair of a layout's rows, as Markdown with a caption; contrasts declared beforehand stand apart.

    A table with several columns of scores has a part for each of them in which two rows can be tested.

    Args:
        options: the table's own (which trial is chosen, whether runs on synthetic rows stand in it).
    """
    options = options or Options()
    found = by_column(layout, reading, options)
    declared = contrasts.text(layout, reading, options)
    if options.fixtures and any(run.is_fixture for run in reading.runs):
        declared += "\nfixtures=true: runs on synthetic rows or random weights may stand here.\n"
    parts = [
        _pairs(layout, f"{layout.title}, {label}" if len(found) > 1 else layout.title, contests, untested)
        for label, (contests, untested) in found.items()
        if contests
    ]
    if not parts:
        untested = next((lacking for _, lacking in found.values() if lacking), {})
        return f"{layout.title}: no two rows can be tested against each other{_because(untested)}.\n{declared}"
    return "\n".join(parts) + f"\n{declared}"


def _pairs(layout: Layout, title: str, contests: Sequence[Contest], untested: dict[str, str]) -> str:
    only = f"{layout.only} " if layout.only else ""
    return (
        f"{matrix(contests)}\n{title}. {only}{_direction(layout)}, in points, with a 95% interval, by {METHOD}; "
        f"bold: different at 5%, Holm over {_pairs_of(len(contests))}, which nobody declared beforehand (exploratory). "
        f"No bold is no proof of equality, and {COLLAPSE}." + (f" Not tested{_because(untested)}." if untested else "")
    )


def _pairs_of(count: int) -> str:
    return f"the {count} pairs" if count > 1 else "the one pair"


def _direction(layout: Layout) -> str:
    if not layout.narrows:
        return "The row less the column"
    first = next(column.label for column in layout.columns if column.kind == "score")
    return f"The cell of each column less the first cell of its row ({first})"


def _because(untested: dict[str, str]) -> str:
    """: one label (its reason); another (its reason)."""
    labels: dict[str, list[str]] = {}
    for label, reason in untested.items():
        labels.setdefault(reason, []).append(label)
    said = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in labels.items())
    return f": {said}" if said else ""


def _cell(contest: Contest) -> str:
    value = f"{contest.value:+.1f}"
    return f"{f'**{value}**' if contest.significant else value} [{contest.low:+.1f}, {contest.high:+.1f}]"
