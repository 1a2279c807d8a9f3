"""What needs no claim: test sets with the smallest differences that they could show, and attainable values."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from results.audit.attainable import RUNS, USELESS, Compatible, compatible
from results.audit.cells import PrintedCell, error_of, items_of
from results.audit.pairs import NORMAL, smallest_paired
from results.audit.standard_errors import Range


@dataclass(frozen=True)
class PrintedColumn:
    """One task and metric of a table.

    Attributes:
        rows: printed values; median: of them, in points; error: its standard error from the test set.
        paired, unpaired: smallest difference of two single runs, fractions (paired for accuracy and exact match alone).
        reported: least and greatest difference of the paper's own row less each other row, in points.
        differences: all of them.
    """

    task: str
    metric: str
    n: int
    size_from: str
    rows: int
    median: float
    error: Range
    paired: float | None
    unpaired: float
    differences: tuple[float, ...]

    @property
    def reported(self) -> tuple[float, float] | None:
        """The span of the differences, None where there is no own row or no other one."""
        return (min(self.differences), max(self.differences)) if self.differences else None


def columns_of(cells: Sequence[PrintedCell], own: str | None = None) -> list[PrintedColumn]:
    """The columns of one table that can be audited, in the order on file; `own` is the paper's own row."""
    held: dict[tuple[str, str], list[PrintedCell]] = {}
    for cell in cells:
        if error_of(cell)[0] is not None:
            held.setdefault((cell.task, cell.metric), []).append(cell)
    found = []
    for (task, metric), column in held.items():
        middle = statistics.median(cell.value for cell in column)
        error = error_of(replace(column[0], value=middle, exact=None))[0]
        items = items_of(column[0])
        test = column[0].test
        if error is None or test is None:
            continue
        ours = [cell.value for cell in column if cell.method == own]
        others = [cell.value for cell in column if cell.method != own]
        found.append(
            PrintedColumn(
                task=task,
                metric=metric,
                n=items or test.n,
                size_from=test.source,
                rows=len(column),
                median=middle,
                error=error,
                paired=smallest_paired(items) if items else None,
                unpaired=NORMAL * math.sqrt(2.0) * error.high,
                differences=tuple(round(x - y, 6) for x in ours[:1] for y in others),
            )
        )
    return found


def attainable_lines(cells: Sequence[PrintedCell]) -> list[str]:
    """Accuracies that their declared runs and split do not give, with what they fit, and what the check could see."""
    lines: list[str] = []
    for table in dict.fromkeys(cell.table for cell in cells):
        held = [(cell, _fits(cell)) for cell in cells if cell.table == table and _checkable(cell)]
        if not held:
            continue
        other = [(cell, fits) for cell, fits in held if not fits.as_declared]
        power = statistics.fmean(fits.power for _, fits in held)
        lines.append(
            f"- {table}: {len(held)} accuracies on fewer than {USELESS} examples; {len(held) - len(other)} are k/n of "
            f"their declared runs and split (one run where the number is not known), rounded; {len(other)} are not. On "
            f"average the check would notice {100 * power:.0f}% of values that are not."
        )
        lines += [
            f"  - {cell.method}, {cell.task} {cell.value:.{cell.decimals}f}: {fits.words}." for cell, fits in other
        ]
    return lines


def _checkable(cell: PrintedCell) -> bool:
    items = items_of(cell)
    return cell.metric == "accuracy" and items is not None and items * (cell.runs or 1) < USELESS and not cell.derived


def _fits(cell: PrintedCell) -> Compatible:
    n, whole = items_of(cell) or 1, cell.test.whole if cell.test else None
    sizes = {"half dev": n, "whole dev": whole} if whole and whole > n else {"its test set": n}
    runs = tuple(sorted({*RUNS, *([cell.runs] if cell.runs else [])}, key=lambda r: (r != (cell.runs or 1), r)))
    return compatible(cell.value, cell.decimals, sizes, runs)
