"""Put published values beside measured ones, and mark the best of each column."""

from __future__ import annotations

from typing import TYPE_CHECKING

from results.tables.model import Cell, Table

if TYPE_CHECKING:
    from results.tables.build import State


def published(state: State, table: Table) -> None:
    """Published value, difference and verdict for every cell of a layout with a reference."""


def published_averages(state: State, table: Table) -> None:
    """The same for the columns of averages."""


def mark_best(state: State, table: Table) -> None:
    """Mark the best cell of each column of scores."""
    for column in table.columns:
        if column.kind not in ("score", "average"):
            continue
        cells: list[Cell] = [row.cells[column.key] for row in table.rows if column.key in row.cells]
        scored = [cell for cell in cells if cell.value is not None]
        if len(scored) > 1:
            max(scored, key=lambda cell: cell.value or 0.0).best = True
