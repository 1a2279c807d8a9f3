"""The sentences that say what bold means, what was tested how, and what could have been seen at all."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from results.statistics import detectable, fewest_discordant
from results.tables import contrasts
from results.tables.compare import LEVEL, ColumnTests, Pair
from results.tables.model import Table
from results.tables.state import State
from tasks.metrics import of_nature

METHOD = (
    "a two-way test (seeds and examples crossed at random; Satterthwaite, Student; the variance of seeds informed by "
    "the column's other rows, else Welch's test beside it)"
)
COLLAPSE = "a collapse that is not among these seeds no test can see"
COLUMNS_NAMED = 4


def sentences(state: State, table: Table) -> list[str]:
    """What bold means, the columns without it, and the difference that could have been seen."""
    names = {column.key: column.label for column in table.columns}
    bold = {c.key for c in table.columns if any(row.cells[c.key].best for row in table.rows if c.key in row.cells)}
    without = [names[key] for key in state.tests if key not in bold]
    if not state.options.significance:
        highest = ["Bold: the highest of its column; nothing was tested."] if bold else []
        unlike = f"No bold in {', '.join(without)}: its cells are of several tasks, metrics, splits or rows."
        return highest + ([unlike] if without else [])
    said = []
    if bold:
        counts = sorted({len(state.tests[key].pairs) for key in bold})
        said.append(
            f"Bold: the best of its column and all that are not significantly worse, by {METHOD}; Holm over all pairs "
            f"of a column ({_range(counts)}), 5%{_seeds([state.tests[key] for key in bold])}. Bold is no proof of "
            f"equality, and {COLLAPSE}."
        )
    if without:
        said.append(f"No bold in {', '.join(without)}: the highest cell is not tested.")
    return said + _detectable(state, names) + [contrasts.sentence(state)]


def _seeds(tests: Sequence[ColumnTests]) -> str:
    counts = sorted({count for test in tests for count in test.seeds})
    if not counts:
        return ""
    return f"; {_range(counts)} seeds per trained cell"


def _range(counts: Sequence[int]) -> str:
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _detectable(state: State, names: dict[str, str]) -> list[str]:
    """The true difference that would have been found four times in five, between two typical rows of each column."""
    found = []
    for key, tests in state.tests.items():
        pairs = list(tests.pairs.values())
        if tests.seeds and pairs:
            found.append((typical(pairs, LEVEL), typical(pairs, LEVEL / len(pairs)), names[key]))
    if not found:
        return _at_most(state)
    found.sort()
    shown = found if len(found) <= COLUMNS_NAMED else [found[0], found[-1]]
    parts = [f"{label} {_shown(alone)} ({_shown(corrected)})" for alone, corrected, label in shown]
    listed = ", ".join(parts) if len(found) <= COLUMNS_NAMED else f"from {' to '.join(parts)}"
    return [
        "A true difference between two rows would have been found four times in five (80% power) with these seeds and "
        f"examples if it were, in points (in brackets after Holm; none: not even 100): {listed}."
    ]


def _at_most(state: State) -> list[str]:
    """What two single runs could show where nothing was tested: all examples that differ speak for one side."""
    sizes: dict[int, str] = {}
    for filled in state.filled.values():
        cell = filled.cell
        if cell.value is not None and cell.units and cell.metric in of_nature("proportion"):
            sizes[cell.units] = cell.task
    count = fewest_discordant(LEVEL)
    if not sizes:
        return []
    ends = sorted({min(sizes), max(sizes)})
    parts = [f"{100 * count / n:.1f} points on {sizes[n]} (n = {n:,})" for n in ends]
    return [
        f"Two single runs are told apart by {count} examples at the least, all in one direction (McNemar, 5%): "
        f"{', '.join(parts)}; the noise of seeds comes on top."
    ]


def _shown(difference: float) -> str:
    return f"{difference:.1f}" if difference < 100 else "none"


def typical(pairs: Sequence[Pair], level: float) -> float:
    """The median over pairs of what each could have shown at 80% power, in points."""
    return 100 * statistics.median(detectable(p.difference.error, p.difference.degrees, 1 - level) for p in pairs)
