"""What a table is while it is filled: its runs, options and cells, and what each cell was made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from results.records import Reading, Run
from results.selection import Choice
from results.tables.layout import ColumnSpec, Layout, RowSpec
from results.tables.model import Cell


@dataclass
class Options:
    """What a user may ask of a table.

    Attributes:
        selection: "validation", or "reported" (selection on the reported split; the caption says so).
        margin: Equivalence margin in points, declared before looking.
        fixtures: Whether runs on synthetic rows or random weights are let in.
        significance: Whether methods are compared with each other from their predictions.
        cells: "mean", or "all" for every seed's score in place of the spread.
    """

    selection: str = "validation"
    margin: float = 1.0
    fixtures: bool = False
    significance: bool = True
    cells: str = "mean"


@dataclass
class Filled:
    """What a cell was made of, kept until the caption is written."""

    row: RowSpec
    column: ColumnSpec
    cell: Cell
    choice: Choice
    runs: list[Run]


@dataclass
class State:
    """A table under construction."""

    layout: Layout
    options: Options
    reading: Reading
    declared: frozenset[str] = frozenset()  # what the layout's own rows tell apart
    buckets: dict[tuple[Any, Any], list[Run]] = field(default_factory=dict)
    kept_out: int = 0
    asked: Layout | None = None  # as it was before its rows were split
    filled: dict[tuple[int, str], Filled] = field(default_factory=dict)
    evidence: dict[int, Any] = field(default_factory=dict)  # predictions of a cell, read once
    tests: dict[str, Any] = field(default_factory=dict)  # compare.ColumnTests by the key of the column
