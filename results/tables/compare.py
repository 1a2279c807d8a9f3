"""The rows of a column against each other: every pair tested, Holm over all of them, bold read off the best's pairs."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from results.statistics import holm
from results.tables.evidence import Evidence, Measure, evidence, measure
from results.tables.layout import ColumnSpec
from results.tables.model import Table
from results.tables.state import Filled, State
from results.two_way import Difference, Term, compare_sums, usual_variance

LEVEL = 0.05
UNTESTED = "not tested: "


@dataclass(frozen=True)
class Pair:
    """One cell less another one (fractions) and its p-value by Holm over all pairs that were tested together."""

    difference: Difference
    p: float

    @property
    def significant(self) -> bool:
        """Whether the difference is told from nothing at 5%, over all that was looked at together."""
        return self.p <= LEVEL


@dataclass
class ColumnTests:
    """All pairs of rows of one column: (one row, a later one) -> the first less the second."""

    pairs: dict[tuple[int, int], Pair] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)  # rows that are not tested, and why
    seeds: tuple[int, ...] = ()  # runs behind the trained cells that were tested

    def as_good(self, row: int, best: int) -> bool:
        """Whether a row is the best one, or was tested against it and is not significantly different."""
        pair = self.pairs.get((min(row, best), max(row, best)))
        return row == best or (pair is not None and not pair.significant)


def difference(state: State, one: Filled, other: Filled) -> Difference | None:
    """The difference between two cells (fractions) from their predictions; None where they cannot be compared.

    The further cells of their columns tell how much seeds usually spread, as where a whole column is tested.
    """
    keys = {one.column.key, other.column.key}
    others = [
        [Piece(1.0, "", evidence(state, filled))]
        for filled in state.filled.values()
        if filled.column.key in keys
        and filled is not one
        and filled is not other
        and filled.cell.metric == one.cell.metric
    ]
    return _difference([Piece(1.0, "", evidence(state, one))], [Piece(1.0, "", evidence(state, other))], others)


@dataclass(frozen=True)
class Piece:
    """A cell as a part of an average: its weight, the variable it measures, what its predictions say."""

    weight: float
    variable: str
    evidence: Evidence


def _difference(one: list[Piece], other: list[Piece], others: list[list[Piece]]) -> Difference | None:
    groups: dict[str, list[Term]] = defaultdict(list)
    if any(len(row) != len(one) for row in (other, *others)):
        return None
    for place, (a, b) in enumerate(zip(one, other, strict=True)):
        if a.evidence.sample is None or b.evidence.sample is None or a.evidence.unlike(b.evidence):
            return None
        further = [sample for row in others if (sample := row[place].evidence.sample) is not None]
        groups[a.variable].append(Term(a.weight, a.evidence.sample, b.evidence.sample, usual_variance(further)))
    return compare_sums(groups.values())


def pieces(state: State, table: Table, row: int, column: ColumnSpec) -> list[Piece]:
    """What a cell is made of: itself, or the cells that it averages.

    A task with several metrics from the same runs (MRPC) is one cell of their means; a task that stands in two suites
    (RTE) is one variable.
    """
    if not column.of:
        return [Piece(1.0, column.key, evidence(state, state.filled[row, column.key]))]
    found = []
    for group in column.of:
        keys = (group,) if isinstance(group, str) else group
        task = table.rows[row].cells[keys[0]].task.rpartition("/")[2].lower() or keys[0]
        parts = [evidence(state, state.filled[row, key]) for key in keys]
        runs = {tuple(table.rows[row].cells[key].run_ids) for key in keys}
        if len(runs) == 1 and len({part.ids for part in parts}) == 1:
            found.append(Piece(1.0 / len(column.of), task, _mean(parts)))
        else:
            weight = 1.0 / len(column.of) / len(keys)
            found += [Piece(weight, task, part) for part in parts]
    return found


def _mean(parts: list[Evidence]) -> Evidence:
    """The mean of several metrics of the same runs on the same examples."""
    samples = [part.sample for part in parts if part.sample is not None]
    if len(samples) < len(parts):
        return next(part for part in parts if part.sample is None)
    scores = np.mean([sample.scores for sample in samples], axis=0)
    values = np.mean([sample.values for sample in samples], axis=0)
    return replace(parts[0], reason="", sample=replace(samples[0], scores=scores, values=values))


def hold(rows: Mapping[int, list[Piece]]) -> dict[tuple[int, int], Pair]:
    """All pairs of rows (the first less the second), each informed by the other rows, Holm over all of them."""
    found = {}
    for one, other in combinations(rows, 2):
        further = [row for key, row in rows.items() if key not in (one, other)]
        seen = _difference(rows[one], rows[other], further)
        if seen is not None:
            found[one, other] = seen
    adjusted = holm([seen.p for seen in found.values()])
    return {key: Pair(seen, p) for (key, seen), p in zip(found.items(), adjusted, strict=True)}


def column_tests(state: State, table: Table, column: ColumnSpec) -> ColumnTests:
    """Test all pairs of rows of a column that have a value; cells on other examples than most cannot be paired."""
    made: dict[int, list[Piece]] = {}
    tests = ColumnTests()
    for row, spec in enumerate(state.layout.rows):
        cell = table.rows[row].cells.get(column.key)
        if spec.one_number or cell is None or cell.value is None:
            continue
        made[row] = pieces(state, table, row, column)
        reason = next((piece.evidence.reason for piece in made[row] if piece.evidence.sample is None), "")
        if reason:
            tests.reasons[row] = reason
    usable = [row for row in made if row not in tests.reasons]
    values = {row: table.rows[row].cells[column.key].value or 0.0 for row in usable}
    tests.reasons |= _apart({row: made[row] for row in usable}, values)
    usable = [row for row in usable if row not in tests.reasons]
    tests.pairs = hold({row: made[row] for row in usable})
    samples = [piece.evidence.sample for row in usable for piece in made[row]]
    tests.seeds = tuple(sorted({len(s.scores) for s in samples if s is not None and s.trained}))
    return tests


def _apart(rows: Mapping[int, list[Piece]], values: Mapping[int, float]) -> dict[int, str]:
    """The rows that are no answer to the question that most rows of a column answer, with the reason.

    Of two questions that as many rows answer it is that of the higher cell.
    """
    asked = {row: tuple((p.evidence.measure, p.evidence.ids) for p in found) for row, found in rows.items()}
    counts = Counter(asked.values())
    if len(counts) < 2:
        return {}
    middle = rows[max(rows, key=lambda row: (counts[asked[row]], values[row]))]
    found = {
        row: next((why for a, b in zip(mine, middle, strict=True) if (why := a.evidence.unlike(b.evidence))), "")
        for row, mine in rows.items()
    }
    return {row: why for row, why in found.items() if why}


def alike(state: State, column: ColumnSpec, rows: Iterable[int]) -> bool:
    """Whether the cells of a column answer one question, as far as records tell."""
    keys = [key for group in column.of for key in ((group,) if isinstance(group, str) else group)] or [column.key]
    for key in keys:
        seen: list[Measure] = [measure(state.filled[row, key]) for row in rows]
        if any(one.unlike(seen[0]) for one in seen[1:]):
            return False
    return True


def mark_best(state: State, table: Table) -> None:
    """Mark the best cell of each column and all that are not significantly worse than it.

    Where the highest cell is not tested, no cell of its column is marked: nothing is known to be as good as it.
    """
    for column in state.layout.columns:
        if column.kind not in ("score", "average"):
            continue
        rows = [i for i, spec in enumerate(state.layout.rows) if not spec.one_number]
        cells = {i: table.rows[i].cells[column.key] for i in rows if column.key in table.rows[i].cells}
        scored = {i: cell for i, cell in cells.items() if cell.value is not None}
        if len(scored) < 2:
            continue
        top = max(cell.value or 0.0 for cell in scored.values())
        tied = [row for row, cell in scored.items() if math.isclose(cell.value or 0.0, top, abs_tol=1e-9)]
        if not state.options.significance:
            state.tests[column.key] = ColumnTests()
            if alike(state, column, scored):
                for row in tied:
                    scored[row].best = True
            continue
        tests = state.tests[column.key] = column_tests(state, table, column)
        for row, reason in tests.reasons.items():
            scored[row].footnotes.append(UNTESTED + reason)
        best = next((row for row in tied if row not in tests.reasons), None)
        if best is None:
            continue
        for row, cell in scored.items():
            cell.best = tests.as_good(row, best)
