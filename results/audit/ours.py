"""This project's own tables as the audit sees a published one: rounded as printed, without their predictions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from results.archive import with_archive
from results.audit.cells import PrintedCell, ScoredSet
from results.audit.judge import Judged, compare
from results.records import UNTRAINED, Reading, read_runs
from results.tables.build import build
from results.tables.layout import load, tables_of
from results.tables.model import Table
from results.tables.state import Options

OURS = ("offline_v1", "demo", "demo_ner")
KINDS = {"f1": "tagging"}  # of our own tables, whose only F1 is that of entities


def our_tables(ledger: str | None = None) -> Iterator[tuple[Table, list[PrintedCell]]]:
    """Every own table with its cells of scores, from the committed runs and, where one is given, a ledger."""
    for paper in OURS:
        own = read_runs(ledger) if ledger else Reading(Path(ledger or "none"), [], [])
        reading = with_archive(own, paper)
        for name in tables_of(paper):
            table = build(load(paper, name), reading, Options(significance=False))
            yield table, list(cells_of(table))


def cells_of(table: Table) -> Iterator[PrintedCell]:
    """Cells of scores that have runs, column by column."""
    for column in table.columns:
        if column.kind != "score":
            continue
        for row in table.rows:
            cell = row.cells[column.key]
            if cell.value is None or cell.test_size is None:
                continue
            yield PrintedCell(
                table=table.name,
                backbone=cell.backbone,
                method=row.label,
                task=column.label,
                metric=cell.metric,
                value=round(cell.value, column.digits),
                decimals=column.digits,
                runs=cell.n,
                spread=cell.spread if cell.spread_kind == "sd" else None,
                spread_kind="sd",
                divisor="n-1",
                split="test",
                selection="none" if row.method in UNTRAINED else "validation",
                origin="own run",
                source="this project's runs",
                test=ScoredSet(cell.task, KINDS.get(cell.metric, "classification"), cell.test_size, source="counted"),
            )


def every_pair(cells: list[PrintedCell]) -> list[Judged]:
    """What a table sets side by side: every two rows, or where it has several columns each less its row's first."""
    columns = list(dict.fromkeys(cell.task for cell in cells))
    if len(columns) == 1:
        return [compare(a, b) for a, b in combinations(cells, 2)]
    first = {cell.method: cell for cell in cells if cell.task == columns[0]}
    return [compare(cell, first[cell.method]) for cell in cells if cell.task != columns[0] and cell.method in first]
