"""The numbers that a cell is made of: scores in points, or a measured speed, time or memory in its own unit."""

from __future__ import annotations

import math

from results.ensembles import TOGETHER, together_at
from results.tables.state import Filled

MEASURES = {
    "rate": ("train_examples_per_second", 1.0),
    "eval_rate": ("eval_examples_per_second", 1.0),
    "bytes": ("peak_memory_bytes", 1.0 / 2**20),
    "seconds": ("wall_seconds", 1.0),
}


def measured_in(filled: Filled) -> list[float]:
    """Speed, time or memory of a cell's runs; what shared its passes with others is left out."""
    alone = [run for run in filled.runs if not run.packed]
    if len(alone) < len(filled.runs):
        filled.cell.footnotes.append("packed runs are left out of efficiency: they shared their passes")
    name, scale = MEASURES[filled.column.kind]
    # what a run took is of the run as a whole: step 0 has none of it, nor has a grid's median or seeds together
    taken = [run.record.get(name) for run in alone if filled.row.value == "score"]
    return [value * scale for value in taken if isinstance(value, int | float) and math.isfinite(value)]


def values_of(filled: Filled) -> list[float]:
    """What stands for a cell, in points: each run's score, or one number of its grid or of its seeds together."""
    row, metric, runs = filled.row, filled.column.metric, filled.runs
    if row.value == "median":
        choice = filled.choice
        return [100.0 * choice.median] if choice.median is not None and len(choice.trials) > 1 else []
    if row.value in TOGETHER:
        try:
            return [100.0 * together_at(row.value, runs, metric)] if runs else []
        except ValueError as error:
            filled.cell.footnotes.append(f"no {TOGETHER[row.value]}: {error}")
            return []
    scores = [run.score(metric=metric, untrained=row.value == "untrained") for run in runs]
    return [100.0 * score for score in scores if score is not None]
