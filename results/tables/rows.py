"""Rows that a table gets beside its layout's own: split where runs differ in a setting, medians of grids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from results.records import Run, matches
from results.tables.layout import FACETS, Layout, RowSpec


def with_medians(layout: Layout) -> Layout:
    """The same table with the median over the grid under each row: what a user who does not tune would get."""
    rows: list[RowSpec] = []
    for row in layout.rows:
        rows.append(row)
        if row.where and row.value == "score":
            rows.append(replace(row, label=f"{row.label}, median of its grid", value="median", published=None))
    return replace(layout, rows=tuple(rows))


def _pinned(where: Mapping[str, Any]) -> set[str]:
    """The keys of which one value is asked for: several, or any (`*`, `!x`), part the runs as if nothing were asked."""
    return {name for name, wanted in where.items() if not isinstance(wanted, list | tuple) and not _open(wanted)}


def _open(wanted: Any) -> bool:
    return isinstance(wanted, str) and wanted.startswith(("*", "!"))


def expand(layout: Layout, runs: Sequence[Run]) -> Layout:
    """Split rows whose runs differ in a facet that must not be averaged over, and name the difference."""
    fixed = _pinned(layout.where)
    for column in layout.columns:
        fixed |= _pinned(column.where)
    if "transfer.to" in fixed:  # a scoring elsewhere is known by its two tasks
        fixed.add("task")
    out: list[RowSpec] = []
    for row in layout.rows:
        if not row.where:
            out.append(row)
            continue
        method = row.where.get("method")
        mine = [run for run in runs if run.get("method") == method] if isinstance(method, str) else runs
        mine = [run for run in mine if matches(run, layout.where) and matches(run, row.where)]
        declared = _pinned(row.where) | ({"method"} & set(row.where))  # a row may be of several methods, if it says so
        free_facets = [name for name in FACETS if name not in fixed | declared]
        combinations = dict.fromkeys(tuple(run.get(name) for name in free_facets) for run in mine)
        if len(combinations) <= 1:
            out.append(row)
            continue
        varying = [i for i in range(len(free_facets)) if len({c[i] for c in combinations}) > 1]
        for combination in sorted(combinations, key=str):
            where = {free_facets[i]: combination[i] for i in varying}
            label = f"{row.label} [{', '.join(f'{k}={v}' for k, v in where.items())}]"
            out.append(replace(row, label=label, where={**row.where, **where}))
    return replace(layout, rows=tuple(out))
