"""Two cells side by side: their difference, its standard error, and the verdict that the test set allows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from results.audit import standard_errors
from results.audit.cells import PrintedCell, error_of, items_of
from results.audit.pairs import PrintedDifference, Verdict, difference, two_sided, unpaired, verdict
from results.audit.standard_errors import Range
from results.statistics import expected_best
from tasks.metrics import of_nature


@dataclass(frozen=True)
class Judged:
    """A comparison of two cells.

    Attributes:
        d: a - b, fractions; error: its unpaired standard error (fractions; on Fisher's scale for correlations).
        verdict: None where the pair is not audited; `why_not` then says why.
        notes: what else bears on the pair, sentences without a full stop.
    """

    task: str
    a: PrintedCell
    b: PrintedCell
    d: PrintedDifference
    error: Range | None = None
    degrees: float = math.inf
    verdict: Verdict | None = None
    why_not: str = ""
    notes: tuple[str, ...] = ()


def compare(a: PrintedCell, b: PrintedCell) -> Judged:
    """The verdict on two cells of the same task and metric."""
    d = difference(a.value / 100.0, b.value / 100.0, a.half_unit, b.half_unit)
    why = _not_comparable(a, b)
    if why:
        return Judged(a.task, a, b, d, why_not=why)
    if a.metric in of_nature("correlation"):
        return _correlations(a, b, d)
    (error_a, why_a), (error_b, why_b) = error_of(a), error_of(b)
    if error_a is None or error_b is None:
        return Judged(a.task, a, b, d, why_not=why_a or why_b)
    spreads, degrees, high = _with_training(a, b, error_a, error_b)
    noise = sum(variance for variance, _ in spreads)
    low = math.sqrt(unpaired(error_a.low, error_b.low) ** 2 + noise)
    floor = _items(a, b)
    judged = verdict(d, high, degrees=degrees, n=floor, single=_single(a, b))
    return Judged(a.task, a, b, d, Range(min(low, high), high), degrees, judged, notes=_notes(a, b))


def _not_comparable(a: PrintedCell, b: PrintedCell) -> str:
    """Why two cells are no pair, empty where they are."""
    if a.metric != b.metric:
        return f"two metrics ({a.metric}, {b.metric})"
    if a.test is None or b.test is None:
        return (a if a.test is None else b).why_not or "its test set is not on file"
    if (a.test.name, a.test.n) != (b.test.name, b.test.n) or a.split != b.split:
        return "not the same test set"
    return ""


def _with_training(
    a: PrintedCell, b: PrintedCell, error_a: Range, error_b: Range
) -> tuple[list[tuple[float, float]], float, float]:
    """Variances of printed spreads (with their degrees of freedom), Satterthwaite's degrees for all, and the error.

    A spread of unknown kind is read both ways and the reading with the larger p is kept.
    """
    tests = [(error_a.high**2, _test_degrees(a)), (error_b.high**2, _test_degrees(b))]
    d = abs(a.value - b.value) / 100.0
    readings = []
    for number in (0, 1):
        spreads = [(c.training.variances()[number], float(c.training.runs - 1)) for c in (a, b) if c.training]
        parts = tests + spreads
        total = math.sqrt(sum(variance for variance, _ in parts))
        # without a printed spread it is a normal test, as for two proportions
        degrees = standard_errors.satterthwaite(parts) if spreads else math.inf
        readings.append((two_sided(d, total, degrees), degrees, total, spreads))
    _, degrees, total, spreads = max(readings, key=lambda reading: reading[0])
    return spreads, degrees, total


def _test_degrees(cell: PrintedCell) -> float:
    return float(cell.test.n - 1) if cell.test and cell.test.n > 1 else math.inf


def _single(a: PrintedCell, b: PrintedCell) -> bool | None:
    """Whether both are single runs; None where it is not known of one and not excluded by the other."""
    if any(c.runs is not None and c.runs > 1 for c in (a, b)):
        return False
    return True if a.runs == 1 and b.runs == 1 else None


def _items(a: PrintedCell, b: PrintedCell) -> int | None:
    """Items of the paired floor: accuracy or exact match of two cells on the same items, a printed value each."""
    first, second = items_of(a), items_of(b)
    return first if first is not None and first == second and not (a.derived or b.derived) else None


def _correlations(a: PrintedCell, b: PrintedCell, d: PrintedDifference) -> Judged:
    """Pearson and Spearman on Fisher's scale; the width of rounding goes through the same transformation."""
    n, rank = (a.test.n if a.test else 0), a.metric == "spearman"
    error = math.sqrt(2.0) * standard_errors.fisher_error(n, rank=rank)
    try:
        on_scale = standard_errors.fisher_z(a.value / 100.0) - standard_errors.fisher_z(b.value / 100.0)
        slope = 1.0 / (1.0 - max(abs(a.value), abs(b.value)) ** 2 / 1e4)
    except ValueError:
        return Judged(a.task, a, b, d, why_not="a correlation of 1 has no Fisher's z")
    scaled = PrintedDifference(on_scale, d.width * slope)
    variance = sum(c.training.variances()[1] * slope**2 for c in (a, b) if c.training)
    total = math.sqrt(error**2 + variance)
    return Judged(
        a.task, a, b, d, Range.exact(total), verdict=verdict(scaled, total), notes=("approximate", *_notes(a, b))
    )


def _notes(a: PrintedCell, b: PrintedCell) -> tuple[str, ...]:
    """What bears on a pair beside its test set."""
    notes = []
    if a.test and a.test.clustered:
        notes.append("passages are shared, so the error is a lower bound")
    if a.origin != b.origin or a.origin != "own run":
        notes.append("rows of different or unstated origin, so they may differ in pipeline too")
    if not (a.training and b.training):
        notes.append("training noise not assessable")
    for cell in (a, b):
        if cell.correction:
            notes.append(f"{cell.method}, {cell.task}: {cell.correction}")
        if cell.best_of:
            notes.append(f"{cell.method}: the best of {cell.best_of} runs, {_optimism(cell)}")
        if cell.selection == "reported":
            notes.append(f"{cell.method}: chosen on the reported split, optimistic, not quantified")
    return tuple(dict.fromkeys(notes))


def _optimism(cell: PrintedCell) -> str:
    """By how much the best of R runs is flattered: the expected largest of R normal draws times the printed spread."""
    if cell.spread is None or cell.best_of is None:
        return "optimistic; no spread is printed"
    return f"optimistic by about {expected_best(cell.best_of) * cell.spread:.1f} points"


def average_error(parts: Sequence[PrintedCell]) -> tuple[float | None, str]:
    """Standard error of an average over tasks, each cell weighing as it does in the mean; else the reason.

    A task with two metrics counts once, by their mean; its metrics are taken as moving together (the larger error).
    """
    by_task: dict[str, list[PrintedCell]] = {}
    for cell in parts:
        by_task.setdefault(cell.task, []).append(cell)
    made = []
    for task, cells in by_task.items():
        found = [error_of(cell) for cell in cells]
        if any(error is None for error, _ in found):
            return None, f"{task}: {next(why for error, why in found if error is None)}"
        mean = sum(error.high for error, _ in found if error) / len(found)
        made.append((cells[0].test.name if cells[0].test else task, mean))
    return standard_errors.average(made), ""


def compare_averages(
    a: PrintedCell, b: PrintedCell, parts_a: Sequence[PrintedCell], parts_b: Sequence[PrintedCell]
) -> Judged:
    """Two averages over the same tasks, tested alone (no floor of items, no sign test over tasks)."""
    d = difference(a.value / 100.0, b.value / 100.0, a.half_unit, b.half_unit)
    if sorted((c.task, c.metric) for c in parts_a) != sorted((c.task, c.metric) for c in parts_b):
        return Judged(a.task, a, b, d, why_not="their averages are over different cells")
    (error_a, why_a), (error_b, why_b) = average_error(parts_a), average_error(parts_b)
    if error_a is None or error_b is None:
        return Judged(a.task, a, b, d, why_not=why_a or why_b)
    total = math.sqrt(error_a**2 + error_b**2 + _training_of(parts_a) + _training_of(parts_b))
    notes = _notes(a, b) + (("passages are shared, so the error is a lower bound",) if _clustered(parts_a) else ())
    return Judged(a.task, a, b, d, Range.exact(total), verdict=verdict(d, total), notes=tuple(dict.fromkeys(notes)))


def _training_of(parts: Sequence[PrintedCell]) -> float:
    """Variance between runs of an average, where every part prints a spread (the larger reading of it); else 0."""
    known = [cell.training.variances()[1] for cell in parts if cell.training]
    return sum(known) / len(parts) ** 2 if len(known) == len(parts) else 0.0


def _clustered(parts: Sequence[PrintedCell]) -> bool:
    return any(cell.test is not None and cell.test.clustered for cell in parts)
