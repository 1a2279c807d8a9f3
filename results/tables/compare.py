"""Published values beside measured ones with a verdict, and the best of each column with all that tie with it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from results.bootstrap import Difference, Sums, hierarchical_bootstrap
from results.metric_sums import sums_of
from results.records import Run
from results.reference import NOT_APPLICABLE, Entry, Reference, load
from results.statistics import binomial_error, equivalence, holm, sign_flip
from results.tables.model import Cell, Table

if TYPE_CHECKING:
    from results.tables.build import Filled, State
    from results.tables.layout import ColumnSpec, RowSpec

NOT_ON_FILE = "published: not on file"
SMALL_BUDGETS = ("quick", "smoke", "demo")
# beyond this many standard errors of two single runs no bootstrap is needed to say "worse"
FAR = 5.0
LEVEL = 0.05
# p-values come from the standard error of so many resamples (known to 1 part in 28)
RESAMPLES = 400


def published(state: State, table: Table) -> None:
    """Published value, difference and verdict for every cell of scores of a layout with a reference."""
    if not state.layout.reference:
        return
    for filled in state.filled.values():
        column, row = filled.column, filled.row
        if column.kind != "score" or row.value != "score":
            continue
        entry = find(state, row, column)
        if entry is None:
            filled.cell.published_note = NOT_ON_FILE if row.published is not None else ""
            continue
        beside(filled.cell, entry)
        if filled.cell.value is not None:
            verdict(state, filled, entry)


def published_averages(state: State, table: Table) -> None:
    """Published averages beside ours; an average gets a difference, and a verdict only if every part has one."""
    for index, spec in enumerate(state.layout.rows):
        for column in state.layout.columns:
            if not column.of or not state.layout.reference or spec.value != "score":
                continue
            cell = table.rows[index].cells[column.key]
            entry = find(state, spec, column)
            if entry is None:
                cell.published_note = NOT_ON_FILE if spec.published is not None and column.published else ""
                continue
            beside(cell, entry)
            if cell.value is None:
                continue
            cell.difference = cell.value - entry.corrected
            keys = [k for key in column.of for k in ((key,) if isinstance(key, str) else key)]
            parts = [table.rows[index].cells[key].verdict for key in keys]
            if parts and len(set(parts)) == 1:
                cell.verdict, cell.verdict_why = parts[0], "as all of its parts"
            else:
                cell.verdict, cell.verdict_why = "inconclusive", "its parts have different verdicts"


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
    reasons = incomparable(state, filled, entry)
    if reasons:
        cell.verdict, cell.verdict_why = "not comparable", "; ".join(reasons)
        return
    scores = [run.score(metric=filled.column.metric) for run in filled.runs]
    found = equivalence(
        [100.0 * score for score in scores if score is not None],
        entry.corrected,
        state.options.margin,
        entry.spread,
        entry.seeds if isinstance(entry.seeds, int) else None,
        entry.blocked_by,
    )
    cell.verdict, cell.verdict_why = found.name, found.why


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
    for line in [*(run.record.get("verdicts") or []), *(run.record.get("data", {}).get("verdicts") or [])]:
        text = line.get("message", "") if isinstance(line, dict) else str(line)
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


def mark_best(state: State, table: Table) -> None:
    """Mark the best cell of each column and all that are not significantly worse than it (Holm over the table)."""
    contests: list[tuple[Cell, float]] = []
    untested: list[Cell] = []
    for column in table.columns:
        if column.kind not in ("score", "average"):
            continue
        rows = [i for i, spec in enumerate(state.layout.rows) if spec.value != "median"]
        cells = [(i, table.rows[i].cells[column.key]) for i in rows if column.key in table.rows[i].cells]
        scored = [(i, cell) for i, cell in cells if cell.value is not None]
        if len(scored) < 2:
            continue
        top, best = max(scored, key=lambda pair: pair[1].value or 0.0)
        best.best = True
        if not state.options.significance:
            continue
        for index, cell in scored:
            if cell is best:
                continue
            if cell.value == best.value:
                cell.best = True
                continue
            if column.kind == "average":
                p = p_over_tasks(state, table, column.key, top, index)
            else:
                p = p_value(state, state.filled[top, column.key], state.filled[index, column.key])
            if p is None:
                untested.append(cell)
            else:
                contests.append((cell, p))
    for (cell, _), adjusted in zip(contests, holm([p for _, p in contests]), strict=True):
        cell.best = adjusted > LEVEL
    state.contests, state.untested = len(contests), len(untested)


def p_over_tasks(state: State, table: Table, key: str, best: int, other: int) -> float | None:
    """p of the difference between two rows over the tasks of an average (exact sign flips, RTE once)."""
    column = next(column for column in state.layout.columns if column.key == key)
    differences: dict[str, list[float]] = {}
    for part in [k for group in column.of for k in ((group,) if isinstance(group, str) else group)]:
        a, b = table.rows[best].cells[part], table.rows[other].cells[part]
        if a.value is None or b.value is None:
            return None
        differences.setdefault(a.task, []).append(a.value - b.value)
    return sign_flip({task: sum(values) / len(values) for task, values in differences.items()})


def p_value(state: State, best: Filled, other: Filled) -> float | None:
    """p of the difference between two cells, from their predictions; None where they cannot be compared.

    Cells that are apart by more than FAR binomial standard errors are told apart without reading predictions.
    """
    size = min(best.cell.test_size or 0, other.cell.test_size or 0)
    if best.row.value != "score" or other.row.value != "score" or not best.runs or not other.runs:
        return None
    if size and best.cell.value is not None and other.cell.value is not None:
        shares = [min(max(cell.value or 0.0, 0.0), 100.0) / 100.0 for cell in (best.cell, other.cell)]
        # at least half an answer's worth of doubt, so that shares of 0 and 1 keep an error
        error = math.sqrt(sum(max(binomial_error(s, size), 0.5 / size) ** 2 for s in shares))
        if (best.cell.value - other.cell.value) / 100.0 > FAR * error:
            return 0.0
    found = difference(state, best, other, RESAMPLES)
    return None if found is None else found.p


def difference(state: State, one: Filled, other: Filled, resamples: int) -> Difference | None:
    """The difference between two cells (fractions) from their predictions; None where they cannot be compared."""
    a, b = (_evidence(state, filled) for filled in (one, other))
    if a is None or b is None or a.ids != b.ids:
        return None
    return hierarchical_bootstrap(a.runs, b.runs, a.groups, resamples=resamples)


@dataclass(frozen=True)
class Evidence:
    """A cell's runs as sums over the same examples, with the clusters of these."""

    ids: list[str]
    groups: list[str] | None
    runs: list[Sums]


def _evidence(state: State, filled: Filled) -> Evidence | None:
    """A cell's evidence, read once; None where predictions lack or do not give the recorded score."""
    key = id(filled)
    if key not in state.evidence:
        state.evidence[key] = _read_evidence(filled)
    return state.evidence[key]


def _read_evidence(filled: Filled) -> Evidence | None:
    """Read the predictions of every run of a cell."""
    ids: list[str] = []
    groups: list[str] = []
    out = []
    for run in filled.runs:
        rows = sorted(run.predictions(), key=lambda row: str(row.get("id")))
        names = [str(row.get("id")) for row in rows]
        if not rows or (ids and names != ids):
            return None
        ids, groups = names, [str(row.get("group") or row.get("id")) for row in rows]
        metric = filled.column.metric or run.primary_metric
        predictions, references = [r.get("prediction") for r in rows], [r.get("reference") for r in rows]
        try:
            sums = sums_of(
                metric,
                predictions,
                references,
                label_words(run),
                str(run.get("task.kind", "classification")),
                run.get("protocol.invalid_output"),
                groups,
                run.get("task.mean_of") or (),
            )
        except (KeyError, TypeError, ValueError):
            return None
        recorded = run.score(metric=metric)
        # a metric that does not come out as the record has it is not the same metric
        if sums is None or recorded is None or abs(float(sums.value(sums.terms.sum(0))) - recorded) > 1e-6:
            return None
        out.append(sums)
    return Evidence(ids, groups if len(set(groups)) < len(groups) else None, out)


def label_words(run: Run) -> list[str]:
    """The words that a run answered with, in the order of the labels."""
    labels = run.get("task.labels") or []
    style = run.get("protocol.label_words", "digits")
    words = (run.get("task.label_words") or {}).get(style)
    return [str(word) for word in words] if words else [str(index) for index in range(len(labels))]
