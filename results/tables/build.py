"""Fill a layout with runs: selection, means, spreads, published values, marks, caption."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from results.records import Reading, Run, lookup, matches
from results.selection import Choice, choose
from results.statistics import least_share, proportion_error
from results.tables import caption, compare, derived, published
from results.tables.commands import command_for
from results.tables.evidence import counted_by
from results.tables.layout import ColumnSpec, Layout, RowSpec
from results.tables.model import Cell, Column, Row, Table
from results.tables.rows import expand
from results.tables.state import Filled, Options, State
from results.tables.values import MEASURES, measured_in, values_of
from results.today import code_of_today
from tasks.metrics import of_nature

# runs that are no failures: what is said of them once per table
EARLIER = "made by other code than is here now: its files have been edited since, or are not here"
UNFINISHED = {
    "interrupted": "the same command goes on from the checkpoint",
    "running": "not finished",
}


def build(layout: Layout, reading: Reading, options: Options | None = None) -> Table:
    """The table of a layout from the runs of a ledger."""
    return fill(layout, reading, options)[1]


def fill(layout: Layout, reading: Reading, options: Options | None = None) -> tuple[State, Table]:
    """The table of a layout, and what its cells were made of."""
    options = options or Options()
    runs = [run for run in reading.runs if matches(run, layout.where)]
    usable = [run for run in runs if options.fixtures or not run.is_fixture]
    declared = frozenset(name for row in layout.rows for where in (row.where, *row.cells.values()) for name in where)
    asked, layout = layout, expand(layout, usable)
    state = State(layout, options, reading, declared, kept_out=len(runs) - len(usable), asked=asked)
    state.buckets = _buckets(usable)
    columns = [Column(c.key, c.label, c.kind, c.group, c.note) for c in layout.columns]
    table = Table(layout.paper, layout.name, layout.title, columns, [], problems=list(reading.problems))
    for index, spec in enumerate(layout.rows):
        row = Row(spec.label, spec.method, group=spec.group)
        table.rows.append(row)
        for column in layout.columns:
            if not column.of and column.kind not in ("parameters", "size"):
                filled = _score_cell(state, spec, column)
                state.filled[index, column.key] = filled
                row.cells[column.key] = filled.cell
    _unfinished(table)
    published.published(state, table)
    for index, row in enumerate(table.rows):
        for column in layout.columns:
            if column.of:
                row.cells[column.key] = derived.average_cell(state, index, column, row)
            elif column.kind == "parameters":
                row.cells[column.key] = derived.parameter_cell(state, index)
            elif column.kind == "size":
                row.cells[column.key] = derived.size_cell(state, index)
    published.published_averages(state, table)
    compare.mark_best(state, table)
    table.caption = caption.sentences(state, table)
    return state, table


def _buckets(runs: Sequence[Run]) -> dict[tuple[Any, Any], list[Run]]:
    """Runs by (method, task), by (method, None) and by (None, task): most cells ask for these."""
    buckets: dict[tuple[Any, Any], list[Run]] = defaultdict(list)
    for run in runs:
        method, task = run.get("method"), run.get("task")
        for key in ((method, task), (method, None), (None, task), (None, None)):
            buckets[key].append(run)
    return buckets


def candidates(state: State, row: RowSpec, column: ColumnSpec) -> list[Run]:
    """Runs of any status that belong in a cell."""
    if not row.where or column.key in row.without:
        return []
    where = row.taking(column)
    method, task = (_plain(where.get(name)) for name in ("method", "task"))
    return [run for run in state.buckets.get((method, task), ()) if row.takes(run, column)]


def _plain(wanted: Any) -> str | None:
    """A wanted value that is one name; None where several are meant."""
    return wanted if isinstance(wanted, str) and not wanted.startswith(("!", "*")) else None


def _score_cell(state: State, row: RowSpec, column: ColumnSpec) -> Filled:
    """A cell of scores (or of a measured speed, time or memory)."""
    found = candidates(state, row, column)
    choice = choose(found, state.options.selection, column.metric)
    runs = sorted(choice.runs, key=lambda run: (str(type(run.get("seed"))), run.get("seed"), run.id))
    cell = Cell(task=str(column.where.get("task", "")), metric=column.metric or "")
    filled = Filled(row, column, cell, choice, runs)
    measured = column.kind in MEASURES
    values = measured_in(filled) if measured else values_of(filled)
    runs = [run for run in runs if not (measured and run.packed)]
    if runs:
        first = runs[0]
        cell.metric = MEASURES[column.kind][0] if measured else column.metric or first.primary_metric
        cell.backbone, cell.task = str(first.get("backbone")), str(first.get("task"))
        cell.test_size = first.size()
        cell.units = counted_by(first, cell.metric) or cell.test_size
        cell.run_ids = [run.id for run in runs]
        cell.provenance = _provenance(runs)
    if column.kind == "score" and not row.one_number:
        cell.scores, cell.every_seed = values, state.options.cells == "all"
        _lost(cell, runs, column.metric, row.value == "untrained")
    if values:
        cell.value = sum(values) / len(values)
        cell.n = 0 if row.value == "median" else len(runs) if row.one_number else len(values)
        if row.value == "median":
            cell.footnotes.append(f"the median of {len(choice.trials)} trials")
        cell.spread, cell.spread_kind = (None, "") if row.one_number else _spread(state, cell, values)
    sources = dict.fromkeys(str(lookup(run.record, "adopted.source")) for run in runs if run.record.get("adopted"))
    cell.footnotes += [
        f"theirs: predictions of {source}; training, budget and selection are not known" for source in sources
    ]
    _status_marks(cell, found, choice)
    if not all(code_of_today(run) for run in runs):
        cell.footnotes.append(EARLIER)
    if cell.text == "no score" and measured:
        cell.text = "–"  # nothing was trained: there is no speed to miss
    if not row.where or column.key in row.without:
        cell.text = "–"  # a published row that is not run here
    elif cell.value is None and not choice.trials:
        cell.command = command_for(state.layout, row, column, state.reading)
    return filled


def _lost(cell: Cell, runs: Sequence[Run], metric: str | None, untrained: bool) -> None:
    """Name the finished runs whose score is missing or no finite number: they are not in the mean."""
    for run in runs:
        if not untrained and run.score(metric=metric) is None:
            cell.footnotes.append(f"run {run.id} is done without a finite score and is not in the mean")


def _spread(state: State, cell: Cell, values: Sequence[float]) -> tuple[float | None, str]:
    """Spread in points: over seeds where there are several, else binomial for a proportion.

    A standard error of 0 would claim that nothing else could have happened: a footnote says what is known.
    """
    if len(values) > 1:
        deviation = statistics.stdev(values)
        if state.layout.spread != "se":
            return deviation, "sd"
        if deviation > 0:
            return deviation / math.sqrt(len(values)), "se"
        cell.footnotes.append(f"its {len(values)} seeds scored alike: no standard error over seeds can be estimated")
    elif state.layout.spread == "se" and cell.metric in of_nature("proportion") and cell.units:
        error = proportion_error(values[0] / 100.0, cell.units)
        if error is not None:
            return 100.0 * error, "se"
        cell.footnotes.append(_all_alike(values[0], cell.units))
    return None, ""


def _all_alike(value: float, n: int) -> str:
    """What is known of a share where every answer, or none, is right (`value` in points)."""
    least = 100.0 * least_share(n)
    seen, bound = ("all", f"{least:.1f} or more") if value > 50.0 else ("none", f"{100.0 - least:.1f} or less")
    return (
        f"{seen} of {n:,} right: no standard error can be estimated; in the long run {bound} are right (95%, "
        "one-sided, exact)"
    )


def _status_marks(cell: Cell, found: Sequence[Run], choice: Choice) -> None:
    """Say what is not done, and why a cell with runs has no value."""
    cell.footnotes += choice.notes
    broken = [run for run in found if not run.done]
    for run in broken:
        if run.status in UNFINISHED and not run.get("reason"):
            cell.unfinished.append((run.status, run.id))
            continue
        reason = str(run.get("reason") or run.get("stale") or "no reason recorded")
        cell.footnotes.append(f"run {run.id} {run.status}: {reason.splitlines()[0][:160]}")
    if choice.problem:
        cell.text = "ambiguous"
        cell.footnotes.append(choice.problem)
    elif cell.value is None:
        statuses = list(dict.fromkeys(run.status for run in broken))
        cell.text = statuses[0] if statuses else ("no score" if choice.runs else "missing")
        cell.run_ids = [run.id for run in broken]


def _unfinished(table: Table) -> None:
    """One note per status for all runs of a table that are not finished, instead of one per run."""
    cells = [cell for row in table.rows for cell in row.cells.values() if cell.unfinished]
    for status, what in UNFINISHED.items():
        ids = list(dict.fromkeys(name for cell in cells for seen, name in cell.unfinished if seen == status))
        if not ids:
            continue
        named = ", ".join(ids[:8]) + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")
        note = f"{len(ids)} run{'s' if len(ids) > 1 else ''} {status}: {what} ({named})"
        for cell in cells:
            if any(seen == status for seen, _ in cell.unfinished):
                cell.footnotes.append(note)


def _provenance(runs: Sequence[Run]) -> str:
    """Run ids, versions and commit, for a title attribute or a comment."""
    versions = runs[0].record.get("versions") or {}
    said = ", ".join(f"{name} {value}" for name, value in sorted(versions.items())) if versions else ""
    return f"runs {', '.join(run.id for run in runs)}" + (f"; {said}" if said else "")
