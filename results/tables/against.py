"""One method against the others of a table: differences with intervals, p-values by Holm over all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from results.records import Reading
from results.statistics import holm
from results.tables.build import Options, fill
from results.tables.compare import difference
from results.tables.layout import Layout, RowSpec
from results.tables.model import Table

RESAMPLES = 2000


@dataclass(frozen=True)
class Contest:
    """A method less another one, in points; `p` is Holm's over the contests of the table."""

    other: str
    value: float
    low: float
    high: float
    p: float


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
    found, untested = [], []
    for index, spec in enumerate(layout.rows[:-1]):
        seen = difference(state, ours, state.filled[index, column], RESAMPLES) if ours.runs else None
        if seen is None:
            untested.append(spec.label)
        else:
            found.append((spec.label, seen))
    adjusted = holm([seen.p for _, seen in found])
    contests = [
        Contest(label, 100 * seen.value, 100 * seen.low, 100 * seen.high, p)
        for (label, seen), p in zip(found, adjusted, strict=True)
    ]
    return table, contests, untested
