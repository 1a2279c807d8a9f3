"""Printed averages against their own cells, and which definitions were tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from results.audit.cells import PrintedCell
from results.reference import Average

KEPT_OUT = ("no score in points", "read from extracted text; kept out until the original was seen")


@dataclass(frozen=True)
class Recomputed:
    """One printed average and what its cells give, in points.

    Attributes:
        tolerance: half a unit of the average and of its cells together; truncated: the same where digits may have been
            cut off instead of rounded.
        tried: definition -> value; corrected: the cells whose value is not the printed one, and why.
    """

    cell: PrintedCell
    computed: float
    tolerance: float
    truncated: float
    tried: tuple[tuple[str, float], ...]
    corrected: tuple[str, ...] = ()

    @property
    def gap(self) -> float:
        """Printed less recomputed, at the definition that comes nearest."""
        return min((self.cell.value - value for _, value in self.tried), key=abs)

    @property
    def flagged(self) -> bool:
        """Whether rounding of the cells and of the average cannot explain the gap."""
        return abs(self.gap) > self.tolerance + 1e-6

    @property
    def words(self) -> str:
        """What is said of it."""
        if not self.flagged:
            return "follows from the transcribed cells within rounding"
        if abs(self.gap) <= self.truncated + 1e-6:
            return "does not follow from the transcribed cells by rounding; truncated digits could explain it"
        return "does not follow from the transcribed cells"


def recomputed(cells: Sequence[PrintedCell], averages: Sequence[Average]) -> list[Recomputed]:
    """Every printed average of which all cells are on file, in the order on file."""
    found = []
    for average in averages:
        for cell in cells:
            if (cell.table, cell.task, cell.metric) == (average.table, average.task, "mean"):
                parts = parts_of(cells, cell, average)
                if parts:
                    found.append(_recompute(cell, parts, average.of))
    return found


def parts_of(cells: Sequence[PrintedCell], of: PrintedCell, average: Average) -> list[PrintedCell]:
    """The cells of an average's row; empty where one is not on file."""
    tables = average.tables or (average.table,)
    row = [c for c in cells if c.table in tables and (c.backbone, c.method) == (of.backbone, of.method)]
    row = [c for c in row if c.why_not not in KEPT_OUT]
    parts = [c for task in average.of for c in row if c.task == task]
    return parts if {c.task for c in parts} == set(average.of) else []


def _recompute(cell: PrintedCell, parts: Sequence[PrintedCell], tasks: Sequence[str]) -> Recomputed:
    by_task = [[c for c in parts if c.task == task] for task in tasks]
    means = [sum(c.value for c in held) / len(held) for held in by_task]
    tried = [("each task once, by the mean of its metrics", sum(means) / len(means))]
    if any(len(held) > 1 for held in by_task):
        tried.append(("each task once, by its first metric", sum(held[0].value for held in by_task) / len(by_task)))
        tried.append(("every printed cell once", sum(c.value for c in parts) / len(parts)))
    unit = 10.0**-cell.decimals
    cells = sum(sum(10.0**-c.decimals for c in held) / len(held) for held in by_task) / len(by_task)
    return Recomputed(cell, tried[0][1], (unit + cells) / 2, unit + cells, tuple(tried), _corrections(parts))


def _corrections(parts: Sequence[PrintedCell]) -> tuple[str, ...]:
    return tuple(f"{cell.task}: {cell.correction}" for cell in parts if cell.correction)
