"""Published values beside measured ones, with a difference and a verdict."""

from __future__ import annotations

import re

from results.equivalence import Spread, equivalence, spread_of
from results.reference import NOT_APPLICABLE, Entry, Reference, load
from results.statistics import deviation
from results.tables.layout import ColumnSpec, RowSpec
from results.tables.model import Cell, Table
from results.tables.state import Filled, State

NOT_ON_FILE = "published: not on file"
# a metric under two names: what a paper calls it, what it is called here, and for which tasks
ONE_METRIC = (("f1a", "f1", "superglue/multirc"), ("f1", "f1_macro", "superglue/cb"), ("f1", "f1_lenient", "ner/"))
SMALL_BUDGETS = ("quick", "smoke", "demo")
ONE_NUMBER = "several seeds together are one number, of whose noise nothing is known"


def published(state: State, table: Table) -> None:
    """Published value, difference and verdict for every cell of scores of a layout with a reference."""
    if not state.layout.reference:
        return
    for filled in state.filled.values():
        column, row = filled.column, filled.row
        if column.kind != "score" or row.value == "untrained" or column.key in row.without:
            continue
        entry = find(state, row, column)
        if entry is None:
            filled.cell.published_note = NOT_ON_FILE if row.published is not None else ""
            continue
        beside(filled.cell, entry)
        if filled.cell.value is not None:
            verdict(state, filled, entry)


def published_averages(state: State, table: Table) -> None:
    """Published averages beside ours; an average is judged itself, with the noise of all its tasks."""
    for index, spec in enumerate(state.layout.rows):
        for column in state.layout.columns:
            if not column.of or not state.layout.reference or spec.value == "untrained":
                continue
            cell = table.rows[index].cells[column.key]
            entry = find(state, spec, column)
            if entry is None:
                cell.published_note = NOT_ON_FILE if spec.published is not None and column.published else ""
                continue
            beside(cell, entry)
            if cell.value is not None:
                _average_verdict(state, index, column, cell, entry)


def _average_verdict(state: State, index: int, column: ColumnSpec, cell: Cell, entry: Entry) -> None:
    """Difference and verdict of an average from the spreads of its cells."""
    cell.difference = (cell.value or 0.0) - entry.corrected
    weights: list[float] = []
    parts: list[Filled] = []
    for group in column.of:
        keys = (group,) if isinstance(group, str) else group
        parts += [state.filled[index, key] for key in keys]
        weights += [1.0 / len(column.of) / len(keys)] * len(keys)
    reasons = [reason for part in parts for reason in incomparable(state, part, entry)]
    own = ((part, find(state, part.row, part.column)) for part in parts)
    reasons += [reason for part, theirs in own if theirs is not None for reason in other_metric(part, theirs)]
    if reasons:
        cell.verdict, cell.verdict_why = "not comparable", "; ".join(dict.fromkeys(reasons))
        return
    if any(part.row.one_number for part in parts):
        cell.verdict, cell.verdict_why = "inconclusive", ONE_NUMBER
        return
    found = equivalence(
        cell.difference,
        [_spread(state, part) for part in parts],
        entry.seeds if isinstance(entry.seeds, int) else None,
        state.options.margin,
        entry.spread,
        max(weight * _step(part) for part, weight in zip(parts, weights, strict=True)),
        entry.blocked_by,
        weights,
    )
    cell.verdict, cell.verdict_why = found.name, found.why


def find(state: State, row: RowSpec, column: ColumnSpec) -> Entry | None:
    """The published cell of a row and a column, or None where none is on file."""
    place = {**state.layout.reference, **row.reference}
    reference: Reference | None = load(place.get("paper", state.layout.paper))
    if reference is None or row.published is None or column.published is None:
        return None
    names = (column.published,) if isinstance(column.published, str) else column.published
    for name in names:
        wanted = (place.get("table"), column.published_metric, place.get("backbone"))
        entry = reference.find(row.published, name, *wanted)
        if entry is not None:
            return entry
    return None


def beside(cell: Cell, entry: Entry) -> None:
    """Put a published value into a cell, with where it is from."""
    cell.published, cell.published_std = entry.value, entry.spread
    quoted = "quoted from" if entry.quoted else "from"
    cell.published_note = f"{quoted} {entry.source}" + (f"; {entry.remark}" if entry.remark else "")
    if entry.remark and "printed" in entry.remark:  # a doubtful or corrected copy is said in the table itself
        against = "" if entry.correction is None else f"; differences are to {entry.correction:g}"
        cell.footnotes.append(f"published: {entry.remark}{against}")


def verdict(state: State, filled: Filled, entry: Entry) -> None:
    """Difference and verdict of a measured cell against its published value."""
    cell = filled.cell
    cell.difference = (cell.value or 0.0) - entry.corrected
    reasons = incomparable(state, filled, entry) + other_metric(filled, entry)
    if reasons:
        cell.verdict, cell.verdict_why = "not comparable", "; ".join(reasons)
        return
    if filled.row.one_number:
        cell.verdict, cell.verdict_why = "inconclusive", ONE_NUMBER
        return
    found = equivalence(
        cell.difference,
        [_spread(state, filled)],
        entry.seeds if isinstance(entry.seeds, int) else None,
        state.options.margin,
        entry.spread,
        _step(filled),
        entry.blocked_by,
    )
    cell.verdict, cell.verdict_why = found.name, found.why


def _points(filled: Filled) -> list[float]:
    """The scores of a cell's runs, in points."""
    scores = [run.score(metric=filled.column.metric) for run in filled.runs]
    return [100.0 * score for score in scores if score is not None]


def _step(filled: Filled) -> float:
    """What one example is worth, in points."""
    return 100.0 / filled.cell.units if filled.cell.units else 0.0


def _spread(state: State, filled: Filled) -> Spread | None:
    """The noise between a cell's seeds; the other cells of its task and backbone say how little it may be."""
    others = [
        spread
        for other in state.filled.values()
        if other is not filled
        and other.column.kind == "score"
        and other.row.value == "score"
        and other.cell.metric == filled.cell.metric
        and (other.cell.task, other.cell.backbone) == (filled.cell.task, filled.cell.backbone)
        and (spread := deviation(_points(other))) is not None
    ]
    return spread_of(_points(filled), _step(filled), others)


def other_metric(filled: Filled, entry: Entry) -> list[str]:
    """Says that a published value is of another metric than the cell; empty where it is not."""
    ours, task = filled.cell.metric, filled.cell.task
    known = any((entry.metric, ours) == (theirs, own) and task.startswith(of) for theirs, own, of in ONE_METRIC)
    return [] if known or entry.metric == ours else [f"metric {ours}, published {entry.metric}"]


def incomparable(state: State, filled: Filled, entry: Entry) -> list[str]:
    """Why a cell must not be compared with a published value; empty if it may."""
    run = filled.runs[0]
    place = {**state.layout.reference, **filled.row.reference}
    said = []
    backbone = str(run.get("backbone"))
    ours = place.get("ours", entry.backbone)
    if _plain(backbone) not in [_plain(name) for name in (ours if isinstance(ours, list) else [ours])]:
        said.append(f"backbone {backbone}, published {entry.backbone} ({entry.lineage})")
    lineages = [_t5_version(str(text)) for text in (run.get("backbone.lineage", ""), entry.lineage)]
    if all(lineages) and lineages[0] != lineages[1]:
        said.append(f"lineage T5 {lineages[0]}, published T5 {lineages[1]}")
    protocol = place.get("protocol")
    if protocol and run.get("protocol") != protocol:
        said.append(f"protocol {run.get('protocol')}, published {protocol}")
    if entry.split not in ("unknown", NOT_APPLICABLE, run.primary_split):
        said.append(f"split {run.primary_split}, published {entry.split}")
    if run.is_fixture:
        said.append("synthetic rows or random weights")
    budget = run.get("runner.name")
    if budget in SMALL_BUDGETS:
        said.append(f"budget runner={budget}, the papers' is runner=paper")
    if run.get(f"runner.{run.primary_split}_rows") is not None:
        said.append(f"scored on {run.size()} rows only")
    used, rows = (run.get(f"data.{key}.train") for key in ("used_rows", "rows"))
    if run.trained and isinstance(used, int) and isinstance(rows, int) and used < rows:
        said.append(f"trained on {used:,} of {rows:,} rows")
    for line in [*(run.record.get("verdicts") or []), *(run.record.get("data", {}).get("verdicts") or [])]:
        text = line.get("message", "") if isinstance(line, dict) else str(line)
        if isinstance(line, dict) and line.get("name") == "epochs":
            said.append("other epochs than the protocol's")
        if "not the published split" in text:
            said.append("not the published split")
    return list(dict.fromkeys(said))


def _plain(name: str) -> str:
    """A name without case and punctuation: t5_base is t5-base."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _t5_version(lineage: str) -> str:
    """v1.0 or v1.1, where a lineage names one."""
    found = re.search(r"v1\.[01]", lineage)
    return found.group(0) if found else ""
