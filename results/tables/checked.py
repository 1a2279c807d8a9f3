"""What is refused in a layout: words that no table knows, and rows or columns that no run could ever fill rightly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from tasks.metrics import METRICS

if TYPE_CHECKING:
    from results.tables.layout import ColumnSpec, Layout, RowSpec

KINDS = ("score", "average", "parameters", "size", "rate", "eval_rate", "bytes", "seconds")
SPREADS = ("sd", "se")
VALUES = ("score", "untrained", "median", "best", "vote", "soft")


class LayoutError(ValueError):
    """A layout or an argument that cannot be used; the message says what would be."""


def check(layout: Layout) -> None:
    """Refuse a layout with a word that is none.

    Raises:
        LayoutError: with the first such word, where it stands, and what may stand there.
    """
    said = f"layout {layout.paper} table {layout.name}"
    kinds = {column.key: column.kind for column in layout.columns}
    if layout.spread not in SPREADS:
        raise LayoutError(f"{said}: spread={layout.spread}: must be one of {_listed(SPREADS)}")
    labels = [row.label for row in layout.rows]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise LayoutError(f"{said}: {_listed(twice)} stands twice; pairs and contrasts go by the labels of rows")
    for column in layout.columns:
        _column(f"{said}, column {column.key}", column, kinds)
    for row in layout.rows:
        _row(f"{said}, row {row.label}", row, layout)


def _column(said: str, column: ColumnSpec, kinds: Mapping[str, str]) -> None:
    parts = [key for part in column.of for key in ((part,) if isinstance(part, str) else part)]
    if lost := sorted(set(parts) - set(kinds)):
        raise LayoutError(f"{said}: of names {_listed(lost)}, and there is no such column")
    if other := [key for key in parts if kinds[key] != "score"]:
        raise LayoutError(f"{said}: of names {_listed(other)}, which is no column of scores")
    if column.kind not in KINDS or (column.kind == "average") != bool(column.of):
        raise LayoutError(f"{said}: kind={column.kind}: must be one of {_listed(KINDS)}, and an average says of what")
    known = sorted({"mean", *(name for of_form in METRICS.values() for name in of_form)})
    if column.metric is not None and column.metric not in known:
        near = get_close_matches(column.metric, known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise LayoutError(f"{said}: metric={column.metric}: there is no such metric{hint}")


def _row(said: str, row: RowSpec, layout: Layout) -> None:
    keys = {column.key for column in layout.columns}
    for name, given in (("without", row.without), ("cells", row.cells)):  # a cell that is not narrowed takes every run
        if lost := sorted(set(given) - keys):
            raise LayoutError(f"{said}: {name} names {_listed(lost)}, and there is no such column")
    if row.value not in VALUES:
        raise LayoutError(f"{said}: value={row.value}: must be one of {_listed(VALUES)}")
    for name, own in (("the table", layout.where), *((f"column {c.key}", c.where) for c in layout.columns)):
        for key in row.where.keys() & own.keys():
            if not _options(row.where[key]) & _options(own[key]):
                raise LayoutError(f"{said}: {key}={row.where[key]}, and {name} takes {key}={own[key]} alone")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _options(wanted: Any) -> set[str]:
    return {str(value) for value in (wanted if isinstance(wanted, list | tuple) else (wanted,))}
