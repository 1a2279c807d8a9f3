"""Cells that are made of a row's other cells or of its runs' sizes: averages, parameters, numbers of examples."""

from __future__ import annotations

from typing import Any

from results.records import Run
from results.tables.layout import ColumnSpec
from results.tables.model import Cell, Row
from results.tables.state import Filled, State


def average_cell(state: State, index: int, column: ColumnSpec, row: Row) -> Cell:
    """The mean of other columns; incomplete where one is missing, never a mean of what happens to be there."""
    tasks = [[row.cells[k] for k in ((key,) if isinstance(key, str) else key)] for key in column.of]
    parts = [part for task in tasks for part in task]
    cell = Cell(metric="mean", task=column.label, backbone=next((p.backbone for p in parts if p.backbone), ""))
    cell.run_ids = [run_id for part in parts if part.value is not None for run_id in part.run_ids]
    means = [
        sum(part.value or 0.0 for part in task) / len(task)
        for task in tasks
        if all(part.value is not None for part in task)
    ]
    if means and len(means) == len(tasks):
        cell.value = sum(means) / len(means)
        cell.n = min(part.n for part in parts)
    else:
        run_here = any(part.text != "–" for part in parts)
        cell.text = f"{len(means)}/{len(tasks)}" if means else "missing" if run_here else "–"
    return cell


def parameter_cell(state: State, index: int) -> Cell:
    """Trainable parameters of a row's runs (a range where tasks or trials differ); of answers together those of all."""
    counts: set[Any] = set()
    heads = set()
    for (row_index, _), filled in state.filled.items():
        if row_index == index and filled.runs:
            for run in filled.runs:
                counts.add(_trained_in(filled, run))
                heads.add(run.record.get("head_parameters") or 0)
    known = sorted(count for count in counts if isinstance(count, int))
    if not known:
        return Cell(text="–")
    cell = Cell(value=float(known[0]), text="")
    if known[0] != known[-1]:
        cell.text = f"{known[0]:,}–{known[-1]:,}"
        cell.value = None
    if heads - {0}:
        cell.footnotes.append(
            "a head of " + ", ".join(f"{h:,}" for h in sorted(heads - {0})) + " parameters is counted apart"
        )
    return cell


def size_cell(state: State, index: int) -> Cell:
    """Number of examples behind the row's scores."""
    sizes = {
        filled.cell.test_size
        for (row_index, _), filled in state.filled.items()
        if row_index == index and filled.cell.test_size
    }
    if not sizes:
        return Cell(text="–")
    low, high = min(sizes), max(sizes)
    return Cell(value=float(low)) if low == high else Cell(text=f"{low:,}–{high:,}")


def _trained_in(filled: Filled, run: Run) -> int | None:
    """The parameters that a run's row trains: none before training, all seeds' where they answer together."""
    if filled.row.value == "untrained":
        return 0
    count: int | None = run.record.get("trainable_parameters")
    together = len(filled.runs) if filled.row.value in ("vote", "soft") else 1
    return count * together if isinstance(count, int) else count
